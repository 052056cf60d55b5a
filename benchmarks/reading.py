"""Reading a page of results with a filter that finds nothing, so that the whole file goes by, and who waits for it."""

import time
from pathlib import Path

from benchmarks.figures import Figure
from benchmarks.processes import MESSAGE_BATCH_ID, OURS, Connection, surroundings
from benchmarks.saving import write_results


def measure(rounds: int, megabytes: int, folder: Path) -> list[Figure]:
    """Seconds for the page, and the longest that another call of the same server waited meanwhile."""
    lines = megabytes * 1_000_000 // 9_500
    source = folder / "filtered.jsonl"
    write_results(source, 9_500, lines)
    seconds, waits = [], []
    with surroundings(source, lines) as (environment, _):
        connection = Connection(OURS, environment)
        connection.call("get_message_batch", message_batch_id=MESSAGE_BATCH_ID)
        for number in range(rounds + 1):
            page, longest = _page(connection)
            if number:
                seconds.append(page)
                waits.append(longest * 1000)
        connection.close()
    source.unlink()
    return [
        Figure(f"a page that finds nothing in {megabytes} MB", "", seconds, unit="s", bar="0.6 s", aim="0.4 s"),
        Figure("the longest wait of another call meanwhile", "", waits, unit="ms", bar="off the event loop"),
    ]


def _page(connection: Connection) -> tuple[float, float]:
    arguments = {"message_batch_id": MESSAGE_BATCH_ID, "outcome": "errored"}
    begin = time.perf_counter()
    page = connection.send("tools/call", {"name": "read_message_batch_results", "arguments": arguments})
    longest = 0.0
    while True:
        time.sleep(0.005)
        sent = time.perf_counter()
        other = connection.send("ping", {})
        while True:
            answer = connection.receive()
            if answer.get("id") == page:
                assert not answer["result"].get("isError"), answer
                return time.perf_counter() - begin, max(longest, time.perf_counter() - sent)
            if answer.get("id") == other:
                longest = max(longest, time.perf_counter() - sent)
                break
