"""eval/tables.py: result files in, a page out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mmret.errors import MmretError
from mmret.metrics.result_file import write_result

# the tiny corpus is full of ties on purpose
pytestmark = pytest.mark.filterwarnings("ignore:hit@1 is")


@pytest.fixture
def results(script, encoder, esc50, captioned, tmp_path) -> Path:
    folder = tmp_path / "results"
    script("zero_shot").main(
        ["--data", str(esc50), "--folds", "4", "--target-mod", "2", "0", "--out", str(folder / "a.json")]
    )
    script("retrieval").main(["--data", str(captioned), "--out", str(folder / "b.json")])
    return folder


@pytest.fixture
def tables(script, results, tmp_path):
    page = tmp_path / "docs" / "results.md"

    def run(*arguments: str) -> tuple[int, Path]:
        pages = ["--page", str(page), "--card", str(tmp_path / "card.md")]
        return script("tables").main(["--results", str(results), *pages, *arguments]), page

    return run


def test_page_has_one_table_a_protocol(tables) -> None:
    text = tables()[1].read_text()
    assert "| named | esc50, folds 4 | 8 x 4 | `{label} can be heard` | 87.5 [" in text
    assert "100.0 / 100.0 / 100.0" in text
    assert "Linear probe" not in text


@pytest.mark.parametrize(
    ("metrics", "figure"),
    [
        ({"accuracy": 0.96, "accuracy_half_width": 0.0021}, "96.0 ± 0.2"),
        ({"map": 0.4791, "map_half_width": None}, "47.9 mAP"),
    ],
)
def test_a_published_protocol_has_its_seeds_and_interval(tables, results, metrics, figure) -> None:
    protocol = {"name": "fine_tuning", "label": "M2D", "data": "esc50", "test": ["1", "2"], "seeds": [43, 44]}
    write_result(
        results / "d.json",
        {"protocol": {**protocol, "chosen_by": "test"}, "model": {"name": "m2d"}, "metrics": metrics},
    )
    assert f"| M2D | esc50, test 1, 2 | test | 43, 44 | {figure} |" in tables()[1].read_text()


def test_check_is_quiet_after_writing_and_fails_before(tables) -> None:
    assert tables("--check")[0] == 1
    tables()
    assert tables("--check")[0] == 0


def test_check_notices_a_figure_changed_by_hand(tables) -> None:
    page = tables()[1]
    page.write_text(page.read_text().replace("87.5", "97.5"))
    assert tables("--check")[0] == 1


def test_text_around_the_markers_stays(tables) -> None:
    page = tables()[1]
    page.write_text("intro\n" + page.read_text() + "end\n")
    text = tables()[1].read_text()
    assert text.startswith("intro\n") and text.endswith("end\n")


def test_a_page_without_markers_is_refused(tables) -> None:
    page = tables()[1]
    page.write_text("nothing")
    with pytest.raises(MmretError, match="lacks the markers"):
        tables()


def test_the_card_of_the_shipped_model_holds_its_own_rows_alone(
    tables, script, encoder, esc50, results, tmp_path
) -> None:
    name = "mmret-mini, ten classes left out"
    script("zero_shot").main(["--data", str(esc50), "--label", name, "--out", str(results / "c.json")])
    module = script("tables")
    card = tmp_path / "card.md"
    card.write_text(f"# Card\n\n{module.BEGIN}\n{module.END}\n")
    assert tables("--check")[0] == 1
    tables()
    assert f"| {name} |" in card.read_text() and "| named |" not in card.read_text()
    assert tables("--check")[0] == 0


def test_arms_of_pretraining_show_mean_and_deviation(script) -> None:
    tables = script("tables")
    metrics = {"esc50": {"mean": 0.5, "deviation": 0.01, "values": [0.49, 0.51]}}
    arm = {"protocol": {"name": "pretraining_target", "label": "M2D", "steps": 700, "seeds": 2}, "metrics": metrics}
    once = {"protocol": arm["protocol"] | {"label": "log-mel mean", "steps": 0, "seeds": 1}, "metrics": metrics}
    text = tables.tables([once, arm])
    assert "| M2D | 700 | 2 | 50.0 ± 1.0 |" in text
    assert "| log-mel mean |  | 1 | 50.0 |" in text


def hearts_result(label: str, **metrics: float) -> dict:
    figures = {
        name: value for key, number in metrics.items() for name, value in ((key, number), (f"{key}_deviation", 0))
    }
    return {
        "protocol": {"name": "hearts", "label": label},
        "model": {"name": label},
        "sizes": {"A": 9, "dim": 90},
        "metrics": figures,
        "intervals": {"across": [0.6, 0.7]},
        "per_database": dict.fromkeys("abcdef", 0.5) | {"c": 0.9},
    }


def test_hearts_fill_their_table_and_the_card_of_their_model_alone(script, tmp_path) -> None:
    module = script("tables")
    results, cards = tmp_path / "results", tmp_path / "pretrained"
    for number, label in enumerate(["mmret-mini, as it is", module.HEARTS_LABEL]):
        (results).mkdir(exist_ok=True)
        (results / f"hearts_{number}.json").write_text(
            json.dumps(hearts_result(label, across=0.65, across_pooled=0.61, random_folds=0.7))
        )
    for name in ("mmret-mini", "heart-cycles"):
        (cards / name).mkdir(parents=True)
        (cards / name / "README.md").write_text(f"{module.BEGIN}\n{module.END}\n")
    (tmp_path / "murmurs.md").write_text(f"before\n{module.BEGIN}\n{module.END}\nafter\n")
    page = tmp_path / "results.md"
    where = ["--results", str(results), "--page", str(page), "--card", str(cards / "mmret-mini" / "README.md")]
    assert module.main(where) == 0
    row = "| 90 | 65.0 ± 0.0 [60.0, 70.0] | 50.0 | 50.0 | 90.0 | 50.0 | 50.0 | 50.0 | 61.0 ± 0.0 |  |  | 70.0 ± 0.0 |"
    assert f"| mmret-mini, as it is {row}" in page.read_text()
    card = (cards / "heart-cycles" / "README.md").read_text()
    assert f"| {module.HEARTS_LABEL} {row}" in card and "mmret-mini" not in card
    assert "|" not in (cards / "mmret-mini" / "README.md").read_text()
    hearts = tmp_path / "murmurs.md"
    assert "left out in turn | 65.0 [60.0, 70.0] |" in hearts.read_text()
    assert "without database c, which alone has 90.0 | 50.0 |" in hearts.read_text()
    assert "every recording alike | 61.0 |" in hearts.read_text() and hearts.read_text().endswith("after\n")
    hearts.write_text(hearts.read_text().replace("61.0", "71.0"))
    assert module.main([*where, "--check"]) == 1
