"""`list_message_batches` and `get_message_batch`."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from mcp import Client

from mcp_batch_tools.sandbox import Clock, Fault, Sandbox
from mcp_batch_tools.server import create_server
from mcp_batch_tools.settings import Settings
from tests.conftest import KEY, Assistant, Connect, SandboxTransport
from tests.support.requests import request

pytestmark = pytest.mark.anyio

NOW = datetime(2026, 11, 3, 9, tzinfo=UTC)
NO_DATES: list[object] = [
    *(0, 20261120, 1793696400, 1793696400000, 1.5e9, True, ["2026-11-20"], {}),
    *("2026", "2026-11", "1793696400", "1711111111000", "1793696400.5", "12345678", "30 Feb 2026", "2026-13-01"),
    *(
        "last week",
        "2026-11-20+05:00",
        "2026-11-20-08:00",
        "2026-11-20/08:00",
        "2026-11-20~12",
        "in 2 days",
        "recently",
        "null",
        "05/06/2026",
        "11/20/2026",
        "Nov 20",
        "Nov 20 2026 PST",
    ),
]
ISO_8601 = [
    *("20261103", "2026-11-03", "'2026-11-03'", " 2026-11-03T01:00:00+01:00 "),
    *("2026-11-03T00:00Z", "2026-11-03t00:00z", "20261103T0000Z"),
]


def ids(answer: dict[str, Any]) -> list[str]:
    return [row["id"] for row in answer["batches"]]


async def test_batches_are_listed_newest_first_with_one_short_row_each(
    connect: Connect, sandbox: Sandbox, era: str
) -> None:
    old = sandbox.add_batch({"succeeded": 3, "errored": 1}, key=KEY, age=7200)
    new = sandbox.add_batch(2, key=KEY, age=60, status="in_progress", processing_seconds=3600)
    async with connect(era) as assistant:
        answer = await assistant.call("list_message_batches")
    assert ids(answer) == [new, old]
    assert answer["batches"][0] == {
        "id": new,
        "processing_status": "in_progress",
        "created_at": "2026-11-03T08:59:00Z",
        "requests": 2,
        "outcomes": {},
    }
    assert answer["batches"][1]["outcomes"] == {"succeeded": 3, "errored": 1}
    assert answer["batches"][1]["results_until"] == "2026-12-02T07:00:00Z"
    assert "next_cursor" not in answer


async def test_an_empty_workspace_is_called_empty(connect: Connect) -> None:
    async with connect() as assistant:
        answer = await assistant.call("list_message_batches")
    assert answer == {"message": "There are no batches in this workspace.", "batches": []}


async def test_pages_follow_each_other_without_gaps_or_repeats(connect: Connect, sandbox: Sandbox) -> None:
    added = [sandbox.add_batch(1, key=KEY, age=age) for age in range(100, 107)]
    seen: list[str] = []
    async with connect() as assistant:
        cursor: dict[str, str] = {}
        while True:
            answer = await assistant.call("list_message_batches", limit=3, **cursor)
            seen += ids(answer)
            if "next_cursor" not in answer:
                break
            cursor = {"cursor": answer["next_cursor"]}
    assert seen == added
    assert all("limit=3" in received.path for received in sandbox.received)


async def test_a_filter_finds_what_fits_and_its_pages_have_no_gaps(connect: Connect, sandbox: Sandbox) -> None:
    added = [
        sandbox.add_batch(1, key=KEY, age=100 + n, status="ended" if n % 3 else "in_progress", processing_seconds=9999)
        for n in range(30)
    ]
    wanted = [batch for n, batch in enumerate(added) if n % 3 == 0]
    async with connect() as assistant:
        first = await assistant.call("list_message_batches", status="in_progress", limit=4)
        second = await assistant.call(
            "list_message_batches", status="in_progress", limit=20, cursor=first["next_cursor"]
        )
    assert ids(first) + ids(second) == wanted
    assert "next_cursor" not in second


async def test_times_bound_the_list_from_both_sides(connect: Connect, sandbox: Sandbox) -> None:
    by_age = {hours: sandbox.add_batch(1, key=KEY, age=hours * 3600) for hours in (1, 2, 3, 4)}
    async with connect() as assistant:
        answer = await assistant.call(
            "list_message_batches",
            created_after=(NOW - timedelta(hours=3)).isoformat(),
            created_before=(NOW - timedelta(hours=1)).isoformat(),
        )
        without_zone = await assistant.call("list_message_batches", created_after="2026-11-03T07:00:00")
        nothing = await assistant.call("list_message_batches", created_after="2026-11-04")
    assert ids(answer) == [by_age[2], by_age[3]]
    assert ids(without_zone) == [by_age[1], by_age[2]]
    assert "next_cursor" not in answer
    assert nothing["message"] == "No batch matches."


async def test_a_long_scan_stops_early_says_so_and_goes_on_at_its_cursor(connect: Connect, sandbox: Sandbox) -> None:
    for age in range(5_100):
        last = sandbox.add_batch(1, key=KEY, age=100 + age)
    async with connect() as assistant:
        first = await assistant.call("list_message_batches", created_before="2026-11-03T07:34:00")
        assert len(sandbox.received) == 5
        second = await assistant.call(
            "list_message_batches", created_before="2026-11-03T07:34:00", cursor=first["next_cursor"], limit=100
        )
    assert first["batches"] == []
    assert first["message"].startswith("Scanned 5,000 batches, 0 matched; older batches were not scanned.")
    assert "next_cursor" in first["message"]
    assert ids(second)[-1] == last


async def test_a_batch_is_shown_with_what_can_be_done_and_until_when_results_last(
    connect: Connect, sandbox: Sandbox, era: str
) -> None:
    batch = sandbox.add_batch({"succeeded": 4812, "errored": 88}, key=KEY, age=86400)
    async with connect(era) as assistant:
        answer = await assistant.call("get_message_batch", message_batch_id=batch)
    assert answer["message"] == "Ended: 4,812 succeeded, 88 errored. Results can be read until 2026-12-01 09:00 UTC."
    assert answer["results_until"] == "2026-12-01T09:00:00Z"
    assert [step["tool"] for step in answer["possible_actions"]] == [
        "read_message_batch_results",
        "save_message_batch_results",
        "delete_message_batch",
    ]
    assert "waited_seconds" not in answer


async def test_an_archived_batch_has_no_results_any_more(connect: Connect, sandbox: Sandbox) -> None:
    batch = sandbox.add_batch(3, key=KEY, age=30 * 86400)
    async with connect() as assistant:
        answer = await assistant.call("get_message_batch", message_batch_id=batch)
        listed = await assistant.call("list_message_batches")
    assert "results are gone" in answer["message"]
    assert "results_until" not in answer
    assert "archived_at" in answer
    assert "results_until" not in listed["batches"][0]


async def test_waiting_honours_the_polling_hint_and_reports_elapsed_time(
    connect: Connect, sandbox: Sandbox, clock: Clock, era: str
) -> None:
    batch = sandbox.add_batch(3, key=KEY, status="in_progress", age=0, processing_seconds=25)
    reported: list[tuple[float, float | None, str | None]] = []

    async def progress(progress: float, total: float | None, message: str | None) -> None:
        reported.append((progress, total, message))

    async with connect(era) as assistant:
        result = await assistant.client.call_tool(
            "get_message_batch", {"message_batch_id": batch, "wait_seconds": 50}, progress_callback=progress
        )
    assert result.structured_content is not None
    assert result.structured_content["processing_status"] == "ended"
    assert result.structured_content["waited_seconds"] == 30
    assert len(sandbox.received) == 4
    assert [entry[0] for entry in reported] == [0, 10, 20, 30]
    assert reported[1] == (10, 50, "in_progress after 10 s")


@pytest.mark.parametrize(("wait", "looks"), [(5, 2), (15, 3), (50, 6)])
async def test_running_out_of_time_is_no_error(connect: Connect, sandbox: Sandbox, wait: int, looks: int) -> None:
    batch = sandbox.add_batch(3, key=KEY, status="in_progress", age=0, processing_seconds=9999)
    async with connect() as assistant:
        answer = await assistant.call("get_message_batch", message_batch_id=batch, wait_seconds=wait)
    assert answer["processing_status"] == "in_progress"
    assert "Still in progress after waiting" in answer["message"]
    assert len(sandbox.received) == looks
    assert [step["tool"] for step in answer["possible_actions"]] == ["get_message_batch", "cancel_message_batch"]


async def test_a_senseless_polling_hint_is_bounded(connect: Connect, sandbox: Sandbox) -> None:
    batch = sandbox.add_batch(3, key=KEY, status="in_progress", age=0, processing_seconds=9999)
    sandbox.faults.append(Fault("retrieve", headers={"retry-after": "0"}, times=99))
    async with connect() as assistant:
        await assistant.call("get_message_batch", message_batch_id=batch, wait_seconds=10)
    assert len(sandbox.received) <= 12


async def test_a_failure_while_waiting_is_an_error_after_its_repeats(connect: Connect, sandbox: Sandbox) -> None:
    batch = sandbox.add_batch(3, key=KEY, status="in_progress", age=0, processing_seconds=9999)
    sandbox.faults.append(Fault("retrieve", status=529, skip=1, times=3))
    async with connect() as assistant:
        failure = await assistant.fail("get_message_batch", message_batch_id=batch, wait_seconds=50)
    assert "overloaded_error" in failure


async def test_no_clock_says_that_results_are_gone_where_the_api_does_not(connect: Connect, sandbox: Sandbox) -> None:
    body = (
        b'{"id": "b", "processing_status": "ended", "request_counts": {"succeeded": 3}, '
        b'"created_at": "2026-10-01T00:00:00Z"}'
    )
    sandbox.faults += [
        Fault("retrieve", body=body),
        Fault("list", body=b'{"data": [' + body + b'], "has_more": false}'),
    ]
    async with connect() as assistant:
        seen = await assistant.call("get_message_batch", message_batch_id="b")
        listed = await assistant.call("list_message_batches")
    assert "the API does not say that these are gone" in seen["message"]
    assert [step["tool"] for step in seen["possible_actions"]][:2] == [
        "read_message_batch_results",
        "save_message_batch_results",
    ]
    assert listed["batches"][0]["results_until"] == seen["results_until"]


async def test_the_end_of_the_list_is_not_called_an_empty_workspace(connect: Connect, sandbox: Sandbox) -> None:
    last = sandbox.add_batch(key=KEY)
    async with connect() as assistant:
        answer = await assistant.call("list_message_batches", cursor=last)
    assert answer["message"] == "There are no older batches."


async def test_a_list_stops_where_the_cursor_of_the_api_does_not_move(connect: Connect, sandbox: Sandbox) -> None:
    body = (
        b'{"data": [{"id": "msgbatch_1", "processing_status": "ended", "request_counts": {}, '
        b'"created_at": "2026-11-03T08:00:00Z"}], "has_more": true}'
    )
    sandbox.faults.append(Fault("list", body=body, times=9))
    async with connect() as assistant:
        answer = await assistant.call("list_message_batches", status="ended", cursor="msgbatch_1")
    assert "next_cursor" not in answer
    assert len(sandbox.received) == 1


@pytest.mark.parametrize("filters", [{}, {"status": "ended"}, {"created_after": "2026-01-01"}])
@pytest.mark.parametrize("cursor", [{}, {"cursor": "msgbatch_1"}])
async def test_an_empty_page_that_says_that_there_are_more_is_not_called_the_end(
    connect: Connect, sandbox: Sandbox, filters: dict[str, str], cursor: dict[str, str]
) -> None:
    sandbox.faults.append(Fault("list", body=b'{"data": [], "has_more": true}'))
    async with connect() as assistant:
        answer = await assistant.call("list_message_batches", **filters, **cursor)
    assert "its list does not go on" in answer["message"]
    assert "There are no" not in answer["message"]
    assert "No batch matches" not in answer["message"]


@pytest.mark.parametrize(
    ("status", "age", "canceled_before", "normal"),
    [
        ("in_progress", timedelta(hours=23), None, True),
        ("in_progress", timedelta(hours=31), None, False),
        ("canceling", timedelta(hours=2), timedelta(minutes=50), True),
        ("canceling", timedelta(hours=63), timedelta(hours=60), False),
    ],
)
async def test_a_batch_that_takes_longer_than_it_can_is_not_called_normal_and_support_gets_its_ids(
    connect: Connect, sandbox: Sandbox, status: str, age: timedelta, canceled_before: timedelta | None, normal: bool
) -> None:
    batch = {
        "id": "msgbatch_1",
        "processing_status": status,
        "request_counts": {"processing": 5},
        "created_at": (NOW - age).isoformat(),
        "expires_at": (NOW - age + timedelta(hours=24)).isoformat(),
        "cancel_initiated_at": (NOW - canceled_before).isoformat() if canceled_before else None,
    }
    sandbox.faults.append(Fault("retrieve", body=json.dumps(batch).encode(), headers={"request-id": "req_42"}))
    async with connect() as assistant:
        answer = await assistant.call("get_message_batch", message_batch_id="msgbatch_1")
    assert ("This is not normal" in answer["message"]) == (not normal)
    assert ("Anthropic's support" in answer["message"]) == (not normal)
    assert ("msgbatch_1 and the request id req_42" in answer["message"]) == (not normal)


@pytest.mark.parametrize("argument", ["created_after", "created_before"])
@pytest.mark.parametrize("wrong", NO_DATES)
async def test_what_can_be_read_as_no_date_or_as_several_is_refused_with_today_and_an_example(
    connect: Connect, sandbox: Sandbox, argument: str, wrong: object
) -> None:
    async with connect() as assistant:
        failure = await assistant.fail("list_message_batches", **{argument: wrong})
    assert f"{argument} is not a date or time like 2026-11-03, which is today, or 2026-11-03T09:00:00Z" in failure
    assert sandbox.received == []


@pytest.mark.parametrize("date", ISO_8601)
async def test_dates_are_understood_in_every_form_of_iso_8601(connect: Connect, sandbox: Sandbox, date: str) -> None:
    before, after = (sandbox.add_batch(key=KEY, age=hours * 3600) for hours in (10, 8))
    async with connect() as assistant:
        since = await assistant.call("list_message_batches", created_after=date)
        until = await assistant.call("list_message_batches", created_before=date)
    assert (ids(since), ids(until)) == ([after], [before])
    assert "taken as" not in since["message"]


@pytest.mark.parametrize(
    ("date", "taken_as"),
    [
        ("2026-11-03T00:00", "2026-11-03 00:00 UTC"),
        ("2026-11-03 00:00:00", "2026-11-03 00:00 UTC"),
        ("2026-11-03 00:00 UTC", "2026-11-03 00:00 UTC"),
        ("2026/11/03", "2026-11-03 00:00 UTC"),
        ("2026/11/3 00:00", "2026-11-03 00:00 UTC"),
        ("2026-11-3", "2026-11-03 00:00 UTC"),
        ("2026.11.03", "2026-11-03 00:00 UTC"),
        ("03.11.2026", "2026-11-03 00:00 UTC"),
        ("Nov 3 2026", "2026-11-03 00:00 UTC"),
        ("November 3, 2026", "2026-11-03 00:00 UTC"),
        ("3 Nov 2026 at 00:00 UTC", "2026-11-03 00:00 UTC"),
        ("today", "2026-11-03 00:00 UTC"),
        ("Yesterday", "2026-11-02 00:00 UTC"),
        ("7 days ago", "2026-10-27 00:00 UTC"),
        ("1 week ago", "2026-10-27 00:00 UTC"),
        ("9 hours ago", "2026-11-03 00:00 UTC"),
        ("90 minutes ago", "2026-11-03 07:30 UTC"),
        ("now", "2026-11-03 09:00 UTC"),
    ],
)
async def test_what_is_understood_beyond_its_spelling_is_told(
    connect: Connect, sandbox: Sandbox, era: str, date: str, taken_as: str
) -> None:
    moment = datetime.strptime(taken_as, "%Y-%m-%d %H:%M UTC").replace(tzinfo=UTC)
    age = (NOW - moment).total_seconds()
    sandbox.add_batch(key=KEY, age=age + 60)
    after = sandbox.add_batch(key=KEY, age=max(age - 60, 0))
    async with connect(era) as assistant:
        since = await assistant.call("list_message_batches", created_after=date)
    assert ids(since) == [after]
    assert since["message"].endswith(f" created_after was taken as {taken_as}.")


@pytest.mark.parametrize(
    "date",
    ["0001-01-01T00:00:00+14:00", "0001-01-01  00:00+14:00", "9999-12-31T23:59:59-14:00", "9999-12-31", "0001-01-01"],
)
async def test_the_ends_of_time_bound_nothing(connect: Connect, sandbox: Sandbox, date: str) -> None:
    batch = sandbox.add_batch(key=KEY)
    async with connect() as assistant:
        argument = "created_after" if date.startswith("0") else "created_before"
        listed = await assistant.call("list_message_batches", **{argument: date})
    assert ids(listed) == [batch]


async def test_times_that_leave_nothing_between_them_are_told_without_a_request(
    connect: Connect, sandbox: Sandbox
) -> None:
    async with connect() as assistant:
        answer = await assistant.call("list_message_batches", created_after="2026-11-03", created_before="2026-11-02")
    assert "created_after is not before created_before" in answer["message"]
    assert sandbox.received == []


@pytest.mark.parametrize("spelling", ["canceling", "Canceling", "cancelling", " CANCELLING "])
async def test_a_status_is_understood_in_capitals_and_in_british_spelling(
    connect: Connect, sandbox: Sandbox, spelling: str
) -> None:
    batch = sandbox.add_batch(key=KEY, status="canceling")
    sandbox.add_batch(key=KEY)
    async with connect() as assistant:
        answer = await assistant.call("list_message_batches", status=spelling)
    assert ids(answer) == [batch]


@pytest.mark.parametrize("spelling", ["nightly run", " nightly run ", "Nightly Run", "nightly-run", '"nightly_run"'])
async def test_a_label_is_found_in_another_spelling_and_the_answer_names_it(
    connect: Connect, sandbox: Sandbox, era: str, spelling: str
) -> None:
    sandbox.add_batch(key=KEY)
    async with connect(era) as assistant:
        made = await assistant.call("create_message_batch", requests=[request("a")], label="nightly run")
        await assistant.call("create_message_batch", requests=[request("b")], label="weekly")
        listed = await assistant.call("list_message_batches", label=spelling)
    assert ids(listed) == [made["batches"][0]["id"]]
    assert ('label was taken as "nightly run"' in listed["message"]) == (spelling.strip() != "nightly run")


async def test_a_label_that_was_never_given_leads_to_those_that_were(connect: Connect, sandbox: Sandbox) -> None:
    async with connect() as assistant:
        none = await assistant.call("list_message_batches", label="nightly")
        for label in ("Nightly", "NIGHTLY", "weekly"):
            await assistant.call("create_message_batch", requests=[request(label)], label=label)
        unknown = await assistant.call("list_message_batches", label="monthly")
        several = await assistant.call("list_message_batches", label="nightly")
    assert none["message"].startswith("No batch was created here with a label.")
    for label in ("Nightly", "NIGHTLY", "weekly"):
        assert f'"{label}"' in unknown["message"]
    assert "weekly" not in several["message"]
    assert "the labels used here are" in several["message"]
    assert not [listed for listed in (none, unknown, several) if listed["batches"]]


def listed_page(*names: str) -> bytes:
    batch = {"processing_status": "ended", "request_counts": {}, "created_at": "2026-11-03T08:00:00Z"}
    return json.dumps({"data": [{"id": name, **batch} for name in names], "has_more": True}).encode()


@pytest.mark.parametrize("arguments", [{"limit": 50}, {"status": "ended", "limit": 50}])
@pytest.mark.parametrize("pages", [["ab"], ["ab", "cd", "ab"], ["ab", "cd", "cd"]])
async def test_a_list_that_comes_round_shows_each_batch_once_and_stops(
    connect: Connect, sandbox: Sandbox, pages: list[str], arguments: dict[str, Any]
) -> None:
    sandbox.faults += [Fault("list", body=listed_page(*names)) for names in pages]
    sandbox.faults.append(Fault("list", body=listed_page(*pages[-1]), times=9))
    async with connect() as assistant:
        answer = await assistant.call("list_message_batches", **arguments)
    assert ids(answer) == sorted({name for names in pages for name in names})
    assert "next_cursor" not in answer
    assert "its list does not go on" in answer["message"]
    assert len(sandbox.received) <= 3


@pytest.mark.parametrize(
    ("tool", "status"),
    [
        ("cancel_message_batch", "canceling"),
        ("delete_message_batch", "canceling"),
        ("delete_message_batch", "in_progress"),
    ],
)
@pytest.mark.parametrize("overdue", [True, False])
async def test_whoever_acts_on_a_batch_that_is_overdue_is_told_so(
    connect: Connect, sandbox: Sandbox, tool: str, status: str, overdue: bool
) -> None:
    age = timedelta(hours=31 if overdue else 0.5)
    batch = {
        "id": "msgbatch_1",
        "processing_status": status,
        "request_counts": {"processing": 5},
        "created_at": (NOW - age).isoformat(),
        "expires_at": (NOW - age + timedelta(hours=24)).isoformat(),
        "cancel_initiated_at": (NOW - age).isoformat() if status == "canceling" else None,
    }
    sandbox.faults.append(Fault("retrieve", body=json.dumps(batch).encode(), headers={"request-id": "req_42"}))
    async with connect() as assistant:
        answer = await assistant.call(tool, message_batch_id="msgbatch_1")
    assert ("with the batch id msgbatch_1 and the request id req_42" in answer["message"]) == overdue


async def test_whether_a_batch_is_overdue_is_told_by_the_clock_of_the_api(connect: Connect, sandbox: Sandbox) -> None:
    batch = sandbox.add_batch(key=KEY, status="in_progress", processing_seconds=7200)
    server = create_server(
        Settings.load(api_key=KEY), transport=SandboxTransport(sandbox), clock=Clock(NOW + timedelta(days=3))
    )
    async with Client(server) as client:
        answer = await Assistant(client).call("get_message_batch", message_batch_id=batch)
    assert "This is not normal" not in answer["message"]


@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        ("read_message_batch_results", {}),
        ("save_message_batch_results", {}),
        ("delete_message_batch", {"save_results_to": "x.jsonl"}),
    ],
)
async def test_results_that_the_api_still_serves_are_read_and_saved_whatever_the_clock_here_says(
    connect: Connect, sandbox: Sandbox, tool: str, arguments: dict[str, Any]
) -> None:
    batch = sandbox.add_batch(key=KEY, age=86400)
    server = create_server(
        Settings.load(api_key=KEY, destructive="allow"),
        transport=SandboxTransport(sandbox),
        clock=Clock(NOW + timedelta(days=400)),
    )
    async with Client(server) as client:
        answer = await Assistant(client).call(tool, message_batch_id=batch, **arguments)
    assert answer.get("type") in {None, "message_batch_results_saved", "message_batch_deleted"}
    assert any(received.path.endswith("/results") for received in sandbox.received)


@pytest.mark.parametrize("named", ["Not Found", "model: claude-nonsense-9", "Message Batch msgbatch_12 not found."])
@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        ("get_message_batch", {}),
        ("cancel_message_batch", {}),
        ("delete_message_batch", {}),
        ("delete_message_batch", {"save_results_to": "x.jsonl"}),
        ("read_message_batch_results", {}),
        ("save_message_batch_results", {}),
    ],
)
async def test_a_404_that_does_not_name_the_batch_does_not_say_that_it_is_gone(
    connect: Connect, sandbox: Sandbox, named: str, tool: str, arguments: dict[str, Any]
) -> None:
    sandbox.faults.append(Fault("retrieve", status=404, message=named, times=3))
    async with connect() as assistant:
        said = await assistant.fail(tool, message_batch_id="msgbatch_1", **arguments)
    assert "gone" not in said
    assert "ANTHROPIC_BASE_URL is the address of the API, without /v1" in said
