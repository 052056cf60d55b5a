"""JSON-RPC messages as lines, and what is answered to a line that is none. It knows no tools and no transport."""

import json
import logging
import re
from typing import Any

from mcp_types import (
    INVALID_REQUEST,
    PARSE_ERROR,
    ErrorData,
    JSONRPCError,
    JSONRPCMessage,
    JSONRPCNotification,
    RequestId,
    jsonrpc_message_adapter,
)
from pydantic import ValidationError
from pydantic_core import PydanticSerializationError, from_json

_log = logging.getLogger(__name__)

LONGEST_LINE = 4 * 2**20
"""In bytes: what the SDK takes over HTTP. Larger requests go into a file."""

_ID = rb'(-?\d{1,18}|"[ !#-\[\]-~]{0,200}")'
_ID_FIRST = re.compile(rb'\s*\{\s*(?:"(?:jsonrpc|method)"\s*:\s*"[^"\\]*"\s*,\s*)*"id"\s*:\s*' + _ID + rb"\s*[,}]")
_ID_LAST = re.compile(rb'"jsonrpc"\s*:\s*"2\.0"\s*,\s*"id"\s*:\s*' + _ID + rb"\s*\}\s*\Z")
_ESCAPE = re.compile(rb"\\(?:u[dD][89abAB]..\\u[dD][c-fC-F]..|(u[dD][89a-fA-F]..)|.)", re.DOTALL)


class Refused(Exception):
    """A line that cannot be taken; `answer` is what its sender gets."""

    def __init__(self, code: int, message: str, request_id: RequestId | None) -> None:
        super().__init__(message)
        self.answer = JSONRPCError(jsonrpc="2.0", id=request_id, error=ErrorData(code=code, message=message))


def read_message(line: bytes) -> JSONRPCMessage:
    """The message of one line.

    Raises:
        Refused: it is too long, no JSON, or no message. The answer has the id of the request where that is certain.
    """
    if len(line) > LONGEST_LINE:
        what = f"the line is longer than {LONGEST_LINE:,} bytes. Give requests as a file, with requests_file."
        raise Refused(INVALID_REQUEST, f"Invalid request: {what}", _id_within(line))
    try:
        data = from_json(line, allow_inf_nan=False)
    except ValueError as error:
        raise Refused(PARSE_ERROR, f"Parse error: {error}.", _id_within(line)) from None
    return _message_of(data)


def _message_of(data: Any) -> JSONRPCMessage:
    fields = data if isinstance(data, dict) else {}
    request_id = fields.get("id")
    if isinstance(request_id, bool) or not isinstance(request_id, str | int):
        request_id = None
    what = "Invalid request: not a JSON-RPC 2.0 message."
    try:
        message = jsonrpc_message_adapter.validate_python(data, by_name=False)
    except ValidationError:
        if "method" in fields or not fields.keys() & {"result", "error"} or request_id is None:
            raise Refused(INVALID_REQUEST, what, request_id) from None
        # Whoever asked the client for this waits until it is answered, also by an answer that cannot be read.
        return JSONRPCError(jsonrpc="2.0", id=request_id, error=ErrorData(code=INVALID_REQUEST, message=what))
    if isinstance(message, JSONRPCNotification) and "id" in fields and not message.method.startswith("notifications/"):
        raise Refused(INVALID_REQUEST, "Invalid request: the id is neither a string nor an integer.", None)
    return message


def _id_within(line: bytes) -> RequestId | None:
    """The id of a line that cannot be read, where clients write it: among the first fields, or as the last one.

    An id inside the arguments must not pass for it: the error would end another call.
    """
    found = _ID_FIRST.match(line) or _ID_LAST.search(line[-512:])
    request_id: RequestId | None = from_json(found[1]) if found else None
    return request_id


def without_halves(line: bytes) -> bytes:
    """JSON with U+FFFD for each escape that is half of a surrogate pair, as it is left where a text is cut."""
    return _ESCAPE.sub(lambda escape: rb"\ufffd" if escape[1] else escape[0], line)


def line_of(message: JSONRPCMessage) -> bytes:
    """A message as one line, with U+FFFD for what UTF-8 cannot hold."""
    try:
        return message.model_dump_json(by_alias=True, exclude_unset=True).encode() + b"\n"
    except PydanticSerializationError:
        _log.warning("half of a surrogate pair in an answer was replaced by U+FFFD")
        return without_halves(json.dumps(message.model_dump(by_alias=True, exclude_unset=True)).encode()) + b"\n"
