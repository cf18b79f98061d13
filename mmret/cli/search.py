"""Verbs that ask an index: search, similar."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from io import TextIOWrapper
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO

import typer

from mmret.cli.index import IndexFolder, Json, Model, encoder_for
from mmret.cli.paths import typed_path
from mmret.cli.printing import note, print_json, shown

if TYPE_CHECKING:
    from mmret.encoder import Encoder
    from mmret.tasks.search import Hit, Index

QUERIES_TOGETHER = 64
SHOWN_OF_A_QUERY = 40  # characters, in what is said about it
Count = Annotated[int, typer.Option("-k", min=1, help="How many hits.")]


def _cosine(min_score: float | None) -> float | None:
    """Refuse what no score can be, NaN too."""
    if min_score is not None and not -1 <= min_score <= 1:
        raise typer.BadParameter(f"{min_score:g} is no score; a cosine lies between -1 and 1")
    return min_score


Approximate = Annotated[
    bool, typer.Option("--approximate", help="Read only the clusters near the query (made by mmret cluster).")
]
MinScore = Annotated[
    float | None, typer.Option("--min-score", callback=_cosine, help="Leave out hits below this cosine.")
]


def register(app: typer.Typer) -> None:
    """Add the verbs to the command."""
    # what is too much is taken for words without quotes, and answered as that
    app.command("search", context_settings={"allow_extra_args": True})(search)
    app.command("similar")(similar)


def search(  # noqa: PLR0913 - the options of a command are its parameters
    context: typer.Context,
    folder: IndexFolder,
    text: Annotated[
        str | None, typer.Argument(metavar="WORDS", help="What to look for; - reads one query a line from stdin.")
    ] = None,
    k: Count = 10,
    min_score: MinScore = None,
    audio: Annotated[
        Path | None,
        typer.Option("--audio", metavar="FILE", help="Look for what sounds like this recording.", parser=typed_path),
    ] = None,
    approximate: Approximate = False,
    model: Model = None,
    json: Json = False,
) -> None:
    """Find what matches words, or a recording."""
    if context.args:
        words = shown(" ".join([text or "", *context.args]))
        raise typer.BadParameter(f'put the words in quotes, as one query: "{words}"')
    if (text is None) == (audio is None):
        raise typer.BadParameter('give either words ("a dog barking") or --audio FILE')
    if text is not None and not text.strip():
        raise typer.BadParameter("the words to look for are empty")
    refused: list[int] = []
    encoder, index = _opened(folder, model, approximate=approximate, one_sentence=text not in (None, "-"))
    with index:
        for about, hits in _answers(index, text, audio, refused, k=k, min_score=min_score):
            query = about.get("query", text)
            if query is not None and not encoder.knows(query):
                note(f'{shown(encoder.name)} knows no word of "{shown(_beginning(query))}": what it finds is chance')
            _print_hits(hits, about, json)
            if not hits:
                _say_why(index, min_score)
    if refused:
        raise typer.Exit(1)


def similar(  # noqa: PLR0913 - the options of a command are its parameters
    folder: IndexFolder,
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="Recording to compare with.", show_default=False, parser=typed_path)
    ],
    start: Annotated[float | None, typer.Option("--start", min=0, help="Start of the part, in seconds.")] = None,
    stop: Annotated[float | None, typer.Option("--stop", min=0, help="End of the part, in seconds.")] = None,
    k: Count = 10,
    approximate: Approximate = False,
    model: Model = None,
    json: Json = False,
) -> None:
    """Find what sounds like a recording or a part of it, other than itself."""
    if stop is not None and stop <= (start or 0.0):
        raise typer.BadParameter("--stop must lie behind --start")
    _, index = _opened(folder, model, approximate=approximate)
    with index:
        hits = index.similar(file, start_s=start, stop_s=stop, k=k)
        _print_hits(hits, {}, json)
        if not hits:
            _say_why(index, None)


def _answers(
    index: Index, text: str | None, audio: Path | None, refused: list[int], *, k: int, min_score: float | None
) -> Iterator[tuple[dict[str, str], list[Hit]]]:
    """Hits of each query, and what is to be told about it; from stdin one query after another."""
    if audio is not None:
        yield {}, index.search_audio(audio, k=k, min_score=min_score)
    elif text == "-":
        for queries in read_together(_stdin(), refused):
            for query, hits in zip(queries, index.search_each(queries, k=k, min_score=min_score), strict=True):
                yield {"query": query}, hits
    elif text is not None:
        yield {}, index.search(text, k=k, min_score=min_score)


def _stdin() -> TextIO:
    """Lines of UTF-8, whatever the locale; bytes that are none come through as lone surrogates."""
    if isinstance(sys.stdin, TextIOWrapper):
        sys.stdin.reconfigure(encoding="utf-8", errors="surrogateescape")
    return sys.stdin


def read_together(lines: TextIO, refused: list[int]) -> Iterator[list[str]]:
    """Queries that are searched together: many of a file, one of a pipe whose other end may wait for its answer.

    Lines that are no text are told, and their numbers added to `refused`.
    """
    queries = filter(None, map(str.strip, _text_lines(lines, refused)))
    together = QUERIES_TOGETHER if lines.seekable() else 1
    while some := list(islice(queries, together)):
        yield some


def _text_lines(lines: TextIO, refused: list[int]) -> Iterator[str]:
    from mmret.tasks.words import is_text

    for number, line in enumerate(lines, start=1):
        if is_text(line):
            yield line
        else:
            note(f"line {number} of stdin is not UTF-8")
            refused.append(number)


def _opened(folder: Path, model: str | None, *, approximate: bool, one_sentence: bool = False) -> tuple[Encoder, Index]:
    """An index to search, and its encoder; whoever asks approximately is told what that finds."""
    from mmret.tasks.search import Index

    encoder, _ = encoder_for(folder, model, one_sentence=one_sentence)
    index = Index.open(folder, encoder, approximate=approximate)
    if approximate:
        _say_what_is_missed(index)
    return encoder, index


def _beginning(query: str) -> str:
    return query if len(query) <= SHOWN_OF_A_QUERY else f"{query[:SHOWN_OF_A_QUERY]}..."


def _say_what_is_missed(index: Index) -> None:
    shares = " and ".join(f"{one.recall:.3f} for {one.queries} {one.kind}" for one in index.recalls())
    note(f"approximate: finds of the 10 nearest windows {shares}")


def _say_why(index: Index, min_score: float | None) -> None:
    """Tell a person, not a program, why there are no hits."""
    if not sys.stderr.isatty():
        return
    if not len(index):
        note("the index is empty")
    elif min_score is not None:
        note(f"nothing scores at least {min_score:g}")
    else:
        note("the index holds nothing else")


def _print_hits(hits: Iterable[Hit], about: dict[str, str], json: bool) -> None:
    """Best first: score, place and path; with JSON one object a line."""
    if json:
        for hit in hits:
            print_json({**about, **asdict(hit)})
        return
    for query in about.values():
        typer.echo(f"{shown(query)}:")
    for hit in hits:
        typer.echo(f"{hit.score:6.3f}  {hit.start_s:8.2f} - {hit.stop_s:8.2f} s  {shown(hit.path)}")
