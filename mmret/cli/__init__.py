"""The command `mmret`: one file a group of verbs; what a verb needs is imported when it runs."""

from __future__ import annotations

import os
import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from mmret import __version__
from mmret.cli import classify, cluster, convert, demo, embed, export, finetune, index, maintenance, murmur, search
from mmret.cli.exit_codes import CANNOT_CONTINUE, INTERRUPTED, PIPE_CLOSED
from mmret.cli.printing import note, sentence, shown
from mmret.errors import MmretError

__all__ = ["app", "main"]

INDEX_FORMAT = 2  # that of mmret.index.schema, which is too heavy for --version

START_PAGE = f"""mmret {__version__}: search recordings by words and by sound

  mmret demo                                        try it on the sample recordings
  mmret index recordings/ --to indexes/sounds       make a folder searchable
  mmret search indexes/sounds "a dog barking"       find places that match words

mmret --help lists all commands, mmret COMMAND --help explains one."""


class _Verbs(TyperGroup):
    """The verbs; what is wrong with an option is said without typer's own words before it."""

    def invoke(self, ctx: Any) -> Any:
        """Run a verb."""
        try:
            return super().invoke(ctx)
        except typer.BadParameter as error:
            error.message = error.message.removeprefix("Value error, ")
            raise


app = typer.Typer(
    name="mmret",
    cls=_Verbs,
    help="Search recordings by words and by sound.",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for _verbs in (index, maintenance, search, cluster, classify, murmur, finetune, embed, export, convert, demo):
    _verbs.register(app)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"mmret {__version__} (model {index.DEFAULT_MODEL}, index format {INDEX_FORMAT})")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def start(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Search recordings by words and by sound."""
    if context.invoked_subcommand is None:
        typer.echo(START_PAGE)


def main() -> None:
    """Run the command line; errors that a user can act on become one line and an exit code."""
    if not sys.stderr.isatty():
        # the bars of transformers and of its downloads; they ask when they are imported, which is later
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    # of each try to reach the hub without a network; the error in the end says it once. Asked for at import, as above.
    os.environ.setdefault("HF_HUB_VERBOSITY", "error")
    try:
        try:
            app()
        finally:
            sys.stdout.flush()
    except BrokenPipeError:  # `| head` has read enough
        _let_go_of_stdout()
        sys.exit(PIPE_CLOSED)
    except SystemExit as ended:
        # typer, and rich when it prints help, turn a closed pipe into a failure
        if not isinstance(ended.__context__, BrokenPipeError):
            raise
        _let_go_of_stdout()
        sys.exit(PIPE_CLOSED)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except (MmretError, OSError) as error:
        note(f"mmret: {shown(sentence(error))}")
        sys.exit(CANNOT_CONTINUE)


def _let_go_of_stdout() -> None:
    """Send what is still buffered nowhere, so that the interpreter ends without a complaint."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
