"""The time that a sandbox goes by."""

import asyncio
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import Protocol


class AnyClock(Protocol):
    """What the sandbox needs of a clock."""

    def now(self) -> datetime:
        """The time of day, with its zone."""

    async def sleep(self, seconds: float) -> None:
        """Wait."""


class Clock:
    """A clock that stands still until it is moved; to sleep on it moves it."""

    def __init__(self, start: datetime = datetime(2026, 11, 3, 9, tzinfo=UTC)) -> None:
        self._start = start
        self._passed = 0.0

    def now(self) -> datetime:
        """The time of day in UTC."""
        return self._start + timedelta(seconds=self._passed)

    def monotonic(self) -> float:
        """Seconds since the start."""
        return self._passed

    def advance(self, seconds: float) -> None:
        """Move on."""
        self._passed += seconds

    async def sleep(self, seconds: float) -> None:
        """Move on, and let others run."""
        self._passed += max(seconds, 0.0)
        await asyncio.sleep(0)


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
        await asyncio.sleep(seconds)
