"""Verbs that make and look after an index: index, info, remove."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mmret.cli.new_index import kept_if_used
from mmret.cli.paths import typed_path
from mmret.cli.printing import counted, duration, note, print_json, shown, size
from mmret.cli.reporting import Reporter
from mmret.cli.stopping import stoppable

if TYPE_CHECKING:
    from mmret.encoder import Encoder
    from mmret.tasks.indexing import Decoder
    from mmret.tasks.search import Index

DEFAULT_MODEL = "mmret-mini"
MANY_WINDOWS = 1_000_000  # from here on an exact search takes a noticeable while

IndexFolder = Annotated[
    Path, typer.Argument(metavar="INDEX", help="Folder of the index.", show_default=False, parser=typed_path)
]
Paths = Annotated[list[Path], typer.Argument(metavar="PATH", help="Recordings, or folders of them.", parser=typed_path)]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, one object a line.")]
Model = Annotated[
    str | None, typer.Option("--model", help="Name, folder or hub id of the model; the index knows its own.")
]


class RuntimeName(StrEnum):
    """What runs a model."""

    AUTO = "auto"
    ONNX = "onnx"
    OPENVINO = "openvino"
    TORCH = "torch"


class StoreName(StrEnum):
    """How vectors are stored."""

    F32 = "f32"
    F16 = "f16"


Runtime = Annotated[RuntimeName, typer.Option("--runtime", help="What runs the model.")]


def register(app: typer.Typer) -> None:
    """Add the verbs to the command."""
    app.command("index")(index)
    app.command("info")(info)
    app.command("remove")(remove)


def index(  # noqa: PLR0913 - the options of a command are its parameters
    paths: Paths,
    to: Annotated[
        Path, typer.Option("--to", metavar="INDEX", help="Folder of the index, made if it is new.", parser=typed_path)
    ],
    model: Model = None,
    runtime: Runtime = RuntimeName.AUTO,
    store: Annotated[
        StoreName | None,
        typer.Option("--store", help="How a new index stores vectors; f16 takes half the space.", show_default=False),
    ] = None,
    isolate: Annotated[
        bool, typer.Option("--isolate", help="Decode in processes of their own, for recordings of unknown origin.")
    ] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Go on: follow what is added, changed or deleted.")] = False,
    json: Json = False,
    log_json: Annotated[
        bool, typer.Option("--log-json", help="Log files, progress and totals on stderr, one JSON object a line.")
    ] = False,
) -> None:
    """Make recordings searchable: add what is new or changed, skip what is known."""
    from mmret.tasks.indexing import find_audio
    from mmret.tasks.maintenance import refuse_moved
    from mmret.tasks.watch import Watcher
    from mmret.tasks.watch import watch as follow

    reporter = Reporter(to, json=json, log_json=log_json)
    with stoppable(reporter.stopped), reporter.listening():
        # listed first: a mistyped path is told before a model is loaded or an index made
        refuse_moved(to, paths)
        found = Watcher(paths) if watch else find_audio(paths)
        _migrate(to)
        with (
            kept_if_used(to, reporter.voice.message),
            open_index(to, model=model, runtime=runtime, create=True, store=store) as opened,
            _decoder(isolate) as decode,
        ):
            if isinstance(found, Watcher):
                reporter.voice.watching(paths)
                follow(opened, found, reporter, decode=decode)
            with reporter.progress() as progress:
                report = opened.add(found, progress=progress, decode=decode)
            if len(opened) >= MANY_WINDOWS:
                note(f"a search reads {len(opened)} windows; for a faster one that misses a few: mmret cluster {to}")
        reporter.report(report)
    if report.failed:
        raise typer.Exit(1)


def _decoder(isolate: bool) -> AbstractContextManager[Decoder]:
    if isolate:
        from mmret.audio.isolated import IsolatedDecoder

        return IsolatedDecoder()
    from mmret.audio.decode import decode_blocks

    return nullcontext(decode_blocks)


def info(folder: IndexFolder, json: Json = False) -> None:
    """Tell what an index holds and which model made it."""
    from mmret.tasks.search import Index

    with Index.open(folder, None) as opened:
        facts = opened.info()
        failures = opened.failures()
    if json:
        print_json({**asdict(facts), "failures": [asdict(failed) for failed in failures]})
        return
    for name, value in (
        ("index", shown(facts.folder)),
        ("model", f"{shown(facts.model)} ({facts.dim} numbers a vector, fingerprint {shown(facts.fingerprint[:12])})"),
        ("windows", f"{facts.windows} of {facts.window_s:g} s every {facts.hop_s:g} s"),
        ("recordings", f"{facts.files} ({duration(facts.seconds)})"),
        ("vectors", f"{size(facts.vector_bytes)} ({shown(facts.dtype)})"),
        ("made", shown(facts.created)),
        ("failed", facts.failed),
    ):
        typer.echo(f"{name:<11} {value}")
    for failed in failures:
        typer.echo(f"  {shown(failed.path)}: {shown(failed.reason)}")


def remove(
    folder: IndexFolder,
    paths: Paths,
    json: Json = False,
) -> None:
    """Take recordings out of an index; the recordings themselves stay."""
    from mmret.tasks.search import Index

    with Index.open(folder, None) as opened:
        counts = {path: opened.remove(path) for path in paths}
    for path, count in counts.items():
        if not count:
            note(f"{shown(path)}: not in this index")
    removed = sum(counts.values())
    if json:
        print_json({"index": folder, "removed": removed})
    else:
        typer.echo(f"removed {counted(removed, 'recording')}")
    if not all(counts.values()):
        raise typer.Exit(1)


def _check_place(folder: Path, model: str | None, known: str) -> None:
    """Refuse to look for a model folder where it no longer is."""
    if model is None and Path(known).is_absolute() and not Path(known).is_dir():
        from mmret.errors import ModelFormatError

        raise ModelFormatError(
            f"{folder} was made with the model folder {known}, which is not there any more. "
            "Name its new place with: --model FOLDER"
        )


def open_index(
    folder: Path,
    *,
    model: str | None,
    runtime: str = RuntimeName.AUTO,
    create: bool = False,
    store: str | None = None,
) -> Index:
    """Open an index with its own model, or the one that is asked for."""
    from mmret.tasks.search import Index

    encoder, name = encoder_for(folder, model, runtime=runtime, create=create)
    return Index.open(folder, encoder, model=name, store=store)


def encoder_for(
    folder: Path,
    model: str | None,
    *,
    runtime: str = RuntimeName.AUTO,
    create: bool = False,
    one_sentence: bool = False,
) -> tuple[Encoder, str]:
    """The encoder of an index, or the one that is asked for, and the name under which it is found again."""
    from mmret.encoder import Encoder
    from mmret.index.store import IndexStore
    from mmret.tasks.search import Index

    known = None
    if IndexStore.exists(folder) or not create:
        with Index.open(folder, None) as existing:
            known = existing.model
            _check_place(folder, model, known)
    wanted = model or known or DEFAULT_MODEL
    encoder = Encoder.from_pretrained(wanted, runtime=runtime, one_sentence=one_sentence)
    # a folder is noted as an absolute path, so that the index opens from anywhere
    return encoder, str(Path(wanted).resolve()) if Path(wanted).is_dir() else wanted


def _migrate(folder: Path) -> None:
    """Bring an index that is there already to the present format."""
    from mmret.index.store import IndexStore
    from mmret.tasks.maintenance import migrate_index

    if IndexStore.exists(folder):
        migrate_index(folder)
