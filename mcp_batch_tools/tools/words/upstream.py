"""What is said of a call to the API that failed.

After a refusal it depends on the status and the act: see `_after_refusal`.
"""

from collections.abc import Mapping
from math import ceil

from mcp_batch_tools.api.errors import (
    ApiError,
    BatchError,
    InvalidResponse,
    NoResponse,
    NotConfigured,
    Reason,
    ResponseProblem,
    SetupProblem,
    UnusableSetup,
)
from mcp_batch_tools.api.untrusted import quote_name, quote_untrusted
from mcp_batch_tools.tools.answers import format_time
from mcp_batch_tools.tools.words.calls import Call

_SETUP: Mapping[SetupProblem, tuple[str, str]] = {
    "address": ("its address cannot be used", "correct ANTHROPIC_BASE_URL"),
    "proxy": ("the proxy cannot be used", "correct HTTPS_PROXY, HTTP_PROXY or ALL_PROXY"),
    "socks": (
        "a SOCKS proxy needs the package socksio, which is not installed",
        "install the extra that brings it, mcp-batch-tools[socks]",
    ),
    "certificates": ("the certificates cannot be loaded", "correct SSL_CERT_FILE or SSL_CERT_DIR"),
}
_NO_RESPONSE: Mapping[Reason, tuple[str, str]] = {
    "name": ("the name of its host could not be resolved", "check the network and ANTHROPIC_BASE_URL"),
    "connect": ("no connection could be made", "check the network, the proxy variables and ANTHROPIC_BASE_URL"),
    "tls": (
        "no trusted TLS connection could be made",
        "check ANTHROPIC_BASE_URL, and SSL_CERT_FILE where a private certificate is used",
    ),
    "proxy": ("the proxy refused the connection", "check HTTPS_PROXY, ALL_PROXY and NO_PROXY"),
    "timeout": ("no answer came in time", ""),
    "cut": ("the connection broke before the answer was complete", ""),
}
_INVALID: Mapping[ResponseProblem, str] = {
    "schema": "the body is not what the API promises",
    "other_batch": "the body is about another batch",
    "other_part": "the body is another part of the results than the one requested",
    "other_line": "a line of results that was sent again is different",
    "compression": "its compression is broken",
    "framing": "its pieces do not fit together",
    "too_long": "the body is far too long",
    "length": "the body is incomplete",
    "not_results": "the body is not results",
}
_ADDRESS = (
    "check that ANTHROPIC_BASE_URL is the address of the API, without /v1, and that no proxy answers in its place"
)
_LONGEST_WAIT = 24 * 3600
"""Seconds. A server that asks for more is not to be taken at its word."""


def happened(error: BatchError) -> str:
    """What happened, in one sentence."""
    match error:
        case NotConfigured():
            return "No API key is configured."
        case UnusableSetup():
            detail = f" ({quote_untrusted(error.detail)})" if error.detail else ""
            return f"The connection to the Anthropic API cannot be set up: {_SETUP[error.problem][0]}{detail}."
        case NoResponse():
            return f"The request to the Anthropic API ({error.endpoint}) failed: {_NO_RESPONSE[error.reason][0]}."
        case ApiError():
            status = f"HTTP {error.status} {quote_name(error.type)}".rstrip()
            message = f": {quote_untrusted(error.message)}" if error.message else ", without a message"
            return f"The Anthropic API answered {error.endpoint} with {status}{message}{_request(error.request_id)}."
        case InvalidResponse():
            detail = f": {quote_untrusted(error.detail)}" if error.detail else ""
            return (
                f"The Anthropic API answered {error.endpoint} with HTTP {error.status}, but {_INVALID[error.problem]}"
                f"{detail}{_request(error.request_id)}."
            )
        case _:
            raise error


def next_step(error: BatchError, call: Call) -> str:
    """What to do after a call that had no effect, in one sentence."""
    match error:
        case NotConfigured():
            return call.user("set ANTHROPIC_API_KEY where the server is started", "use --sandbox, which needs no key")
        case UnusableSetup():
            return call.user(_SETUP[error.problem][1])
        case NoResponse(reason="timeout" | "cut"):
            return f"{call.again}, which is safe."
        case NoResponse():
            return call.user(_NO_RESPONSE[error.reason][1])
        case ApiError():
            return _after_refusal(error, call)
        case InvalidResponse(problem="schema" | "other_batch"):
            return call.user(_ADDRESS)
        case _:
            return f"{call.again} in a minute, which is safe."


def _after_refusal(error: ApiError, call: Call) -> str:
    match error.status, call.act:
        case _ if error.spending_limit:
            return call.user("raise the spending limit that was reached; repeating the call does not help before that")
        case 401, _:
            return call.user(f"check {call.key_source}; nothing here works without a valid key")
        case 402, _:
            return call.user("check the billing of the account; repeating the call does not help before that")
        case 403, _:
            return call.user("check what this key is allowed to do, and in which workspace; repeating does not help")
        case 404, _ if error.gone and error.endpoint == "results":
            return f"Its results are gone, or not there yet: call get_message_batch for {call.batch}."
        case 404, "get" | "cancel" | "delete" | "read_results" | "save_results" | "create" if error.gone:
            return _already_gone(call)
        case 400 | 404, "list" if call.arguments.get("cursor") and error.type:
            return "The batch that cursor names may be gone: call list_message_batches again without cursor."
        case 413, "create":
            return "Send fewer or shorter requests in one call: a batch takes 256 MB at most."
        case 416, _:
            return f"The cursor no longer fits the results: {call.again[0].lower()}{call.again[1:]} without cursor."
        case 429, _:
            return f"Wait {_wait(error.retry_after)}, then {call.again[0].lower()}{call.again[1:]}."
        case status, _ if status in {408, 409} or status >= 500:
            again = f"{call.again[0].lower()}{call.again[1:]}"
            return f"The failure is on the side of the API: wait {_wait(error.retry_after)}, then {again}."
        case 400 | 422, _:
            return call.user("read the message of the API; repeating the same call does not help")
        case _:
            return call.user(_ADDRESS)


def _already_gone(call: Call) -> str:
    see = "call list_message_batches to see what is there"
    if call.deleted_at is not None:
        when = format_time(call.deleted_at)
        return f"{call.batch} is already gone, since this installation deleted it on {when}; {see}."
    return (
        f"{call.batch} is already gone, or was never in the workspace of this key (a batch created seconds ago can be "
        f"missing for a moment): {see}."
    )


def _wait(seconds: float | None) -> str:
    """How long to wait; a minute where the other side did not say, or said something senseless."""
    if seconds is None or not 1 <= seconds <= _LONGEST_WAIT:
        return "a minute"
    if seconds <= 120:
        return f"{ceil(seconds)} second{'' if ceil(seconds) == 1 else 's'}"
    if seconds <= 7200:
        return f"{ceil(seconds / 60)} minutes"
    return f"{ceil(seconds / 3600)} hours"


def _request(request_id: str | None) -> str:
    return f" (request {quote_name(request_id)})" if request_id else ""
