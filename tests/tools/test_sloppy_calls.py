"""Five hundred calls as models really send them: understood, or refused so that one further call arrives."""

import json
import random
import re
from pathlib import Path
from typing import Any

import pytest

from mcp_batch_tools.sandbox import Sandbox
from tests.conftest import KEY, Assistant, Connect, text_of
from tests.support.requests import request, write
from tests.support.seeds import seed

pytestmark = pytest.mark.anyio

CALLS = 560
ONE = request("a")
NO = object()
"""Stands for a value that must be refused."""
LEFT_OUT = object()

Forms = dict[Any, list[Any]]
"""Ways to write a value; those under `NO` are refused. `ID` in a text is the id of the batch."""

IDS: Forms = {
    "ID": [
        " ID ",
        "`ID`",
        '"ID"',
        "'ID'\n",
        "ID,",
        "ID.",
        "<ID>",
        "[ID]",
        '["ID"]',
        "**ID**",
        "\u201cID\u201d",
        "ID\u00a0",
    ],
    NO: [
        "latest",
        "Null",
        "",
        None,
        "all",
        "the nightly one",
        5,
        True,
        ["ID"],
        {"id": "ID"},
        "msgbatch_",
        "id: ID",
        "message_batch_id",
        "https://api.anthropic.com/v1/messages/batches/ID",
        "ID, ID",
        "ID ID",
        "../ID",
        "<id>",
    ],
}
SMALL: Forms = {
    2: ["2", " 2 ", 2.0, "2.0", "+2", "2e0", "'2'", "2."],
    LEFT_OUT: [None, ""],
    NO: [True, False, "two", "1.5", 1.5, "1,000", -1, 1000, [2], {}, "2 of them", "null", "inf", "NaN", "0x2", "-2"],
}
SWITCH: Forms = {
    True: ["true", "True", " TRUE ", "yes", '"true"'],
    NO: [1, 0, "1", "on", "maybe", [], [True], "null", {}, "truee"],
}
USD: Forms = {
    50: ["50", "50.0", " 50 ", "5e1", 50.0],
    LEFT_OUT: [None, ""],
    NO: ["$5", "5 USD", "1,000", "five", True, "inf", "NaN", [5], -1, "-1", {}, "null", "5%"],
}
DATES: Forms = {
    "2026-11-02": [
        "20261102",
        "'2026-11-02'",
        "2026-11-02T00:00",
        "2026/11/02",
        "2026.11.02",
        "02.11.2026",
        "Nov 2 2026",
        "2 November 2026",
        "Yesterday",
        "1 day ago",
        "2026-11-02 00:00 UTC",
        "2026-11-02T01:00+01:00",
        "33 hours ago",
    ],
    LEFT_OUT: [None, ""],
    NO: [
        0,
        20261102,
        1793696400,
        "1793696400000",
        "2026",
        "2026-11",
        "last week",
        "05/06/2026",
        True,
        [],
        {},
        "null",
        "11",
    ],
}
FUTURE: Forms = {"2026-11-04": ["20261104", "2026-11-04T00:00Z", "2026/11/4"], LEFT_OUT: DATES[LEFT_OUT], NO: DATES[NO]}
STATUS: Forms = {
    "ended": ["Ended", " ENDED ", "'ended'", "`ended`", "ended."],
    "in_progress": ["in progress", "In-Progress", "IN_PROGRESS", "inProgress"],
    "canceling": ["cancelling", "Canceling"],
    LEFT_OUT: [None, ""],
    NO: ["finished", "cancelled", "done", "all", "null", ["ended"], True, 5, "end", "ended,canceling"],
}
OUTCOMES: Forms = {
    "succeeded": ["Succeeded", " SUCCEEDED ", "'succeeded'"],
    "canceled": ["cancelled", "CANCELLED"],
    LEFT_OUT: [None, ""],
    NO: ["success", "failed", "ok", "null", ["succeeded"], True, "error"],
}
LABEL: Forms = {
    "nightly": ["Nightly", " nightly ", "NIGHTLY", "'nightly'"],
    LEFT_OUT: [None, "", "  "],
    NO: [True, ["nightly"], {"a": 1}, 1.5],
}
NEW_LABEL: Forms = {
    "x": [" x ", "x\n"],
    "7": [7],
    LEFT_OUT: [None, "", " "],
    NO: [True, ["x"], {}, "x" * 101],
}
CUSTOM_IDS: Forms = {
    ("request-1",): ["request-1", ["request-1"], '["request-1"]', " request-1 ", ["`request-1`"], "'request-1'"],
    ("request-1", "request-2"): ["request-1, request-2", "request-1\nrequest-2", "['request-1', 'request-2']"],
    LEFT_OUT: [None, ""],
    NO: [{}, True, [None], [], ["x" * 65], ["request-1"] * 101, {"ids": ["request-1"]}, [["request-1"]]],
}
CURSOR: Forms = {
    "0": [0, " 0 ", "'0'", "`0`"],
    LEFT_OUT: [None, ""],
    NO: ["next_cursor", "null", True, [0], "-1", "abc", {}],
}
REQUESTS: Forms = {
    "ONE": [
        ONE,
        {"requests": [ONE]},
        json.dumps(ONE),
        json.dumps([ONE]),
        json.dumps({"requests": [ONE]}),
        [json.dumps(ONE)],
    ],
    NO: ["three", 5, [], [ONE] * 150, True, "null", ["a"], [None], '"a"', [[ONE]]],
}
FILE: Forms = {"r.jsonl": [" r.jsonl ", "`r.jsonl`", "./r.jsonl", "file:r.jsonl"], NO: [True, [], {}, ["r.jsonl"]]}
RESULTS: Forms = {
    "r.jsonl": [" r.jsonl ", "'r.jsonl'", "./r.jsonl", "r.JSONL", "message-batch-results/r.jsonl", "file:r.jsonl"],
    "7.parquet": ["7.Parquet"],
    NO: [
        "~/Documents/r.jsonl",
        "results.csv",
        "../r.jsonl",
        "C:\\Users\\me\\r.jsonl",
        "$HOME/r.jsonl",
        "null",
        "true",
        7,
        "/tmp/r.jsonl",
        "https://example.com/r.jsonl",
        "nul.jsonl",
        "r" * 300 + ".jsonl",
        True,
        ["r.jsonl"],
        {},
        " ",
        "r",
    ],
}
ARGUMENTS: dict[str, dict[str, Forms]] = {
    "list_message_batches": {
        "status": STATUS,
        "created_after": DATES,
        "created_before": FUTURE,
        "limit": SMALL,
        "label": LABEL,
    },
    "get_message_batch": {"message_batch_id": IDS, "wait_seconds": SMALL},
    "create_message_batch": {
        "requests": REQUESTS,
        "requests_file": FILE,
        "label": NEW_LABEL,
        "dry_run": SWITCH,
        "max_cost_usd": USD,
        "allow_duplicate": SWITCH,
    },
    "cancel_message_batch": {"message_batch_id": IDS, "wait_seconds": SMALL},
    "delete_message_batch": {"message_batch_id": IDS, "save_results_to": RESULTS},
    "read_message_batch_results": {
        "message_batch_id": IDS,
        "outcome": OUTCOMES,
        "custom_ids": CUSTOM_IDS,
        "limit": SMALL,
        "cursor": CURSOR,
        "max_characters": SMALL,
    },
    "save_message_batch_results": {"message_batch_id": IDS, "path": RESULTS, "overwrite": SWITCH},
}
OTHER_NAMES = {
    "message_batch_id": [
        "batch_id",
        "id",
        "messageBatchId",
        "message_batch",
        "batchId",
        "message-batch-id",
        "mesage_batch_id",
    ],
    "save_results_to": [
        "path",
        "file",
        "output_path",
        "saveResultsTo",
        "save_to",
        "save_result_to",
        "filename",
        "save_as",
        "backup_file",
    ],
    "path": ["file", "file_path", "output", "save_results_to", "filename", "output_path"],
    "created_after": ["since", "after", "createdAfter", "created_since", "start_date"],
    "limit": ["max_results", "count", "page_size", "Limit"],
    "wait_seconds": ["wait", "seconds", "timeout", "waitSeconds", "wait_second"],
    "custom_ids": ["ids", "custom_id", "customIds", "custom-ids"],
    "requests_file": ["file", "path", "request_file", "requestsFile", "input_file"],
    "dry_run": ["dryRun", "dryrun", "validate_only"],
}
UNKNOWN = ["verbose", "older_then_days", "reason", "x", "api_key", "__proto__", "arguments", "force", ""]


class Desk:
    """A workspace, and the calls that are made in it."""

    def __init__(self, assistant: Assistant, sandbox: Sandbox, results: Path) -> None:
        self.assistant = assistant
        self.sandbox = sandbox
        self.results = results
        self.batch = ""

    @property
    def changes(self) -> int:
        """Upstream requests that change something."""
        return sum(
            received.method == "DELETE" or (received.method == "POST" and "count_tokens" not in received.path)
            for received in self.sandbox.received
        )

    def base(self, tool: str) -> dict[str, Any]:
        """Arguments that this tool can be called with."""
        if tool == "list_message_batches":
            return {}
        if tool == "create_message_batch":
            return {"requests": [ONE], "dry_run": True}
        running = tool == "cancel_message_batch"
        status = "in_progress" if running else "ended"
        seconds = 10**6 if running else 60
        self.batch = self.sandbox.add_batch(3, key=KEY, status=status, age=60, processing_seconds=seconds)
        return {"message_batch_id": self.batch}

    def written(self, value: Any) -> Any:
        """A value with the id of the batch, and the request, where they stand in the table."""
        text = json.dumps(list(value) if isinstance(value, tuple) else value, ensure_ascii=False).replace(
            '"ONE"', json.dumps([ONE])
        )
        return json.loads(re.sub(r"\bID\b", self.batch, text))

    def clear(self) -> None:
        """Remove what was saved."""
        for saved in self.results.glob("*"):
            saved.unlink()

    async def call(self, tool: str, arguments: dict[str, Any]) -> tuple[bool, str, dict[str, Any]]:
        """Whether it is an error, its text, and its structured content."""
        result = await self.assistant.client.call_tool(tool, arguments)
        return bool(result.is_error), text_of(result), result.structured_content or {}


def gist(answer: dict[str, Any]) -> Any:
    """What two answers about different batches with the same arguments have in common."""
    batches = answer.get("batches")
    listed = [row["id"] for row in batches] if isinstance(batches, list) else batches
    read = [(row["custom_id"], len(row.get("text", "")) > 300) for row in answer.get("results", [])]
    saved = [Path(path).suffixes for path in (answer.get("path"), answer.get("results_saved_to")) if path]
    return [answer.get(name) for name in ("type", "outcome", "requests", "label")], listed, read, saved


def corrected(arguments: dict[str, Any], text: str, desk: Desk) -> dict[str, Any]:
    """The arguments as the text of a refusal says that they must be; it reads nothing else."""
    fixed = dict(arguments)
    named = re.search(r"(\w+) set to a plain file name such as (\S+);", text)
    if named:
        return {**fixed, named[1]: named[2]}
    problems = text.partition(" are invalid: ")[2].rpartition(". Nothing was sent")[0]
    for name, member, problem in re.findall(r'"?([\w-]*)"?((?:\.\d+)*) ((?:is|must|has) .*?)(?:; |$)', problems):
        if found := re.match(r"is not an argument of \w+(?:: use (\w+))?", problem):
            value = fixed.pop(name)
            fixed |= {found[1]: value} if found[1] else {}
        elif "an id like" in problem:
            fixed[name] = desk.batch
        elif "leave it out" in problem:
            del fixed[name]
        elif "give requests_file" in problem:
            del fixed[name]
            fixed["requests_file"] = "r.jsonl"
        elif found := re.search(r"longer than (\d+)|more than (\d+)", problem):
            most = int(found[1] or found[2])
            fixed[name] = [value[:most] for value in fixed[name]] if member else fixed[name][:most]
        elif name == "requests":
            assert member or 'like [{"custom_id"' in problem
            fixed[name] = [ONE]
        elif name == "custom_ids":
            assert member or 'like ["a", "b"]' in problem
            fixed[name] = ["request-1"]
        elif "true or false" in problem:
            fixed[name] = True
        elif found := re.search(r"like (\d{4}-\d\d-\d\d)", problem):
            fixed[name] = found[1]
        else:
            found = re.search(r"must be '(\w+)'|from (\d+) to|at (?:least|most) (\d+)|like (.+)", problem)
            assert found, problem
            fixed[name] = found[1] or json.loads(found[2] or found[3] or found[4].partition(",")[0])
    return fixed


async def refused_and_recovered(desk: Desk, tool: str, arguments: dict[str, Any], wrong: set[str]) -> None:
    """The call is refused, changes nothing, and the next one, made from its text, arrives.

    A place for results is looked at once the rest is right, so a second fault may take a second call.
    """
    said = ""
    saves = bool(wrong & {"save_results_to", *OTHER_NAMES["save_results_to"]} or "save_results_to" in arguments)
    for refusals in range(len(wrong) + 1):
        before = desk.changes
        error, text, answer = await desk.call(tool, arguments)
        if not error and answer.get("reason") != "results_not_saved":
            break
        assert refusals < len(wrong), (said, arguments, text)
        said = text if error else answer["message"]
        assert desk.changes == before
        assert 40 <= len(said) <= 1500
        assert "Error executing tool" not in said
        assert "without save_results_to" not in said
        assert any(name in said for name in wrong), (arguments, said, wrong)
        steps = answer.get("next_steps") or [{"tool": tool, "arguments": corrected(arguments, said, desk)}]
        arguments = steps[0]["arguments"]
    assert refusals, arguments
    if tool == "delete_message_batch":
        assert answer["type"] == "message_batch_deleted", (said, arguments, text)
        assert not saves or Path(answer["results_saved_to"]).exists(), (said, arguments)


async def understood(desk: Desk, tool: str, arguments: dict[str, Any], exact: dict[str, Any]) -> None:
    """The call does what the same call does that is written as it should be."""
    error, text, answer = await desk.call(tool, arguments)
    assert not error, text
    if tool in {"cancel_message_batch", "delete_message_batch", "save_message_batch_results"}:
        desk.clear()
        exact = {**exact, **desk.base(tool)}  # the first one is gone, or has changed
    error, text, should = await desk.call(tool, exact)
    assert not error, text
    assert gist(answer) == gist(should)


def sloppy(
    chance: random.Random, desk: Desk, tool: str, names: list[str]
) -> tuple[dict[str, Any], dict[str, Any], set[str]]:
    """Arguments as they are sent, as they are meant, and the names of those that must be refused."""
    sent = desk.base(tool)
    exact = dict(sent)
    wrong = set()
    for name in names:
        meant = chance.choice(list(ARGUMENTS[tool][name]))
        sent[name] = desk.written(chance.choice(ARGUMENTS[tool][name][meant]))
        exact.pop(name, None)
        if meant is NO:
            wrong.add(name)
        elif meant is not LEFT_OUT:
            exact[name] = desk.written(meant)
    if "requests_file" in sent:
        sent.pop("requests", None)
        exact.pop("requests", None)
    return sent, exact, wrong


async def test_from_each_of_five_hundred_sloppy_calls_one_further_call_arrives_and_none_does_harm(
    connect: Connect, sandbox: Sandbox, requests_dir: Path, tmp_path: Path
) -> None:
    chance = random.Random(seed())
    for name in ("r.jsonl", "requests.jsonl"):
        write(requests_dir, [ONE], name)
    sandbox.add_batch(3, key=KEY, status="in_progress", age=90, processing_seconds=10**6)
    sandbox.add_batch(3, key=KEY, status="canceling", age=80)
    async with connect() as assistant:
        desk = Desk(assistant, sandbox, tmp_path / "results")
        await assistant.call("create_message_batch", requests=[request("labelled")], label="nightly")
        for number in range(CALLS):
            tool = chance.choice(list(ARGUMENTS))
            known = list(ARGUMENTS[tool])
            names = chance.sample(known, min(len(known), chance.choice([1, 1, 2])))
            if "requests" in names and "requests_file" in names:
                names.remove("requests")
            sent, exact, wrong = sloppy(chance, desk, tool, names)
            if number % 4 == 0:
                elsewhere = [name for name in known if name in OTHER_NAMES and name in sent]
                other = chance.choice(UNKNOWN)
                if elsewhere and not wrong:
                    name = chance.choice(elsewhere)
                    other = chance.choice([other for other in OTHER_NAMES[name] if other not in known])
                    sent[other] = sent.pop(name)
                else:
                    sent[other] = 30
                wrong.add(other)
            if wrong:
                await refused_and_recovered(desk, tool, sent, wrong)
            else:
                await understood(desk, tool, sent, exact)
            desk.clear()
