"""Saving all results of a batch to a file: whole and checked, or not under its name at all."""

import os
from collections.abc import AsyncIterator, Callable
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from io import BufferedRandom
from pathlib import Path

import anyio
import anyio.to_thread
from anyio.streams.memory import MemoryObjectReceiveStream

from mcp_batch_tools.api.client import BatchClient
from mcp_batch_tools.api.errors import ApiError, BatchError, InvalidResponse, NoResponse
from mcp_batch_tools.api.models import MessageBatch
from mcp_batch_tools.results.errors import SaveFailed, SaveProblem
from mcp_batch_tools.results.formats import Writer, writer_for
from mcp_batch_tools.results.lines import InvalidLine
from mcp_batch_tools.results.parts import keep_or_remove_part, last_line_break, open_part, part_of, sweep_parts
from mcp_batch_tools.results.pieces import batched
from mcp_batch_tools.results.publishing import make_folders, publish, size_of
from mcp_batch_tools.results.summary import ResultSummary, ResultValidator

_AT_ONCE = 1024 * 1024
_SYNC_AFTER = 64 * 1024 * 1024
_MOST_BREAKS = 8
"""Downloads that break in a row without getting further, before saving is given up."""
_MOST_WRONG = 3
"""Downloads that arrive and are wrong, where the next one may not be."""
_MOST_REQUESTS = 100

Report = Callable[[int, int | None, int], None]
"""Called on the way with the bytes so far, the bytes in all where they are known, and the lines so far."""


@dataclass(frozen=True)
class SavedFile:
    """A file that holds all results of a batch. `already` says that a file with the same bytes was there before."""

    path: Path
    bytes: int
    sha256: str
    summary: ResultSummary
    already: bool = False


async def save_results(
    client: BatchClient,
    batch: MessageBatch,
    place: Path,
    *,
    overwrite: bool,
    report: Report,
    redact: Callable[[str], str] = str,
) -> SavedFile:
    """Download all results of an ended batch to `place`; its folder is made where it is missing.

    The results go to a file beside it, are checked as they pass (each line, no custom id twice, the counts of the
    batch), are brought to the disk, and only then get the name. A wrong line does not end the download: the others may
    be all that is needed. A download that breaks goes on where it broke where the other side honours `Range`, and
    starts over where it does not; so does one that another server has begun, where the file holds the results as they
    come. `redact` takes secrets out of what is told of the results; the file holds them
    as they came.

    Raises:
        SaveFailed: they could not be saved whole. What arrived lies aside as `partial`, for a day.
        ApiError: there are no results, or the API refused.
    """
    existing_size = None if overwrite else size_of(place)
    try:
        part, file = await anyio.to_thread.run_sync(_open, place, batch.id, client.now())
    except OSError as error:
        detail = error.strerror or str(error)
        raise SaveFailed("folder_unwritable", path=str(place.parent), detail=detail) from error
    try:
        with file, closing(_Download(client, batch, place, file, existing_size, report, redact)) as download:
            summary, sha256 = await download.run()
            size = file.seek(0, os.SEEK_END)
            name = partial(publish, part, place, overwrite=overwrite, sha256=sha256, descriptor=file.fileno())
            return SavedFile(place, size, sha256, summary, already=await anyio.to_thread.run_sync(name))
    except BaseException as error:
        stopped = not isinstance(error, Exception)
        if (stopped and not _can_resume(place)) or (isinstance(error, SaveFailed) and error.problem == "name_taken"):
            part.unlink(missing_ok=True)  # nothing could go on with it, and nobody would be told its name
            raise
        aside = keep_or_remove_part(part)
        match error:
            case OSError():
                detail = error.strerror or str(error)
                raise SaveFailed("write_failed", path=str(place), partial=aside, detail=detail) from error
            case SaveFailed():
                error.partial = aside
            case BatchError() if aside is not None:
                raise SaveFailed("upstream", path=str(place), partial=aside) from error
        raise


def _open(place: Path, message_batch_id: str, now: datetime) -> tuple[Path, BufferedRandom]:
    make_folders(place.parent)
    sweep_parts(place.parent, now, but=part_of(place, message_batch_id))
    return open_part(place, message_batch_id)


def _can_resume(place: Path) -> bool:
    """Whether the file holds the results as they come: then what there is of it says where to go on."""
    return place.suffix == ".jsonl"


@dataclass
class _Download:
    """One file on its way, over as many requests as it takes."""

    client: BatchClient
    batch: MessageBatch
    place: Path
    file: BufferedRandom
    existing_size: int | None
    report: Report
    redact: Callable[[str], str]

    def __post_init__(self) -> None:
        self._writer = Writer(self.file)
        self._start_over(empty=not _can_resume(self.place))

    def _start_over(self, *, empty: bool = True) -> None:
        self._writer.abandon()
        self.file.seek(0)
        if empty:
            self.file.truncate()
        self._validator = ResultValidator(self.batch.request_counts, self.redact)
        self._writer = writer_for(self.place, self.file)
        self._received = 0
        self._in_one_piece = True
        self._synced = 0
        self._length: int | None = None

    def close(self) -> None:
        """Write nothing more."""
        self._writer.abandon()

    async def run(self) -> tuple[ResultSummary, str]:
        """Download until the file is whole."""
        problem: SaveProblem
        cause: Exception
        breaks = wrong = 0
        if _can_resume(self.place):
            await anyio.to_thread.run_sync(self._take_what_is_there)
        for _ in range(_MOST_REQUESTS):
            before = self._received
            try:
                await self._request()
                return await anyio.to_thread.run_sync(self._finish)
            except InvalidLine as error:
                problem, cause = "not_results", error
                # Two parts may not fit together, and a file can end too early. A line that the API itself sent wrong
                # would come again.
                wrong += 1 if self._validator.problem is None or not self._in_one_piece else _MOST_WRONG
                if wrong < _MOST_WRONG:
                    self._start_over()
            except NoResponse as error:
                problem, cause = "interrupted", error
            except (InvalidResponse, ApiError) as error:
                if isinstance(error, ApiError) and error.status != 416:
                    raise
                problem, cause = "upstream", error
                self._start_over()
            breaks = 1 if self._received > before else breaks + 1
            if breaks >= _MOST_BREAKS or wrong >= _MOST_WRONG:
                break
            await self.client.pause(min(0.25 * 2.0**breaks, 8.0))
        detail = str(cause) if problem == "not_results" else ""
        raise SaveFailed(problem, path=str(self.place), detail=detail) from cause

    def _take_what_is_there(self) -> None:
        """Check and hash what an earlier save left, as if it arrived now; where any of it is wrong, none of it counts.

        The last whole line is taken for one that is not complete: it must come again, which shows that the rest
        belongs to what is there.
        """
        self.file.truncate(last_line_break(self.file))
        self.file.seek(0)
        try:
            while piece := self.file.read(_AT_ONCE):
                self._writer.resume(piece)
                self._validator.feed(piece)
                self._received += len(piece)
        except InvalidLine:
            self._start_over()
        if self._validator.problem is not None:
            self._start_over()

    async def _request(self) -> None:
        """One request, to its end; what arrives before a break counts.

        It goes on at the beginning of the line that is not complete, and the part of it that is there already must come
        again: results come in any order, and a line must not be put together from two of them.
        """
        unfinished = self._validator.rest
        offset = self._received - len(unfinished)
        async with self.client.results(self.batch.id, offset=offset) as stream:
            if stream.start != offset or (self._length is not None and stream.length not in {None, self._length}):
                unfinished = b""
                self._start_over()
                if stream.start:
                    raise InvalidResponse("other_part", endpoint="results", status=206)
            self._in_one_piece &= not stream.start
            self._length = length = stream.length
            if self.existing_size not in {None, length} and length is not None and self.place.suffix == ".jsonl":
                # It can only be something else, so there is no need to download it.
                raise SaveFailed("name_taken", path=str(self.place))
            await self._check_while_reading(_after(unfinished, stream.chunks), length)
        if length not in {None, self._received}:
            detail = f"{self._received:,} bytes arrived, {length:,} were promised"
            raise InvalidResponse("length", endpoint="results", detail=detail)

    async def _check_while_reading(self, chunks: AsyncIterator[bytes], length: int | None) -> None:
        """Check and write in a thread while more is read: each half waits much of its time."""
        broken: Exception | None = None
        failed: Exception | None = None

        async def check(batches: MemoryObjectReceiveStream[list[bytes]]) -> None:
            nonlocal failed
            with batches:
                try:
                    async for batch in batches:
                        await anyio.to_thread.run_sync(self._write, batch)
                        self._received += sum(map(len, batch))
                        if self._received - self._synced > _SYNC_AFTER:
                            self._synced = self._received
                            tasks.start_soon(self._bring_to_disk)
                        self.report(self._received, length, self._validator.summary.lines)
                except Exception as error:  # noqa: BLE001  raised below, where no group wraps it
                    failed = error
                    tasks.cancel_scope.cancel()  # on a slow line the other half would notice it only much later

        send, receive = anyio.create_memory_object_stream[list[bytes]](1)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(check, receive)
            with send:
                try:
                    async for batch in batched(chunks, _AT_ONCE, self.client.monotonic):
                        await send.send(batch)
                except (NoResponse, InvalidResponse) as error:
                    broken = error
        if problem := failed or broken:
            raise problem

    def _write(self, batch: list[bytes]) -> None:
        for piece in batch:
            self._writer.write(piece)
            self._writer.add(self._validator.feed(piece))

    async def _bring_to_disk(self) -> None:
        """Let the disk write while the download goes on, or all of it would have to be waited for at the end."""
        with suppress(OSError):  # told by the last one, at the end
            await anyio.to_thread.run_sync(os.fsync, self.file.fileno(), abandon_on_cancel=False)

    def _finish(self) -> tuple[ResultSummary, str]:
        self._writer.add(self._validator.finish())
        sha256 = self._writer.finish()
        self.file.flush()
        os.fsync(self.file.fileno())
        self._validator.verify()
        return self._validator.summary, sha256


async def _after(unfinished: bytes, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """What comes after bytes that are there already, and must be the same."""
    async for chunk in chunks:
        if unfinished:
            if not (chunk.startswith(unfinished) or unfinished.startswith(chunk)):
                raise InvalidResponse("other_line", endpoint="results")
            length = len(unfinished)
            unfinished, chunk = unfinished[len(chunk) :], chunk[length:]
        if chunk:
            yield chunk
