"""What is left of a save when its server ends, and what the next server makes of it."""

import errno
import hashlib
import os
import signal
import stat
import sys
import time
from collections.abc import Iterable
from pathlib import Path

import pytest

from mcp_batch_tools.results.parts import part_of
from mcp_batch_tools.sandbox import Clock, Sandbox
from tests.conftest import KEY, Connect
from tests.results.test_saving import calling
from tests.support.feeding import Feeding, long_lines
from tests.support.pacing import Pacing
from tests.support.processes import started
from tests.support.results import line
from tests.support.serving import served

pytestmark = pytest.mark.anyio
SAVE = "save_message_batch_results"
LINES = [line(name) for name in "abc"]
WHOLE = b"".join(LINES)


@pytest.fixture
def results(tmp_path: Path) -> Path:
    return tmp_path / "results"


@pytest.fixture
def batch(sandbox: Sandbox) -> str:
    return sandbox.add_batch(3, key=KEY)


@pytest.fixture
def place(results: Path, batch: str) -> Path:
    results.mkdir()
    return results / f"{batch}.jsonl"


async def test_when_the_server_ends_what_arrived_is_kept_and_the_next_one_asks_for_the_rest(
    connect: Connect, sandbox: Sandbox, batch: str, results: Path, era: str
) -> None:
    upstream = Feeding(sandbox, long_lines(3), ranges=True)
    place = results / f"{batch}.jsonl"
    async with connect(era, transport=upstream) as assistant, calling(assistant, SAVE, message_batch_id=batch) as call:
        upstream.let(2)
        await call.told(len(upstream.lines[0]) * 2)
    part = part_of(place, batch)
    assert [path.name for path in results.iterdir()] == [part.name]
    assert part.read_bytes() == b"".join(upstream.lines[:2])
    assert stat.S_IMODE(part.stat().st_mode) == 0o600
    upstream.let()
    async with connect(era, transport=upstream) as assistant:
        answer = await assistant.call(SAVE, message_batch_id=batch)
        again = await assistant.call(SAVE, message_batch_id=batch)
    assert answer["sha256"] == again["sha256"]
    assert answer["lines"] == {"succeeded": 3}
    assert place.read_bytes() == upstream.whole
    assert upstream.ranges == [None, f"bytes={len(upstream.lines[0])}-"]
    assert upstream.sent == len(upstream.whole + upstream.lines[1])
    assert [path.name for path in results.iterdir()] == [place.name]


@pytest.mark.parametrize("name", ["x.jsonl.gz", "x.parquet"])
async def test_of_a_file_that_cannot_be_gone_on_with_nothing_is_left(
    connect: Connect, sandbox: Sandbox, batch: str, results: Path, name: str
) -> None:
    upstream = Feeding(sandbox, long_lines(3), ranges=True)
    async with (
        connect(transport=upstream) as assistant,
        calling(assistant, SAVE, message_batch_id=batch, path=name) as call,
    ):
        upstream.let(1)
        await call.told(len(upstream.lines[0]))
    assert list(results.iterdir()) == []


@pytest.mark.parametrize(
    ("left", "ranges"),
    [
        (LINES[0] + LINES[1], [f"bytes={len(LINES[0])}-"]),  # the last line must come again, the same
        (WHOLE[:-50], [f"bytes={len(LINES[0])}-"]),
        (WHOLE, [f"bytes={len(LINES[0] + LINES[1])}-"]),  # killed just before the end
        (LINES[0] + LINES[1][:50], [None]),
        (LINES[0][:50], [None]),
        (b"", [None]),
        (b"something else", [None]),
        (b"something else\n", [None, None]),
        (WHOLE[:-50] + b"\0" * 50, [f"bytes={len(LINES[0])}-"]),  # as after a loss of power
        (LINES[0] + b"\0" * 50 + b"\n", [f"bytes={len(LINES[0])}-", None]),
        (b"\0" * 50 + b"\n" + LINES[0] + LINES[1], [None]),
        (LINES[0] + LINES[0], [f"bytes={len(LINES[0])}-", None]),
        (LINES[0] + line("z"), [f"bytes={len(LINES[0])}-", None]),
        (LINES[0] + line("z") + line("y"), [f"bytes={len(LINES[0] + line('z'))}-", None]),
        (WHOLE + LINES[0], [f"bytes={len(WHOLE)}-", None]),
    ],
    ids=range(15),
)
@pytest.mark.parametrize("honoured", [True, False])
async def test_what_was_left_counts_only_where_it_fits(
    connect: Connect,
    sandbox: Sandbox,
    batch: str,
    place: Path,
    left: bytes,
    ranges: list[str | None],
    honoured: bool,
) -> None:
    upstream = Feeding(sandbox, LINES, ranges=honoured)
    upstream.let()
    part_of(place, batch).write_bytes(left)
    async with connect(transport=upstream) as assistant:
        answer = await assistant.call(SAVE, message_batch_id=batch)
    assert place.read_bytes() == WHOLE
    assert answer["lines"] == {"succeeded": 3}
    assert [path.name for path in place.parent.iterdir()] == [place.name]
    if honoured:
        assert upstream.ranges == ranges


async def test_a_name_that_a_killed_server_left_on_a_published_file_is_taken_away_and_the_file_stays_as_it_is(
    connect: Connect, sandbox: Sandbox, batch: str, place: Path
) -> None:
    upstream = Feeding(sandbox, LINES)
    upstream.let()
    other_order = LINES[1] + LINES[0] + LINES[2]
    place.write_bytes(other_order)
    part_of(place, batch).hardlink_to(place)
    async with connect(transport=upstream) as assistant:
        said = await assistant.fail(SAVE, message_batch_id=batch)
    assert "holds something else" in said
    assert place.read_bytes() == other_order
    assert [path.name for path in place.parent.iterdir()] == [place.name]


async def test_a_link_with_the_name_of_a_part_is_not_followed(
    connect: Connect, sandbox: Sandbox, batch: str, place: Path, tmp_path: Path
) -> None:
    upstream = Feeding(sandbox, LINES)
    upstream.let()
    target = tmp_path / "target"
    target.write_text("of the user")
    part_of(place, batch).symlink_to(target)
    async with connect(transport=upstream) as assistant:
        await assistant.fail(SAVE, message_batch_id=batch)
    assert target.read_text() == "of the user"


@pytest.mark.skipif(sys.platform == "win32", reason="owners of POSIX")
async def test_what_another_user_left_is_not_gone_on_with(
    connect: Connect, sandbox: Sandbox, batch: str, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upstream = Feeding(sandbox, LINES, ranges=True)
    upstream.let()
    part_of(place, batch).write_bytes(LINES[0] + LINES[1])
    monkeypatch.setattr(os, "geteuid", iter([os.geteuid() + 1, os.geteuid()]).__next__)
    async with connect(transport=upstream) as assistant:
        await assistant.call(SAVE, message_batch_id=batch)
    assert upstream.ranges == [None]
    assert place.read_bytes() == WHOLE


@pytest.mark.skipif(sys.platform == "win32", reason="locks of POSIX")
async def test_where_the_file_system_knows_no_locks_a_save_has_a_part_of_its_own(
    connect: Connect, sandbox: Sandbox, batch: str, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fcntl

    def flock(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    upstream = Feeding(sandbox, LINES, ranges=True)
    upstream.let()
    left = part_of(place, batch)
    left.write_bytes(LINES[0] + LINES[1])
    monkeypatch.setattr(fcntl, "flock", flock)
    async with connect(transport=upstream) as assistant:
        await assistant.call(SAVE, message_batch_id=batch)
    assert upstream.ranges == [None]
    assert place.read_bytes() == WHOLE
    assert left.read_bytes() == LINES[0] + LINES[1]


async def test_parts_that_nobody_came_back_to_for_a_day_are_removed_and_nothing_else(
    connect: Connect, sandbox: Sandbox, clock: Clock, place: Path, batch: str
) -> None:
    upstream = Feeding(sandbox, LINES, ranges=True)
    upstream.let()
    day = 86400.0

    def left(name: str, age: float) -> Path:
        path = place.parent / name
        path.write_bytes(LINES[0] + LINES[1])
        os.utime(path, (clock.now().timestamp() - age,) * 2)
        return path

    kept: Iterable[Path] = [
        left("young.jsonl.0123abcd.part", day - 60),
        left("notes.part", 9 * day),
        left("x.jsonl", 9 * day),
        left("x.txt.0123abcd.part", 9 * day),
    ]
    left("old.jsonl.0123abcd.part", day + 60)
    left("old.parquet.0123abcd.part", day + 60)
    left("old.jsonl.gz.0123abcd.part", day + 60)
    left(part_of(place, batch).name, 9 * day)
    async with connect(transport=upstream) as assistant:
        await assistant.call(SAVE, message_batch_id=batch)
    assert {path.name for path in place.parent.iterdir()} == {place.name, *(path.name for path in kept)}
    assert upstream.ranges == [f"bytes={len(LINES[0])}-"]


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, None], ids=["killed", "terminated", "end of input"])
def test_what_a_server_process_left_is_gone_on_with_by_the_next_one(results: Path, how: signal.Signals | None) -> None:
    upstream = Pacing(ranges=True, before=5_000_000)
    batch = upstream.add_batch(4000, key=KEY, text_characters=2000)
    with served(upstream) as address:
        with started(address) as server:
            asked = {"name": SAVE, "arguments": {"message_batch_id": batch}}
            server.send({"jsonrpc": "2.0", "id": 99, "method": "tools/call", "params": asked})
            part = part_of(results / f"{batch}.jsonl", batch)
            deadline = time.monotonic() + 60
            while not (part.exists() and part.stat().st_size > 2_000_000) and time.monotonic() < deadline:
                time.sleep(0.01)
            if how is None:
                assert server.finish()[0] == 0
            else:
                server.process.send_signal(how)
                server.process.wait(60)
        left = part.read_bytes()
        upstream.bytes_per_second = 1e9
        with started(address) as server:
            answer = server.call(SAVE, message_batch_id=batch)["structuredContent"]
    assert len(left) > 2_000_000
    assert answer["lines"] == {"succeeded": 4000}
    content = (results / f"{batch}.jsonl").read_bytes()
    assert content.startswith(left)
    assert answer["sha256"] == hashlib.sha256(content).hexdigest()
    offset = left.rfind(b"\n", 0, left.rfind(b"\n")) + 1
    assert upstream.ranges == [None, f"bytes={offset}-"]
    assert [path.name for path in results.iterdir()] == [f"{batch}.jsonl"]
