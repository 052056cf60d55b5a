"""What is kept of requests that were sent: enough to tell later which have changed, and nothing of their content."""

from hashlib import blake2b

from pydantic_core import from_json

_HASH = 8

PAIR = 2 * _HASH
"""Bytes that are kept of a request: a hash of its custom id, and one of the whole of it."""


def pair(custom_id: str, raw: bytes) -> bytes:
    """What is kept of one request."""
    return digest(custom_id.encode()) + digest(raw)


def by_custom_id(kept: bytes) -> dict[bytes, bytes]:
    """The hashes of requests by those of their custom ids."""
    return {kept[at : at + _HASH]: kept[at + _HASH : at + PAIR] for at in range(0, len(kept), PAIR)}


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
    return blake2b(data, digest_size=_HASH).digest()
