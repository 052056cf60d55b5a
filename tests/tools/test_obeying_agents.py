"""Programs that obey: one makes the first call of the newest `next_steps`, one takes every advice in its worst sense.

They read `next_steps` and the words of a message, and nothing else. Where saving was asked for, neither deletes what
was not saved, over every state, refusal and fault.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from mcp_batch_tools.sandbox import Clock, Fault, Sandbox
from mcp_batch_tools.server import create_server
from mcp_batch_tools.settings import Settings
from tests.conftest import KEY, SandboxTransport
from tests.support.consent import answering
from tests.support.raw import Answer, Person, StreamClient, over_streams
from tests.support.seeds import dice, rounds
from tests.support.upstream import held

pytestmark = pytest.mark.anyio

STATES: dict[str, dict[str, Any]] = {
    "in progress": {"status": "in_progress"},
    "canceling": {"status": "canceling"},
    "ended": {},
}
CLIENTS: dict[str, tuple[dict[str, Any], Answer, float]] = {
    "cannot ask": ({}, answering("disconnect"), 0),
    "shows the question, and the person agrees": ({"elicitation": {}}, answering("accept"), 2),
    "closes the question itself": ({"elicitation": {}}, answering("dismiss"), 0.02),
    "fills in nothing": ({"elicitation": {}}, answering("empty"), 2),
    "answers with an error": ({"elicitation": {}}, answering("error"), 2),
}
FAULTS: dict[str, Callable[[], list[Fault]]] = {
    "none": list,
    "the look is refused once": lambda: [Fault("retrieve", status=403)],
    "the look fails for a while": lambda: [Fault("retrieve", status=500, times=3)],
    "the look is lost": lambda: [Fault("retrieve", cut="before", times=4)],
    "the cancellation is lost": lambda: [Fault("cancel", cut="after")],
    "the cancellation is refused": lambda: [Fault("cancel", status=400)],
    "the delete is lost": lambda: [Fault("delete", cut="after", times=4)],
    "the delete is refused": lambda: [Fault("delete", status=400)],
    "the delete fails": lambda: [Fault("delete", status=500, times=4)],
    "the results are refused": lambda: [Fault("results", status=403, times=2)],
    "the results break off": lambda: [Fault("results", cut="after", times=9)],
    "the results are something else": lambda: [Fault("results", body=b"<html>\n", times=2)],
    "the results are gone": lambda: [Fault("results", status=404, times=2)],
}
NAMES = [None, "r.jsonl", "results.csv", "../r.jsonl", "~/Documents/r.jsonl", "out.JSONL ", "file:///tmp/r.jsonl"]

Call = tuple[str, dict[str, Any]]


@dataclass
class Told:
    """What such a program reads of an answer."""

    steps: list[Call]
    message: str


@dataclass
class Agent:
    """One conversation about one batch, and the calls that were made in it."""

    client: StreamClient
    clock: Clock
    answer: Answer
    calls: list[Call] = field(default_factory=list)

    async def make(self, call: Call) -> Told:
        self.calls.append(call)
        self.clock.advance(30)
        said = await self.client.call(*call, self.answer)
        assert said is not None
        assert "error" not in said, said
        result = said["result"]
        facts = {} if result.get("isError") else result["structuredContent"]
        text = "\n".join(block["text"] for block in result["content"])
        steps = [(step["tool"], step["arguments"]) for step in facts.get("next_steps", [])]
        return Told(steps, facts.get("message", "" if facts else text))


def readings(told: Told, last: Call) -> list[Call]:
    """Every call that an answer can be taken to advise, in the worst sense of its words."""
    tool, arguments = last
    batch = {"message_batch_id": arguments["message_batch_id"]}
    calls = [*told.steps]
    for sentence in re.split(r"(?<=[.;:])\s+", told.message):
        without = {name for name in arguments if re.search(rf"without {name}|leave (it|{name}) out", sentence)}
        left = {name: value for name, value in arguments.items() if name not in without}
        if without or re.search(r"\bagain\b|[Rr]epeat|same call", sentence):
            calls.append((tool, left))
        calls += [(name, batch) for name in re.findall(r"(?:call|[Cc]all) (\w+_message_batch\w*)(?! again)", sentence)]
        if re.search(r"[Dd]elete (it|the batch|the record)\b", sentence) and "eleted" not in sentence:
            calls.append(("delete_message_batch", batch))
        if re.search(r"[Cc]ancel it\b", sentence):
            calls.append(("cancel_message_batch", batch))
    return [(name, given) for name, given in calls if name != "list_message_batches"]


def start(batch: str, path: str | None) -> Call:
    arguments: dict[str, Any] = {"message_batch_id": batch}
    return "delete_message_batch", arguments if path is None else {**arguments, "save_results_to": path}


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("path", [None, "r.jsonl"])
async def test_whoever_makes_the_first_next_step_of_the_newest_answer_arrives(
    sandbox: Sandbox, clock: Clock, person: Person, tmp_path: Path, era: str, client: str, state: str, path: str | None
) -> None:
    capabilities, answer, person.seconds = CLIENTS[client]
    if era == "2026-07-28" and client == "answers with an error":
        pytest.skip("such a client does not come back")
    batch = sandbox.add_batch(4, key=KEY, **STATES[state])
    server = create_server(Settings.load(api_key=KEY), transport=SandboxTransport(sandbox), clock=clock)
    async with over_streams(server, era, capabilities) as raw:
        agent = Agent(raw, clock, answer)
        told = await agent.make(start(batch, path))
        for _ in range(12):
            if not told.steps:
                break
            told = await agent.make(told.steps[0])
    assert await held(sandbox) == [], agent.calls
    if path is not None:
        deleting = [given for tool, given in agent.calls if tool == "delete_message_batch"]
        assert all(given["save_results_to"] == path for given in deleting)
        assert (tmp_path / "results" / "r.jsonl").exists()


@pytest.mark.random
@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("state", STATES)
async def test_whoever_takes_every_advice_in_its_worst_sense_loses_nothing_that_was_to_be_saved(
    sandbox: Sandbox, clock: Clock, person: Person, tmp_path: Path, client: str, state: str
) -> None:
    capabilities, answer, person.seconds = CLIENTS[client]
    era = "2025-11-25"
    chance = dice("worst", client, state)
    server = create_server(Settings.load(api_key=KEY), transport=SandboxTransport(sandbox), clock=clock)
    for _ in range(rounds(2)):
        for name, faults in FAULTS.items():
            batch = sandbox.add_batch(4, key=KEY, **STATES[state])
            sandbox.faults[:] = faults()
            path = chance.choice(NAMES[1:])
            async with over_streams(server, era, capabilities) as raw:
                agent = Agent(raw, clock, answer)
                told = await agent.make(start(batch, path))
                for _ in range(10):
                    calls = readings(told, agent.calls[-1])
                    if not calls:
                        break
                    told = await agent.make(chance.choice(calls))
            gone = batch not in {one["id"] for one in await held(sandbox)}
            saved = list((tmp_path / "results").rglob("*.jsonl"))
            whole = [file for file in saved if file.read_bytes().count(b"\n") == 4]
            assert whole or not gone, "\n".join(map(str, [name, path, *agent.calls]))
            for file in saved:
                file.unlink()


@pytest.mark.parametrize("taken", ["r.jsonl", "r.jsonl.gz", "r.parquet"])
async def test_where_a_file_is_in_the_way_the_next_step_saves_beside_it(
    sandbox: Sandbox, clock: Clock, tmp_path: Path, era: str, taken: str
) -> None:
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / taken).write_bytes(b"the results of another batch\n")
    batch = sandbox.add_batch(4, key=KEY)
    server = create_server(Settings.load(api_key=KEY), transport=SandboxTransport(sandbox), clock=clock)
    async with over_streams(server, era, {}) as raw:
        agent = Agent(raw, clock, answering("disconnect"))
        told = await agent.make(start(batch, taken))
        assert "overwrite" not in told.message
        (step,) = told.steps
        assert step[1]["save_results_to"] not in {taken, None}
        assert (await agent.make(step)).steps == []
    assert await held(sandbox) == []
    assert (tmp_path / "results" / taken).read_bytes() == b"the results of another batch\n"
    assert (tmp_path / "results" / step[1]["save_results_to"]).exists()


async def test_a_save_that_fails_for_a_moment_leads_to_the_same_delete_and_one_that_is_refused_to_none(
    sandbox: Sandbox, clock: Clock, era: str
) -> None:
    server = create_server(Settings.load(api_key=KEY), transport=SandboxTransport(sandbox), clock=clock)
    async with over_streams(server, era, {}) as raw:
        agent = Agent(raw, clock, answering("disconnect"))
        for status, leads_on in ((529, True), (403, False)):
            batch = sandbox.add_batch(4, key=KEY)
            sandbox.faults[:] = [Fault("results", status=status, times=3)]
            told = await agent.make(start(batch, "r.jsonl"))
            assert told.steps == ([start(batch, "r.jsonl")] if leads_on else [])
