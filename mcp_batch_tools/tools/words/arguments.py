"""What is said of arguments that do not fit a tool: their name and the right form. Rejected values are not repeated."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from difflib import get_close_matches
from typing import Any

from pydantic import ValidationError

from mcp_batch_tools.api.untrusted import quote_name

_MOST = 5
_FORMS = {
    "missing": "is required",
    "string_too_long": "is longer than {max_length} characters",
    "less_than_equal": "must be at most {le}",
    "greater_than_equal": "must be at least {ge}",
    "bool_type": "must be true or false",
}
_AN_ID = "an id like msgbatch_01HkcTjaV5uDC8jWR4ZsDV8d"
_REQUEST = '{"custom_id": "a", "params": {...}}'
_EXAMPLES = {
    "label": '"nightly"',
    "path": '"results.jsonl"',
    "save_results_to": '"results.jsonl"',
    "requests_file": '"requests.jsonl"',
    "custom_ids": '["a", "b"]',
    "requests": f"[{_REQUEST}]",
}
_KINDS = {"string": "a string", "array": "a list", "integer": "an integer"}
_SYNONYMS: Mapping[str, tuple[str, ...]] = {
    "message_batch_id": ("id",),
    "custom_ids": ("ids",),
    "save_results_to": ("path", "file", "output", "destination", "save", "save_to", "save_as", "backup", "export"),
    "path": ("save_results_to", "file", "output", "destination", "save_to", "save_as", "export"),
    "requests_file": ("path", "input"),
    "created_after": ("since", "from", "start"),
    "created_before": ("until", "to", "end"),
    "limit": ("count", "max_results", "page_size"),
    "cursor": ("next_cursor", "page_token", "after_id", "offset"),
    "wait_seconds": ("timeout",),
    "label": ("name", "tag"),
    "dry_run": ("validate_only",),
}
"""What else these arguments are called elsewhere."""


def explain_arguments(
    tool: str, error: ValidationError, schema: Mapping[str, Any], given: Mapping[str, Any], now: datetime
) -> str:
    """Three sentences about the arguments that were `given`, and do not fit the input schema of the tool."""
    known = schema["properties"]
    problems, listed = [], False
    for problem in error.errors(include_input=False, include_url=False):
        name, *inside = problem["loc"] or ("arguments",)
        if problem["type"] == "extra_forbidden":
            near = _nearest(str(name), [other for other in known if other not in given])
            listed = listed or near is None
            what = f"is not an argument of {tool}{f': use {near}' if near else ''}"
        else:
            optional = name not in schema.get("required", ())
            what = _problem(str(name), problem, known.get(name, {}), now, optional=optional and not inside)
        problems.append(f"{quote_name('.'.join(map(str, (name, *inside))))} {what}")
    more = f"; and {len(problems) - _MOST} more" if len(problems) > _MOST else ""
    arguments = f"; its arguments are {', '.join(known)}" if listed else ""
    ids = "; list_message_batches shows the ids" if any("message_batch_id" in problem for problem in problems) else ""
    return (
        f"The arguments of {tool} are invalid: {'; '.join(problems[:_MOST])}{more}. Nothing was sent and nothing was "
        f"changed. Call it again with these corrected{arguments}{ids}."
    )


def _problem(name: str, problem: Any, kind: Mapping[str, Any], now: datetime, *, optional: bool) -> str:
    """What is wrong with the value of an argument that the tool has, and the form that it must have."""
    code, limits = problem["type"], problem.get("ctx", {})
    inside = len(problem["loc"]) > 1
    match code:
        case "missing" | "string_pattern_mismatch" | "string_type" if name in {"message_batch_id", "retry_of"}:
            return f"is required: {_AN_ID}" if code == "missing" else f"is not {_AN_ID}"
        case "string_pattern_mismatch" | "string_type" if name == "cursor":
            return "is not the next_cursor of an earlier answer (leave it out for the first page)"
        case "literal_error":
            return f"must be {limits['expected']}{', or left out for all' if optional else ''}"
        case _ if code.startswith(("datetime", "timezone")):
            return f"is not a date or time like {now:%Y-%m-%d}, which is today, or {now:%Y-%m-%d}T09:00:00Z"
        case "too_long" if name == "requests":
            return f"has more than {limits['max_length']} entries: write them to a file and give requests_file"
        case "too_long":
            return f"has more than {limits['max_length']} entries: give them in several calls"
        case "too_short" | "string_too_short":
            return f"is empty: give one like {_EXAMPLES[name]}" if name in _EXAMPLES and not inside else "is empty"
        case "int_type" if "maximum" in kind:
            return f"must be an integer from {kind['minimum']} to {kind['maximum']}"
        case "float_type" | "finite_number":
            return "must be a number like 2.5, without units or separators"
        case "string_type" | "list_type" | "int_type" if not inside:
            example = f" like {_EXAMPLES[name]}" if name in _EXAMPLES else ""
            return f"must be {_KINDS[kind['type']]}{example}"
        case "string_type":
            return "must be a string"
        case "dict_type":
            return f"must be an object like {_REQUEST}"
        case _ if code in _FORMS:
            return _FORMS[code].format(**limits)
        case _:
            message: str = problem["msg"].removeprefix("Value error, ")
            return message[:1].lower() + message[1:]


def _nearest(name: str, known: Sequence[str]) -> str | None:
    """The argument that was probably meant: misspelt, shortened, or by a name that it has elsewhere."""
    letters = _letters(name)
    names = {_letters(word): argument for argument in known for word in (argument, *_SYNONYMS.get(argument, ()))}
    ends = (str.endswith, str.startswith)
    part = [
        word
        for word in names
        for short, long in ((letters, word), (word, letters))
        if len(short) > 3 and any(matches(long, short) for matches in ends)
    ]
    found = [letters] if letters in names else part or get_close_matches(letters, names, 1, 0.7)
    return names[found[0]] if found else None


def _letters(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum())
