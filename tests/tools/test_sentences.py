"""All sentences about failures and all guided messages, reviewed as one file, and held to rules."""

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, get_args

import pytest

from mcp_batch_tools.api.errors import (
    ApiError,
    BatchError,
    InvalidResponse,
    NoResponse,
    NotConfigured,
    Operation,
    Reason,
    ResponseProblem,
    SetupProblem,
    UnusableSetup,
)
from mcp_batch_tools.api.models import MessageBatch
from mcp_batch_tools.errors import Failure, PathNotAllowed, PathProblem
from mcp_batch_tools.ledger.errors import LedgerError
from mcp_batch_tools.ledger.errors import Reason as LedgerReason
from mcp_batch_tools.pricing.errors import InvalidPrices
from mcp_batch_tools.requests.errors import BothGiven, InvalidRequests, SourceChanged
from mcp_batch_tools.results.errors import SaveFailed, SaveProblem
from mcp_batch_tools.submissions.errors import NothingToRetry, RetryOfMissing, RetryUnreadable, UploadStalled
from mcp_batch_tools.tools.facts import CancelFacts, CreateFacts, DeleteFacts
from mcp_batch_tools.tools.words import consent, guidance
from mcp_batch_tools.tools.words.calls import TOOLS as TOOL_OF
from mcp_batch_tools.tools.words.calls import Act, Call
from mcp_batch_tools.tools.words.failures import NO_CONSENT, explain, explain_part, repeating_helps

SNAPSHOT = Path(__file__).parent / "sentences.txt"
BATCH = "msgbatch_01HkcTjaV5uDC8jWR4ZsDV8d"
NOW = datetime(2026, 11, 3, 9, tzinfo=UTC)
ALL: tuple[Act, ...] = get_args(Act)
TOOLS: tuple[Act, ...] = ALL[:-2]
API: tuple[Act, ...] = ALL[:-1]
OF_ONE_BATCH: tuple[Act, ...] = ("get", "cancel", "delete", "read_results", "save_results")
SAVING: tuple[Act, ...] = ("save_results", "delete")
DETAILS: dict[str, str] = {
    "address": "Invalid URL",
    "proxy": "Unknown scheme for proxy URL URL('ftp://127.0.0.1')",
    "certificates": "[Errno 2] No such file or directory",
    "schema": "created_at: Field required",
    "length": "1,024 bytes arrived, 4,096 were promised",
    "not_results": "line 2 is not JSON",
    "folder_unwritable": "Permission denied",
    "write_failed": "No space left on device",
}
LEFT_ASIDE = {"write_failed", "not_results", "interrupted", "upstream", "replaced", "table_unreadable"}


def refusal(act: Act, status: int, kind: str = "", message: str = "", **facts: Any) -> ApiError:
    endpoint = facts.pop("endpoint", "retrieve")
    names_batch = BATCH in message
    return ApiError(
        message, endpoint=endpoint, status=status, type=kind, names_batch=names_batch, request_id="req_42", **facts
    )


def lost(act: Act, error: BatchError) -> BatchError:
    """The error after an earlier try of the act that may have taken effect."""
    error.earlier_try_may_have_acted = True
    return error


def failures() -> Iterator[tuple[str, tuple[Act, ...], Any]]:
    """Name, acts, and a function that makes the failure as that act would meet it."""
    yield "no key", API, lambda act: NotConfigured(endpoint="retrieve")
    for setup in get_args(SetupProblem):
        detail = DETAILS.get(setup, "")
        yield (
            f"setup: {setup}",
            ("list", "check"),
            lambda act, s=setup, d=detail: UnusableSetup(s, endpoint="list", detail=d),
        )
    for reason in get_args(Reason):
        yield (
            f"no answer: {reason}, nothing was sent",
            API,
            lambda act, r=reason: NoResponse(r, endpoint="retrieve", sent=False),
        )
    for acting in ("cancel", "delete", "create"):
        yield f"{acting} without an answer", (acting,), lambda act: NoResponse("cut", endpoint=act, sent=True)
    for problem in get_args(ResponseProblem):
        endpoint: Operation = "retrieve" if problem in {"schema", "other_batch"} else "results"
        acts: tuple[Act, ...] = ("get", "delete") if endpoint == "retrieve" else ("read_results",)
        yield (
            f"invalid answer: {problem}",
            acts,
            lambda act, p=problem, e=endpoint: InvalidResponse(
                p, endpoint=e, status=200, request_id="req_42", detail=DETAILS.get(p, "")
            ),
        )
    yield "400", TOOLS, lambda act: refusal(act, 400, "invalid_request_error", "Bad.")
    yield (
        "400 of the create itself",
        ("create",),
        lambda act: refusal(act, 400, "invalid_request_error", "Bad.", endpoint="create"),
    )
    yield "401", API, lambda act: refusal(act, 401, "authentication_error", "API key is invalid.")
    yield "402", API, lambda act: refusal(act, 402, "billing_error", "Your credit balance is too low.")
    yield "403", API, lambda act: refusal(act, 403, "permission_error", "Not allowed.")
    gone = f"Message Batch {BATCH} not found."
    yield (
        "404, names the batch",
        OF_ONE_BATCH,
        lambda act: refusal(act, 404, "not_found_error", gone, endpoint="delete" if act == "delete" else "retrieve"),
    )
    yield (
        "404 of results",
        ("read_results", *SAVING),
        lambda act: refusal(
            act, 404, "not_found_error", f"Message Batch {BATCH} has no available results.", endpoint="results"
        ),
    )
    yield (
        "404, does not name the batch",
        ("get", "delete", "check"),
        lambda act: refusal(act, 404, "not_found_error", ""),
    )
    yield "408 of a read", ("get",), lambda act: refusal(act, 408)
    yield "413", ("create", "get"), lambda act: refusal(act, 413, "request_too_large", "Too large.")
    yield "416", ("read_results",), lambda act: refusal(act, 416, endpoint="results")
    for wait in (None, 0, 7, 300, 8000, 10**9):
        yield (
            f"429, retry-after {wait}",
            ("list", "check"),
            lambda act, w=wait: refusal(act, 429, "rate_limit_error", "Slow down.", retry_after=w),
        )
    yield (
        "429, spending limit",
        ("create", "check"),
        lambda act: refusal(act, 429, "rate_limit_error", "Limit.", error_code="enforced_spend_limit_reached"),
    )
    yield (
        "500 of an act that may have happened",
        ("cancel", "delete", "create"),
        lambda act: refusal(act, 500, "api_error", "Internal error.", endpoint=act),
    )
    yield "529 of a read", ("list", "get"), lambda act: refusal(act, 529, "overloaded_error", "Overloaded.")
    yield (
        "refused after a try that may have happened",
        ("cancel", "delete"),
        lambda act: lost(act, refusal(act, 403, "permission_error", "Not allowed.", endpoint=act)),
    )
    yield from local_failures()


def local_failures() -> Iterator[tuple[str, tuple[Act, ...], Any]]:
    for ledger in get_args(LedgerReason):
        detail = "disk I/O error" if ledger == "unusable" else ""
        place = "/state" if ledger == "unsafe_folder" else "/state/ledger.db"
        acts: tuple[Act, ...] = ("list", "create", "cancel", "delete", "receipts")
        yield f"ledger: {ledger}", acts, lambda act, r=ledger, p=place, d=detail: LedgerError(r, path=p, text=d)
    for path in get_args(PathProblem):
        suffixes = (".jsonl", ".jsonl.gz", ".parquet")
        if path != "missing":
            yield (
                f"path of results: {path}",
                SAVING,
                lambda act, p=path, s=suffixes: PathNotAllowed(
                    p,
                    purpose="save_results",
                    folder="/results",
                    suffixes=s,
                    detail="Permission denied",
                    instead="r.jsonl",
                ),
            )
        if path in {"outside", "missing", "foreign", "url", "variable", "unusable"}:
            yield (
                f"path of requests: {path}",
                ("create",),
                lambda act, p=path: PathNotAllowed(
                    p, purpose="read_requests", folder="/home/x", detail="Permission denied"
                ),
            )
    yield (
        "path of results, and no name can be used",
        SAVING,
        lambda act: PathNotAllowed("unusable", purpose="save_results", folder="/results", detail="Not a directory"),
    )
    for save in get_args(SaveProblem):
        yield f"saving: {save}", SAVING, lambda act, p=save: save_failed(p)
    for prices in ("unreadable", "invalid", "old_form"):
        yield (
            f"prices: {prices}",
            ("create", *SAVING),
            lambda act, p=prices: InvalidPrices(p, path="/home/x/prices.json", detail="date: Field required"),
        )
    yield (
        "invalid requests",
        ("create",),
        lambda act: InvalidRequests(["`params` is not an object (line 3)", "duplicate `custom_id` (lines 4, 9)"]),
    )
    yield "many invalid requests", ("create",), lambda act: InvalidRequests([f"problem {n} " * 20 for n in range(50)])
    yield "both given", ("create",), lambda act: BothGiven("both")
    yield "neither given", ("create",), lambda act: BothGiven("neither")
    yield "file changed", ("create",), lambda act: SourceChanged("/home/x/requests.jsonl")
    yield "stalled upload", ("create",), lambda act: UploadStalled(300)
    yield "nothing to retry", ("create",), lambda act: NothingToRetry(BATCH)
    yield (
        "nothing to retry of what was chosen",
        ("create",),
        lambda act: NothingToRetry(BATCH, chosen=["cut", "refused"], others=["expired"]),
    )
    yield "nothing to retry by default", ("create",), lambda act: NothingToRetry(BATCH, others=["cut", "refused"])
    yield "retry of nothing", ("create",), lambda act: RetryOfMissing()
    yield "retry of a running batch", ("create",), lambda act: RetryUnreadable(BATCH, ended=False)
    yield "retry of an archived batch", ("create",), lambda act: RetryUnreadable(BATCH, ended=True)


def save_failed(problem: SaveProblem) -> SaveFailed:
    partial = f"/results/{BATCH}.jsonl.0123abcd.part" if problem in LEFT_ASIDE else None
    path = "/results" if problem == "folder_unwritable" else f"/results/{BATCH}.jsonl"
    error = SaveFailed(problem, path=path, partial=partial, detail=DETAILS.get(problem, ""))
    if problem == "upstream":
        error.__cause__ = refusal("save_results", 529, "overloaded_error", "Overloaded.", endpoint="results")
    return error


def call(act: Act, **facts: Any) -> Call:
    arguments = {} if act in {"list", "create", "check", "receipts"} else {"message_batch_id": BATCH}
    return Call(act, arguments, "ANTHROPIC_API_KEY", **facts)


def explained() -> Iterator[tuple[str, Act, str]]:
    for name, acts, failure in failures():
        for act in acts:
            yield name, act, explain(failure(act), call(act))
    gone = refusal("delete", 404, "not_found_error", f"Message Batch {BATCH} not found.")
    yield "404 after our own delete", "delete", explain(gone, call("delete", deleted_at=NOW))
    for status in (400, 404):
        stale = refusal("list", status, "not_found_error", "")
        with_cursor = Call("list", {"cursor": BATCH}, "ANTHROPIC_API_KEY")
        yield f"{status} with a cursor", "list", explain(stale, with_cursor)
    locked = LedgerError("unusable", path="/state/ledger.db", text="disk I/O error")
    yield "ledger: unusable, with a label", "list", explain(locked, Call("list", {"label": "x"}))


def guided() -> Iterator[tuple[str, str]]:
    for rows, more, early, filtered, first in [
        (0, False, False, False, True),
        (0, False, False, False, False),
        (0, False, False, True, True),
        (1, False, False, False, True),
        (20, True, False, False, True),
        (3, True, True, True, True),
    ]:
        yield (
            "list",
            guidance.list_message(rows, 5000, more=more, stopped_early=early, filtered=filtered, first_page=first),
        )
    for filtered in (False, True):
        stuck = guidance.list_message(
            0, 5000, more=False, stopped_early=False, filtered=filtered, first_page=True, stuck=True
        )
        yield "list", stuck
    yield "list", guidance.NO_TIME_BETWEEN
    for labels in ([], ["nightly"], [f"run {number}" for number in range(12)]):
        yield "list", guidance.unknown_label_message(labels)
    for batch in batches():
        yield "get", guidance.status_message(batch, NOW, None)
    yield "get", guidance.status_message(batches()[0], NOW, 50)
    for batch in batches():
        outcomes = ["already_ended", "already_canceling", "cancellation_requested"] if batch.ended else []
        outcomes += ["already_canceling", "cancellation_requested"] if batch.processing_status == "canceling" else []
        outcomes += ["unknown_status"] if batch.processing_status == "paused" else []
        for outcome in outcomes:
            yield f"cancel, {outcome}", guidance.cancel_message(batch, outcome)
    yield "cancel", guidance.CANCEL_NOT_WATCHED
    for batch in batches():
        if not batch.ended:
            yield "delete", guidance.not_ended_message(batch)
    saving = guidance.saving_message(1234, 100_000, 5_678_901)
    yield "save_results", saving
    for asked in (False, True):
        yield "delete", guidance.not_saved_yet_message(saving, asked=asked)
    yield "delete", guidance.SAVED_FILE_CHANGED
    yield "delete", guidance.results_gone_message(batches()[-1])
    yield "any question", NO_CONSENT
    yield from consents()


def consents() -> Iterator[tuple[str, str]]:
    one, many = {"succeeded": 1}, {"succeeded": 4812, "errored": 88}
    for counts in (one, many):
        delete = DeleteFacts(BATCH, int(NOW.timestamp()), {"errored": 0, **counts})
        saved = replace(delete, saved_to="/results/r.jsonl", saved_sha256="0")
        for facts in (delete, saved, replace(delete, save_to="/results/r.jsonl")):
            yield "question, delete", consent.delete_question(facts).message
    for processing in (1, 4900):
        cancel = CancelFacts(BATCH, int(NOW.timestamp()), {"processing": processing})
        yield "question, cancel", consent.cancel_question(cancel).message
    create = CreateFacts("f", 2, 1, "2.5", "genai-prices 0.2.3", "the API's count of 2 requests")
    again = replace(create, sent_on=int(NOW.timestamp() * 1000), sent_as=BATCH)
    for spending in (create, replace(create, max_cost_usd=None), again):
        yield "question, create", consent.create_question(spending).message
    for unseen in get_args(consent.Unseen):
        why = consent.why_unseen(unseen, 0.03)
        yield "nobody saw the question, --destructive require", consent.must_be_asked(why, "require")
    closed = consent.why_unseen("closed", 0.03)
    questions: dict[consent.Act, str] = {
        "delete": consent.delete_question(delete).message,
        "cancel": consent.cancel_question(cancel).message,
        "create": consent.create_question(create).message,
    }
    for act, question in questions.items():
        yield "nobody saw the question, --destructive ask", consent.ask_in_conversation(act, closed, question)
    for how in ("declined", "dismissed", "kept"):
        yield "declined", consent.declined_message(how)
    yield "changed, delete", consent.DELETE_CHANGED
    yield "changed, cancel", consent.CANCEL_CHANGED
    for changed in ("requests", "price", "sent"):
        yield "changed, create", consent.create_changed_message(changed)
    yield "answered before", consent.OUTCOME_UNKNOWN
    yield "answered before", consent.CANCELED_BEFORE
    yield "answered before", consent.UNSEEN_BEFORE
    for done in get_args(consent.Act):
        yield "answered before", consent.nothing_done_message(done)
    for ids in ([BATCH, BATCH], [BATCH], []):
        yield "answered before", consent.created_before_message(ids, 2)


def batches() -> list[MessageBatch]:
    def batch(status: str, age: timedelta, counts: dict[str, int], **facts: Any) -> MessageBatch:
        created = NOW - age
        made = MessageBatch.model_validate(
            {
                "id": BATCH,
                "processing_status": status,
                "request_counts": counts,
                "created_at": created,
                "expires_at": created + timedelta(hours=24),
                **facts,
            }
        )
        made._request_id = "req_42"
        return made

    hour, day, running = timedelta(hours=1), timedelta(days=1), {"processing": 4900}
    done = {"succeeded": 4812, "errored": 80, "canceled": 8}
    return [
        batch("in_progress", hour, running),
        batch("in_progress", 31 * hour, running),
        batch("canceling", hour, running, cancel_initiated_at=NOW - timedelta(minutes=1)),
        batch("canceling", 63 * hour, running, cancel_initiated_at=NOW - 60 * hour),
        batch("paused", hour, running),
        batch("ended", 2 * day, {"succeeded": 1}, ended_at=NOW),
        batch("ended", 2 * day, done, ended_at=NOW),
        batch("ended", 40 * day, done, ended_at=NOW - 39 * day, archived_at=NOW - 11 * day),
    ]


def rendered() -> str:
    """Each failure with its sentences, once for all acts that share them, then the guided messages."""
    texts: dict[str, dict[str, list[str]]] = {}
    for name, act, text in explained():
        texts.setdefault(name, {}).setdefault(shared(text, act), []).append(act)
    lines = ["# <nothing>: what is said of the state where a failed act changed nothing"]
    lines += [f"{act}: {state(act)}" for act in ALL if state(act)] + [""]
    for name, of_acts in texts.items():
        lines += [f"# {name}", *(f"{', '.join(acts)}: {text}" for text, acts in of_acts.items()), ""]
    lines += ["# guided answers", *(f"{name}: {text}" for name, text in guided())]
    return "\n".join(lines) + "\n"


def state(act: Act) -> str:
    """What is said of the state of things after an act that changed nothing: the second of three sentences."""
    sentences = explain(NotConfigured(endpoint="list"), call(act)).split(". ")
    return f"{sentences[1]}." if len(sentences) == 3 else ""


def shared(text: str, act: Act) -> str:
    """The text with a place holder for what is another for each act."""
    for special, place in ((state(act), "<nothing>"), (TOOL_OF.get(act, ""), "<tool>")):
        text = text.replace(special, place) if special else text
    return text


def own_words(text: str) -> str:
    """The text without what it quotes."""
    return re.sub(r'"(?:[^"\\]|\\.)*"', '""', text)


def test_the_sentences_are_the_reviewed_ones() -> None:
    """To accept a change: `uv run python -m tests.tools.test_sentences`, and review the difference."""
    assert rendered() == SNAPSHOT.read_text()


@pytest.mark.parametrize(("name", "act", "text"), list(explained()))
def test_a_failure_is_three_short_sentences_at_most_that_fit_its_act(name: str, act: Act, text: str) -> None:
    ours = own_words(text)
    assert 40 <= len(text) <= 1500
    assert 2 <= len(re.findall(r"[.](?: |$)", ours)) <= 3
    if act in {"list", "get", "read_results", "create", "check", "receipts"}:
        assert "saved" not in ours
    if act not in {"cancel", "delete", "receipts"}:
        assert "receipt" not in ours
    if act in {"check", "receipts"}:
        assert "the user" not in ours
        assert "tool" not in ours.replace("mcp-batch-tools", "")
    if act == "delete":
        assert "without save_results_to" not in ours
        assert "leave it out" not in ours


def test_no_sentence_has_a_word_that_reads_as_translated_or_two_spellings() -> None:
    ours = own_words("\n".join([text for _, _, text in explained()] + [text for _, text in guided()]))
    translated = "said|told|very same|of which|whatever|could not be asked|in order"
    british = "cancelled|cancelling|recognised"  # the API writes "canceled"
    assert re.findall(rf"\b(?:{translated}|{british})\b", ours) == []
    assert ours.isascii()


def test_only_after_a_refusal_of_the_very_content_does_the_same_call_not_help() -> None:
    helps: list[Failure] = [
        NoResponse("cut", endpoint="create", sent=False),
        refusal("create", 429),
        save_failed("upstream"),
    ]
    assert all(repeating_helps(error) for error in helps)
    refused: list[Failure] = [
        refusal("create", 400),
        refusal("create", 413),
        refusal("create", 422),
        InvalidRequests([]),
    ]
    assert not any(repeating_helps(error) for error in refused)


def test_the_failure_of_a_part_says_nothing_of_the_state_of_the_whole() -> None:
    text = explain_part(refusal("create", 500, "api_error", "Internal error.", endpoint="create"), call("create"))
    assert "unknown" not in text
    assert "Nothing" not in text
    assert text.startswith('The Anthropic API answered create with HTTP 500 api_error: "Internal error."')


def test_what_is_no_failure_stays_a_bug() -> None:
    with pytest.raises(Failure):
        explain(Failure("unknown"), call("get"))


if __name__ == "__main__":
    SNAPSHOT.write_text(rendered())
