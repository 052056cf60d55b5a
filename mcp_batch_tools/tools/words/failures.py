"""From a failure and the act that failed to three sentences: what happened, the state of things, what to do next.

What happened and what to do stand side by side for each failure, in `upstream` and `local`. The state follows from the
act, and from whether it may have taken effect.
"""

from collections.abc import Mapping

from mcp_batch_tools.api.errors import ApiError, BatchError
from mcp_batch_tools.errors import Failure
from mcp_batch_tools.requests.errors import InvalidRequests, SourceChanged
from mcp_batch_tools.results.errors import SaveFailed
from mcp_batch_tools.submissions.errors import UploadStalled
from mcp_batch_tools.tools.words import local, upstream
from mcp_batch_tools.tools.words.calls import Act, Call

_UNCHANGED: Mapping[Act, str] = {
    "create": "Nothing was sent.",
    "cancel": "Nothing was canceled.",
    "delete": "Nothing was deleted.",
    "save_results": "Nothing was saved.",
    "check": "",
    "receipts": "",
}

NO_CONSENT = (
    "No readable answer to the question came back, so there is no consent. Nothing was changed. Do not retry, and "
    "do not work around it: tell the user."
)


def explain(error: Failure, call: Call) -> str:
    """Three sentences about a call that failed, or two where there is nothing whose state could be told."""
    if isinstance(error, BatchError) and error.may_have_acted:
        return f"{upstream.happened(error)} {_unknown(call)} {_look(call)}"
    happened, next_step = _parts(error, call)
    return " ".join(sentence for sentence in (happened, _state(error, call), next_step) if sentence)


def explain_part(error: Failure, call: Call) -> str:
    """Two sentences about the failure because of which one batch of a submission was surely not created."""
    return " ".join(_parts(error, call))


def repeating_helps(error: Failure) -> bool:
    """Whether the same call with the same arguments can succeed later."""
    refused = isinstance(error, ApiError) and error.status in {400, 413, 422}
    return not (refused or isinstance(error, InvalidRequests))


def _parts(error: Failure, call: Call) -> tuple[str, str]:
    """What happened, and what to do next where it had no effect."""
    match error:
        case BatchError():
            return upstream.happened(error), upstream.next_step(error, call)
        case SaveFailed(problem="upstream", __cause__=BatchError() as cause):
            return upstream.happened(cause), upstream.next_step(cause, call)
        case _:
            return local.parts(error, call)


def _state(error: Failure, call: Call) -> str:
    unchanged = _UNCHANGED.get(call.act, "Nothing was changed.")
    match error:
        case ApiError(endpoint="create") | SourceChanged() | UploadStalled():
            return "No batch was created."
        case SaveFailed(partial=str() as partial) if call.act == "delete":
            return f"Nothing was deleted, and what arrived is in {partial}, and is not complete."
        case SaveFailed(partial=str() as partial):
            return f"What arrived is in {partial}, and is not complete."
        case _:
            return unchanged


def _unknown(call: Call) -> str:
    past = {"delete": "deleted", "cancel": "canceled"}.get(call.act, "created")
    return f"Whether {call.batch or 'the batch'} was {past} is unknown."


def _look(call: Call) -> str:
    """What to do where it is unknown whether a call took effect."""
    if call.act in {"cancel", "delete"}:
        return (
            f"Call get_message_batch for {call.batch} to see the batch as it is now, or that it is gone; if this call "
            "is still needed, repeating it is safe."
        )
    return "Do not send the requests again; call list_message_batches to see whether the batch is there."
