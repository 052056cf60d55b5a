"""The messages of answers that are not failures: of list, get, cancel and delete."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from mcp_batch_tools.api.models import MessageBatch
from mcp_batch_tools.api.untrusted import quote_name, quote_untrusted
from mcp_batch_tools.tools.answers import format_time, outcomes, requests

_CANCELING_LASTS = timedelta(hours=1)
"""The most that a cancellation takes; usually it is seconds."""


def list_message(
    rows: int, scanned: int, *, more: bool, stopped_early: bool, filtered: bool, first_page: bool, stuck: bool = False
) -> str:
    """What a page of the list holds: `rows` of the batches that were `scanned`, and whether there are `more`.

    `stuck` says that the API has more and does not list them.
    """
    if stuck:
        found = f"{rows} of the {scanned:,} that it listed matched" if filtered else f"It listed {rows}"
        return f"The API says that there are more batches, but its list does not go on. {found}; call again later."
    if stopped_early:
        message = f"Scanned {scanned:,} batches, {rows} matched; older batches were not scanned."
    elif rows:
        message = f"{rows} batch{'' if rows == 1 else 'es'}, newest first."
    elif filtered:
        message = "No batch matches."
    else:
        message = "There are no batches in this workspace." if first_page else "There are no older batches."
    return f"{message} Call again with cursor set to next_cursor for more." if more else message


_MOST_LABELS = 10


def unknown_label_message(known: Sequence[str]) -> str:
    """What is said of a label that no batch has, where these are the labels that were given here."""
    if not known:
        return "No batch was created here with a label. Nothing was listed; leave label out to list all batches."
    named = ", ".join(map(quote_untrusted, known[:_MOST_LABELS]))
    more = f" and {len(known) - _MOST_LABELS} more" if len(known) > _MOST_LABELS else ""
    return f"No batch was created here with this label. Nothing was listed; the labels used here are {named}{more}."


_ENDINGS: Mapping[str, str] = {
    "max_tokens": "cut off at max_tokens",
    "model_context_window_exceeded": "cut off at the end of the context window",
    "pause_turn": "paused before the end of the turn",
    "compaction": "paused after a compaction",
    "refusal": "refused",
}


def endings_in_words(stop_reasons: Mapping[str, int]) -> str:
    """`12 were cut off at max_tokens and 3 refused`: results that succeeded without being the whole answer."""
    named = [f"{count:,} {_ENDINGS[reason]}" for reason in _ENDINGS if (count := stop_reasons.get(reason, 0))]
    if not named:
        return ""
    number, first = named[0].split(" ", 1)
    named[0] = f"{number} {'was' if number == '1' else 'were'} {first}"
    return " and ".join([", ".join(named[:-1]), named[-1]] if named[1:] else named)


def results_in_words(succeeded: int, stop_reasons: Mapping[str, int], unknown: int = 0) -> str:
    """What must be told of results beside their number, in sentences that begin with a blank; often nothing.

    `unknown` is how many have an outcome that this version does not know.
    """
    endings = endings_in_words(stop_reasons)
    told = f" {succeeded:,} succeeded, of which {endings}." if endings else ""
    if unknown:
        told += f" {unknown:,} {'has' if unknown == 1 else 'have'} an outcome that this version does not know."
    return told


NO_TIME_BETWEEN = "No batch can match, since created_after is not before created_before. Nothing was listed."


def status_message(batch: MessageBatch, now: datetime, waited: float | None) -> str:
    """Where a batch stands, after waiting for so many seconds; and that this is not normal, where it takes too long."""
    overdue = overdue_message(batch, now)
    total = requests(batch.request_counts.total)
    after = f" after waiting {waited:.0f} s" if waited is not None else ""
    match batch.processing_status:
        case "in_progress" if overdue:
            return f"Still in progress{after}: {total}.{overdue}"
        case "in_progress":
            return (
                f"Still in progress{after}: {total}, created {format_time(batch.created_at)}. How many have finished "
                "is not known before the end."
            )
        case "canceling" if overdue:
            return f"Still being canceled{_since(batch)}, not ended yet{after}: {total}.{overdue}"
        case "canceling":
            return f"Being canceled{_since(batch)}, not ended yet{after}: {total}. Wait; do not cancel it again."
        case "ended" if batch.readable and now >= batch.results_until:
            return (
                f"Ended: {outcomes(batch)}. Results are kept until {format_time(batch.results_until)}; the API does "
                "not say that these are gone, so try to save them before anything else."
            )
        case "ended" if batch.readable:
            return f"Ended: {outcomes(batch)}. Results can be read until {format_time(batch.results_until)}."
        case "ended":
            return f"Ended and archived: {outcomes(batch)}. Its results are gone; the record can be deleted."
        case _:
            status = quote_untrusted(batch.processing_status)
            return f"This version does not know the status {status}, and treats the batch as not ended."


def cancel_message(batch: MessageBatch, outcome: str) -> str:
    """What a call to cancel did, by its `outcome` and the status of the batch now."""
    kept = "Requests that have finished are kept in its results, and billed."
    if batch.ended:
        ended = f"It has ended: {outcomes(batch)}."
        match outcome:
            case "already_ended":
                return f"Nothing to cancel. Nothing was changed. {ended}"
            case "already_canceling":
                return f"It was already being stopped. {ended} {kept}"
            case _ if batch.request_counts.canceled:
                return f"The cancellation went through. {ended} {kept}"
            case _:
                return f"The cancellation came too late to stop anything. {ended} {kept}"
    match outcome:
        case "already_canceling":
            return f"It is already being stopped{_since(batch)}. Wait for it to end, and do not cancel it again."
        case "unknown_status":
            status = quote_untrusted(batch.processing_status)
            return f"This version does not know the status {status}, so no cancellation was sent. Nothing was changed."
        case _:
            total = requests(batch.request_counts.total)
            return f"Cancellation of the batch ({total}) was requested, and takes a while. {kept}"


CANCEL_NOT_WATCHED = "Watching it failed, so this is how it was last seen."


def not_ended_message(batch: MessageBatch) -> str:
    """Why a batch that has not ended was not deleted, and how to get there."""
    match batch.processing_status:
        case "in_progress":
            return (
                f"Nothing was deleted: the batch is in progress ({requests(batch.request_counts.total)}), and only an "
                "ended batch can be deleted. Cancel it first, wait until it has ended, then make the same call again. "
                "Requests that finish before the cancellation takes effect are kept in its results, and billed."
            )
        case "canceling":
            return (
                f"Nothing was deleted: the batch is being canceled{_since(batch)} and has not ended yet. Wait until it "
                "has, then make the same call again. Do not cancel it again."
            )
        case _:
            status = quote_untrusted(batch.processing_status)
            return (
                f"Nothing was deleted: this version does not know the status {status}, and deletes only a batch that "
                "has certainly ended. Wait, then look at it again."
            )


SAVED_FILE_CHANGED = (
    "Nothing was deleted: the file with its results was changed or removed after the question was asked. Call again to "
    "ask anew, or with save_results_to to save the results first."
)


def results_gone_message(batch: MessageBatch) -> str:
    """Why the results of a batch that is archived could not be saved before the delete."""
    return (
        f"Nothing was deleted: its results lasted until {format_time(batch.results_until)} and can no longer be saved. "
        "To delete the record that is left, call without save_results_to."
    )


def saving_message(lines: int, total: int, size: int) -> str:
    """How far a save has come that takes longer than a call."""
    return (
        f"The results are still being saved: {lines:,} of {requests(total)}, {size:,} bytes so far. This goes on while "
        "nobody waits for it. Call again with the arguments in next_steps to wait for the rest; that joins this save."
    )


def not_saved_yet_message(saving: str, *, asked: bool) -> str:
    """Why nothing was deleted while saving goes on; whether the person was asked, who is asked again then."""
    again = " The question is asked again then." if asked else ""
    return f"Nothing was deleted, since that comes after the saving. {saving}{again}"


def progress_message(batch: MessageBatch, elapsed: float) -> str:
    """How far the waiting for a batch has come."""
    return f"{quote_name(batch.processing_status)} after {elapsed:.0f} s"


def _since(batch: MessageBatch) -> str:
    return f" since {format_time(batch.cancel_initiated_at)}" if batch.cancel_initiated_at else ""


def overdue_message(batch: MessageBatch, now: datetime) -> str:
    """That a batch takes longer than it can, and what support needs, after a blank; nothing where it may go on.

    The clock is the API's where its answer tells the time, else `now`.
    """
    now = batch.api_time or now
    late = ""
    match batch.processing_status:
        case "in_progress" if batch.expires_at is not None and now > batch.expires_at:
            late = f" The batch should have ended by {format_time(batch.expires_at)}."
        case "canceling" if batch.cancel_initiated_at and now - batch.cancel_initiated_at > _CANCELING_LASTS:
            late = f" A cancellation takes an hour at most, and this began {format_time(batch.cancel_initiated_at)}."
        case _:
            return ""
    request = f" and the request id {quote_name(batch.request_id)}" if batch.request_id else ""
    return (
        f"{late} This is not normal: ask the user to report it to Anthropic's support with the batch id "
        f"{batch.id}{request}."
    )
