"""An index finds what it was given, once, and says what it could not use."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from mmret.audio.decode import decode_blocks
from mmret.errors import (
    AudioError,
    EncoderMismatch,
    IndexFormatError,
    IndexLocked,
    MmretError,
    ModelFormatError,
    QueryError,
)
from mmret.tasks.search import AddProgress, Index, MergeOptions
from tests.tasks.fake_encoder import SAMPLE_RATE, FakeEncoder, tone, write_tone


@pytest.fixture
def encoder() -> FakeEncoder:
    """Counts what it encodes."""
    return FakeEncoder()


@pytest.fixture
def sounds(tmp_path: Path) -> Path:
    """Three tones in a folder."""
    folder = tmp_path / "sounds"
    for number, frequency_hz in enumerate((200, 800, 3000)):
        write_tone(folder / f"{frequency_hz}.wav", frequency_hz, 2.3, seed=number)
    return folder


@pytest.fixture
def index(tmp_path: Path, encoder: FakeEncoder) -> Iterator[Index]:
    """A new index."""
    with Index.open(tmp_path / "index", encoder) as opened:
        yield opened


def vectors(index: Index) -> dict[bytes, np.ndarray]:
    """Vectors (windows, dim) of every file."""
    with index._store.snapshot() as snapshot:
        maps = {part.segment.id: part.vectors for part in snapshot.maps}
        return {
            file.path: np.array([maps[window.segment][window.row] for window in snapshot.windows_of(file.id)])
            for file in snapshot.files()
            if file.status == "done"
        }


def test_words_and_sounds_find_their_recording(index: Index, sounds: Path) -> None:
    report = index.add(sounds)
    assert (report.added, report.skipped, report.failed, report.windows) == (3, 0, [], 12)
    assert report.seconds_of_audio == pytest.approx(6.9)
    hit = index.search("800 Hz", k=1)[0]
    assert hit.path == sounds / "800.wav"
    assert (hit.start_s, hit.stop_s, hit.windows) == (0.0, 2.3, 4)
    assert hit.score > 0.9
    assert index.search_audio(sounds / "3000.wav")[0].path == sounds / "3000.wav"
    assert len(index) == 12
    assert [len(index.search("x", k=k)) for k in (1, 2)] == [1, 2]
    assert {hit.path for hit in index.search("x", k=100)} == set(sounds.glob("*.wav"))


def test_similar_leaves_out_the_question_itself(index: Index, sounds: Path, tmp_path: Path) -> None:
    write_tone(sounds / "near.wav", 820, seed=9)
    index.add(sounds)
    assert index.similar(sounds / "800.wav")[0].path == sounds / "near.wav"
    assert sounds / "800.wav" not in {hit.path for hit in index.similar(sounds / "800.wav", k=50)}
    part = index.similar(sounds / "800.wav", start_s=0.0, stop_s=1.0)
    own = [hit for hit in part if hit.path == sounds / "800.wav"]
    assert [hit.start_s for hit in own] == [1.0]
    with pytest.raises(AudioError, match=r"no sound from 5.0 s on; it is 2.30 s long"):
        index.search_audio(sounds / "800.wav", start_s=5.0)


def test_merge_and_min_score_shape_the_hits(index: Index, sounds: Path) -> None:
    index.add(sounds)
    assert len(index.search("800 Hz", k=50, merge=None)) == 12
    assert len(index.search("800 Hz", k=5, merge=None)) == 5
    assert {hit.path.name for hit in index.search("800 Hz", min_score=0.5)} == {"800.wav"}
    assert index.search("800 Hz", min_score=1.1) == []
    joined = index.search("800 Hz", merge=MergeOptions(gap_s=0.0, score="mean"))
    assert joined[0].windows == 4


@pytest.mark.parametrize(
    ("text", "asked", "told"),
    [
        ("", {}, "the words to look for are empty"),
        (" \n", {}, "the words to look for are empty"),
        ("800 Hz", {"k": 0}, "k is 0"),
        ("800 Hz", {"min_score": float("nan")}, "not a number"),
    ],
)
def test_a_search_for_nothing_is_refused_as_on_the_command_line(
    index: Index, sounds: Path, text: str, asked: dict[str, Any], told: str
) -> None:
    index.add(sounds)
    with pytest.raises(QueryError, match=told) as refused:
        index.search(text, **asked)
    assert isinstance(refused.value, MmretError)
    assert isinstance(refused.value, ValueError)
    if asked:
        with pytest.raises(QueryError, match=told):
            index.similar(sounds / "800.wav", **asked)


def test_the_same_file_twice_is_encoded_once_with_the_same_bits(
    index: Index, sounds: Path, encoder: FakeEncoder
) -> None:
    index.add(sounds)
    before, encoded = vectors(index), encoder.encoded
    report = index.add([sounds, sounds / "800.wav"])
    assert (report.added, report.skipped, encoder.encoded) == (0, 3, encoded)
    os.utime(sounds / "800.wav", ns=(1, 1))
    assert index.add(sounds).skipped == 3
    assert encoder.encoded == encoded
    after = vectors(index)
    assert all(np.array_equal(after[path], before[path]) for path in before)


def test_a_renamed_or_copied_file_uses_the_stored_vectors(index: Index, sounds: Path, encoder: FakeEncoder) -> None:
    index.add(sounds)
    before, encoded = vectors(index), encoder.encoded
    (sounds / "800.wav").rename(sounds / "moved.wav")
    shutil.copy(sounds / "200.wav", sounds / "copy.wav")
    report = index.add(sounds)
    assert (report.added, report.reused, report.skipped, report.gone) == (2, 2, 2, 1)
    assert encoder.encoded == encoded
    after = vectors(index)
    assert np.array_equal(after[os.fsencode(sounds / "moved.wav")], before[os.fsencode(sounds / "800.wav")])
    assert {hit.path.name for hit in index.search("800 Hz", min_score=0.5)} == {"moved.wav"}
    twins = index.search("200 Hz", min_score=0.5)
    assert [hit.path.name for hit in twins] == ["200.wav", "copy.wav"]
    assert twins[0].score == twins[1].score


def test_copies_within_one_run_are_encoded_once(index: Index, sounds: Path, encoder: FakeEncoder) -> None:
    for number in range(3):
        shutil.copy(sounds / "800.wav", sounds / f"copy{number}.wav")
    report = index.add(sounds)
    assert (report.added, report.reused, encoder.encoded) == (6, 3, 12)


def test_a_changed_file_replaces_its_windows(index: Index, sounds: Path) -> None:
    index.add(sounds)
    write_tone(sounds / "800.wav", 1500, 1.0)
    assert index.add(sounds).added == 1
    assert index.search("800 Hz", min_score=0.8) == []
    assert index.search("1500 Hz")[0].path.name == "800.wav"
    assert len(index) == 9


def test_a_file_alone_or_among_others_gets_the_same_vectors(index: Index, sounds: Path, tmp_path: Path) -> None:
    index.add(sounds)
    with Index.open(tmp_path / "alone", FakeEncoder()) as alone:
        alone.add(sounds / "800.wav")
        (only,) = vectors(alone).values()
    assert np.allclose(only, vectors(index)[os.fsencode(sounds / "800.wav")], atol=1e-5)


def test_what_cannot_be_used_is_reported_by_name_and_the_rest_is_indexed(index: Index, sounds: Path) -> None:
    (sounds / "empty.wav").touch()
    (sounds / "text.wav").write_text("this is no sound")
    soundfile.write(sounds / "no_samples.wav", np.zeros(0), SAMPLE_RATE)
    soundfile.write(sounds / "silent.wav", np.zeros(SAMPLE_RATE), SAMPLE_RATE)
    soundfile.write(sounds / "nan.wav", np.full(SAMPLE_RATE, np.nan), SAMPLE_RATE, subtype="FLOAT")
    os.mkfifo(sounds / "pipe.wav")
    report = index.add([sounds, sounds / "pipe.wav"])
    assert report.added == 3
    bad = {"empty.wav", "text.wav", "no_samples.wav", "silent.wav", "nan.wav", "pipe.wav"}
    assert {failed.path.name for failed in report.failed} == bad
    assert all(failed.reason for failed in report.failed)
    assert {failed.path.name for failed in index.failures()} == bad
    assert index.info().failed == 6
    assert index.search("800 Hz")[0].path.name == "800.wav"
    write_tone(sounds / "empty.wav", 500)
    assert index.add(sounds).added == 1
    assert "empty.wav" not in {failed.path.name for failed in index.failures()}


def test_a_file_that_turned_bad_loses_its_windows(index: Index, sounds: Path) -> None:
    index.add(sounds)
    (sounds / "800.wav").write_text("no more")
    assert [failed.path.name for failed in index.add(sounds).failed] == ["800.wav"]
    assert "800.wav" not in {hit.path.name for hit in index.search("800 Hz", k=50)}


def test_vectors_that_are_not_finite_fail_their_file_only(
    index: Index, sounds: Path, encoder: FakeEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    encode = encoder.encode_waveforms

    def poisoned(waveforms: list[np.ndarray]) -> np.ndarray:
        rows = encode(waveforms)
        rows[4:8] = np.nan
        return rows

    monkeypatch.setattr(encoder, "encode_waveforms", poisoned)
    report = index.add(sounds)
    assert report.added == 2
    assert [failed.path.name for failed in report.failed] == ["3000.wav"]
    assert "no finite vector" in report.failed[0].reason


def test_a_sound_that_the_encoder_refuses_costs_its_own_file_only(
    index: Index, sounds: Path, encoder: FakeEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    encode = encoder.encode_waveforms
    refused = tone(3000, 2.3, seed=2)[:100]

    def picky(waveforms: list[np.ndarray]) -> np.ndarray:
        if any(np.allclose(waveform[:100], refused, atol=1e-3) for waveform in waveforms):
            raise ModelFormatError("no vector for it")
        return encode(waveforms)

    monkeypatch.setattr(encoder, "encode_waveforms", picky)
    report = index.add(sounds)
    assert (report.added, [failed.path.name for failed in report.failed]) == (2, ["3000.wav"])


def test_a_long_recording_is_written_in_parts_and_seen_whole_or_not_at_all(
    index: Index, sounds: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mmret.tasks.indexing.WINDOWS_PER_COMMIT", 16)
    monkeypatch.setattr("mmret.tasks.indexing.WINDOWS_PER_CALL", 8)
    write_tone(sounds / "a_long.wav", 1000, 30.25)
    seen: list[AddProgress] = []
    report = index.add(sounds, progress=seen.append)
    assert (report.added, report.windows) == (4, 60 + 12)
    assert [state.files for state in seen] == sorted(state.files for state in seen)
    assert (seen[-1].files, seen[-1].total) == (4, 4)
    long = index.search("1000 Hz")[0]
    assert (long.path.name, long.start_s, long.stop_s) == ("a_long.wav", 0.0, 30.25)
    assert index.check().problems == []


def test_a_long_recording_that_fails_late_leaves_nothing(
    index: Index, sounds: Path, encoder: FakeEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mmret.tasks.indexing.WINDOWS_PER_COMMIT", 16)
    monkeypatch.setattr("mmret.tasks.indexing.WINDOWS_PER_CALL", 8)
    long = write_tone(sounds / "a_long.wav", 1000, 30.0)

    def broken(path: Path, sample_rate: int) -> Iterator[np.ndarray]:
        for block in decode_blocks(path, sample_rate):
            half = len(block) // 2
            yield block[:half]
            if path == long:
                raise AudioError(path, "torn")
            yield block[half:]

    report = index.add(sounds, decode=broken)
    assert (report.added, [failed.reason for failed in report.failed]) == (3, ["torn"])
    assert index.info().vector_bytes == 12 * encoder.dim * 4
    assert index.check().problems == []


def test_removed_files_and_folders_are_forgotten(index: Index, sounds: Path, tmp_path: Path) -> None:
    write_tone(sounds / "deep" / "a.wav", 500, seed=5)
    index.add(sounds)
    assert index.remove(sounds / "800.wav") == 1
    assert index.remove(sounds / "800.wav") == 0
    assert index.remove(tmp_path / "elsewhere") == 0
    assert {hit.path.name for hit in index.search("800 Hz", k=50)} == {"200.wav", "3000.wav", "a.wav"}
    assert index.remove([sounds]) == 3
    assert (len(index), index.search("800 Hz")) == (0, [])
    assert index.add(sounds).added == 4


def test_a_wrong_encoder_is_named_with_the_way_out(index: Index, sounds: Path, tmp_path: Path) -> None:
    index.add(sounds)
    other = FakeEncoder(fingerprint="e" * 64)
    with pytest.raises(
        EncoderMismatch, match=r"made by fake \(f{12}\); you opened it with fake \(e{12}\).*--model fake"
    ):
        Index.open(tmp_path / "index", other)


def test_an_index_without_encoder_can_tell_and_forget(index: Index, sounds: Path, tmp_path: Path) -> None:
    index.add(sounds)
    with Index.open(tmp_path / "index", None) as bare:
        facts = bare.info()
        assert (facts.files, facts.windows, facts.encoder, facts.model) == (3, 12, "fake", "fake")
        assert (facts.window_s, facts.hop_s, facts.dim) == (1.0, 0.5, 24)
        assert bare.remove(sounds / "200.wav") == 1
        assert "Index(" in repr(bare)
        assert "\n" not in repr(bare)
        with pytest.raises(MmretError, match="without an encoder"):
            bare.search("800 Hz")
    with pytest.raises(IndexFormatError, match="no such folder"):
        Index.open(tmp_path / "missing", None)
    assert not (tmp_path / "missing").exists()


def test_another_version_and_a_foreign_folder_are_told_and_unharmed(
    sounds: Path, tmp_path: Path, encoder: FakeEncoder
) -> None:
    before = sorted(path.name for path in sounds.iterdir())
    with pytest.raises(IndexFormatError, match="holds other files"):
        Index.open(sounds, encoder)
    assert sorted(path.name for path in sounds.iterdir()) == before
    Index.open(tmp_path / "newer", encoder).close()
    with closing(sqlite3.connect(tmp_path / "newer" / "index.sqlite")) as connection:
        connection.execute("PRAGMA user_version=3")
    with pytest.raises(IndexFormatError, match="format 3; this mmret reads 2"):
        Index.open(tmp_path / "newer", encoder)


def test_a_folder_without_audio_changes_nothing(index: Index, sounds: Path) -> None:
    index.add(sounds)
    for path in sounds.iterdir():
        path.unlink()
    with pytest.raises(MmretError, match="holds no audio files"):
        index.add(sounds)
    assert len(index) == 12
    with pytest.raises(MmretError, match="no such file or folder"):
        index.add(sounds / "missing.wav")


def test_the_second_of_two_writers_is_refused_and_readers_go_on(
    index: Index, sounds: Path, tmp_path: Path, encoder: FakeEncoder
) -> None:
    index.add(sounds / "800.wav")
    with Index.open(tmp_path / "index", encoder) as other, index._store.writer():
        with pytest.raises(IndexLocked, match=str(os.getpid())):
            other.add(sounds)
        assert other.search("800 Hz")[0].path.name == "800.wav"


@pytest.mark.parametrize("name", [" a b.wav", "line\nbreak.wav", "-k.wav", "\N{HEADPHONE}.wav", "e\u0301.wav"])
def test_any_file_name_comes_back_as_it_was(index: Index, tmp_path: Path, name: str) -> None:
    shutil.move(write_tone(tmp_path / "names" / "plain.wav", 800), tmp_path / "names" / name)
    assert index.add(tmp_path / "names").failed == []
    assert index.search("800 Hz")[0].path == tmp_path / "names" / name


def test_a_planted_sound_is_found_within_one_window(tmp_path: Path, index: Index) -> None:
    noise = 0.05 * np.random.Generator(np.random.PCG64(3)).standard_normal(180 * SAMPLE_RATE)
    start = round(97.3 * SAMPLE_RATE)
    noise[start : start + SAMPLE_RATE] += tone(1200, 1.0)
    soundfile.write(tmp_path / "noise.wav", noise, SAMPLE_RATE)
    index.add(tmp_path / "noise.wav")
    for hit in (index.search("1200 Hz", k=1)[0], index.search_audio(write_tone(tmp_path / "q.wav", 1200), k=1)[0]):
        assert abs(hit.peak_start_s - 97.3) <= 1.0


def test_progress_tells_what_became_of_each_file(index: Index, sounds: Path) -> None:
    (sounds / "text.wav").write_text("no sound")
    states: list[AddProgress] = []
    index.add(sounds, progress=states.append)
    events = {event.path.name: event for state in states for event in state.events}
    assert {name: event.event for name, event in events.items()} == {
        "200.wav": "added",
        "800.wav": "added",
        "3000.wav": "added",
        "text.wav": "failed",
    }
    assert (events["800.wav"].windows, events["800.wav"].seconds_of_audio) == (4, pytest.approx(2.3))
    assert events["text.wav"].reason
    assert (states[-1].files, states[-1].total, states[-1].known) == (4, 4, 0)

    (sounds / "800.wav").rename(sounds / "text.wav")
    states.clear()
    index.add(sounds, progress=states.append)
    assert [(event.event, event.path.name) for state in states for event in state.events] == [
        ("added", "text.wav"),
        ("removed", "800.wav"),
    ]
    assert states[-1].known == 2


def test_files_of_a_folder_that_may_not_be_entered_stay_in_the_index(
    index: Index, sounds: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index.add(sounds)
    moved = sounds / "800.wav"
    moved.rename(sounds.parent / "elsewhere.wav")

    def refused(path: bytes) -> os.stat_result:
        raise PermissionError(13, "Permission denied", path)

    with monkeypatch.context() as patch:
        patch.setattr("mmret.tasks.indexing.os.lstat", refused)
        assert index.add(sounds).gone == 0
    assert index.add(sounds).gone == 1
