"""From the API to a file that is whole and on the disk, or to none; and only then, where it was asked for, a delete."""

import errno
import os
import stat
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import pytest

from mcp_batch_tools.sandbox import Clock, Fault, Sandbox
from mcp_batch_tools.server import create_server
from mcp_batch_tools.settings import Settings
from tests.conftest import KEY, Connect, SandboxTransport
from tests.support.raw import over_streams
from tests.support.results import line, pieces

pytestmark = pytest.mark.anyio

LINES = [line(name, content=[{"type": "text", "text": f"answer of {name} " * 20}]) for name in ("a", "b", "c")]
WHOLE = b"".join(LINES)


@dataclass
class Answer:
    """What a download is answered with; `broken` says that the connection breaks after the content."""

    content: bytes
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    broken: bool = False


class _Stream(httpx2.AsyncByteStream):
    def __init__(self, answer: Answer) -> None:
        self._answer = answer

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self._answer.content
        if self._answer.broken:
            raise httpx2.ReadError("broken")


class Scripted(SandboxTransport):
    """The sandbox, but downloads are answered one after the other as told, the last one for ever."""

    def __init__(self, sandbox: Sandbox, *answers: Answer) -> None:
        super().__init__(sandbox)
        self._answers = list(answers)
        self.ranges: list[str | None] = []

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        if not request.url.path.endswith("/results"):
            return await super().handle_async_request(request)
        self.ranges.append(request.headers.get("range"))
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        return httpx2.Response(answer.status, headers=answer.headers, stream=_Stream(answer))


def methods(sandbox: Sandbox) -> list[str]:
    return [received.method for received in sandbox.received]


@pytest.fixture
def results(tmp_path: Path) -> Path:
    return tmp_path / "results"


@pytest.mark.parametrize(
    "promised",
    [{"content-length": str(len(WHOLE) + 1)}, {"content-length": str(len(WHOLE) - 1)}],
    ids=["shorter", "longer"],
)
async def test_a_body_of_another_length_than_promised_is_not_whole_though_every_line_is_there(
    connect: Connect, sandbox: Sandbox, results: Path, promised: dict[str, str]
) -> None:
    batch = sandbox.add_batch(3, key=KEY)
    transport = Scripted(sandbox, Answer(WHOLE, headers=promised))
    async with connect(transport=transport) as assistant:
        await assistant.fail("save_message_batch_results", message_batch_id=batch, path="x.jsonl")
        kept = await assistant.call("delete_message_batch", message_batch_id=batch, save_results_to="x.jsonl")
    assert kept["reason"] == "results_not_saved"
    assert not (results / "x.jsonl").exists()
    assert "DELETE" not in methods(sandbox)


def rest(start: int, content: bytes = WHOLE) -> Answer:
    return Answer(content[start:], 206, {"content-range": f"bytes {start}-{len(content) - 1}/{len(content)}"})


BROKEN = Answer(WHOLE[: len(LINES[0]) + 150], headers={"content-length": str(len(WHOLE))}, broken=True)
OTHER_TEXT = LINES[0] + LINES[1].replace(b"answer of b", b"ANSWER OF B") + LINES[2]
OTHER_ORDER = LINES[0] + LINES[2] + LINES[1]


@pytest.mark.parametrize(
    ("answers", "ranges"),
    [
        # Honoured: the line that broke off comes again, whole.
        ([BROKEN, rest(len(LINES[0]))], [None, f"bytes={len(LINES[0])}-"]),
        # Broken off twice in the same line.
        (
            [
                BROKEN,
                Answer(LINES[1][:200], 206, rest(len(LINES[0])).headers, broken=True),
                rest(len(LINES[0])),
            ],
            [None, f"bytes={len(LINES[0])}-", f"bytes={len(LINES[0])}-"],
        ),
        # Ignored: it starts over.
        ([BROKEN, Answer(WHOLE)], [None, f"bytes={len(LINES[0])}-"]),
        # Another order: the line that comes is not the one that broke off, so nothing is put together.
        ([BROKEN, rest(len(LINES[0]), OTHER_ORDER), Answer(WHOLE)], [None, f"bytes={len(LINES[0])}-", None]),
        # The same request with another text: two answers must not become one.
        ([BROKEN, rest(len(LINES[0]), OTHER_TEXT), Answer(WHOLE)], [None, f"bytes={len(LINES[0])}-", None]),
        # Another part of the file than the one asked for.
        ([BROKEN, rest(len(LINES[0]) + 150), Answer(WHOLE)], [None, f"bytes={len(LINES[0])}-", None]),
        # A part of a file of another length.
        ([BROKEN, rest(len(LINES[0]), WHOLE[:-1]), Answer(WHOLE)], [None, f"bytes={len(LINES[0])}-", None]),
        # No such part.
        ([BROKEN, Answer(b"", 416), Answer(WHOLE)], [None, f"bytes={len(LINES[0])}-", None]),
    ],
    ids=["honoured", "twice", "ignored", "other order", "other text", "other part", "other length", "refused"],
)
async def test_a_download_that_broke_in_a_line_goes_on_at_its_beginning(
    connect: Connect, sandbox: Sandbox, results: Path, answers: list[Answer], ranges: list[str | None]
) -> None:
    batch = sandbox.add_batch(3, key=KEY)
    transport = Scripted(sandbox, *answers)
    async with connect(transport=transport) as assistant:
        await assistant.call("save_message_batch_results", message_batch_id=batch, path="x.jsonl")
    assert (results / "x.jsonl").read_bytes() == WHOLE
    assert transport.ranges == ranges


@dataclass(frozen=True)
class Synced:
    """What was there when something was brought to the disk."""

    folder: bool
    bytes: int
    named: bool


def recording(monkeypatch: pytest.MonkeyPatch, place: Path) -> list[Synced]:
    """Watch what the operating system is asked to bring to the disk; a test cannot pull the plug."""
    synced: list[Synced] = []
    sync: Callable[[int], None] = os.fsync

    def fsync(descriptor: int) -> None:
        status = os.fstat(descriptor)
        synced.append(Synced(stat.S_ISDIR(status.st_mode), status.st_size, place.exists()))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    return synced


@pytest.mark.parametrize("name", ["x.jsonl", "x.jsonl.gz", "x.parquet"])
async def test_a_file_is_on_the_disk_before_it_gets_its_name_and_the_name_before_it_is_told(
    connect: Connect, sandbox: Sandbox, results: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    batch = sandbox.add_batch(3, key=KEY)
    synced = recording(monkeypatch, results / name)
    async with connect() as assistant:
        answer = await assistant.call("save_message_batch_results", message_batch_id=batch, path=name)
    files = [entry for entry in synced if not entry.folder]
    assert files[-1] == Synced(folder=False, bytes=answer["bytes"], named=False)
    assert synced[-1].folder
    assert synced[-1].named


@pytest.mark.parametrize("of_folder", [False, True])
async def test_where_the_disk_fails_nothing_is_told_to_be_saved_and_nothing_is_deleted(
    connect: Connect, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, of_folder: bool
) -> None:
    batch = sandbox.add_batch(3, key=KEY)

    def fsync(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode) == of_folder:
            raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", fsync)
    async with connect() as assistant:
        await assistant.fail("save_message_batch_results", message_batch_id=batch)
        kept = await assistant.call("delete_message_batch", message_batch_id=batch, save_results_to="x.jsonl")
    assert kept["reason"] == "results_not_saved"
    assert "DELETE" not in methods(sandbox)


class Watching(SandboxTransport):
    """Notes what a file holds when the delete is sent."""

    def __init__(self, sandbox: Sandbox, place: Path, synced: list[Synced]) -> None:
        super().__init__(sandbox)
        self._place = place
        self._synced = synced
        self.seen: list[tuple[bytes, bool]] = []

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        if request.method == "DELETE":
            on_disk = any(entry.folder and entry.named for entry in self._synced)
            self.seen.append((self._place.read_bytes(), on_disk))
        return await super().handle_async_request(request)


def answering(choice: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda _: {"result": {"action": "accept", "content": {"choice": choice}}}


@pytest.mark.parametrize("way", ["argument", "choice"])
async def test_results_are_whole_and_on_the_disk_when_the_delete_is_sent(
    sandbox: Sandbox, clock: Clock, results: Path, monkeypatch: pytest.MonkeyPatch, era: str, way: str
) -> None:
    batch = sandbox.add_batch(3, key=KEY, results=pieces(*LINES))
    place = results / f"{batch}.jsonl"
    transport = Watching(sandbox, place, recording(monkeypatch, place))
    server = create_server(Settings.load(api_key=KEY), transport=transport, clock=clock)
    arguments = {"message_batch_id": batch}
    if way == "argument":
        arguments["save_results_to"] = place.name
    async with over_streams(server, era, {"elicitation": {}}) as raw:
        choice = "delete" if way == "argument" else "save, then delete"
        done = await raw.call("delete_message_batch", arguments, answering(choice))
    assert done is not None
    assert done["result"]["structuredContent"]["results_saved_to"] == str(place)
    assert transport.seen == [(WHOLE, True)]


@pytest.mark.parametrize(
    ("way", "why"),
    [
        *((way, why) for way in ("argument", "choice") for why in ("refused", "not whole", "name taken", "folder")),
        ("argument", "archived"),  # where nothing can be lost nobody is asked
    ],
)
async def test_where_results_cannot_be_saved_no_delete_is_sent(
    sandbox: Sandbox, clock: Clock, results: Path, era: str, way: str, why: str
) -> None:
    lines = LINES[:2] if why == "not whole" else LINES
    age = 40 * 86400 if why == "archived" else 3600
    batch = sandbox.add_batch(3, key=KEY, results=pieces(*lines), age=age)
    place = results / f"{batch}.jsonl"
    if why == "refused":
        sandbox.faults.append(Fault("results", status=403))
    if why == "name taken":
        results.mkdir()
        place.write_text("something of the user")
    if why == "folder":
        results.write_text("a file where the folder should be")
    server = create_server(Settings.load(api_key=KEY), transport=SandboxTransport(sandbox), clock=clock)
    arguments = {"message_batch_id": batch}
    if way == "argument":
        arguments["save_results_to"] = place.name
    async with over_streams(server, era, {"elicitation": {}}) as raw:
        choice = "delete" if way == "argument" else "save, then delete"
        done = await raw.call("delete_message_batch", arguments, answering(choice))
    assert done is not None
    assert "DELETE" not in methods(sandbox)
    if why == "name taken":
        assert place.read_text() == "something of the user"
    assert done["result"]["structuredContent"]["reason"] == "results_not_saved"
