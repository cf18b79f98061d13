"""Words that are looked for: text that a tokenizer can take."""

from __future__ import annotations

from collections.abc import Iterable

from mmret.errors import QueryError


def is_text(words: str) -> bool:
    """Whether words are whole characters; bytes that were not UTF-8 reach Python as lone surrogates, which are none.

    >>> is_text("café"), is_text(b"caf\\xe9".decode(errors="surrogateescape"))
    (True, False)
    """
    try:
        words.encode()
    except UnicodeEncodeError:
        return False
    return True


def check_words(texts: Iterable[str]) -> None:
    """Refuse words that are empty, or no text."""
    for text in texts:
        if not is_text(text):
            raise QueryError(f"the words {text!r} are not UTF-8; give them in that encoding")
        if not text.strip():
            raise QueryError("the words to look for are empty")
