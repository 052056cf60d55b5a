"""What requests come to and cost: lines of a results file, made on the fly from the numbers of the requests."""

import json
from decimal import Decimal
from hashlib import sha256

from mcp_batch_tools.sandbox.batches import Batch, Outcome, Request
from mcp_batch_tools.sandbox.billing import cost_of

_ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_WORDS = (
    "The parcel arrived two days late and the box was dented, but the lamp inside was whole. "
    "Overall the customer is content and would order again. "
)


def identifier(prefix: str, *of: object) -> str:
    """An id in the API's form, the same for the same parts."""
    number = int.from_bytes(sha256(repr(of).encode()).digest())
    letters = []
    for _ in range(22):
        number, index = divmod(number, len(_ALPHABET))
        letters.append(_ALPHABET[index])
    return f"{prefix}_01{''.join(letters)}"


def line(batch: Batch, index: int) -> bytes:
    """One line of the results, with its newline."""
    request = batch.requests[index]
    result = _result(batch, index, request, batch.outcome(index))
    return json.dumps({"custom_id": request.custom_id, "result": result}, separators=(",", ":")).encode() + b"\n"


def _result(batch: Batch, index: int, request: Request, outcome: Outcome) -> dict[str, object]:
    match outcome:
        case "succeeded":
            return {"type": outcome, "message": answer_of(batch, index, request)}
        case "errored":
            kind, message = request.error or ("invalid_request_error", "max_tokens: Field required")
            error = {"type": kind, "message": message}
            request_id = (
                None if kind in {"invalid_request_error", "not_found_error"} else identifier("req", batch.id, index)
            )
            return {"type": outcome, "error": {"type": "error", "error": error, "request_id": request_id}}
        case _:
            return {"type": outcome}


def bill(batch: Batch) -> Decimal:
    """USD for the results of a batch that has ended. Raises `KeyError` for a model without a price."""
    succeeded = (index for index in range(len(batch.requests)) if batch.outcome(index) == "succeeded")
    return sum((cost_of(answer_of(batch, index, batch.requests[index])) for index in succeeded), Decimal(0))


def answer_of(batch: Batch, index: int, request: Request) -> dict[str, object]:
    """What the model answered to one request."""
    repeats = request.text_characters // len(_WORDS) + 1
    text = (_WORDS * repeats)[: request.text_characters]
    content: list[dict[str, object]] = [{"type": "text", "text": text, "citations": None}]
    thinking = 0
    if index % 10 == 3:
        thinking = 24
        content.insert(
            0, {"type": "thinking", "thinking": "A short thought about the parcel.", "signature": "c2lnbmVk"}
        )
    output_tokens = min(max(1, request.text_characters // 4) + thinking, request.max_tokens)
    if request.stop_reason == "tool_use":
        tool = {"type": "tool_use", "id": identifier("toolu", batch.id, index), "name": "note", "input": {"text": text}}
        content[-1:] = [{**tool, "caller": {"type": "direct"}}]
    elif request.stop_reason == "refusal":
        content, output_tokens, thinking = [], 0, 0
    return {
        "id": identifier("msg", batch.id, index),
        "type": "message",
        "role": "assistant",
        "model": request.model,
        "content": content,
        "container": None,
        "diagnostics": None,
        "stop_reason": request.stop_reason,
        "stop_sequence": None,
        "stop_details": None,
        "usage": {
            **request.input.usage(),
            "output_tokens": output_tokens,
            "output_tokens_details": {"thinking_tokens": min(thinking, output_tokens)},
            "service_tier": "batch",
            "speed": None,
        },
    }
