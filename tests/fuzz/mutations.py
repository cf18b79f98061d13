"""Ways to damage bytes, the same for the same generator."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

HEADER_BYTES = 200
INTERESTING = (0, 1, 2, 3, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 2**24, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1)
LONGEST = 400_000
Generator = np.random.Generator
Mutation = Callable[[bytes, Generator], bytes]


def truncated(data: bytes, generator: Generator) -> bytes:
    """Keep the first part."""
    return data[: int(generator.integers(1, len(data) + 1))]


def bits_flipped(data: bytes, generator: Generator) -> bytes:
    """Change single bits, anywhere or in the header alone."""
    changed = bytearray(data)
    for _ in range(int(generator.integers(1, 9))):
        changed[_place(data, generator)] ^= 1 << int(generator.integers(0, 8))
    return bytes(changed)


def bytes_changed(data: bytes, generator: Generator) -> bytes:
    """Put random bytes in single places."""
    changed = bytearray(data)
    for _ in range(int(generator.integers(1, 7))):
        changed[_place(data, generator)] = int(generator.integers(0, 256))
    return bytes(changed)


def field_edited(data: bytes, generator: Generator) -> bytes:
    """Put a number of an edge into a field of the header."""
    width = int(generator.choice([1, 2, 4, 8]))
    order = "little" if generator.integers(0, 2) else "big"
    value = INTERESTING[int(generator.integers(0, len(INTERESTING)))] % 256**width
    place = int(generator.integers(0, min(len(data), HEADER_BYTES)))
    return data[:place] + value.to_bytes(width, order) + data[place + width :]


def length_lied(data: bytes, generator: Generator) -> bytes:
    """Change a number that tells a length: one that is close to the size of the file or of a part of it."""
    places = [
        (place, width, order)
        for width, order in ((4, "little"), (4, "big"), (8, "little"), (8, "big"), (2, "big"))
        for place in range(0, min(len(data) - width, HEADER_BYTES))
        if len(data) // 4 <= int.from_bytes(data[place : place + width], order) <= len(data)
    ]
    if not places:
        return field_edited(data, generator)
    place, width, order = places[int(generator.integers(0, len(places)))]
    told = int.from_bytes(data[place : place + width], order)
    lies = (told * 2, told - 1, told + 1, told // 2, told * 1000, 256**width - 1, 256**width // 2 - 1, 0)
    lie = lies[int(generator.integers(0, len(lies)))] % 256**width
    return data[:place] + lie.to_bytes(width, order) + data[place + width :]


def blocks_swapped(data: bytes, generator: Generator) -> bytes:
    """Exchange two blocks."""
    size = max(1, len(data) // int(generator.integers(2, 65)))
    blocks = [data[first : first + size] for first in range(0, len(data), size)]
    one, other = generator.integers(0, len(blocks), 2).tolist()
    blocks[one], blocks[other] = blocks[other], blocks[one]
    return b"".join(blocks)


def range_doubled(data: bytes, generator: Generator) -> bytes:
    """Repeat a range, up to many times."""
    first, last = _range(data, generator)
    times = int(generator.choice([1, 1, 2, 50]))
    return (data[:last] + data[first:last] * times + data[last:])[:LONGEST]


def range_zeroed(data: bytes, generator: Generator) -> bytes:
    """Put zeros into a range."""
    first, last = _range(data, generator)
    return data[:first] + bytes(last - first) + data[last:]


def range_of_noise(data: bytes, generator: Generator) -> bytes:
    """Put noise into a range."""
    first, last = _range(data, generator)
    return data[:first] + generator.bytes(last - first) + data[last:]


def range_lost(data: bytes, generator: Generator) -> bytes:
    """Take a range out."""
    first, last = _range(data, generator)
    return data[:first] + data[last:]


def bytes_inserted(data: bytes, generator: Generator) -> bytes:
    """Put bytes in between."""
    place = _place(data, generator)
    return data[:place] + generator.bytes(int(generator.integers(1, 40))) + data[place:]


MUTATIONS: tuple[Mutation, ...] = (
    truncated,
    bits_flipped,
    bytes_changed,
    field_edited,
    length_lied,
    blocks_swapped,
    range_doubled,
    range_zeroed,
    range_of_noise,
    range_lost,
    bytes_inserted,
)


def mutated(data: bytes, generator: Generator) -> tuple[str, bytes]:
    """Damage once, sometimes twice or three times; names of what was done, and the bytes, of which one is left."""
    names = []
    for _ in range(int(generator.choice([1, 1, 1, 2, 3]))):
        mutation = MUTATIONS[int(generator.integers(0, len(MUTATIONS)))]
        data = mutation(data, generator) or b"\0"
        names.append(mutation.__name__)
    return "+".join(names), data


def _place(data: bytes, generator: Generator) -> int:
    """A place in the header as often as anywhere."""
    reach = HEADER_BYTES if generator.integers(0, 2) else len(data)
    return int(generator.integers(0, min(len(data), reach)))


def _range(data: bytes, generator: Generator) -> tuple[int, int]:
    first = _place(data, generator)
    return first, min(len(data), first + int(generator.integers(1, 600)))
