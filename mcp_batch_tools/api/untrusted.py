"""Text from outside on its way to a model or a terminal: shown as data, never able to pass for our own words.

Everything that comes from inside a batch, from the API or from a client is such text: custom ids, model output, error
messages, names. It leaves only through `quote_untrusted` and `quote_name`. Secrets are taken out before, where the text
arrives: nothing here knows them, and a text is cut here.
"""

import json
import re
import secrets
from collections.abc import Callable, Mapping
from typing import Any
from unicodedata import category

_INLINE = 300
_NAME = re.compile(r"[A-Za-z0-9_.-]{0,60}", re.ASCII)
_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
# Of other categories, and still not to be seen: joiners, fillers, variation selectors (which can carry hidden bytes).
_ALSO_UNSEEN = frozenset(
    map(chr, (0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x180B, 0x180C, 0x180D, 0x180F, 0x2800, 0x3164, 0xFFA0))
) | frozenset(map(chr, (*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0))))


class Boundary:
    """A pair of marks for one answer. They hold a random word, so no text can hold them but by a chance of 2^-48."""

    def __init__(self) -> None:
        word = secrets.token_hex(6)
        self.opening, self.closing = f"<data-{word}>", f"</data-{word}>"


def quote_untrusted(text: str, *, most: int = _INLINE, within: Boundary | None = None) -> str:
    """Text cut after `most` characters, with a mark that says so, in quotes or `within` the marks of a boundary.

    The quotes are those of JSON, so a text that holds quotes, line breaks or a closing mark cannot end them early.
    """
    rest = len(text) - most
    cut = f"… ({rest:,} more characters)" if rest > 0 else ""
    if within is not None:
        return f"{within.opening}{escape_invisible(text[:most])}{within.closing}{cut}"
    return json.dumps(escape_invisible(text[:most], breaks=False) + cut, ensure_ascii=False)


def quote_name(text: str) -> str:
    """A name or an id, as it is where it can be nothing else, and as data where it could."""
    return text if _NAME.fullmatch(text) else quote_untrusted(text, most=60)


def escape_invisible(text: str, *, breaks: bool = True) -> str:
    """The text with every character spelled out that a reader would not see, or that would change what a reader sees.

    These are control characters (ANSI sequences begin with one), bidirectional overrides, zero-width characters, tags,
    variation selectors, lone surrogates and private or unassigned characters. Line breaks and tabs stay where `breaks`
    says so.
    """
    if text.isascii() and text.isprintable():
        return text
    kept = "\n\t" if breaks else ""
    return "".join(
        character if character in kept or _seen(character) else f"\\u{{{ord(character):x}}}" for character in text
    )


def _seen(character: str) -> bool:
    return category(character) not in _UNSEEN and character not in _ALSO_UNSEEN


def escape_all_invisible(value: Any) -> Any:
    """JSON-like data with `escape_invisible` applied to every string and every key in it."""
    return change_texts(value, escape_invisible)


def change_texts(value: Any, change: Callable[[str], str]) -> Any:
    """JSON-like data with `change` applied to every string and every key in it."""
    match value:
        case str():
            return change(value)
        case Mapping():
            return {change(str(key)): change_texts(held, change) for key, held in value.items()}
        case list() | tuple():
            return [change_texts(member, change) for member in value]
        case _:
            return value
