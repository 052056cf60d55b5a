"""The one place that turns failures into sentences: what happened, what state things are in, what to do next."""

from pydantic import ValidationError

from mcp_batch_tools.errors import ApiError, BadAnswer, BatchError, NoAnswer, NotConfigured

_UNREACHED = {
    "name": "the name of its host could not be resolved",
    "connect": "no connection could be made",
    "tls": "no trusted TLS connection could be made",
    "proxy": "the proxy refused the connection",
    "timeout": "it did not answer in time",
    "cut": "the connection broke before the answer was complete",
}
_FIXES = {
    "name": "The user should check the network and ANTHROPIC_BASE_URL.",
    "connect": "The user should check the network and ANTHROPIC_BASE_URL; calling the same tool again is safe.",
    "tls": "The user should check ANTHROPIC_BASE_URL, and SSL_CERT_FILE where a private certificate is used.",
    "proxy": "The user should check HTTPS_PROXY and NO_PROXY.",
}
_MOST_CHARACTERS = 300


def explain(error: BatchError, message_batch_id: str | None) -> str:
    """Three sentences about a failed call for the model; `message_batch_id` is the batch that it was about."""
    what, next_step = _what_and_next(error, message_batch_id)
    return f"{what} {_state(error, message_batch_id)} {next_step}"


def explain_arguments(tool: str, error: ValidationError) -> str:
    """Sentences about arguments that do not fit the tool's schema; rejected values are not repeated."""
    problems = []
    for problem in error.errors(include_input=False, include_url=False):
        name = ".".join(str(part) for part in problem["loc"]) or "arguments"
        match problem["type"]:
            case "string_pattern_mismatch" if name == "message_batch_id":
                said = "is not an id: ids look like msgbatch_01HkcTjaV5uDC8jWR4ZsDV8d"
            case "extra_forbidden":
                said = f"is not an argument of {tool}"
            case "missing":
                said = "is required"
            case _:
                said = problem["msg"].removeprefix("Value error, ")
                said = said[:1].lower() + said[1:]
        problems.append(f"{_quoted(name, 60)} {said}")
    ids = "; list_message_batches shows the ids" if "message_batch_id" in " ".join(problems) else ""
    return (
        f"The arguments of {tool} do not fit: {'; '.join(problems[:5])}. Nothing was sent and nothing was changed. "
        f"Call it again with the arguments corrected{ids}."
    )


def _what_and_next(error: BatchError, batch: str | None) -> tuple[str, str]:
    match error:
        case NotConfigured():
            return (
                "No API key is configured.",
                "The user should set ANTHROPIC_API_KEY in the server's environment and restart it, "
                "or start it with --sandbox, which needs none.",
            )
        case ApiError():
            said = f": {_quoted(error.message)}" if error.message else ", without a message"
            what = f"The Anthropic API answered {error.endpoint} with HTTP {error.status} {error.type}".rstrip()
            return f"{what}{said}{_request(error.request_id)}.", _after(error, batch)
        case NoAnswer():
            fix = _FIXES.get(error.reason, "")
            if not error.may_have_acted:
                fix = fix or "Calling the same tool again is safe."
            return (
                f"The Anthropic API could not be asked ({error.endpoint}): {_UNREACHED[error.reason]}.",
                fix or _look(batch),
            )
        case BadAnswer():
            return (
                f"The Anthropic API answered {error.endpoint} with HTTP {error.status}, but the body is not what it "
                f"should be: {_quoted(error.text)}{_request(error.request_id)}.",
                _look(batch) if error.may_have_acted else "The user should check that ANTHROPIC_BASE_URL is the API.",
            )
        case _:
            raise error


def _state(error: BatchError, batch: str | None) -> str:
    if not error.may_have_acted:
        return "Nothing was changed."
    acts = {"delete": "deleted", "cancel": "canceled", "create": "created"}
    return f"Whether {batch or 'the batch'} was {acts[error.endpoint]} is unknown."


def _after(error: ApiError, batch: str | None) -> str:
    if error.may_have_acted:
        return _look(batch)
    match error.status:
        case 401:
            return "The user should check ANTHROPIC_API_KEY; until then no tool of this server can work."
        case 402:
            return "The user should look at the billing of the account; repeating the call does not help."
        case 403:
            return "The user should check what the key may do, and in which workspace; repeating does not help."
        case 404:
            return (
                f"{batch or 'It'} is already gone, or never was in the workspace of this key (a batch created seconds "
                "ago can be missing for a moment): call list_message_batches to see what is there."
            )
        case 413:
            return "Send fewer or shorter requests in one batch: 256 MB is the most."
        case 429 if error.error_code:
            return "A spending limit is reached: the user should raise it, and repeating the call does not help."
        case 429 | 529:
            return f"Wait {_seconds(error.retry_after)}, then call the same tool again."
        case status if status >= 500 or status in {408, 409}:
            return "It is the API's side that failed: call the same tool again in a minute."
        case _ if batch:
            return "Call get_message_batch to see the batch as it is now; repeating the same call does not help."
        case _:
            return "Correct the arguments; repeating the same call does not help."


def _look(batch: str | None) -> str:
    if batch:
        return (
            f"Call get_message_batch for {batch}: it shows the batch as it is now, or that it is gone; "
            "then repeat this call if it is still needed, which is safe."
        )
    return "Do not repeat the call; call list_message_batches to see what is there."


def _seconds(retry_after: float | None) -> str:
    return f"{retry_after:.0f} seconds" if retry_after else "a minute"


def _request(request_id: str | None) -> str:
    return f" (request {_quoted(request_id, 80)})" if request_id else ""


def _quoted(text: str, most: int = _MOST_CHARACTERS) -> str:
    """Text of another's making on one line, its control characters gone and its end marked where it was cut."""
    plain = " ".join("".join(character if character.isprintable() else " " for character in text).split())
    plain = plain.removesuffix(".")
    return plain if len(plain) <= most else f"{plain[:most]}…"
