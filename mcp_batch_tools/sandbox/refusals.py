"""What the API refuses and in which words. Rows marked as a guess: nobody has seen that answer."""

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from mcp_batch_tools.sandbox.batches import Request
from mcp_batch_tools.sandbox.billing import input_of

LARGEST_BODY = 256 * 1024 * 1024
MOST_REQUESTS = 100_000
VERSIONS = ("2026-10-21", "2023-06-01")

TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    405: "invalid_request_error",
    408: "timeout_error",
    409: "conflict_error",
    413: "request_too_large",
    429: "rate_limit_error",
    500: "api_error",
    504: "timeout_error",
    529: "overloaded_error",
}
MESSAGES = {
    401: "API key is invalid.",
    402: "Your credit balance is too low to access the Anthropic API.",
    403: "Your API key does not have permission to use the specified resource.",
    413: "Request exceeds the maximum size",
    429: "This request would exceed the rate limit of your organization.",
    500: "Internal server error",
    529: "Overloaded",
}

_STOP_REASONS = (
    "max_tokens",
    "stop_sequence",
    "tool_use",
    "pause_turn",
    "compaction",
    "refusal",
    "model_context_window_exceeded",
)
_CUSTOM_ID = re.compile(r"[a-zA-Z0-9_-]+", re.ASCII)


class Refusal(Exception):
    """The API refuses a request."""

    def __init__(self, status: int, message: str | None = None, *, details: Mapping[str, object] | None = None) -> None:
        super().__init__(status, message)
        self.status = status
        said = message or MESSAGES.get(status, "The request was refused.")
        self.message = said.encode(errors="backslashreplace").decode()  # it may quote half a surrogate pair
        self.details = details

    def as_json(self, request_id: str) -> dict[str, object]:
        """The envelope; a body that is too large is refused by the edge, in a form of its own."""
        error: dict[str, object] = {"type": TYPES.get(self.status, "api_error"), "message": self.message}
        if self.details is not None:
            error["details"] = dict(self.details)
        if self.status == 413:
            return {"error": error}
        return {"type": "error", "error": error, "request_id": request_id}


def no_such_batch(message_batch_id: str) -> Refusal:
    """Unknown, malformed and deleted ids. That malformed ones are answered like this is a guess."""
    return Refusal(404, f"Message Batch {message_batch_id} not found.")


def no_results(message_batch_id: str) -> Refusal:
    """Before the end, and after the archive."""
    return Refusal(404, f"Message Batch {message_batch_id} has no available results.")


def already_finished(message_batch_id: str) -> Refusal:
    """A cancel after the end."""
    return Refusal(400, f"Batch {message_batch_id} cannot be canceled because it has already finished processing.")


def still_in_progress() -> Refusal:
    """A delete before the end. That a canceling batch is refused in these words too is a guess."""
    return Refusal(400, "In progress batches cannot be deleted. Consider canceling the batch instead.")


def limit_of(text: str | None) -> int:
    """The `limit` of a list, 20 where there is none. The words of the refusals are a guess."""
    if text is None:
        return 20
    if not re.fullmatch(r"-?\d{1,1000}", text):
        raise Refusal(400, "limit: Input should be a valid integer, unable to parse string as an integer")
    limit = int(text)
    if limit < 1:
        raise Refusal(400, "limit: Input should be greater than or equal to 1")
    if limit > 1000:
        raise Refusal(400, "limit: Input should be less than or equal to 1000")
    return limit


def check_headers(headers: Mapping[str, str]) -> str:
    """The key that a request carries. A missing key is refused in words that are a guess."""
    key = headers.get("x-api-key") or headers.get("authorization", "").removeprefix("Bearer ").strip()
    if not key:
        raise Refusal(401, "x-api-key header is required")
    version = headers.get("anthropic-version")
    if version is None:
        raise Refusal(400, "anthropic-version: header is required")
    if version not in VERSIONS:  # a guess
        raise Refusal(400, f'anthropic-version: "{version}" is not a valid version')
    return key


def requests_of(body: bytes, version: str, betas: Iterable[str]) -> list[Request]:
    """The requests of a create. Wrong params pass here, and come back as errored results, as they do at the API."""
    try:
        sent = json.loads(body)
    except (ValueError, RecursionError) as error:  # also of bytes that are not UTF-8
        raise Refusal(400, f"The request body is not valid JSON: {error}") from None
    if not isinstance(sent, dict):
        raise Refusal(400, "Input should be a valid dictionary or object to extract fields from")  # a guess
    if "requests" not in sent:
        raise Refusal(400, "requests: Field required")
    entries = sent["requests"]
    if not isinstance(entries, list):
        raise Refusal(400, "requests: Input should be a valid list")
    if not entries:
        raise Refusal(400, "requests: List should have at least 1 item after validation, not 0")
    if len(entries) > MOST_REQUESTS:  # a guess
        raise Refusal(
            400, f"requests: List should have at most {MOST_REQUESTS} items after validation, not {len(entries)}"
        )
    seen: set[str] = set()
    requests = []
    for number, entry in enumerate(entries):
        custom_id, params = _entry(number, entry)
        if custom_id in seen:
            raise Refusal(
                400, f"requests: custom_id's must be unique within a batch. Duplicate custom_id found: {custom_id}"
            )
        seen.add(custom_id)
        requests.append(_request(custom_id, params, version, set(betas)))
    return requests


def _entry(number: int, entry: object) -> tuple[str, dict[str, Any]]:
    where = f"requests.{number}"
    if not isinstance(entry, dict):
        raise Refusal(400, f"{where}: Input should be a valid dictionary or object to extract fields from")
    if "custom_id" not in entry:
        raise Refusal(400, f"{where}.custom_id: Field required")
    custom_id = entry["custom_id"]
    if not isinstance(custom_id, str):
        raise Refusal(400, f"{where}.custom_id: Input should be a valid string")
    if len(custom_id) > 64:
        raise Refusal(400, f"{where}.custom_id: String should have at most 64 characters")
    if not _CUSTOM_ID.fullmatch(custom_id):
        raise Refusal(400, f"{where}.custom_id: String should match pattern '^[a-zA-Z0-9_-]{{1,64}}$'")
    if "params" not in entry:
        raise Refusal(400, f"{where}.params: Field required")
    params = entry["params"]
    if not isinstance(params, dict):
        raise Refusal(400, f"{where}.params: Input should be a valid dictionary or object to extract fields from")
    return custom_id, params


def _request(custom_id: str, params: dict[str, Any], version: str, betas: set[str]) -> Request:
    """What a request will come to: its params decide, else a custom id that holds an outcome or a stop reason."""
    model = str(params.get("model"))
    error = params_error(params, version, betas)
    if error is not None:
        return Request(custom_id, model, "errored", error)
    if "billing" in custom_id:
        return Request(custom_id, model, "errored", ("invalid_request_error", MESSAGES[402]))
    if "errored" in custom_id:
        return Request(custom_id, model, "errored", ("api_error", "Internal server error"))
    if "expired" in custom_id:
        return Request(custom_id, model, "expired")
    stop_reason = next((reason for reason in _STOP_REASONS if reason in custom_id), "end_turn")
    most = params["max_tokens"]
    return Request(
        custom_id,
        model,
        stop_reason=stop_reason,
        input=input_of(params, custom_id),
        text_characters=min(120, most * 4),
        max_tokens=most,
    )


def params_error(params: dict[str, Any], version: str, betas: set[str]) -> tuple[str, str] | None:
    """Type and message of what is wrong inside `params`."""
    for name in ("model", "messages", "max_tokens"):
        if name not in params:
            return "invalid_request_error", f"{name}: Field required"
    model, messages, max_tokens = params["model"], params["messages"], params["max_tokens"]
    most = 300_000 if "output-300k-2026-03-24" in betas else 128_000
    problem = None
    if not isinstance(model, str) or not model.startswith("claude-"):
        return "not_found_error", f"model: {model}"
    if not isinstance(messages, list):
        problem = "messages: Input should be a valid list"
    elif not messages:
        problem = "messages: at least one message is required"
    elif (number := _first_without_role(messages)) is not None:
        problem = f"messages.{number}.role: Input should be 'user' or 'assistant'"
    elif not isinstance(max_tokens, int) or isinstance(max_tokens, bool):
        problem = "max_tokens: Input should be a valid integer"
    elif max_tokens < 1:
        problem = "max_tokens: must be greater than or equal to 1"
    elif max_tokens > most:
        problem = f"max_tokens: {max_tokens} > {most}, which is the maximum allowed number of output tokens"
    elif params.get("stream"):
        problem = "`stream=True` is not supported in the Message Batches API"
    elif "speed" in params:
        problem = "`speed` is not supported in the Message Batches API"
    elif version == "2026-10-21":
        problem = _refused_since_2026(params)
    return None if problem is None else ("invalid_request_error", problem)


def _first_without_role(messages: list[Any]) -> int | None:
    roles = (message.get("role") if isinstance(message, dict) else None for message in messages)
    return next((number for number, role in enumerate(roles) if role not in ("user", "assistant")), None)


def _refused_since_2026(params: dict[str, Any]) -> str | None:
    """What requests of the current version may not hold any more. The words are a guess."""
    for name in ("temperature", "top_p", "top_k"):
        if name in params:
            return f"{name}: Extra inputs are not permitted"
    for number, message in enumerate(params["messages"]):
        content = message.get("content")
        for index, block in enumerate(content if isinstance(content, list) else []):
            where = f"messages.{number}.content.{index}"
            match message["role"], block:
                case "assistant", {"type": "document"}:
                    return f"{where}: `document` blocks are not permitted in assistant messages"
                case "user", {"type": "text", "citations": citations} if citations:
                    return f"{where}.citations: Extra inputs are not permitted"
    return None
