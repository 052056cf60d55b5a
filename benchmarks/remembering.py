"""List, get and create beside a ledger that remembers much: how much longer they take than beside an empty one."""

import hashlib
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path

import anyio

from benchmarks.figures import Figure
from benchmarks.processes import MESSAGE_BATCH_ID, OURS, Connection, surroundings
from mcp_batch_tools.ledger.database import Database, Transaction
from mcp_batch_tools.ledger.receipts import Intent, complete_receipt, open_receipt, read_receipts
from mcp_batch_tools.submissions.match import Listed
from mcp_batch_tools.submissions.store import Claim, answered, claim, mark_sent

AT_ONCE = 10_000
"""Rows in one transaction."""
DAY = 24 * 60 * 60 * 1000
REQUEST = {"model": "claude-haiku-4-5", "max_tokens": 10}


def measure(rounds: int, receipts: int, submissions: int) -> list[Figure]:
    """Two servers with a ledger each are asked the same in turn; the values are milliseconds of difference."""
    taken: dict[str, dict[str, list[float]]] = {}
    with surroundings() as (environment, folder):
        states = {name: folder / name for name in ("empty", "full")}
        servers = {
            name: Connection(OURS, {**environment, "MCP_BATCH_TOOLS_STATE_DIR": str(state)})
            for name, state in states.items()
        }
        for server in servers.values():
            server.delete()  # makes the ledger, and tells under which scope
        anyio.run(_fill, next(states["full"].rglob("ledger.db")).parent, receipts, submissions)
        numbers = {name: count() for name in servers}
        for name, ask in ACTS.items():
            taken[name] = {"empty": [], "full": []}
            for number in range(rounds + 5):
                for which, server in servers.items():
                    begin = time.perf_counter()
                    ask(server, next(numbers[which]))
                    if number >= 5:
                        taken[name][which].append((time.perf_counter() - begin) * 1000)
        for server in servers.values():
            server.close()
    beside = f"{receipts:,} receipts, {submissions:,} submissions" if receipts >= AT_ONCE else "few of both"
    return [
        Figure(
            f"{name} beside a full ledger", f"an empty one ({beside})",
            [full - empty for full, empty in zip(times["full"], times["empty"], strict=True)],
            unit="ms more", bar="+2", aim="0", detail={f"{which}, ms": all_of for which, all_of in times.items()},
        )
        for name, times in taken.items()
    ]  # fmt: skip


def _create(server: Connection, number: int) -> None:
    message = {"role": "user", "content": f"Hello number {number}."}
    created = server.call(
        "create_message_batch", requests=[{"custom_id": "a", "params": {**REQUEST, "messages": [message]}}]
    )
    assert created["type"] == "message_batch_created", created


ACTS: dict[str, Callable[[Connection, int], object]] = {
    "list": lambda server, _: server.call("list_message_batches"),
    "get": lambda server, _: server.call("get_message_batch", message_batch_id=MESSAGE_BATCH_ID),
    "create": _create,
}


async def _fill(folder: Path, receipts: int, submissions: int) -> None:
    """Through the functions that the server itself writes with; over the last 20 days."""
    scope = next(iter(read_receipts(folder))).scope
    database = Database(folder)
    now = time.time_ns() // 1_000_000
    for start in range(0, receipts, AT_ONCE):

        def write_receipts(transaction: Transaction, start: int = start) -> None:
            for number in range(start, min(start + AT_ONCE, receipts)):
                at = now - 20 * DAY * (receipts - number) // receipts
                receipt = open_receipt(transaction, _intent(scope, number, at), at)
                complete_receipt(transaction, receipt, "done", now=at + 1)

        await database.write(write_receipts)
    for start in range(0, submissions, AT_ONCE):

        def write_submissions(transaction: Transaction, start: int = start) -> None:
            for number in range(start, min(start + AT_ONCE, submissions)):
                at = now - 20 * DAY * (submissions - number) // submissions
                attempt = claim(transaction, _claim(scope, number, at), at)
                assert attempt is not None
                assert mark_sent(transaction, attempt, at, at + 1)
                batch = Listed(f"msgbatch_made{number:018}", at, 1)
                answered(transaction, attempt, batch, at, request_id=f"req_{number}")

        await database.write(write_submissions)
    database.close()


def _intent(scope: str, number: int, at: int) -> Intent:
    counts = {"processing": 0, "succeeded": 100, "errored": 0, "canceled": 0, "expired": 0}
    return Intent(scope, "delete", f"msgbatch_gone{number:018}", at - DAY, counts, "asked and accepted", "benchmark 1")


def _claim(scope: str, number: int, at: int) -> Claim:
    fingerprint = hashlib.sha256(str(number).encode()).hexdigest()
    return Claim(
        scope=scope, plan_fingerprint=fingerprint, round=0, fingerprint=fingerprint, copy=1, part=0, parts=1,
        requests=1, retry_of=None, seq=None, label=f"label {number % 1000}", estimate_usd="0.001", consent="below",
        consent_id=None, client="benchmark 1", newest_before=None, newest_created_at=None, api_claimed=at,
        lease_expires_at=at + 60_000, models=["claude-haiku-4-5"], hashes=hashlib.sha256(fingerprint.encode()).digest(),
    )  # fmt: skip
