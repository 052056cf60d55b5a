"""Faults that a test scripts: what goes wrong, at which endpoint, and how often."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal


class ConnectionCut(Exception):
    """The connection breaks off here. In a process of its own the sandbox closes the socket instead."""


@dataclass
class Fault:
    """One thing that goes wrong, `times` times, after `skip` requests to `endpoint` (any, where it is None) went well.

    With `status` or `body` the request is answered with these instead of being carried out; `after_effect` carries it
    out first. `headers` are added to whatever the answer is. `delay` is in seconds of the sandbox's clock and passes
    before the effect. `cut` breaks the connection before the effect, or after it and before the answer.
    """

    endpoint: str | None = None
    status: int | None = None
    message: str | None = None
    details: Mapping[str, object] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    delay: float = 0
    cut: Literal["before", "after"] | None = None
    after_effect: bool = False
    skip: int = 0
    times: int = 1


def take(faults: list[Fault], endpoint: str) -> Fault | None:
    """The fault that strikes this request, used up by one."""
    for fault in faults:
        if fault.endpoint not in {None, endpoint}:
            continue
        if fault.skip:
            fault.skip -= 1
            continue
        fault.times -= 1
        if fault.times <= 0:
            faults.remove(fault)
        return fault
    return None
