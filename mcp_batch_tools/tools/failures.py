"""The one place that turns failures into sentences: what happened, what state things are in, what to do next."""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from mcp_batch_tools.api.errors import ApiError, BatchError, InvalidResponse, NoResponse, NotConfigured, UnusableSetup
from mcp_batch_tools.api.untrusted import quote_name, quote_untrusted
from mcp_batch_tools.errors import Failure, PathNotAllowed
from mcp_batch_tools.ledger.errors import LedgerError
from mcp_batch_tools.pricing.errors import InvalidPrices
from mcp_batch_tools.requests.errors import InvalidRequests, SourceChanged
from mcp_batch_tools.results.errors import SaveFailed
from mcp_batch_tools.submissions.errors import NothingToRetry, RetryUnreadable, UploadStalled

_UNREACHED = {
    "name": "the name of its host could not be resolved",
    "connect": "no connection could be made",
    "tls": "no trusted TLS connection could be made",
    "proxy": "the proxy refused the connection",
    "timeout": "it did not answer in time",
    "cut": "the connection broke before the answer was complete",
}
_FIXES = {
    "name": "The user should check the network and ANTHROPIC_BASE_URL.",
    "connect": "The user should check the network, the proxy variables and ANTHROPIC_BASE_URL; calling the same tool "
    "again is safe.",
    "tls": "The user should check ANTHROPIC_BASE_URL, and SSL_CERT_FILE where a private certificate is used.",
    "proxy": "The user should check HTTPS_PROXY and NO_PROXY.",
}
_AGAIN = "Calling the same tool again is safe."
_ADDRESS = "The user should check that ANTHROPIC_BASE_URL is the API, and look at the proxy variables."

NO_CONSENT = (
    "The person was asked, but no answer came back that could be read, so there is no consent. Nothing was changed. "
    "Do not retry, and do not work around it: tell the user."
)


def explain(error: Failure, arguments: Mapping[str, Any], key_source: str | None) -> str:
    """Three sentences about a failed call for the model; `arguments` are those of the tool, which fit its schema."""
    return _upstream(error, arguments, key_source) if isinstance(error, BatchError) else _local(error)


def _upstream(error: BatchError, arguments: Mapping[str, Any], key_source: str | None) -> str:
    batch = arguments.get("message_batch_id")
    what, next_step = _parts(error, arguments, key_source, unknown=error.may_have_acted)
    return f"{what} {_state(error, batch)} {next_step}"


def explain_part(error: Failure, key_source: str | None) -> str:
    """Two sentences about a failure because of which one batch of a submission was surely not created."""
    match error:
        case BatchError():
            return " ".join(_parts(error, {}, key_source, unknown=False))
        case LedgerError():
            return f"{ledger_problem(error)} Without it nothing more is sent."
        case UploadStalled():
            return f"The upload stood still for {error.seconds:.0f} s and was given up."
        case InvalidRequests():
            return f"{'; '.join(quote_untrusted(str(problem)) for problem in error.problems)}."
        case SourceChanged():
            return f"{quote_untrusted(error.source)} changed after it was checked."
        case _:
            raise error


def _parts(
    error: BatchError, arguments: Mapping[str, Any], key_source: str | None, *, unknown: bool
) -> tuple[str, str]:
    """What happened, and what to do next."""
    batch = arguments.get("message_batch_id")
    match error:
        case NotConfigured():
            what, next_step = _not_configured()
        case UnusableSetup():
            what = f"The connection to the Anthropic API cannot be set up as configured: {quote_untrusted(error.text)}."
            next_step = "The user should check ANTHROPIC_BASE_URL, the proxy variables, SSL_CERT_FILE and SSL_CERT_DIR."
        case ApiError():
            said = f": {quote_untrusted(error.message)}" if error.message else ", without a message"
            kind = f"HTTP {error.status} {quote_name(error.type)}".rstrip()
            what = f"The Anthropic API answered {error.endpoint} with {kind}{said}{_request(error.request_id)}."
            next_step = _look(batch) if unknown else _after(error, arguments, key_source)
        case NoResponse():
            what = f"The Anthropic API could not be asked ({error.endpoint}): {_UNREACHED[error.reason]}."
            next_step = _look(batch) if unknown else _FIXES.get(error.reason, _AGAIN)
        case InvalidResponse():
            what = (
                f"The Anthropic API answered {error.endpoint} with HTTP {error.status}, but the body is not what it "
                f"should be: {quote_untrusted(error.text)}{_request(error.request_id)}."
            )
            next_step = _look(batch) if unknown else _ADDRESS
        case _:
            raise error
    return what, next_step


def explain_arguments(tool: str, error: ValidationError) -> str:
    """Sentences about arguments that do not fit the tool's schema; rejected values are not repeated."""
    problems = []
    for problem in error.errors(include_input=False, include_url=False):
        name = ".".join(str(part) for part in problem["loc"]) or "arguments"
        match problem["type"]:
            case "string_pattern_mismatch" | "string_type" if name == "message_batch_id":
                said = "is not an id: ids look like msgbatch_01HkcTjaV5uDC8jWR4ZsDV8d"
            case "string_pattern_mismatch" if name == "cursor":
                said = "is not the next_cursor of an earlier answer"
            case "extra_forbidden":
                said = f"is not an argument of {tool}"
            case "missing":
                said = "is required"
            case _:
                said = problem["msg"].removeprefix("Value error, ")
                said = said[:1].lower() + said[1:]
        problems.append(f"{quote_name(name)} {said}")
    ids = "; list_message_batches shows the ids" if "message_batch_id" in " ".join(problems) else ""
    return (
        f"The arguments of {tool} do not fit: {'; '.join(problems[:5])}. Nothing was sent and nothing was changed. "
        f"Call it again with the arguments corrected{ids}."
    )


def _local(error: Failure) -> str:
    """What went wrong on this machine. The batch and its results are as they were."""
    match error:
        case LedgerError():
            return f"{ledger_problem(error)} Without it nothing is done, so nothing was changed."
        case PathNotAllowed():
            return (
                f"Nothing was saved: {quote_untrusted(str(error))}. Files go into {error.folder}; give a path "
                "inside it, or "
                "leave it out."
            )
        case SaveFailed():
            aside = f" What arrived is in {error.partial}, and is not complete." if error.partial else ""
            return (
                f"The results were not saved: {quote_untrusted(str(error), most=500)}.{aside} The batch and its "
                "results at the "
                "API are as they were; call the same tool again, with another path where a file is in the way."
            )
        case InvalidRequests():
            told = "; ".join(quote_untrusted(str(problem)) for problem in error.problems)
            return (
                f"The requests are not in order: {told}. Nothing was sent. Correct them, all of the above at once, and "
                "call the same tool again."
            )
        case UploadStalled():
            return (
                f"The upload stood still for {error.seconds:.0f} s, so it was given up. Nothing was created by it. "
                "Call this tool again with the same arguments; that cannot pay twice."
            )
        case NothingToRetry():
            return (
                f"{error.message_batch_id} has nothing to retry: no request in this file expired, was canceled or "
                "failed on the server, and none that was refused has changed. Nothing was sent."
            )
        case RetryUnreadable():
            why = "its results are gone" if error.ended else "it has not ended"
            return f"{error.message_batch_id} cannot be retried: {why}. Nothing was sent."
        case SourceChanged():
            return (
                f"{quote_untrusted(error.source)} changed after it was checked. Nothing was sent. Call the same tool "
                "again to check and price what it holds now."
            )
        case InvalidPrices():
            return f"Nothing was saved: {quote_untrusted(str(error))}. The user should correct the option --prices."
        case _:
            raise error


def _not_configured() -> tuple[str, str]:
    return (
        "No API key is configured.",
        "The user should set ANTHROPIC_API_KEY in the server's environment and restart it, or start it with "
        "--sandbox, which needs none.",
    )


def _state(error: BatchError, batch: str | None) -> str:
    if not error.may_have_acted:
        return "Nothing was changed."
    acts = {"delete": "deleted", "cancel": "canceled", "create": "created"}
    return f"Whether {batch or 'the batch'} was {acts[error.endpoint]} is unknown."


def _after(error: ApiError, arguments: Mapping[str, Any], key_source: str | None) -> str:
    """What to do after a refusal, that is, where nothing was changed."""
    batch = arguments.get("message_batch_id")
    match error.status:
        case 401:
            return f"The user should check {key_source}; until then no tool of this server can work."
        case 402:
            return "The user should look at the billing of the account; repeating the call does not help."
        case 403:
            return "The user should check what the key may do, and in which workspace; repeating does not help."
        case 404 if batch and error.gone and error.endpoint == "results":
            return f"Its results are not there, or not yet: call get_message_batch for {batch}."
        case 416:
            return "The cursor does not fit the results any more: call the same tool again without cursor."
        case 404 if batch and error.gone:
            return (
                f"{batch} is already gone, or never was in the workspace of this key (a batch created seconds ago can "
                "be missing for a moment): call list_message_batches to see what is there."
            )
        case 400 | 404 if arguments.get("cursor") and error.type in {"not_found_error", "invalid_request_error"}:
            return "The batch that the cursor names may be gone: call list_message_batches again without cursor."
        case 413:
            return "Send fewer or shorter requests in one batch: 256 MB is the most."
        case _ if error.spending_limit:
            return "A spending limit is reached: the user should raise it, and repeating the call does not help."
        case status if status in {408, 409, 429} or status >= 500:
            wait = f"{error.retry_after:.0f} seconds" if error.retry_after else "a minute"
            whose = "" if status == 429 else "It is the API's side that failed: "
            return f"{whose}{'wait' if whose else 'Wait'} {wait}, then call the same tool again."
        case 400 | 422:
            return "Repeating the same call does not help; the user should see this message."
        case _:
            return _ADDRESS


def _look(batch: str | None) -> str:
    if batch:
        return (
            f"Call get_message_batch for {batch}: it shows the batch as it is now, or that it is gone; "
            "then repeat this call if it is still needed, which is safe."
        )
    return "Do not repeat the call; call list_message_batches to see what is there."


def _request(request_id: str | None) -> str:
    return f" (request {quote_name(request_id)})" if request_id else ""


def ledger_problem(error: LedgerError) -> str:
    """What is wrong with the ledger, and what the user can do about it; two sentences."""
    match error.reason:
        case "unusable":
            return (
                f"The ledger {error.path} cannot be used: {quote_untrusted(error.text)}. Ask the user to check that "
                "file's permissions and free disk space."
            )
        case "busy":
            return f"Another program holds the ledger {error.path}. Call the same tool again in a minute."
        case "replaced":
            return (
                f"The ledger {error.path} was replaced or removed while the server ran. Ask the user to restart the "
                "server."
            )
        case "other_version":
            return (
                f"The ledger {error.path} was written by another version of this program. Ask the user to update it, "
                "or to move that file away."
            )
        case "unsafe_folder":
            return (
                f"Other users of this machine can write to {error.path}, the folder of the ledger. Ask the user to "
                "take that permission away (chmod go-w)."
            )
