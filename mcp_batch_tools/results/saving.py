"""Saves under way: each goes on when its caller has gone, and the next caller for the same file joins it."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

import anyio
from anyio.abc import TaskGroup

from mcp_batch_tools.clock import Clock
from mcp_batch_tools.results.errors import SaveFailed

_AT_ONCE = 4
"""Downloads at the same time: more would only share the same line and disk. The others wait for their turn."""
_MOST = 50
"""Saves under way or waiting. Nobody asks for so many on purpose."""
_LONGEST = 6 * 3600.0
"""Seconds. The largest results are some 10 GB, which is 500 kB a second: a download that is slower is hopeless."""
_OUTCOME_KEPT = 600.0
"""Seconds that an outcome waits for somebody to tell it to. Later a failure says nothing about a new try."""
_LOOK_AGAIN = 0.25
"""Seconds of real time between two looks at the clock, which may be one that a test moves."""

T = TypeVar("T")


class Progress(NamedTuple):
    """How far a save has come: bytes, those in all where they are known, and lines."""

    bytes: int = 0
    length: int | None = None
    lines: int = 0


def _identity(path: Path) -> object:
    """What changes with every change of a file."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _let_go(error: BaseException | None) -> None:
    """Take the tracebacks off an error that is kept: they hold what the download knew, some 25 MB of a full batch."""
    while error is not None:
        error.__traceback__ = None
        error = error.__cause__ or error.__context__


Work = Callable[[Callable[[int, int | None, int], None]], Awaitable[T]]
"""What saves; it is given a function to tell its progress by."""


@dataclass
class _Save(Generic[T]):
    """One file on its way, since its first bytes came at `started`; `file` is what had the name when it ended."""

    message_batch_id: str
    overwrite: bool
    started: float | None = None
    progress: Progress = field(default_factory=Progress)
    changed: anyio.Event = field(default_factory=anyio.Event)
    callers: int = 0
    ended_at: float | None = None
    saved: T | None = None
    failure: Exception | None = None
    file: object = None

    def can_be_told(self, message_batch_id: str, overwrite: bool, file: object) -> bool:
        """Whether what came of it is the answer to this call, where `file` is what has the name now."""
        same = self.message_batch_id == message_batch_id
        return same and (overwrite <= self.overwrite if self.failure is not None else file == self.file)

    def change(self) -> None:
        """Wake the callers."""
        self.changed.set()
        self.changed = anyio.Event()


class Saves:
    """The saves of a server, by the file that they write. They run in `tasks`, and end with it."""

    def __init__(self, tasks: TaskGroup, clock: Clock) -> None:
        self._tasks = tasks
        self._clock = clock
        self._saves: dict[Path, _Save[Any]] = {}
        self.turn = anyio.Semaphore(_AT_ONCE)
        """To be held by work while it downloads."""

    def unfinished(self, message_batch_id: str) -> str | None:
        """A file that the results of this batch are being saved to, or could not be, which nobody has been told yet."""
        self._forget_old()
        for path, save in self._saves.items():
            if save.message_batch_id == message_batch_id and (save.ended_at is None or save.failure is not None):
                return str(path)
        return None

    async def saved(
        self,
        message_batch_id: str,
        place: Path,
        work: Work[T],
        report: Callable[[Progress], Awaitable[None]],
        *,
        overwrite: bool,
        until: float,
    ) -> T | Progress:
        """What `work` returns, begun now or joined; how far it has come, where that takes until `until` by the clock.

        `report` is called on the way. What came of work that nobody waited for is told once; a file that has changed
        since then does not count.

        Raises:
            SaveFailed: another save writes to this file, or too many are under way.
            Exception: as `work`.
        """
        save = self._begun(place, message_batch_id, overwrite, work)
        save.callers += 1
        try:
            told = 0
            while True:
                changed, progress, ended = save.changed, save.progress, save.ended_at is not None
                if progress.bytes > told:
                    told = progress.bytes
                    await report(progress)
                if ended:
                    return self._outcome(place, save)
                if self._clock.monotonic() >= until:
                    return progress
                with anyio.move_on_after(_LOOK_AGAIN):
                    await changed.wait()
        finally:
            save.callers -= 1

    def _begun(self, place: Path, message_batch_id: str, overwrite: bool, work: Work[T]) -> _Save[T]:
        self._forget_old()
        old = self._saves.get(place)
        if old is not None and old.ended_at is not None:
            if not old.can_be_told(message_batch_id, overwrite, _identity(place)):
                del self._saves[place]
        elif old is not None and (old.message_batch_id != message_batch_id or overwrite > old.overwrite):
            raise SaveFailed("being_saved", path=str(place))
        if place not in self._saves:
            if sum(save.ended_at is None for save in self._saves.values()) >= _MOST:
                raise SaveFailed("too_many", path=str(place))
            self._saves[place] = _Save(message_batch_id, overwrite)
            self._tasks.start_soon(self._run, place, self._saves[place], work)
        return self._saves[place]

    def _forget_old(self) -> None:
        now = self._clock.monotonic()
        for path, save in list(self._saves.items()):
            if save.ended_at is not None and now - save.ended_at > _OUTCOME_KEPT:
                del self._saves[path]

    def _outcome(self, place: Path, save: _Save[T]) -> T | Progress:
        if self._saves.get(place) is save:
            del self._saves[place]
        if save.failure is not None:
            raise save.failure
        return save.progress if save.saved is None else save.saved

    async def _run(self, place: Path, save: _Save[T], work: Work[T]) -> None:
        def note(size: int, length: int | None, lines: int) -> None:
            now = self._clock.monotonic()
            save.started = now if save.started is None else save.started
            if now - save.started > _LONGEST:
                raise SaveFailed("too_slow", path=str(place))
            save.progress = Progress(size, length, lines)
            save.change()

        save.failure = SaveFailed("stopped", path=str(place))
        try:
            save.saved = await work(note)
            save.failure = None
        except Exception as error:  # noqa: BLE001  raised where somebody waits for it
            save.failure = error
        finally:
            save.ended_at = self._clock.monotonic()
            if save.callers:
                del self._saves[place]
            else:
                _let_go(save.failure)
            save.file = _identity(place)
            save.change()
