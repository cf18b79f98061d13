"""index, info, remove and check as a person or a script calls them."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from mmret.cli.printing import counted, shown
from mmret.errors import EncoderMismatch, IndexCorrupt, IndexFormatError, MmretError, ModelFormatError
from tests.index.old_formats import write_old_index
from tests.tasks.fake_encoder import write_tone

Run = Callable[..., Result]


def test_index_says_what_it_did_and_is_quiet_on_stderr(run: Run, sounds: Path, tmp_path: Path) -> None:
    result = run("index", sounds, "--to", tmp_path / "index")
    assert result.exit_code == 0
    assert result.stdout == f"{tmp_path / 'index'}: 3 added (0:00:06), 0 known\n"
    assert result.stderr == ""
    assert "0 added" in run("index", sounds, "--to", tmp_path / "index").stdout


def test_files_that_fail_are_listed_on_stderr_with_exit_code_1(run: Run, sounds: Path, tmp_path: Path) -> None:
    (sounds / "text.wav").write_text("no sound")
    result = run("index", sounds, sounds / "200.wav", "--to", tmp_path / "index", "--json")
    assert result.exit_code == 1
    assert result.stderr.startswith(f"{sounds / 'text.wav'}: ")
    row = json.loads(result.stdout)
    assert (row["added"], row["skipped"]) == (3, 0)
    assert [failed["path"] for failed in row["failed"]] == [str(sounds / "text.wav")]
    assert "text.wav" in run("info", tmp_path / "index").stdout


def test_what_may_not_be_read_is_a_failure_beside_others_that_are_indexed(
    run: Run, sounds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    private = tmp_path / "private"
    write_tone(private / "a.wav", 500)
    scandir, opened, access = os.scandir, Path.open, os.access

    def listed(folder: Path) -> object:
        if folder == private:
            raise PermissionError(13, "Permission denied")
        return scandir(folder)

    def readable(path: Path, *words: Any, **options: Any) -> Any:
        if path == sounds / "200.wav":
            raise PermissionError(13, "Permission denied")
        return opened(path, *words, **options)

    def may(path: Any, *words: Any, **options: Any) -> bool:
        return path not in (private, sounds / "200.wav") and access(path, *words, **options)

    monkeypatch.setattr(os, "access", may)
    monkeypatch.setattr(os, "scandir", listed)
    monkeypatch.setattr(Path, "open", readable)
    files = [sounds / name for name in ("200.wav", "800.wav")]
    result = run("index", *files, private, "--to", tmp_path / "index", "--json")
    assert result.exit_code == 1
    row = json.loads(result.stdout)
    assert row["added"] == 1
    assert [failed["path"] for failed in row["failed"]] == [str(private), str(files[0])]
    assert result.stderr.splitlines() == [
        f"{private}: cannot be read: Permission denied",
        f"{files[0]}: Permission denied",
    ]


def test_isolated_decoding_makes_the_same_index(run: Run, sounds: Path, tmp_path: Path) -> None:
    (sounds / "text.wav").write_text("no sound")
    plain = run("index", sounds, "--to", tmp_path / "plain")
    isolated = run("index", sounds, "--to", tmp_path / "isolated", "--isolate")
    assert (isolated.exit_code, isolated.stderr) == (1, plain.stderr)
    assert isolated.stdout == plain.stdout.replace("plain", "isolated")


def test_a_folder_without_audio_makes_no_index(run: Run, tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    for path in (tmp_path / "none", tmp_path / "missing"):
        result = run("index", path, "--to", tmp_path / "index")
        assert isinstance(result.exception, MmretError)
        assert str(path) in str(result.exception)
    assert not (tmp_path / "index").exists()


def test_another_model_on_an_index_is_refused(run: Run, sounds: Path, tmp_path: Path) -> None:
    run("index", sounds, "--to", tmp_path / "index")
    result = run("index", sounds, "--to", tmp_path / "index", "--model", "other")
    assert isinstance(result.exception, EncoderMismatch)
    assert isinstance(run("search", sounds, "800").exception, IndexFormatError)


def test_info_remove_and_check_need_no_model(run: Run, sounds: Path, tmp_path: Path) -> None:
    run("index", sounds, "--to", tmp_path / "index", "--model", "mmret-mini")
    facts = json.loads(run("info", tmp_path / "index", "--json").stdout)
    assert (facts["files"], facts["windows"], facts["model"], facts["failures"]) == (3, 9, "mmret-mini", [])
    assert "mmret-mini" in run("info", tmp_path / "index").stdout
    assert run("remove", tmp_path / "index", sounds / "200.wav").stdout == "removed 1 recording\n"
    again = run("remove", tmp_path / "index", sounds / "200.wav", "--json")
    assert (again.exit_code, json.loads(again.stdout)["removed"]) == (1, 0)
    assert "not in this index" in again.stderr
    assert "nothing is damaged" in run("check", tmp_path / "index").stdout


def test_where_every_file_fails_no_new_index_stays(run: Run, sounds: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.wav"
    bad.write_text("no sound")
    (tmp_path / "empty").mkdir()
    for place in (tmp_path / "new" / "index", tmp_path / "empty"):
        result = run("index", bad, "--to", place)
        assert result.exit_code == 1
        assert f"{place}: not made" in result.stderr
        assert f"{bad}: " in result.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"bad.wav", "empty", "sounds"}
    assert list((tmp_path / "empty").iterdir()) == []


def test_an_index_that_was_there_stays_where_every_file_fails(run: Run, sounds: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.wav"
    bad.write_text("no sound")
    run("index", sounds, "--to", tmp_path / "index")
    run("remove", tmp_path / "index", sounds)
    assert "not made" not in run("index", bad, "--to", tmp_path / "index").stderr
    assert "bad.wav" in run("info", tmp_path / "index").stdout


def test_json_tells_whether_there_is_an_index_in_the_end(run: Run, sounds: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.wav"
    bad.write_text("no sound")
    run("index", sounds, "--to", tmp_path / "index")
    rows = [json.loads(run("index", bad, "--to", tmp_path / to, "--json").stdout) for to in ("index", "new")]
    assert [row.pop("exists") for row in rows] == [True, False]
    assert rows[0] | {"index": ""} == rows[1] | {"index": ""}


@pytest.mark.parametrize("watch", [[], ["--watch"]])
def test_a_moved_folder_of_recordings_is_told_how_to_follow_and_to_remove(
    run: Run, sounds: Path, tmp_path: Path, watch: list[str]
) -> None:
    index, moved = tmp_path / "my index", tmp_path / "moved"
    run("index", sounds, "--to", index)
    sounds.rename(moved)
    refused = run("index", sounds, "--to", index, *watch).exception
    assert isinstance(refused, MmretError)
    assert f"{sounds}: no such file or folder, but {index} knows recordings there (3)" in str(refused)
    assert str(refused).endswith(f": mmret remove '{index}' {sounds}")
    assert "(3)" not in str(run("index", f"{sounds}s", "--to", index).exception)
    assert json.loads(run("index", moved, "--to", index, "--json").stdout)["reused"] == 3
    assert run("remove", index, sounds).stdout == "removed 3 recordings\n"
    assert "knows recordings" not in str(run("index", sounds, "--to", index).exception)


def test_a_place_that_can_hold_no_index_is_told_in_a_sentence(run: Run, sounds: Path, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("do not touch")
    for place, told in ((file, "is a file; an index is a folder"), (file / "index", "not a directory")):
        refused = run("index", sounds, "--to", place).exception
        assert isinstance(refused, IndexFormatError)
        assert str(place) in str(refused) and told in str(refused)
    assert "this is a file" in str(run("search", file, "800").exception)
    assert file.read_text() == "do not touch"


def test_a_folder_of_recordings_in_the_place_of_an_index_is_told_how_to_become_one(run: Run, sounds: Path) -> None:
    assert f"mmret index {sounds} --to indexes/sounds" in str(run("search", sounds, "800").exception)
    (sounds.parent / "empty").mkdir()
    for name in ("empty", "missing"):
        folder = sounds.parent / name
        assert f"mmret index PATH --to {folder}" in str(run("info", folder).exception)


def test_a_model_folder_that_was_moved_can_be_named_anew(run: Run, sounds: Path, tmp_path: Path) -> None:
    model = tmp_path / "model"
    model.mkdir()
    run("index", sounds, "--to", tmp_path / "index", "--model", model)
    model.rename(tmp_path / "moved")
    for words in (["search", tmp_path / "index", "800"], ["index", sounds, "--to", tmp_path / "index"]):
        refused = run(*words).exception
        assert isinstance(refused, ModelFormatError)
        assert f"made with the model folder {model}, which is not there any more" in str(refused)
        assert "--model" in str(refused)
    moved = ["--model", tmp_path / "moved"]
    assert run("search", tmp_path / "index", "800", *moved).exit_code == 0
    assert isinstance(run("search", tmp_path / "index", "800").exception, ModelFormatError)  # searching notes nothing
    assert run("index", sounds, "--to", tmp_path / "index", *moved).exit_code == 0
    for words in (["search", tmp_path / "index", "800"], ["index", sounds, "--to", tmp_path / "index"]):
        assert run(*words).exit_code == 0
    facts = json.loads(run("info", tmp_path / "index", "--json").stdout)
    assert (facts["model"], facts["files"]) == (str(tmp_path / "moved"), 3)
    assert "nothing is damaged" in run("check", tmp_path / "index").stdout
    generation = facts["generation"]
    run("index", sounds, "--to", tmp_path / "index", *moved)
    assert json.loads(run("info", tmp_path / "index", "--json").stdout)["generation"] == generation


def test_check_lists_damage_with_exit_code_1(run: Run, sounds: Path, tmp_path: Path) -> None:
    run("index", sounds, "--to", tmp_path / "index")
    vectors = tmp_path / "index" / "vectors" / "000001.f32"
    vectors.write_bytes(b"\x7f" + vectors.read_bytes()[1:])
    result = run("check", tmp_path / "index", "--json")
    assert result.exit_code == 1
    assert "000001.f32" in json.loads(result.stdout)["problems"][0]
    assert run("check", tmp_path / "index").stdout.endswith(": 1 problem\n")
    refused = run("search", tmp_path / "index", "800")
    assert isinstance(refused.exception, IndexCorrupt)
    assert f"mmret salvage {tmp_path / 'index'} OUT" in str(refused.exception)


def test_a_deep_check_tells_differing_vectors_from_recordings_that_are_gone(
    run: Run, sounds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("index", sounds, "--to", tmp_path / "index")
    told = run("check", "--deep", tmp_path / "index").stdout
    assert told.startswith("a sample of 9 of 9 windows, 9 compared: 0 problems\n")
    (sounds / "200.wav").unlink()
    write_tone(sounds / "800.wav", 900)
    result = run("check", "--deep", tmp_path / "index")
    assert result.exit_code == 0
    assert f"{sounds / '200.wav'}: is not there, so its windows were not compared" in result.stderr
    assert f"{sounds / '800.wav'}: has changed since it was indexed" in result.stderr
    assert "9 windows, 3 compared: 0 problems; 2 of 3 recordings in the sample missing or changed\n" in result.stdout
    deep = json.loads(run("check", "--deep", "--json", tmp_path / "index").stdout)["deep"]
    assert deep == {
        "windows": 9,
        "sampled": 9,
        "recordings": 3,
        "compared": 3,
        "problems": [],
        "missing": [str(sounds / "200.wav")],
        "changed": [str(sounds / "800.wav")],
    }
    monkeypatch.setattr("mmret.tasks.deep_check.SAME", 1.1)
    result = run("check", "--deep", tmp_path / "index")
    assert result.exit_code == 1
    assert "9 windows, 3 compared: 3 problems; 2 of 3" in result.stdout
    assert result.stdout.endswith(": 3 problems\n")


def test_a_deep_check_that_could_compare_nothing_says_so(run: Run, sounds: Path, tmp_path: Path) -> None:
    run("index", sounds, "--to", tmp_path / "index")
    sounds.rename(tmp_path / "elsewhere")
    result = run("check", "--deep", tmp_path / "index")
    assert result.exit_code == 1
    assert "0 compared: nothing was compared with recordings; 3 of 3 recordings in the sample" in result.stdout
    run("remove", tmp_path / "index", sounds)
    result = run("check", "--deep", tmp_path / "index")
    assert result.exit_code == 0
    assert result.stdout.startswith("nothing was compared with recordings: the index holds no windows\n")


def test_a_deep_check_of_a_damaged_index_says_that_it_was_left_out(run: Run, sounds: Path, tmp_path: Path) -> None:
    run("index", sounds, "--to", tmp_path / "index")
    vectors = tmp_path / "index" / "vectors" / "000001.f32"
    vectors.write_bytes(b"\x7f" + vectors.read_bytes()[1:])
    result = run("check", "--deep", tmp_path / "index")
    assert result.exit_code == 1
    assert "recordings were not encoded again" in result.stderr


def test_what_a_file_name_smuggles_in_is_spelt_out() -> None:
    assert shown("a\x1b[31mb\n\u202e") == r"a\x1b[31mb\n\u202e"
    assert shown("caf\u00e9 \udcff") == "caf\u00e9 \\udcff"


def test_the_number_format_is_chosen_when_an_index_is_made(run: Run, sounds: Path, tmp_path: Path) -> None:
    assert run("index", sounds, "--to", tmp_path / "half", "--store", "f16").exit_code == 0
    run("index", sounds, "--to", tmp_path / "full")
    half, full = (json.loads(run("info", tmp_path / name, "--json").stdout) for name in ("half", "full"))
    assert (half["dtype"], full["dtype"]) == ("f16", "f32")
    assert half["vector_bytes"] * 2 == full["vector_bytes"]
    assert json.loads(run("search", tmp_path / "half", "800", "--json").stdout.splitlines()[0])["path"].endswith(
        "800.wav"
    )
    result = run("index", sounds, "--to", tmp_path / "full", "--store", "f16")
    assert isinstance(result.exception, MmretError)
    assert "stores its vectors as f32" in str(result.exception)


def test_compact_gives_back_what_was_removed(run: Run, sounds: Path, tmp_path: Path) -> None:
    run("index", sounds, "--to", tmp_path / "index")
    run("remove", tmp_path / "index", sounds / "200.wav")
    row = json.loads(run("compact", tmp_path / "index", "--json").stdout)
    assert (row["windows"], row["forgotten"], row["freed_bytes"] * 2) == (6, 1, row["vector_bytes"])
    assert (
        run("compact", tmp_path / "index").stdout
        == f"{tmp_path / 'index'}: 0 bytes freed, 576 bytes kept (6 windows)\n"
    )
    assert "nothing is damaged" in run("check", tmp_path / "index").stdout


def test_an_older_index_is_migrated_by_its_verb_and_refused_by_readers(run: Run, tmp_path: Path) -> None:
    folder = write_old_index(tmp_path / "old", 1)
    assert "mmret migrate" in str(run("info", folder).exception)
    assert run("migrate", folder).stdout == f"{folder}: format 1 became 2\n"
    assert json.loads(run("migrate", folder, "--json").stdout) == {"index": str(folder), "had": 2, "has": 2}
    assert run("migrate", folder).stdout == f"{folder}: has format 2 already\n"
    assert "nothing is damaged" in run("check", folder).stdout
    assert isinstance(run("migrate", tmp_path).exception, IndexFormatError)


def test_indexing_brings_an_older_index_along(run: Run, sounds: Path, tmp_path: Path) -> None:
    folder = write_old_index(tmp_path / "old", 1)
    result = run("index", sounds, "--to", folder)
    assert isinstance(result.exception, IndexCorrupt)  # it names no model: but its format is the present one by now
    assert "nothing is damaged" in run("check", folder).stdout


def test_check_tells_of_an_index_that_cannot_be_opened(run: Run, sounds: Path, tmp_path: Path) -> None:
    run("index", sounds, "--to", tmp_path / "index")
    database = tmp_path / "index" / "index.sqlite"
    content = bytearray(database.read_bytes())
    content[4096:] = bytes(len(content) - 4096)
    database.write_bytes(content)
    result = run("check", tmp_path / "index", "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["problems"]


def test_salvage_saves_what_is_whole_and_lists_the_rest_with_exit_code_1(
    run: Run, sounds: Path, tmp_path: Path
) -> None:
    run("index", sounds, "--to", tmp_path / "index")
    vectors = tmp_path / "index" / "vectors" / "000001.f32"
    vectors.write_bytes(vectors.read_bytes()[:-1])
    result = run("salvage", tmp_path / "index", tmp_path / "saved", "--json")
    row = json.loads(result.stdout)
    assert result.exit_code == 1
    assert len(row["lost"]) + row["files"] == 3
    assert str(sounds) in result.stderr
    assert run("index", sounds, "--to", tmp_path / "saved").exit_code == 0
    whole = run("salvage", tmp_path / "saved", tmp_path / "again")
    assert whole.stdout == f"{tmp_path / 'again'}: 3 whole recordings, 9 windows, 0 lost\n"


def test_one_is_no_plural(run: Run, sounds: Path, tmp_path: Path) -> None:
    assert [counted(number, "window") for number in (0, 1, 2)] == ["0 windows", "1 window", "2 windows"]
    run("index", sounds / "200.wav", "--to", tmp_path / "index")
    assert ": 1 whole recording, 3 windows, 0 lost" in run("salvage", tmp_path / "index", tmp_path / "saved").stdout
