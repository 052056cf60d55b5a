"""What is kept of requests that were sent: enough to know them again and to tell which have changed.

Nothing of their content can be read from it. Spelling makes no difference: whitespace, escapes, and the order of
keys.
"""

from hashlib import sha256
from typing import Any

from mcp_batch_tools.requests.parsing import InvalidRequest, canonical, parse

__all__ = ["by_custom_id", "canonical", "custom_id_and_params", "digest", "digests_of", "fingerprint", "request_digest"]

_HASH = 8

PAIR = 2 * _HASH
"""Bytes that are kept of a request: a hash of its custom id, and one of its `params`."""


def request_digest(custom_id: str, content: bytes) -> bytes:
    """What is kept of one request; `content` is the canonical form of its `params`."""
    return sha256(custom_id.encode()).digest()[:_HASH] + sha256(content).digest()[:_HASH]


def digests_of(kept: bytes) -> list[bytes]:
    """What is kept of each request, in order; `kept` holds them one after the other."""
    return [kept[at : at + PAIR] for at in range(0, len(kept), PAIR)]


def by_custom_id(kept: bytes) -> dict[bytes, bytes]:
    """The hashes of requests by those of their custom ids."""
    return {both[:_HASH]: both[_HASH:] for both in digests_of(kept)}


def fingerprint(kept: bytes) -> str:
    """SHA-256 in hex, the same for the same requests in any order."""
    buckets = [bytearray() for _ in range(256)]  # to hold few of them as objects at a time
    for at in range(0, len(kept), PAIR):
        buckets[kept[at]] += kept[at : at + PAIR]
    whole = sha256()
    for bucket in buckets:
        whole.update(b"".join(sorted(digests_of(bytes(bucket)))))
    return whole.hexdigest()


def custom_id_and_params(raw: bytes) -> tuple[str, dict[str, Any]] | None:
    """Both of a request; None where it lacks one of them, or cannot be read."""
    try:
        request = parse(raw)
    except InvalidRequest:
        return None
    if not isinstance(request, dict):
        return None
    custom_id, params = request.get("custom_id"), request.get("params")
    return (custom_id, params) if isinstance(custom_id, str) and isinstance(params, dict) else None


def digest(data: bytes) -> bytes:
    """A short hash, for telling apart and not for safety."""
    return sha256(data).digest()[:_HASH]
