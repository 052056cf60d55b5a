"""Saves that take longer than a call: they go on, are joined, end, and are found again."""

import asyncio
import gc
import weakref
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import Client

from mcp_batch_tools.results.errors import SaveFailed
from mcp_batch_tools.results.saving import Progress, Saves
from mcp_batch_tools.sandbox import Clock, Sandbox
from mcp_batch_tools.server import create_server
from mcp_batch_tools.settings import Settings
from tests.conftest import ERAS, KEY, Assistant, Connect
from tests.support.feeding import Feeding, long_lines
from tests.support.pacing import Pacing
from tests.support.raw import over_streams
from tests.support.results import line
from tests.support.serving import served

pytestmark = pytest.mark.anyio
SAVE = "save_message_batch_results"
DELETE = "delete_message_batch"


@pytest.fixture
def results(tmp_path: Path) -> Path:
    return tmp_path / "results"


@pytest.fixture
def upstream(sandbox: Sandbox) -> Feeding:
    return Feeding(sandbox, long_lines(3))


@pytest.fixture
def batch(sandbox: Sandbox) -> str:
    return sandbox.add_batch(3, key=KEY)


def deletes(sandbox: Sandbox) -> int:
    return sum(received.method == "DELETE" for received in sandbox.received)


class Waiting:
    """A call that waits for its answer, and the bytes that it was told as progress."""

    def __init__(self, assistant: Assistant, tool: str, arguments: dict[str, Any]) -> None:
        self.bytes = 0.0
        self.call = asyncio.create_task(assistant.client.call_tool(tool, arguments, progress_callback=self._progress))

    async def _progress(self, progress: float, total: float | None, message: str | None) -> None:
        assert progress > self.bytes
        self.bytes = progress

    async def told(self, size: int) -> None:
        """Wait until it was told of so many bytes."""
        await until(lambda: self.bytes >= size)

    async def answer(self) -> dict[str, Any]:
        facts: dict[str, Any] | None = (await self.call).structured_content
        assert facts is not None
        return facts


@asynccontextmanager
async def calling(assistant: Assistant, tool: str, **arguments: Any) -> AsyncIterator[Waiting]:
    """A call that is given up in the end."""
    waiting = Waiting(assistant, tool, arguments)
    try:
        yield waiting
    finally:
        waiting.call.cancel()
        with suppress(asyncio.CancelledError):
            await waiting.call


async def until(condition: Callable[[], bool]) -> None:
    with anyio.fail_after(30):
        while not condition():  # noqa: ASYNC110  neither a file nor the callback of a client sets an event
            await anyio.sleep(0.001)


async def test_a_save_goes_on_when_its_caller_is_gone_and_the_next_call_joins_it(
    connect: Connect, batch: str, upstream: Feeding, results: Path, era: str
) -> None:
    async with connect(era, transport=upstream) as assistant:
        async with calling(assistant, SAVE, message_batch_id=batch) as call:
            upstream.let(1)
            await call.told(len(upstream.lines[0]))
        async with calling(assistant, SAVE, message_batch_id=batch) as call:
            await call.told(len(upstream.lines[0]))  # at once: it is told how far the other has come
            upstream.let(2)
            await call.told(len(upstream.lines[0]) * 2)
        upstream.let()
        answer = await assistant.call(SAVE, message_batch_id=batch)
        again = await assistant.call(SAVE, message_batch_id=batch, overwrite=True)
    assert answer["type"] == "message_batch_results_saved"
    assert answer["lines"] == {"succeeded": 3}
    assert (results / f"{batch}.jsonl").read_bytes() == upstream.whole
    assert upstream.sent == len(upstream.whole)
    assert again["already_saved"]
    assert {**again, "message": "", "already_saved": True} == {**answer, "message": "", "already_saved": True}


@pytest.mark.parametrize("arguments", [{}, {"path": "a/x.jsonl"}, {"path": "x.jsonl.gz", "overwrite": True}])
async def test_a_call_answers_after_50_seconds_how_far_the_save_has_come_and_with_the_same_call(
    connect: Connect, batch: str, upstream: Feeding, results: Path, clock: Clock, arguments: dict[str, Any]
) -> None:
    async with connect(transport=upstream) as assistant:
        async with calling(assistant, SAVE, message_batch_id=batch, **arguments) as call:
            await upstream.asked()
            clock.advance(49)
            upstream.let(1)
            await call.told(len(upstream.lines[0]))  # it waits
            clock.advance(1)
            answer = await call.answer()
        step = answer["next_steps"][0]
        upstream.let()
        saved = await assistant.call(step["tool"], **step["arguments"])
    assert answer["type"] == "message_batch_results_saving"
    assert (answer["bytes"], answer["lines"], answer["total_lines"]) == (len(upstream.lines[0]), 1, 3)
    assert answer["path"] == str(results / arguments.get("path", f"{batch}.jsonl"))
    assert "1 of 3 requests" in answer["message"]
    assert step["tool"] == SAVE
    assert step["arguments"] == {"message_batch_id": batch, **arguments}
    assert saved["type"] == "message_batch_results_saved"
    assert upstream.sent == len(upstream.whole)


@pytest.mark.parametrize("name", ["x.jsonl", "x.jsonl.gz", "x.parquet"])
async def test_a_file_is_found_again_after_a_restart_and_not_downloaded_again_unless_it_has_changed(
    connect: Connect, batch: str, upstream: Feeding, results: Path, name: str
) -> None:
    upstream.let()
    async with connect(transport=upstream) as assistant:
        first = await assistant.call(SAVE, message_batch_id=batch, path=name)
    async with connect(transport=upstream) as assistant:
        again = await assistant.call(SAVE, message_batch_id=batch, path=name)
        assert len(upstream.ranges) == 1
        content = bytearray((results / name).read_bytes())
        content[500] ^= 1
        (results / name).write_bytes(content)
        said = await assistant.fail(SAVE, message_batch_id=batch, path=name)
        mended = await assistant.call(SAVE, message_batch_id=batch, path=name, overwrite=True)
    assert again == {**first, "message": again["message"], "already_saved": True}
    assert "The same file was there already" in again["message"]
    assert "holds something else" in said
    assert mended["sha256"] == first["sha256"]


async def test_a_failure_that_nobody_waited_for_is_told_once_and_then_the_save_begins_anew(
    connect: Connect, batch: str, upstream: Feeding, results: Path
) -> None:
    async with connect(transport=upstream) as assistant:
        async with calling(assistant, SAVE, message_batch_id=batch):
            await upstream.asked()
        upstream.broken = True
        upstream.let(0)
        await until(lambda: not list(results.iterdir()))
        said = await assistant.fail(SAVE, message_batch_id=batch)
        tries = len(upstream.ranges)
        upstream.broken = False
        upstream.let()
        saved = await assistant.call(SAVE, message_batch_id=batch)
    assert "interrupted too many times" in said
    assert tries == 8
    assert saved["type"] == "message_batch_results_saved"


async def test_of_a_failure_that_is_kept_nothing_stays_in_memory_but_the_error(clock: Clock, tmp_path: Path) -> None:
    class Downloaded:
        pass

    held: list[weakref.ref[Downloaded]] = []

    async def work(_: Any) -> None:
        downloaded = Downloaded()
        held.append(weakref.ref(downloaded))
        try:
            int("no number")
        except ValueError as error:
            raise SaveFailed("write_failed", path="x.jsonl") from error

    async def report(_: Progress) -> None:
        pass

    async with anyio.create_task_group() as tasks:
        saves = Saves(tasks, clock)
        await saves.saved("msgbatch_a", tmp_path / "x.jsonl", work, report, overwrite=False, until=clock.monotonic())
        await until(lambda: bool(held))
        await anyio.wait_all_tasks_blocked()
        gc.collect()
        assert held[0]() is None
        assert saves.unfinished("msgbatch_a")


async def test_a_failure_that_is_old_says_nothing_any_more(
    connect: Connect, batch: str, upstream: Feeding, clock: Clock, results: Path
) -> None:
    async with connect(transport=upstream) as assistant:
        async with calling(assistant, SAVE, message_batch_id=batch):
            await upstream.asked()
        upstream.broken = True
        upstream.let(0)
        await until(lambda: not list(results.iterdir()))
        clock.advance(601)
        upstream.broken = False
        upstream.let()
        saved = await assistant.call(SAVE, message_batch_id=batch)
    assert saved["type"] == "message_batch_results_saved"


@pytest.mark.parametrize("change", ["gone", "other"])
async def test_a_file_that_changed_after_nobody_waited_for_its_end_is_not_told_to_be_saved(
    connect: Connect, batch: str, upstream: Feeding, results: Path, change: str
) -> None:
    place = results / f"{batch}.jsonl"
    async with connect(transport=upstream) as assistant:
        async with calling(assistant, SAVE, message_batch_id=batch):
            await upstream.asked()
        upstream.let()
        while "results_saved_to" not in await assistant.call("get_message_batch", message_batch_id=batch):
            pass
        if change == "gone":
            place.unlink()
            saved = await assistant.call(SAVE, message_batch_id=batch)
            assert saved["already_saved"] is False
        else:
            place.write_bytes(b"x" * place.stat().st_size)
            assert "holds something else" in await assistant.fail(SAVE, message_batch_id=batch)
            await assistant.call(SAVE, message_batch_id=batch, overwrite=True)
    assert place.read_bytes() == upstream.whole


async def test_a_file_that_is_being_saved_to_is_refused_to_every_other_save(
    connect: Connect, sandbox: Sandbox, batch: str, upstream: Feeding, results: Path
) -> None:
    other = sandbox.add_batch(3, key=KEY)
    async with connect(transport=upstream) as assistant, connect(transport=upstream) as second_server:
        async with calling(assistant, SAVE, message_batch_id=batch, path="x.jsonl"):
            await upstream.asked()
            refused = [
                await assistant.fail(SAVE, message_batch_id=other, path="x.jsonl"),
                await assistant.fail(SAVE, message_batch_id=batch, path="x.jsonl", overwrite=True),
                await second_server.fail(SAVE, message_batch_id=batch, path="x.jsonl"),
            ]
            kept = await assistant.call(DELETE, message_batch_id=other, save_results_to="x.jsonl")
        upstream.let()
        await assistant.call(SAVE, message_batch_id=batch, path="x.jsonl")
    for said in (*refused, kept["message"]):
        assert f"Another save is writing to {results / 'x.jsonl'} now" in said
    assert kept["reason"] == "results_not_saved"
    assert not deletes(sandbox)
    assert [path.name for path in results.iterdir()] == ["x.jsonl"]


async def test_four_saves_run_at_once_and_the_others_wait_for_their_turn(
    connect: Connect, sandbox: Sandbox, clock: Clock, upstream: Feeding
) -> None:
    batches = [sandbox.add_batch(3, key=KEY) for _ in range(6)]
    answers: list[dict[str, Any]] = []
    async with connect(transport=upstream) as assistant:
        for _ in range(2):
            async with anyio.create_task_group() as tasks:

                async def save(batch: str) -> None:
                    answers.append(await assistant.call(SAVE, message_batch_id=batch))

                for batch in batches:
                    tasks.start_soon(save, batch)
                await upstream.asked(4)
                if not answers:
                    clock.advance(50)
            if len(answers) == 6:
                assert len(upstream.ranges) == 4
            upstream.let()
    assert [answer["type"] for answer in answers[:6]] == ["message_batch_results_saving"] * 6
    assert [answer["type"] for answer in answers[6:]] == ["message_batch_results_saved"] * 6
    assert upstream.sent == 6 * len(upstream.whole)


async def test_a_file_that_is_there_already_needs_no_turn(
    connect: Connect, sandbox: Sandbox, batch: str, upstream: Feeding
) -> None:
    others = [sandbox.add_batch(3, key=KEY) for _ in range(4)]
    upstream.let()
    async with connect(transport=upstream) as assistant, AsyncExitStack() as calls:
        await assistant.call(SAVE, message_batch_id=batch, path="x.jsonl")
        upstream.let(0)
        for other in others:
            await calls.enter_async_context(calling(assistant, SAVE, message_batch_id=other))
        await upstream.asked(5)
        deleted = await assistant.call(DELETE, message_batch_id=batch, save_results_to="x.jsonl")
    assert deleted["type"] == "message_batch_deleted"


async def test_so_many_saves_that_nobody_can_mean_them_are_refused(
    connect: Connect, sandbox: Sandbox, clock: Clock, upstream: Feeding
) -> None:
    batch = sandbox.add_batch(3, key=KEY)
    async with connect(transport=upstream) as assistant:

        async def save(number: int) -> None:
            await assistant.call(SAVE, message_batch_id=batch, path=f"{number}.jsonl")

        async with anyio.create_task_group() as tasks:
            for number in range(50):
                tasks.start_soon(save, number)
            await upstream.asked(4)
            clock.advance(50)
        said = await assistant.fail(SAVE, message_batch_id=batch, path="one-more.jsonl")
    assert "Too many saves are under way" in said


async def test_a_save_that_takes_hours_is_given_up(
    connect: Connect, batch: str, upstream: Feeding, clock: Clock
) -> None:
    async with connect(transport=upstream) as assistant:
        async with calling(assistant, SAVE, message_batch_id=batch) as call:
            upstream.let(1)
            await call.told(len(upstream.lines[0]))
        clock.advance(6 * 3600 + 1)
        upstream.let(2)
        said = await assistant.fail(SAVE, message_batch_id=batch)
    assert "not whole after 6 hours" in said


async def test_a_delete_whose_saving_takes_longer_than_a_call_deletes_nothing_and_the_same_call_ends_it(
    connect: Connect, sandbox: Sandbox, batch: str, upstream: Feeding, clock: Clock, results: Path, era: str
) -> None:
    async with connect(era, transport=upstream) as assistant:
        async with calling(assistant, DELETE, message_batch_id=batch, save_results_to="x.jsonl") as call:
            await upstream.asked()
            clock.advance(50)
            kept = await call.answer()
        assert not deletes(sandbox)
        upstream.let()
        step = kept["next_steps"][0]
        deleted = await assistant.call(step["tool"], **step["arguments"])
    assert kept["reason"] == "results_not_saved"
    assert "still being saved: 0 of 3 requests" in kept["message"]
    assert "question" not in kept["message"]
    assert step["arguments"] == {"message_batch_id": batch, "save_results_to": "x.jsonl"}
    assert deleted["results_saved_to"] == str(results / "x.jsonl")
    assert (results / "x.jsonl").read_bytes() == upstream.whole
    assert upstream.sent == len(upstream.whole)


async def test_where_the_caller_of_a_delete_is_gone_the_save_ends_and_nothing_else(
    connect: Connect, sandbox: Sandbox, batch: str, upstream: Feeding, results: Path, era: str
) -> None:
    place = results / "x.jsonl"
    async with connect(era, transport=upstream) as assistant:
        async with calling(assistant, DELETE, message_batch_id=batch, save_results_to="x.jsonl"):
            await upstream.asked()
        upstream.let()
        await until(place.exists)
        assert not deletes(sandbox)
        saved = await assistant.call(SAVE, message_batch_id=batch, path="x.jsonl")
        assert not deletes(sandbox)
        deleted = await assistant.call(DELETE, message_batch_id=batch, save_results_to="x.jsonl")
    assert saved["already_saved"] is False  # the answer that nobody waited for
    assert deleted["results_saved_to"] == str(place)
    assert upstream.sent == len(upstream.whole)


async def test_a_plain_delete_waits_for_a_save_of_the_same_batch_that_is_under_way(
    connect: Connect, sandbox: Sandbox, batch: str, upstream: Feeding, clock: Clock, results: Path
) -> None:
    async with connect(transport=upstream) as assistant:
        async with calling(assistant, SAVE, message_batch_id=batch, path="x.jsonl"):
            await upstream.asked()
        async with calling(assistant, DELETE, message_batch_id=batch) as call:
            upstream.let(1)
            await call.told(len(upstream.lines[0]))
            clock.advance(50)
            kept = await call.answer()
        assert not deletes(sandbox)
        upstream.let()
        step = kept["next_steps"][0]
        deleted = await assistant.call(step["tool"], **step["arguments"])
    assert kept["reason"] == "results_not_saved"
    assert deleted["results_saved_to"] == str(results / "x.jsonl")


async def test_a_plain_delete_is_told_of_a_save_that_failed_while_nobody_waited_and_is_led_to_save_again(
    connect: Connect, sandbox: Sandbox, batch: str, upstream: Feeding, results: Path
) -> None:
    async with connect(transport=upstream) as assistant:
        async with calling(assistant, SAVE, message_batch_id=batch, path="x.jsonl"):
            await upstream.asked()
        upstream.broken = True
        upstream.let(0)
        await until(lambda: not list(results.iterdir()))
        kept = await assistant.call(DELETE, message_batch_id=batch)
        assert not deletes(sandbox)
        upstream.broken = False
        upstream.let()
        step = kept["next_steps"][0]
        deleted = await assistant.call(step["tool"], **step["arguments"])
    assert kept["reason"] == "results_not_saved"
    assert "interrupted too many times" in kept["message"]
    assert deleted["results_saved_to"] == str(results / "x.jsonl")


async def test_a_choice_to_save_first_is_kept_in_the_next_call_though_the_question_is_asked_again(
    sandbox: Sandbox, batch: str, upstream: Feeding, clock: Clock, results: Path, era: str
) -> None:
    def choosing(choice: str) -> Any:
        return lambda _: {"result": {"action": "accept", "content": {"choice": choice}}}

    server = create_server(Settings.load(api_key=KEY), transport=upstream, clock=clock)
    async with over_streams(server, era, {"elicitation": {}}) as raw:
        async with anyio.create_task_group() as tasks:

            async def pass_50_seconds() -> None:
                await upstream.asked()
                clock.advance(50)

            tasks.start_soon(pass_50_seconds)
            said = await raw.call(DELETE, {"message_batch_id": batch}, choosing("save, then delete"))
        assert said is not None
        kept = said["result"]["structuredContent"]
        upstream.let()
        done = await raw.call(DELETE, kept["next_steps"][0]["arguments"], choosing("delete"))
    assert done is not None
    assert kept["reason"] == "results_not_saved"
    assert "The question is asked again then" in kept["message"]
    assert len(raw.asked) == 2
    assert done["result"]["structuredContent"]["results_saved_to"] == str(results / f"{batch}.jsonl")
    assert upstream.sent == len(upstream.whole)
    assert deletes(sandbox) == 1


async def test_on_a_slow_line_progress_is_told_every_second_though_little_has_come(
    connect: Connect, sandbox: Sandbox, clock: Clock
) -> None:
    upstream = Feeding(sandbox, [line("a"), line("b"), line("c")])
    batch = sandbox.add_batch(3, key=KEY)
    async with connect(transport=upstream) as assistant, calling(assistant, SAVE, message_batch_id=batch) as call:
        await upstream.asked()
        clock.advance(1)
        upstream.let(1)
        await call.told(len(upstream.lines[0]))


@pytest.mark.slow
async def test_a_client_that_gives_up_again_and_again_gets_the_whole_file_and_each_byte_is_downloaded_once(
    results: Path, era: str
) -> None:
    upstream = Pacing(ranges=False, bytes_per_second=5_000_000)
    batch = upstream.add_batch(8000, key=KEY, text_characters=1500)
    calls = 0
    with served(upstream) as address:
        server = create_server(Settings.load(api_key=KEY, base_url=address))
        async with Client(server, mode=ERAS[era]) as client:
            answer = None
            while answer is None and calls < 100:
                calls += 1
                with anyio.move_on_after(0.4):
                    answer = await Assistant(client).call(SAVE, message_batch_id=batch)
    assert answer is not None
    assert answer["lines"] == {"succeeded": 8000}
    assert calls > 3
    assert upstream.ranges == [None]
    assert upstream.sent == (results / f"{batch}.jsonl").stat().st_size == answer["bytes"]
