"""Requests for new batches: read as a stream, checked all of them, and cut into as few batches as they fit into.

Nothing here grows with the size of the file but 24 bytes for each request: 8 by which a `custom_id` that is there twice
is found, and 16 by which the request is known again.
"""

import hashlib
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from random import Random
from typing import Any

from mcp_batch_tools.requests.custom_ids import CustomIds
from mcp_batch_tools.requests.errors import InvalidRequests
from mcp_batch_tools.requests.fingerprint import request_digest
from mcp_batch_tools.requests.parsing import parse
from mcp_batch_tools.requests.parts import ENVELOPE, MOST_BYTES, MOST_REQUESTS, Part, Parts, body, body_length
from mcp_batch_tools.requests.problems import Problems
from mcp_batch_tools.requests.sizes import Kind, ModelPlan, plan_of
from mcp_batch_tools.requests.sources import LONGEST, TOO_LONG, Source
from mcp_batch_tools.requests.validation import Refused, RequestChecker

__all__ = ["ModelPlan", "Part", "Plan", "body", "body_length", "build_plan"]

_SAMPLE = 20
_SAMPLE_BYTES = 2 * 1024 * 1024
_LARGEST_BYTES = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Plan:
    """Requests that passed. `bytes` is the sum over the parts; `fingerprint` is the same for the same parts.

    `sample` holds the `params` of up to 20 requests, at most 2 MiB in all, for counting tokens, and of the largest one
    of each kind, at most 8 MiB in all; it is the same for the same requests.
    """

    requests: int
    bytes: int
    fingerprint: str
    models: dict[str, ModelPlan]
    parts: list[Part]
    sample: list[dict[str, Any]]


def build_plan(
    source: Source,
    *,
    anthropic_version: str,
    betas: Collection[str] = (),
    most_requests: int = MOST_REQUESTS,
    most_bytes: int = MOST_BYTES,
) -> Plan:
    """Read all requests, check them, and plan batches of at most `most_requests`, with bodies of at most `most_bytes`.

    Raises:
        InvalidRequests: with everything that is wrong with them, up to where they can be read.
    """
    with ThreadPoolExecutor(1, "hash-requests") as hashing:
        planning = _Planning(RequestChecker(anthropic_version, betas), Parts(most_requests, most_bytes, hashing))
        planning.read(source, min(LONGEST, most_bytes - ENVELOPE))
        parts = planning.parts.finish()
    problems = planning.problems
    if duplicates := planning.ids.duplicates(source):
        problems.add_general(duplicates)
    if not parts and not problems:
        problems.add_general("there are no requests in it")
    if problems:
        raise InvalidRequests(problems.listed(source.unit))
    return Plan(
        requests=sum(part.requests for part in parts),
        bytes=sum(part.bytes for part in parts),
        fingerprint=hashlib.sha256("".join(part.fingerprint for part in parts).encode()).hexdigest(),
        models=planning.models,
        parts=parts,
        sample=planning.sample.params(),
    )


class _Planning:
    """What is known of the requests that have been read so far."""

    def __init__(self, checker: RequestChecker, parts: Parts) -> None:
        self.parts = parts
        self.problems = Problems()
        self.ids, self.sample = CustomIds(), _Sample()
        self.models: dict[str, ModelPlan] = {}
        self._checker = checker

    def read(self, source: Source, longest: int) -> None:
        """Read and check all requests, each of at most `longest` bytes."""
        problems, models = self.problems, self.models
        ordinary, strictly = self._checker.check_ordinary, self._checker.check_strictly
        try:
            for number, raw in source.open():
                if raw is TOO_LONG or len(raw) > longest:
                    problems.add(f"it is longer than {longest:,} bytes", number)
                    continue
                request = ordinary(raw) or strictly(raw)
                if request.custom_id is not None:
                    self.ids.add(request.custom_id)
                if isinstance(request, Refused):
                    for kind in request.problems:
                        problems.add(kind, number)
                    continue
                model = models.get(request.model)
                if model is None:
                    model = models[request.model] = plan_of(request.model)
                model.add(request.max_tokens, request.size, request.tools)
                self.parts.add(raw, request_digest(request.custom_id, request.content))
                self.sample.offer(raw, request.model, request.size.kind)
        except InvalidRequests as error:
            for problem in error.problems:
                problems.add_general(problem.kind)


class _Sample:
    """A few of the requests, each as likely as the others, but for those that are too large.

    Beside them stands the largest one of each model and kind, as far as there is room.
    """

    def __init__(self) -> None:
        self._random = Random(5)  # noqa: S311  nothing secret: the same requests shall give the same sample
        self._seen = 0
        self._few: list[tuple[bytes, tuple[str, Kind]]] = []
        self._largest: dict[tuple[str, Kind], bytes] = {}
        self._room = _LARGEST_BYTES

    def offer(self, raw: bytes, model: str, kind: Kind) -> None:
        self._seen += 1
        of = model, kind
        held = self._largest.get(of, b"")
        if len(raw) > len(held) and len(raw) - len(held) <= self._room:
            self._room -= len(raw) - len(held)
            self._largest[of] = raw
        if self._random.random() * self._seen >= _SAMPLE or len(raw) > _SAMPLE_BYTES:
            return
        if len(self._few) == _SAMPLE:
            self._few.pop(self._random.randrange(_SAMPLE))
        self._few.append((raw, of))
        while sum(len(one) for one, _ in self._few) > _SAMPLE_BYTES:
            self._few.remove(max(self._few, key=lambda one: len(one[0])))

    def params(self) -> list[dict[str, Any]]:
        few = [raw for raw, _ in self._few]
        for of, raw in self._largest.items():
            if not any(of == other and len(one) >= len(raw) for one, other in self._few):
                few.append(raw)
        return [parse(raw)["params"] for raw in few]
