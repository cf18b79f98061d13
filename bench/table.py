"""Figures as people read them, and tables of them in Markdown."""

from __future__ import annotations

from collections.abc import Sequence

Cells = Sequence[str]

_UNITS = (
    (31_557_600.0, "years"),
    (86_400.0, "days"),
    (3_600.0, "h"),
    (60.0, "min"),
    (1.0, "s"),
    (1e-3, "ms"),
)


def table(header: Cells, rows: Sequence[Cells]) -> str:
    """A Markdown table.

    >>> print(table(["a", "b"], [["1", "2"]]))
    | a | b |
    | --- | --- |
    | 1 | 2 |
    """
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (header, ["---"] * len(header), *rows))


def duration(seconds: float) -> str:
    """Seconds in the largest unit of which there are two or more, to two or three digits.

    >>> duration(0.00042), duration(90), duration(7200), duration(1e9)
    ('0.42 ms', '90 s', '2 h', '31.7 years')
    """
    size, unit = next(((size, unit) for size, unit in _UNITS if seconds >= 2 * size), _UNITS[-1])
    return f"{_short(seconds / size)} {unit}"


def megabytes(size: float) -> str:
    """Bytes in MB."""
    return f"{size / 1e6:,.0f} MB"


def amount(size: float) -> str:
    """Bytes in MB, GB or TB.

    >>> amount(1.5e7), amount(1.536e9), amount(1.6e12)
    ('15 MB', '1.54 GB', '1.6 TB')
    """
    power, unit = next((pair for pair in ((1e12, "TB"), (1e9, "GB")) if size >= pair[0]), (1e6, "MB"))
    return f"{_short(size / power)} {unit}"


def _short(value: float) -> str:
    """Three digits, and no more than the integer part where that is longer."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
