"""What is said of arguments that do not fit a tool. Rejected values are not repeated."""

from datetime import UTC, datetime
from typing import Any

from pydantic import ValidationError

from mcp_batch_tools.api.untrusted import quote_name

_MOST = 5
_FORMS = {
    "missing": "is required",
    "too_long": "is longer than {max_length}",
    "string_too_long": "is longer than {max_length} characters",
    "too_short": "is empty",
    "string_too_short": "is empty",
    "less_than_equal": "must be at most {le}",
    "greater_than_equal": "must be at least {ge}",
    "literal_error": "must be {expected}",
    "int_type": "must be an integer",
    "int_parsing": "must be an integer",
    "int_from_float": "must be an integer",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "finite_number": "must be a number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "string_type": "must be a string",
    "list_type": "must be a list",
    "dict_type": "must be an object",
}
_AN_ID = "an id like msgbatch_01HkcTjaV5uDC8jWR4ZsDV8d"


def explain_arguments(tool: str, error: ValidationError) -> str:
    """Three sentences about arguments that do not fit the schema of the tool."""
    problems = [
        f"{quote_name(_name(problem['loc']))} {_problem(tool, problem)}"
        for problem in error.errors(include_input=False, include_url=False)
    ]
    more = f"; and {len(problems) - _MOST} more" if len(problems) > _MOST else ""
    ids = "; list_message_batches shows the ids" if any("message_batch_id" in problem for problem in problems) else ""
    return (
        f"The arguments of {tool} are invalid: {'; '.join(problems[:_MOST])}{more}. Nothing was sent and nothing was "
        f"changed. Call it again with these corrected{ids}."
    )


def _name(location: tuple[int | str, ...]) -> str:
    return ".".join(str(part) for part in location) or "arguments"


def _problem(tool: str, problem: Any) -> str:
    kind, name, limits = problem["type"], _name(problem["loc"]), problem.get("ctx", {})
    match kind:
        case "extra_forbidden":
            return f"is not an argument of {tool}"
        case "string_pattern_mismatch" | "string_type" if name in {"message_batch_id", "retry_of"}:
            return f"is not {_AN_ID}"
        case "string_pattern_mismatch" if name == "cursor":
            return "is not the next_cursor of an earlier answer"
        case _ if kind.startswith(("datetime", "timezone")):
            today = f"{datetime.now(UTC):%Y-%m-%d}"
            return f"is not a date or time like {today}, which is today, or {today}T09:00:00Z"
        case "too_long" if name == "requests":
            return f"has more than {limits['max_length']} entries: write them to a file and give requests_file"
        case _ if kind in _FORMS:
            return _FORMS[kind].format(**limits)
        case _:
            message: str = problem["msg"].removeprefix("Value error, ")
            return message[:1].lower() + message[1:]
