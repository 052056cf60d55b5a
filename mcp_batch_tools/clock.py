"""The time that waiting and retrying go by."""

from datetime import UTC, datetime
from time import monotonic
from typing import Protocol

import anyio


def milliseconds(time: datetime) -> int:
    """Milliseconds since 1970, UTC: what the ledger keeps of a time."""
    return round(time.timestamp() * 1000)


def from_milliseconds(time: int) -> datetime:
    """The time, in UTC, that `milliseconds` stands for."""
    return datetime.fromtimestamp(time / 1000, UTC)


class Clock(Protocol):
    """What the rooms need of a clock; a test brings its own."""

    def now(self) -> datetime:
        """The time of day, with its zone."""

    def monotonic(self) -> float:
        """Seconds that only grow."""

    async def sleep(self, seconds: float) -> None:
        """Wait."""


class SystemClock:
    """Real time."""

    def now(self) -> datetime:
        """The time of day in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Seconds that only grow."""
        return monotonic()

    async def sleep(self, seconds: float) -> None:
        """Wait in real time."""
        await anyio.sleep(seconds)
