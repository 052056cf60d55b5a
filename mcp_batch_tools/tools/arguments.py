"""Arguments as models and clients really send them, read as they were meant, in the same way for every tool.

What can be meant in one way only is understood. All else stays as it came, and the strict types of the tool refuse it.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from mcp_batch_tools.tools.answers import format_time
from mcp_batch_tools.tools.times import is_exact, understood_time

_ADDED_BY_CLIENTS = "wait_for_previous"
"""An argument that one client adds to every call of every tool."""
AROUND = " \t\r\n\u00a0\u200b\ufeff`'\"\u201c\u201d\u2018\u2019<>[](){}*.,;:"
"""What ids, words and numbers are copied with."""
_BETWEEN = re.compile(r"[,;\s]+")
_NO_ID = frozenset(
    {"", "all", "any", "current", "first", "id", "last", "latest", "msgbatch_", "newest", "none", "null", "recent"}
    | {"batch_id", "message_batch_id", "undefined", "unknown"}
)
"""What models write where they know no id. Most of it would pass for one, and be sent."""
_NUMBER = re.compile(r"[+-]?\d{1,15}(\.\d{0,15})?(e[+-]?\d{1,2})?", re.IGNORECASE)
_SWITCHES = {"true": True, "yes": True, "false": False, "no": False}


@dataclass(frozen=True)
class Given:
    """The arguments as they were meant. `notes` are sentences on what was understood beyond its spelling."""

    arguments: dict[str, Any]
    notes: list[str] = field(default_factory=list)


def given(arguments: Mapping[str, Any], schema: Mapping[str, Any], now: datetime) -> Given:
    """The arguments that a model meant to give to a tool with this input schema.

    `null` and `""` for an optional one count as left out. Numbers, switches, lists and objects may come as texts, and a
    list as its only member; ids and cursors in blanks, quotes or backticks; words of a fixed set in any spelling of
    their letters; times in the forms of `understood_time`. A text that happens to be JSON stays a text.
    """
    optional = schema["properties"].keys() - set(schema.get("required", ()))
    meant = Given({})
    for name, value in arguments.items():
        if name == _ADDED_BY_CLIENTS or (name in optional and (value is None or value == "")):
            continue
        kind = schema["properties"].get(name, {})
        meant.arguments[name] = read = _as_meant(value, kind, now)
        if isinstance(read, datetime) and not is_exact(" ".join(value.strip(AROUND).upper().split())):
            meant.notes.append(f"{name} was taken as {format_time(read)}.")
    if meant.arguments.get("label") == "" and "label" in optional:
        del meant.arguments["label"]
    return meant


def _as_meant(value: Any, kind: Mapping[str, Any], now: datetime) -> Any:
    match kind.get("type"):
        case "array":
            return _list(value, kind["items"])
        case "integer" | "number":
            return _number(value, whole=kind["type"] == "integer")
        case "boolean" if isinstance(value, str):
            return _SWITCHES.get(value.strip(AROUND).lower(), value)
        case "string" if isinstance(value, int) and not isinstance(value, bool):
            return str(value) if _takes_number(kind) else value
        case "string" if isinstance(value, str):
            return _text(value, kind, now)
        case _:
            return value


def _takes_number(kind: Mapping[str, Any]) -> bool:
    """Whether a number can stand for a text of this kind: a label or a cursor of digits, but no id, word or time."""
    return not kind.keys() & {"enum", "format"} and kind.get("pattern", "^[0-9]").startswith("^[0-9]")


def _text(value: str, kind: Mapping[str, Any], now: datetime) -> Any:
    if "enum" in kind:
        return _word(value, kind)
    if "pattern" in kind:
        bare = value.strip(AROUND)
        shortened = ".." in value  # as a table shows an id that is too long for it: it names no batch, or another one
        return "" if shortened or bare.lower() in _NO_ID or bare.find("msgbatch_") > 0 else bare
    if kind.get("format") == "date-time":
        return understood_time(value.strip(AROUND), now) or value
    return value.strip()


def _word(value: Any, kind: Mapping[str, Any]) -> Any:
    """The word of a fixed set that is meant."""
    words = {_letters(word): word for word in kind.get("enum", ())}
    return words.get(_letters(value).replace("cancell", "cancel"), value) if isinstance(value, str) else value


def _letters(word: str) -> str:
    return re.sub(r"[\W_]", "", word).lower()


def _number(value: Any, *, whole: bool) -> Any:
    """The number that a value is or spells. `1,000` is two numbers, depending on who writes it."""
    number = value
    if isinstance(value, str) and _NUMBER.fullmatch(value.strip(" \t\r\n`'\"")):
        number = float(value.strip(" \t\r\n`'\""))
    if whole and isinstance(number, float):
        return int(number) if number.is_integer() else value
    return number


def _list(value: Any, items: Mapping[str, Any]) -> Any:
    """The list that is meant; of objects also as `{"requests": [...]}` or JSON Lines, of texts also as `a, b`."""
    if items.get("type") == "object":
        value = _from_json(value)
        if isinstance(value, dict):
            value = value["requests"] if value.keys() == {"requests"} else [value]
        return [_from_json(member) for member in value] if isinstance(value, list) else value
    if isinstance(value, str):
        parsed = _from_json(value)
        value = parsed if isinstance(parsed, list) else _split(value)
    elif isinstance(value, int) and not isinstance(value, bool):
        value = [value]
    return [_word(_member(member), items) for member in value] if isinstance(value, list) else value


def _from_json(value: Any) -> Any:
    """The list or object in a text of JSON, the list of those in a text of JSON Lines, or the value as it is."""
    if not isinstance(value, str):
        return value
    for read in (json.loads, lambda text: [json.loads(line) for line in text.splitlines() if line.strip()]):
        try:
            parsed = read(value)
        except (ValueError, RecursionError):
            continue
        return parsed if isinstance(parsed, list | dict) else value
    return value


def _split(text: str) -> list[str]:
    return [member for member in _BETWEEN.split(text.strip(AROUND)) if member]


def _member(value: Any) -> Any:
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value.strip(" \t\r\n`'\"") if isinstance(value, str) else value
