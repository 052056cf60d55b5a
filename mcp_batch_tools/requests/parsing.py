"""From the bytes of one request to what they say, or to why they cannot be read, and back to bytes in one spelling.

JSON allows more than can be sent on with a good conscience: a key that is there twice (readers differ in which one
counts), numbers that no machine holds, and any nesting. `parse_strictly` knows all of it and is the rule. `parse` is
several times as fast for whatever is ordinary, and leaves everything else to it.
"""

import json
from collections import Counter
from math import isinf
from typing import Any, NoReturn

from msgspec.json import Decoder, Encoder

MOST_LEVELS = 200
"""Levels of lists and objects inside a request. It is far below what any parser or serializer can do, on any version of
Python: their own limits depend on the version, and on how deep in the program they are called."""

_decode = Decoder().decode
_encode = Encoder(order="sorted").encode
_NESTED = (dict, list)
_LONGEST_KEY_SHOWN = 40


class InvalidRequest(Exception):
    """A request cannot be read. The text says why."""


def canonical(value: Any) -> bytes:
    """JSON without whitespace, keys in order: the same bytes for the same content, however it was spelled.

    `1` and `1.0` are not the same content. `value` must be what `parse` gives, so it is not nested too deeply, or the
    same as a `msgspec.Struct`.
    """
    try:
        return _encode(value)
    except UnicodeEncodeError:  # half a pair of surrogates has no UTF-8
        return json.dumps(value, separators=(",", ":"), sort_keys=True).encode()


def parse(raw: bytes) -> Any:
    """What the JSON of one request says.

    Raises:
        InvalidRequest: it is not JSON, or cannot be sent as it is.
    """
    try:
        value = _decode(raw)
        content = canonical(value)
    except (ValueError, RecursionError):
        return parse_strictly(raw)
    if not has_each_key_once(raw, content) or levels_inside(value) > MOST_LEVELS:
        return parse_strictly(raw)
    return value


def has_each_key_once(raw: bytes, content: bytes, apart: int = 0) -> bool:
    """Whether no object in `raw` has a key twice; `content` is the canonical form of what was parsed of it.

    A key that was dropped took its quotes with it. `apart` is how many quotes of `raw` are of what `content` leaves
    out. A False can be wrong, where a quote in a text is spelled by its number.
    """
    return raw.count(b'"') == content.count(b'"') + apart and (b"\\" not in raw or b"\\u0022" not in raw)


def parse_strictly(raw: bytes) -> Any:
    """Parse step by step, and find everything that is wrong.

    Raises:
        InvalidRequest: it is not JSON, or cannot be sent as it is.
    """
    if b"\0" in raw:
        raise InvalidRequest("it contains NUL bytes")
    try:
        value = json.loads(raw.decode(), parse_constant=_refuse, parse_float=_number, object_pairs_hook=_members)
    except UnicodeDecodeError:
        raise InvalidRequest("it is not UTF-8") from None
    except RecursionError:
        raise InvalidRequest("it is nested too deeply") from None
    except ValueError:
        raise InvalidRequest("it is not JSON") from None
    if levels_inside(value) > MOST_LEVELS:
        raise InvalidRequest("it is nested too deeply")
    return value


def shown(key: str) -> str:
    """A key of the user's, short and printable."""
    return ascii(key[:_LONGEST_KEY_SHOWN])[1:-1]


def _refuse(_: str) -> NoReturn:
    raise ValueError


def _number(text: str) -> float:
    number = float(text)
    if isinf(number):
        raise InvalidRequest("a number is out of range")
    return number


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        names = Counter(name for name, _ in pairs)
        raise InvalidRequest(f"duplicate key `{shown(names.most_common(1)[0][0])}`")
    return members


def levels_inside(value: Any) -> int:
    """How many lists and objects are inside each other, below `value` itself; without recursion, which has limits."""
    levels = -1
    level = [value] if type(value) in _NESTED else []
    while level:
        levels += 1
        level = [
            inner
            for outer in level
            for inner in (outer.values() if type(outer) is dict else outer)
            if type(inner) in _NESTED
        ]
    return levels
