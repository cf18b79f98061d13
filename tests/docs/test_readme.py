"""The README and the pages of docs/ tell what the command line and the library really do."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import tomllib
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer.main

import mmret.encoder
from mmret.cli import app
from mmret.heads import LinearHead
from mmret.tasks.classifier import Facts, save_head
from mmret.tasks.search import IndexInfo
from tests.conftest import ROOT
from tests.tasks.fake_encoder import FakeEncoder, write_tone

README = ROOT / "README.md"
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
COMMAND_PAGE = ROOT / "docs" / "cli.md"
MODEL = ROOT / "mmret" / "pretrained" / "mmret-mini"
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\]\(([^)\s]+)\)")
SCRIPT = re.compile(r"\b((?:train|eval)/[\w/]+\.(?:py|sh|yaml|csv))\b")
GENERATED = {ROOT / "docs" / name for name in ("results.md", "performance.md")}  # by eval/tables.py and bench/page.py

by_name = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
verbs: dict[str, Any] = typer.main.get_command(app).commands  # type: ignore[attr-defined]


def options(verb: str) -> set[str]:
    """Every spelling of the options of a verb, and of the verbs below it."""
    below = [verbs[verb], *getattr(verbs[verb], "commands", {}).values()]
    params = [one for command in below for one in command.params]
    return {spelling for one in params if one.param_type_name == "option" for spelling in one.opts}


def blocks(page: Path, language: str) -> list[str]:
    """Contents of the fenced blocks of one language."""
    return [content for name, content in FENCE.findall(page.read_text(encoding="utf-8")) if name == language]


def commands(page: Path) -> list[list[str]]:
    """Words of every `mmret ...` command of a page, in fenced blocks and within sentences."""
    text = page.read_text(encoding="utf-8")
    lines = [line for _, content in FENCE.findall(text) for line in content.replace("\\\n", " ").splitlines()]
    lines += INLINE.findall(FENCE.sub("", text))
    split = [shlex.split(line.removeprefix("$ "), comments=True) for line in lines if re.match(r"(\$ )?mmret ", line)]
    return [words[1:] for words in split if words[1:]]


@by_name
def test_every_command_and_option_exists(page: Path) -> None:
    for verb, *words in commands(page):
        if verb.startswith("-"):
            assert verb in {"--help", "-h", "--version"}, verb
            continue
        assert verb in verbs, f"{page.name}: mmret {verb}"
        given = {word.partition("=")[0] for word in words if re.fullmatch(r"--?[a-z][\w-]*(=.*)?", word)}
        assert given <= options(verb) | {"--help"}, f"{page.name}: mmret {verb} {given - options(verb)}"


def test_the_pages_hold_commands_to_check() -> None:
    assert {words[0] for words in commands(README)} >= {"demo", "index", "search", "classify", "convert"}


def test_every_verb_and_option_is_on_the_page_of_commands() -> None:
    text = COMMAND_PAGE.read_text(encoding="utf-8")
    sections = {title: body for title, body in re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", text, re.M | re.S)}
    assert list(sections) == [verb for verb in sections if verb in verbs]
    assert set(sections) == set(verbs)
    for verb, section in sections.items():
        for option in options(verb) - {"--json", "--help", "-h"}:
            assert option in section, f"mmret {verb} {option}"
        assert verbs[verb].help, verb
        assert all(one.help for one in verbs[verb].params if one.name not in {"help", "text"}), verb


@by_name
def test_links_and_scripts_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for target in LINK.findall(text):
        assert "://" not in target, f"{page.name} depends on the network: {target}"
        linked = (page.parent / target.partition("#")[0]).resolve()
        assert linked.exists() or linked in GENERATED, f"{page.name}: {target}"
    for script in SCRIPT.findall(text):
        assert (ROOT / script).is_file() or script.startswith("eval/results/"), f"{page.name}: {script}"


@by_name
def test_options_of_scripts_exist(page: Path) -> None:
    lines = [line for block in blocks(page, "sh") for line in block.replace("\\\n", " ").splitlines()]
    for line in lines:
        for folder in re.findall(r"\b(train|eval)/\w+\.py\b", line)[:1]:
            # recipes share a parser, so an option may be declared in a neighbour; --model.dim is a setting
            scripts = "".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / folder).glob("*.py")))
            for option in re.findall(r"(?<=\s)--[a-z][\w-]*(?![\w.-])", line.split(f"{folder}/", 1)[1]):
                assert f'"{option}"' in scripts, f"{page.name}: {line}"


def test_make_targets_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M))
    for page in PAGES:
        named = re.findall(r"(?:^|`)make ([a-z-]+)", page.read_text(encoding="utf-8"), re.M)
        assert set(named) <= targets, page.name
    first_screen = README.read_text(encoding="utf-8").splitlines()[:30]
    assert {"make demo", "make test"} <= {line.partition("#")[0].strip() for line in first_screen}


@pytest.mark.parametrize("page", [README, ROOT / "docs" / "searching.md"], ids=lambda page: page.name)
def test_python_examples_run(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = []

    def from_pretrained(name: str) -> FakeEncoder:
        asked.append(name)
        return FakeEncoder()

    monkeypatch.setattr(mmret.encoder.Encoder, "from_pretrained", from_pretrained)
    monkeypatch.chdir(tmp_path)
    for path in (Path("a.wav"), Path("b.flac"), Path("recordings/a.wav"), Path("recordings/b.wav")):
        write_tone(path, 440, seed=len(path.name))
    (example,) = blocks(page, "python")
    names: dict[str, Any] = {}
    exec(compile(example, page.name, "exec"), names)  # our own page
    assert asked == ["mmret-mini"]
    assert capsys.readouterr().out
    if page == README:
        assert names["vectors"].shape == (2, names["encoder"].dim)


def test_the_python_example_of_own_labels_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(mmret.encoder.Encoder, "from_pretrained", lambda name, *, runtime: FakeEncoder())
    monkeypatch.chdir(tmp_path)
    write_tone(Path("new/a.wav"), 440)
    facts = Facts("head", ["dog", "tone"], {"model": "fake", "fingerprint": "f" * 64}, 0.0, {})
    dim = FakeEncoder.dim
    zeros, ones = np.zeros((2, dim), np.float32), np.ones(dim, np.float32)
    save_head(Path("models/mine"), LinearHead(zeros[0], ones, zeros, np.array([0, 9], np.float32)), facts)
    (example,) = blocks(ROOT / "docs" / "transfer.md", "python")
    exec(compile(example, "transfer.md", "exec"), {})  # our own page
    assert capsys.readouterr().out == "tone 100%\n"


def demo_hits(output: str) -> list[tuple[str, str]]:
    """Each query of the demo with the file that came first."""
    found = re.findall(r'^"(.+)"\n.*?(\S+)$', output, re.M)
    return [(query, path) for query, path in found]


def shown_demo() -> str:
    """What the README says that the demo prints."""
    return README.read_text(encoding="utf-8").split("<!-- demo-output -->\n```text\n")[1].split("```")[0]


@pytest.mark.skipif(not MODEL.is_dir(), reason="mmret-mini is not in this checkout")
def test_the_demo_finds_what_the_readme_shows() -> None:
    ended = subprocess.run([sys.executable, "-m", "mmret.cli", "demo"], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")
    shown = demo_hits(shown_demo())
    assert shown
    assert shown == demo_hits(ended.stdout)[: len(shown)]


def test_the_demo_block_is_there_to_be_filled_in() -> None:
    assert shown_demo().startswith("$ mmret demo\n")
    assert demo_hits(
        '$ mmret demo\n\n"a cat"\n   0.512    0.0 -  0.5 s  cat.ogg\n   0.1    0.0 -  0.5 s  duck.ogg\n'
    ) == [("a cat", "cat.ogg")]


def test_the_changelog_has_the_version() -> None:
    assert f"## {mmret.__version__}\n" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_what_is_to_be_installed_comes_from_a_clone() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    named = {
        found for page in PAGES for found in re.findall(r"pip install (?!-)(\S+)", page.read_text(encoding="utf-8"))
    }
    assert named >= {".", '".[models]"', '".[train]"'}
    assert {name.strip('`"') for name in named} <= {".", *(f".[{extra}]" for extra in extras)}
    assert "`source .venv/bin/activate`" in README.read_text(encoding="utf-8")


def test_the_results_that_are_made_are_those_that_are_there() -> None:
    page = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")
    named = set(re.findall(r"eval/results/(\w+\.json)", page))
    assert named
    assert named <= {path.name for path in (ROOT / "eval" / "results").glob("*.json")}
    for name in ("eval/ingredients.py", "eval/plots.py", "make bench"):
        assert f"`{name}`" in page


def test_the_keys_of_info_are_on_the_page_of_commands() -> None:
    (section,) = re.findall(r"^## info\n(.*?)^## ", COMMAND_PAGE.read_text(encoding="utf-8"), re.M | re.S)
    assert {field.name for field in fields(IndexInfo)} | {"failures"} <= set(INLINE.findall(section))


def test_every_verb_of_an_index_is_in_the_readme() -> None:
    assert {words[0] for words in commands(README)} >= set(verbs) - {"remove"}


def test_pages_speak_british_english() -> None:
    american = re.compile(r"\b(\w*ization|\w*izing|color|behavior|center|normalized?|optimizer|license[sd]?)\b")
    for page in PAGES:
        prose = INLINE.sub("", FENCE.sub("", page.read_text(encoding="utf-8")))
        found = {word for word in american.findall(prose.replace("Apache License", ""))}
        assert not found, f"{page.name}: {found}"
