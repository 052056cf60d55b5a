"""Lines of results, as bytes of the wire."""

import json
from collections.abc import Callable, Iterable
from typing import Any


def line(custom_id: str, **message: Any) -> bytes:
    """A succeeded result; what is given goes into its message."""
    usage = {"input_tokens": 1_000_000, "output_tokens": 1_000_000}
    whole = {"model": "claude-haiku-4-5", "content": [{"type": "text", "text": "Hello."}], "usage": usage, **message}
    result = {"type": "succeeded", "message": whole}
    return json.dumps({"custom_id": custom_id, "result": result}).encode() + b"\n"


def pieces(*raw: bytes) -> Callable[[], Iterable[bytes]]:
    return lambda: raw
