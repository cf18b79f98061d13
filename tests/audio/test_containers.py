"""What a container promises is read from its header, and a header that lies or is cut stops nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from mmret.audio.containers import promised_bytes, uncounted_mp3_start
from tests.audio.sounds import FORMATS, cut, wave, write

PROMISING = [row for row in FORMATS if row[1] in {"WAV", "WAVEX", "AIFF", "AU", "W64", "RF64", "OGG"}]


@pytest.mark.parametrize(("name", "file_format", "subtype", "rate"), PROMISING)
def test_a_whole_file_is_as_long_as_promised_and_a_cut_one_shorter(
    tmp_path: Path, name: str, file_format: str, subtype: str, rate: int
) -> None:
    path = write(tmp_path / name, wave(1.0, rate), rate, file_format, subtype)
    size = path.stat().st_size
    promised = promised_bytes(path)
    assert promised is not None
    assert 0.99 * size < promised <= size  # chunks of notes may follow the samples
    cut_promise = promised_bytes(cut(path, 0.6))
    assert cut_promise is not None
    assert cut_promise > path.stat().st_size


def wav(*chunks: tuple[bytes, int, bytes]) -> bytes:
    """A RIFF file of chunks: name, declared size, body."""
    return b"RIFF\0\0\0\0WAVE" + b"".join(
        name + size.to_bytes(4, "little") + body + b"\0" * (len(body) % 2) for name, size, body in chunks
    )


@pytest.mark.parametrize(
    ("data", "promised"),
    [
        (wav((b"data", 100, b"")), 120),
        (wav((b"LIST", 3, b"abc"), (b"data", 100, b"")), 132),  # an odd chunk is padded
        (wav((b"data", 0xFFFFFFFF, b"")), None),  # written into a pipe
        (wav((b"data", 0x7FFFF000, b"")), None),
        (wav((b"fmt ", 16, b"")), None),
        (wav(*[(b"note", 0, b"")] * 2000, (b"data", 100, b"")), None),  # more chunks than any real file has
        (b".snd" + (24).to_bytes(4, "big") + b"\xff" * 16, None),
        (b"OggS", None),
        (b"OggS\0" + bytes(3), 27),
        (b"fLaC and more", None),
        (b"", None),
    ],
)
def test_promises_of_odd_headers(tmp_path: Path, data: bytes, promised: int | None) -> None:
    (tmp_path / "odd").write_bytes(data)
    assert promised_bytes(tmp_path / "odd") == promised


@given(
    magic=st.sampled_from([b"RIFF", b"RIFX", b"RF64", b"FORM", b".snd", b"OggS\0", b"riff\x2e\x91\xcf\x11", b"ID3"]),
    rest=st.binary(max_size=300),
)
def test_any_bytes_are_read_without_an_exception(
    tmp_path_factory: pytest.TempPathFactory, magic: bytes, rest: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "any"
    path.write_bytes(magic + rest)
    assert promised_bytes(path) is None or promised_bytes(path) >= 0
    assert uncounted_mp3_start(path) in (None, 0) or magic == b"ID3"


def test_only_an_mp3_without_a_count_of_frames_is_uncounted(tmp_path: Path) -> None:
    path = tmp_path / "a.mp3"
    soundfile.write(path, wave(1.0, 44_100), 44_100)
    data = path.read_bytes()
    assert uncounted_mp3_start(path) is None
    path.write_bytes(data.replace(b"Xing", bytes(4)).replace(b"Info", bytes(4)))
    assert uncounted_mp3_start(path) == 0
    path.write_bytes(b"ID3\x03\0\0\0\0\x02\x01" + bytes(257) + path.read_bytes())
    assert uncounted_mp3_start(path) == 267
    path.write_bytes(b"ID3\x03\0\0\0\0\x02\x01" + bytes(257) + b"fLaC")
    assert uncounted_mp3_start(path) is None
    for length in range(64):  # the end may lie anywhere in the header
        path.write_bytes(data[:length])
        assert uncounted_mp3_start(path) in (None, 0)
    path.write_bytes(b"\xff\xf1\x50\x80")  # AAC in ADTS frames
    assert uncounted_mp3_start(path) is None
