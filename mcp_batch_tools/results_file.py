"""Saving all results of a batch to a file: whole and checked, or not under its name at all."""

import hashlib
import os
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from io import BufferedRandom
from pathlib import Path

import anyio
import anyio.to_thread
from anyio.streams.memory import MemoryObjectReceiveStream

from mcp_batch_tools.client import BatchClient
from mcp_batch_tools.errors import ApiError, BadAnswer, BatchError, NoAnswer, ResultsNotSaved
from mcp_batch_tools.models import MessageBatch
from mcp_batch_tools.result_formats import Writer, writer_for
from mcp_batch_tools.result_lines import LineChecker, Tally, WrongLine

_BLOCK = 1024 * 1024
_SYNC_AFTER = 64 * 1024 * 1024
_MOST_BREAKS = 8
"""Downloads that break in a row without getting further, before saving is given up."""
_MOST_WRONG = 3
"""Downloads that arrive and are wrong."""
_MOST_REQUESTS = 100

Report = Callable[[int, int | None, int], Awaitable[None]]
"""Told on the way: bytes so far, bytes in all where known, and lines so far."""


@dataclass(frozen=True)
class SavedFile:
    """A file that holds all results of a batch. `already` says that it was there before, the same to the byte."""

    path: Path
    bytes: int
    sha256: str
    tally: Tally
    already: bool = False


class _Exists(ResultsNotSaved):
    """Another file has the name."""


async def save_results(
    client: BatchClient, batch: MessageBatch, place: Path, *, overwrite: bool, report: Report
) -> SavedFile:
    """Download all results of an ended batch to `place`; its folder is made where it is missing.

    They go to a file beside it, are checked as they pass (each line, no custom id twice, the counts of the batch),
    are brought to the disk, and only then get the name. A download that breaks goes on where it broke, or starts over
    where the other side cannot do that.

    Raises:
        ResultsNotSaved: they could not be saved whole. What arrived lies aside, as `partial`.
        ApiError: there are no results, or the API refused.
    """
    there = None if overwrite else _size_of(place)
    part = place.with_name(f"{place.name}.{secrets.token_hex(4)}.part")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        file = part.open("x+b")
    except OSError as error:
        raise ResultsNotSaved(f"{part.parent} cannot be written: {error.strerror}") from error
    try:
        with file:
            tally, sha256 = await _Download(client, batch, place, file, there, report).run()
            size = file.seek(0, os.SEEK_END)
        return await anyio.to_thread.run_sync(_named, part, place, overwrite, SavedFile(place, size, sha256, tally))
    except OSError as error:
        raise ResultsNotSaved(f"writing failed: {error.strerror}", partial=_kept(part)) from error
    except _Exists:
        part.unlink()
        raise
    except ResultsNotSaved as error:
        error.partial = _kept(part)
        raise
    except BatchError:
        _kept(part)
        raise
    except BaseException:
        part.unlink(missing_ok=True)  # given up from outside: nobody would be told its name
        raise


class _Download:
    """One file on its way, over as many requests as it takes."""

    def __init__(
        self,
        client: BatchClient,
        batch: MessageBatch,
        place: Path,
        file: BufferedRandom,
        there: int | None,
        report: Report,
    ) -> None:
        self._client = client
        self._batch = batch
        self._place = place
        self._file = file
        self._there = there
        self._report = report
        self._start_over()

    def _start_over(self) -> None:
        self._file.seek(0)
        self._file.truncate()
        self._checker = LineChecker(self._batch.request_counts)
        self._writer: Writer = writer_for(self._place, self._file)
        self._received = 0
        self._on_its_way = 0

    async def run(self) -> tuple[Tally, str]:
        breaks = wrong = 0
        for _ in range(_MOST_REQUESTS):
            before = self._received
            try:
                await self._pass()
                return await anyio.to_thread.run_sync(self._finish)
            except WrongLine as error:
                # Once may be an accident on the way, or two parts that did not fit together.
                problem: Exception = error
                wrong += 1
                if wrong < _MOST_WRONG:
                    self._start_over()
            except NoAnswer as error:
                problem = error
            except BadAnswer as error:
                problem = error
                self._start_over()
            except ApiError as error:
                if error.status != 416:
                    raise
                problem = error
                self._start_over()
            breaks = 1 if self._received > before else breaks + 1
            if breaks >= _MOST_BREAKS or wrong >= _MOST_WRONG:
                break
            await self._client.pause(min(0.25 * 2.0**breaks, 8.0))
        raise ResultsNotSaved(_why(problem)) from problem

    async def _pass(self) -> None:
        """One request, to its end; what arrives before a break counts."""
        async with self._client.results(self._batch.id, offset=self._received) as stream:
            if stream.start != self._received:
                self._start_over()
            length = stream.length
            if self._there not in {None, length} and length is not None and self._place.suffix == ".jsonl":
                raise _exists(self._place)  # it can only be something else, so there is no need to download it
            await self._take_while_reading(stream.chunks, length)
        if length not in {None, self._received}:
            raise BadAnswer(
                f"{self._received:,} bytes arrived, and {length:,} were promised",
                endpoint="results",
                status=200,
                request_id=None,
            )

    async def _take_while_reading(self, chunks: AsyncIterator[bytes], length: int | None) -> None:
        """Check and write in a thread while the next block is read: each half waits much of its time."""
        broken: Exception | None = None
        failed: Exception | None = None

        async def take(blocks: MemoryObjectReceiveStream[bytes]) -> None:
            nonlocal failed
            with blocks:
                try:
                    async for block in blocks:
                        await anyio.to_thread.run_sync(self._write, block)
                        self._received += len(block)
                        if self._received - self._on_its_way > _SYNC_AFTER:
                            self._on_its_way = self._received
                            both.start_soon(self._bring_to_disk)
                        await self._report(self._received, length, self._checker.tally.lines)
                except Exception as error:  # noqa: BLE001  raised below, where no group wraps it
                    failed = error

        send, receive = anyio.create_memory_object_stream[bytes](1)
        async with anyio.create_task_group() as both:
            both.start_soon(take, receive)
            with send:
                try:
                    async for block in _blocks(chunks):
                        await send.send(block)
                except (NoAnswer, BadAnswer) as error:
                    broken = error
                except anyio.BrokenResourceError:
                    pass  # the other half has failed, and knows why
        if failed or broken:
            raise failed or broken  # type: ignore[misc]  # one of them is there

    def _write(self, block: bytes) -> None:
        self._writer.write(block, self._checker.feed(block))

    async def _bring_to_disk(self) -> None:
        """Let the disk write while the download goes on, or all of it would have to be waited for at the end."""
        with suppress(OSError):  # told by the last one, at the end
            await anyio.to_thread.run_sync(os.fsync, self._file.fileno(), abandon_on_cancel=False)

    def _finish(self) -> tuple[Tally, str]:
        self._writer.write(b"", self._checker.finish())
        sha256 = self._writer.finish()
        self._file.flush()
        os.fsync(self._file.fileno())
        return self._checker.tally, sha256


async def _blocks(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The same bytes in larger pieces. What arrived before a break comes before the break."""
    gathered: list[bytes] = []
    size = 0
    broken: Exception | None = None
    try:
        async for chunk in chunks:
            gathered.append(chunk)
            size += len(chunk)
            if size >= _BLOCK:
                yield b"".join(gathered)
                gathered, size = [], 0
    except (NoAnswer, BadAnswer) as error:
        broken = error
    if gathered:
        yield b"".join(gathered)
    if broken:
        raise broken


def _named(part: Path, place: Path, overwrite: bool, saved: SavedFile) -> SavedFile:
    """Give the checked file its name, at once and whole."""
    if overwrite:
        part.replace(place)
    else:
        try:
            place.hardlink_to(part)  # unlike a rename, this fails where the name is taken
        except FileExistsError:
            if sha256_of(place) != saved.sha256:
                raise _exists(place) from None
            part.unlink()
            return SavedFile(place, saved.bytes, saved.sha256, saved.tally, already=True)
        except OSError:  # a file system without links
            if place.exists():
                raise _exists(place) from None
            part.rename(place)
        else:
            part.unlink()
    folder = os.open(place.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    return saved


def _size_of(path: Path) -> int | None:
    with suppress(OSError):
        return path.stat().st_size
    return None


def sha256_of(path: Path) -> str | None:
    """The SHA-256 of a file in hex, or None where it cannot be read."""
    with suppress(OSError), path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
    return None


def _exists(place: Path) -> _Exists:
    return _Exists(f"{place} is there already and holds something else, which is left as it is")


def _kept(part: Path) -> str | None:
    """The name of what arrived; an empty file is removed."""
    with suppress(OSError):
        if part.stat().st_size:
            return str(part)
        part.unlink()
    return None


def _why(problem: Exception) -> str:
    match problem:
        case WrongLine():
            return f"what arrived is not the results of the batch: {problem}"
        case BadAnswer():
            return problem.text
        case NoAnswer():
            return "the download broke again and again"
        case _:
            return "the API does not know the part of the file that was asked for"
