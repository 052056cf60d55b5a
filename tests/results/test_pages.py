"""Looking through results for a page: in a thread, no further than the page needs, and on from where it stopped."""

import threading
from collections.abc import AsyncIterator

import anyio
import anyio.lowlevel
import pytest

from mcp_batch_tools.results.lines import LineFacts
from mcp_batch_tools.results.pages import scan
from tests.support.results import line

pytestmark = pytest.mark.anyio

CONTENT = b"".join(line(f"request-{number}") for number in range(10))


async def arriving(content: bytes, size: int) -> AsyncIterator[bytes]:
    for start in range(0, len(content), size):
        yield content[start : start + size]


async def test_the_event_loop_is_free_while_lines_are_looked_through() -> None:
    others_ran = threading.Event()
    waited: list[bool] = []

    def accept(_: LineFacts, __: bytes) -> bool:
        waited.append(others_ran.wait(5))
        return True

    async def other_call() -> None:
        await anyio.lowlevel.checkpoint()
        others_ran.set()

    async with anyio.create_task_group() as both:
        both.start_soon(other_call)
        found = await scan(arriving(line("a"), 100), 0, accept, lambda: 0.0)
    assert waited == [True]
    assert found.summary.lines == 1


@pytest.mark.parametrize("size", [1, 7, 100, 10_000])
@pytest.mark.parametrize("newline", [True, False])
async def test_a_page_ends_before_the_line_that_does_not_fit_and_the_next_begins_with_it(
    size: int, newline: bool
) -> None:
    content = CONTENT if newline else CONTENT[:-1]
    seen: list[str] = []
    offset: int | None = 0
    pages = 0
    while offset is not None:
        room = 4

        def accept(facts: LineFacts, raw: bytes) -> bool:
            nonlocal room
            room -= 1
            if room >= 0:
                assert raw.rstrip(b"\n") == line(facts.custom_id).rstrip(b"\n")
                seen.append(facts.custom_id)
            return room >= 0

        found = await scan(arriving(content[offset:], size), offset, accept, lambda: 0.0)
        offset = found.next_offset
        pages += 1
    assert seen == [f"request-{number}" for number in range(10)]
    assert pages == 3


async def test_a_full_page_reads_nothing_more() -> None:
    accepted: list[str] = []

    def accept(facts: LineFacts, _: bytes) -> bool:
        accepted.append(facts.custom_id)
        return True

    found = await scan(arriving(CONTENT, 10_000), 0, accept, lambda: 0.0, full=lambda: len(accepted) == 3)
    assert accepted == ["request-0", "request-1", "request-2"]
    assert found.next_offset == 3 * len(line("request-0"))
    assert not found.stopped_early


async def test_a_scan_that_takes_too_long_stops_early_and_says_where() -> None:
    times = iter([0.0, 31.0])
    found = await scan(arriving(CONTENT, 10**6), 5000, lambda _, __: True, lambda: next(times))
    assert found.stopped_early
    assert found.next_offset == 5000 + len(CONTENT)
