"""What 10^4 to 10^9 windows take: measured as far as it was, arithmetic from the measured rates beyond."""

from __future__ import annotations

from typing import Any

from table import Cells, amount, duration, table

SIZES = tuple(10**power for power in range(4, 10))
PLANS = {
    10**4: "exact search; one file of vectors",
    10**5: "exact; vectors are mapped, not loaded",
    10**6: "exact, many questions together (`mmret search INDEX -`); `mmret cluster` and `search --approximate` where "
    "one question must be answered sooner",
    10**7: "`--store f16`, clusters, an index for each folder or machine, so that indexing is spread and goes on where "
    "it stopped; hits are merged by score",
    10**8: "as before, with product-quantised codes in memory and vectors on fast disks for re-ranking, which mmret "
    "does not have",
    10**9: "as before, on several machines, with a quantiser of two levels and encoding on GPUs; longer windows, to "
    "have fewer",
}


def scale_plan(results: dict[str, Any]) -> list[str]:
    """Paragraphs and a table; figures that were not measured are marked with ~."""
    rates = _rates(results)
    measured = {one["windows"]: one for one in results["windows"]}
    rows = [_row(windows, rates, measured.get(windows)) for windows in SIZES]
    return [
        f"From the rates above, one core: {duration(rates['index_s'])} of CPU to index a window (marginal, FLAC, "
        f"start left out), a window every {rates['hop_s']:.2f} s of sound, {rates['vectors_bytes']:,.0f} bytes of "
        f"vector and {rates['rows_bytes']:.0f} of rows, and {1e9 * rates['query_s']:.0f} ns a window for a query alone "
        f"or {1e9 * rates['query_of_many_s']:.0f} ns for one of 64. Figures with ~ are arithmetic from these rates, "
        "not measurements.",
        table(["windows", "sound", "CPU to index", "vectors", "rows", "a query", "one of 64", "plan"], rows),
    ]


def _rates(results: dict[str, Any]) -> dict[str, float]:
    shorter, longest = sorted(results["lengths"], key=lambda one: one["windows"])[-2:]
    largest = max(results["windows"], key=lambda one: one["windows"])
    keys = ("vectors_bytes", "rows_bytes", "query_s", "query_of_many_s")
    return {
        "index_s": (longest["cpu_s"] - shorter["cpu_s"]) / (longest["windows"] - shorter["windows"]),
        "hop_s": (longest["seconds"] - shorter["seconds"]) / (longest["windows"] - shorter["windows"]),
        **{key: largest[key] / largest["windows"] for key in keys},
    }


def _row(windows: int, rates: dict[str, float], measured: dict[str, Any] | None) -> Cells:
    def of(key: str, told: Any) -> str:
        return str(told(measured[key])) if measured else f"~{told(windows * rates[key])}"

    power = f"10^{len(str(windows)) - 1}"
    sound, index = f"{windows * rates['hop_s'] / 3600:,.0f} h", f"~{duration(windows * rates['index_s'])}"
    stored = [of(key, amount) for key in ("vectors_bytes", "rows_bytes")]
    asked = [of(key, duration) for key in ("query_s", "query_of_many_s")]
    return [power, sound, index, *stored, *asked, PLANS[windows]]
