"""Text of another's making on its way to a model or a terminal: shown as data, never able to pass for our own words.

Everything that comes from inside a batch, from the API or from a client is such text: custom ids, model output, error
messages, names. `as_data` is the one function that lets it out.
"""

import json
import re
from collections.abc import Mapping
from typing import Any
from unicodedata import category

_INLINE = 300
_NAME = re.compile(r"[A-Za-z0-9_.-]{0,60}", re.ASCII)
_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def as_data(text: str, *, most: int = _INLINE) -> str:
    """Text as a quoted string on one line, cut after `most` characters with a mark.

    The quotes are those of JSON, so a text that holds quotes, line breaks or a closing mark cannot end them early.
    """
    shown = visible(text[:most], breaks=False)
    return json.dumps(
        f"{shown}… ({len(text) - most:,} more characters)" if len(text) > most else shown, ensure_ascii=False
    )


def as_name(text: str) -> str:
    """A name or an id, as it is where it can be nothing else, and as data where it could."""
    return text if _NAME.fullmatch(text) else as_data(text, most=60)


def visible(text: str, *, breaks: bool = True) -> str:
    """The text with every character spelled out that a reader would not see, or that would change what a reader sees.

    These are control characters (ANSI sequences begin with one), bidirectional overrides, zero-width characters, tags,
    lone surrogates and private or unassigned characters. Line breaks and tabs stay where `breaks` says so.
    """
    if text.isascii() and text.isprintable():
        return text
    kept = "\n\t" if breaks else ""
    return "".join(
        character if character in kept or category(character) not in _UNSEEN else f"\\u{{{ord(character):x}}}"
        for character in text
    )


def all_visible(value: Any) -> Any:
    """The same for every string, and every key, in JSON-like data."""
    match value:
        case str():
            return visible(value)
        case Mapping():
            return {visible(str(key)): all_visible(held) for key, held in value.items()}
        case list() | tuple():
            return [all_visible(member) for member in value]
        case _:
            return value
