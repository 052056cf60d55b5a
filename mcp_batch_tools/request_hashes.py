"""What is kept of requests that were sent: enough to tell later which have changed, and nothing of their content."""

from hashlib import blake2b

from pydantic_core import from_json

from mcp_batch_tools.request_sources import Source
from mcp_batch_tools.requests_file import Part

HASH = 8
"""Bytes of each hash; of a custom id and then of the request, for each request."""


def hashes_of(source: Source, part: Part) -> bytes:
    """What to keep of the requests of a part, to tell later which of them have changed."""
    kept = bytearray()
    for index, (_, raw) in enumerate(source.open()):
        if index >= part.first + part.requests:
            break
        if index >= part.first:
            kept += digest((custom_id_of(raw) or "").encode()) + digest(raw)
    return bytes(kept)


def custom_id_of(raw: bytes) -> str | None:
    """The custom id of a request, None where it has none."""
    try:
        request = from_json(raw, cache_strings="keys")
    except ValueError:
        return None
    custom_id = request.get("custom_id") if isinstance(request, dict) else None
    return custom_id if isinstance(custom_id, str) else None


def digest(data: bytes) -> bytes:
    """A short hash, for telling apart and not for safety."""
    return blake2b(data, digest_size=HASH).digest()
