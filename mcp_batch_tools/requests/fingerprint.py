"""What is kept of requests that were sent: enough to know them again and to tell which have changed.

Nothing of their content can be read from it. Spelling makes no difference: whitespace, escapes, and the order of
keys.
"""

import json
from hashlib import sha256
from typing import Any

from pydantic_core import from_json, to_json

_HASH = 8
_NESTED = (dict, list)

PAIR = 2 * _HASH
"""Bytes that are kept of a request: a hash of its custom id, and one of its `params`."""


def canonical(params: dict[str, Any]) -> bytes:
    """The same bytes for the same parameters."""
    try:
        return to_json(_in_order(params))
    except ValueError:  # half a pair of surrogates, or deeper than it goes
        return json.dumps(params, separators=(",", ":"), sort_keys=True).encode()


def _in_order(value: Any) -> Any:
    """The same with the keys of every object in order."""
    if type(value) is dict:
        return {name: _in_order(one) if type(one := value[name]) in _NESTED else one for name in sorted(value)}
    if type(value) is list:
        return [_in_order(one) if type(one) in _NESTED else one for one in value]
    return value


def request_digest(custom_id: str, content: bytes) -> bytes:
    """What is kept of one request; `content` is `canonical`."""
    return digest(custom_id.encode()) + digest(content)


def digests_of(kept: bytes) -> list[bytes]:
    """Those of all requests, in order."""
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
    """Of a request, None where it lacks one of them."""
    try:
        request = from_json(raw, cache_strings="keys")
    except ValueError:
        try:
            request = json.loads(raw)
        except (ValueError, RecursionError):
            return None
    if not isinstance(request, dict):
        return None
    custom_id, params = request.get("custom_id"), request.get("params")
    return (custom_id, params) if isinstance(custom_id, str) and isinstance(params, dict) else None


def digest(data: bytes) -> bytes:
    """A short hash, for telling apart and not for safety."""
    return sha256(data, usedforsecurity=False).digest()[:_HASH]
