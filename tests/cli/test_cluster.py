"""cluster, and the approximate searches that it prepares: what they miss is told."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result

from mmret.errors import MmretError, QueryError
from mmret.index import IndexStore
from mmret.index.rows import Encoded, Recording
from mmret.tasks.search import Index
from tests.tasks.fake_encoder import BANDS, FakeEncoder

Run = Callable[..., Result]
ROWS = 3_000


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Windows around the directions of the fake encoder's words; as many as are worth clustering."""
    monkeypatch.setattr("mmret.tasks.clustering.WORTH_IT", ROWS)
    generator = np.random.Generator(np.random.PCG64(0))
    vectors = np.eye(BANDS, dtype=np.float32)[generator.integers(0, BANDS, ROWS)]
    vectors += 0.1 * generator.standard_normal(vectors.shape, np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    Index.open(tmp_path / "index", FakeEncoder()).close()
    with closing(IndexStore.open(tmp_path / "index")) as store, store.writer() as writer:
        bounds_s = [(float(row), row + 1.0) for row in range(ROWS)]
        writer.commit([Encoded(Recording(b"/", b"/a", 0, 0, b"a"), 1, ROWS, bounds_s, writer.append(vectors))])
    return tmp_path / "index"


def test_a_search_of_clusters_tells_what_it_misses(run: Run, index: Path, tmp_path: Path) -> None:
    exact = json.loads(run("search", index, "800 Hz", "-k", "1", "--json").stdout)
    (tmp_path / "queries.txt").write_text("200 Hz\n\n800 Hz\n3000 Hz\n")
    built = run("cluster", index, "--recall", "0.9", "--queries", tmp_path / "queries.txt", "--json")
    report = json.loads(built.stdout)
    assert [(one["kind"], one["queries"]) for one in report["recalls"]] == [("stored windows", 200), ("sentences", 3)]
    assert all(0.9 <= one["recall"] <= 1 for one in report["recalls"])
    assert report["windows"] == ROWS and 0 < report["share_read"] < 0.25
    found = run("search", index, "800 Hz", "-k", "1", "--json", "--approximate")
    assert json.loads(found.stdout) == exact
    recalls = " and ".join(f"{one['recall']:.3f} for {one['queries']} {one['kind']}" for one in report["recalls"])
    assert found.stderr == f"approximate: finds of the 10 nearest windows {recalls}\n"


def test_sentences_that_are_not_utf_8_are_told_as_that(run: Run, index: Path, tmp_path: Path) -> None:
    (tmp_path / "queries.txt").write_bytes(b"rain\ncaf\xe9\n")
    refused = run("cluster", index, "--queries", tmp_path / "queries.txt").exception
    assert isinstance(refused, QueryError)
    assert "not UTF-8" in str(refused)


def test_without_sentences_those_of_the_samples_are_measured_with(run: Run, index: Path) -> None:
    lines = run("cluster", index, "--recall", "0.9").stdout.splitlines()
    assert lines[0].startswith(f"{index}: {ROWS} windows in 219 clusters; a search reads ")
    assert [line.split("with ")[1] for line in lines[1:]] == ["200 stored windows", "37 sentences"]


def test_a_model_that_reads_no_text_is_measured_with_sounds_alone(index: Path) -> None:
    class Deaf(FakeEncoder):
        def encode_text(self, texts: object) -> np.ndarray:
            from mmret.errors import ModelFormatError

            raise ModelFormatError("fake reads no text")

    with Index.open(index, Deaf(), approximate=True) as opened:
        assert [one.kind for one in opened.cluster(recall=0.9).recalls] == ["stored windows"]
        assert opened.recalls()[0].recall >= 0.9
        with pytest.raises(MmretError, match="reads no text"):
            opened.cluster(["rain"])


def test_what_cannot_be_is_refused(run: Run, index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    missing = run("search", index, "800 Hz", "--approximate")
    assert "has no clusters: build them with mmret cluster" in str(missing.exception)
    assert run("cluster", index, "--recall", "1.5").exit_code == 2
    with Index.open(index, FakeEncoder()) as opened:
        for sentences, recall in (([], 0.9), (["rain", " "], 0.9), (None, 0.0)):
            with pytest.raises(QueryError):
                opened.cluster(sentences, recall=recall)
        monkeypatch.setattr("mmret.tasks.clustering.WORTH_IT", ROWS + 1)
        with pytest.raises(MmretError, match=f"holds {ROWS} windows: an exact search of them takes milliseconds"):
            opened.cluster()
