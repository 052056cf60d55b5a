"""What is said of a failure on this machine: the ledger, files, prices, and requests that cannot be sent.

Each case gives what happened and what to do next. Nothing here may advise to do without what could not be done: a
delete that cannot save first is not to be called without saving.
"""

from collections.abc import Mapping

from mcp_batch_tools.api.untrusted import quote_untrusted
from mcp_batch_tools.errors import Failure, PathNotAllowed, PathProblem
from mcp_batch_tools.ledger.errors import LedgerError
from mcp_batch_tools.pricing.errors import InvalidPrices
from mcp_batch_tools.requests.errors import BothGiven, InvalidRequests, SourceChanged
from mcp_batch_tools.results.errors import SaveFailed
from mcp_batch_tools.submissions.errors import NothingToRetry, RetryOfMissing, RetryUnreadable, UploadStalled
from mcp_batch_tools.tools.words.calls import Act, Call

_LEDGER: Mapping[Act, str] = {
    "list": "The labels of batches cannot be read from {path}",
    "create": "The record of sent requests cannot be read or written in {path}",
    "cancel": "The receipt of this cancellation cannot be written to {path}",
    "delete": "The receipt of this delete cannot be written to {path}",
    "receipts": "The receipts cannot be read from {path}",
}
_PATHS: Mapping[PathProblem, str] = {
    "outside": "it leads out of the folder {folder}",
    "missing": "there is no such file",
    "suffix": "its name must end in {suffixes}",
    "too_long": "the file name is too long",
    "too_deep": "it has too many folders in it",
    "invisible": "it holds characters that cannot be seen",
    "not_a_file": "something that is not a regular file has that name",
    "foreign": "it is a path of another operating system",
    "url": "it is a URL, not a path on this computer",
    "variable": "it starts with a variable, and variables are not replaced",
    "device": "Windows keeps a name in it for a device",
    "unusable": "the system refuses it ({detail})",
}
_MOST_OF_PROBLEMS = 1000
"""Characters of what is wrong with requests: a failure has 1,500 at most."""


def parts(error: Failure, call: Call) -> tuple[str, str]:
    """What happened, and what to do next."""
    match error:
        case LedgerError():
            return _ledger(error, call)
        case PathNotAllowed(purpose="save_results"):
            if error.instead is None:
                check = call.user(f"check the folder {error.folder}", "set --results-dir to another folder")
                return f"Results cannot be saved to that path: {_path(error)}.", check
            plain_name = f"{call.again} with {_target(call)} set to a plain file name such as {error.instead}"
            if error.problem == "unusable":
                folder = (
                    f"if that is refused too, ask the user to check the folder {error.folder}, or to set --results-dir"
                )
            else:
                folder = f"it goes into {error.folder}"
            return f"Results cannot be saved to that path: {_path(error)}.", f"{plain_name}; {folder}."
        case PathNotAllowed(problem="outside"):
            return (
                "requests_file is outside the folder that requests are read from.",
                call.user(f"move the file into {error.folder}", "set --requests-dir to its folder"),
            )
        case PathNotAllowed():
            next_step = f"{call.again} with the path of a file that can be read in {error.folder}."
            return f"requests_file cannot be read: {_path(error)}.", next_step
        case SaveFailed():
            return _save(error, call)
        case InvalidPrices(problem="old_form"):
            return (
                f"The price list {error.path} has the form of an earlier version.",
                f"Ask the user to write each of its models with all its rates, as in {error.detail}, and to leave out "
                "times_input and unit.",
            )
        case InvalidPrices():
            problem = "cannot be read" if error.problem == "unreadable" else "is invalid"
            return (
                f"The price list {error.path} {problem}: {quote_untrusted(error.detail)}.",
                call.user("correct the file that --prices names", "leave that option out"),
            )
        case _:
            return _sending(error, call)


def _ledger(error: LedgerError, call: Call) -> tuple[str, str]:
    match error.reason:
        case "busy":
            return f"Another program holds the ledger {error.path}.", f"{call.again} in a minute, which is safe."
        case "other_version":
            move = f"move {error.path} away; without it, this server does not know which requests were already sent"
            return f"The ledger {error.path} was written by another version of mcp-batch-tools.", call.user(
                "update mcp-batch-tools", move
            )
        case "replaced":
            return f"{error.path} was replaced or removed while the server ran.", call.user("restart the server")
        case "unsafe_folder":
            remove = f"remove the write permission of other users (chmod go-w {error.path})"
            return f"Other users of this machine can write to {error.path}, so it is not used.", call.user(remove)
        case "unusable":
            sentence = _LEDGER.get(call.act, "{path} cannot be read or written").format(path=error.path)
            check = "check the permissions of that file and the free disk space"
            if call.act == "list" and call.arguments.get("label"):
                next_step = f"{call.again} without label, or ask the user to {check}."
            else:
                next_step = call.user(check)
            return f"{sentence}: {quote_untrusted(error.text)}.", next_step


def _path(error: PathNotAllowed) -> str:
    *others, last = error.suffixes or ("",)
    suffixes = f"{', '.join(others)} or {last}" if others else last
    detail = quote_untrusted(error.detail)
    return _PATHS[error.problem].format(folder=error.folder, suffixes=suffixes, detail=detail)


def _target(call: Call) -> str:
    """The argument that says where results are saved."""
    return "save_results_to" if call.act == "delete" else "path"


def _save(error: SaveFailed, call: Call) -> tuple[str, str]:
    detail = quote_untrusted(error.detail)
    match error.problem:
        case "name_taken":
            return (
                f"{error.path} is there already and holds something else.",
                f"{call.again} with another {_target(call)}.",
            )
        case "folder_unwritable":
            return (
                f"The results folder {error.path} cannot be written to: {detail}.",
                call.user("check its permissions and the free disk space", "set --results-dir to another folder"),
            )
        case "write_failed":
            return f"The results were not saved, since writing failed: {detail}.", call.user(
                "check the free disk space, and the disk itself"
            )
        case "replaced":
            return (
                "Another program put another file in the place of the one that was checked.",
                f"{call.again}, which is safe.",
            )
        case "not_results":
            return (
                f"What the API sent is not the results of the batch: {detail}.",
                f"{call.again}, which is safe; if it fails in the same way, tell the user.",
            )
        case "interrupted":
            return "The download was interrupted too many times.", f"{call.again} in a minute, which is safe."
        case "parquet_missing":
            return (
                "Saving as .parquet needs the package pyarrow, which is not installed.",
                f"{call.again} with a {_target(call)} that ends in .jsonl, or ask the user to install the extra that "
                "brings it, mcp-batch-tools[parquet].",
            )
        case "table_unreadable":
            return (
                "The table that was written could not be read back.",
                f"{call.again} with a {_target(call)} that ends in .jsonl.",
            )
        case "being_saved":
            return (
                f"Another save is writing to {error.path} now.",
                f"{call.again} in a minute, or with another {_target(call)}.",
            )
        case "too_many":
            return "Too many saves are under way, so no other was begun.", f"{call.again} once some of them have ended."
        case "too_slow":
            return "The results were not whole after 6 hours, so saving was given up.", f"{call.again}, which is safe."
        case "stopped":
            return "The server was stopped before the file was whole.", f"{call.again}, which is safe."
        case "upstream":
            return "The API failed in the middle of the results.", f"{call.again} in a minute, which is safe."


def _sending(error: Failure, call: Call) -> tuple[str, str]:
    match error:
        case InvalidRequests():
            return f"These requests are invalid: {_problems(error)}.", "Fix all of them, then call this tool again."
        case BothGiven(given="both"):
            return "Both requests and requests_file were given.", f"{call.again} with one of them."
        case BothGiven():
            return "Neither requests nor requests_file was given.", f"{call.again} with one of them."
        case SourceChanged():
            return (
                f"{quote_untrusted(error.source)} changed after it was checked.",
                f"{call.again} with the same arguments, to check and price what it holds now.",
            )
        case UploadStalled():
            return (
                f"The upload stood still for {error.seconds:.0f} s, so it was given up.",
                f"{call.again} with the same arguments; that cannot pay twice.",
            )
        case NothingToRetry():
            return _nothing_to_retry(error)
        case RetryOfMissing():
            return "retry was given without retry_of.", f"{call.again} with the id of that batch as retry_of."
        case RetryUnreadable(message_batch_id=batch, ended=False):
            return f"{batch} has not ended, so nothing of it can be retried yet.", f"{call.again} after it has ended."
        case RetryUnreadable(message_batch_id=batch):
            return (
                f"The results of {batch} are gone, so what failed in it is unknown.",
                "Ask the user which requests are still needed, and send those without retry_of.",
            )
        case _:
            raise error


def _nothing_to_retry(error: NothingToRetry) -> tuple[str, str]:
    if error.chosen:
        none = f"is among {', '.join(error.chosen)}"
    else:
        none = "expired, was canceled or failed for reasons that are not its own"
    if error.others:
        next_step = f"Other results of this batch are {', '.join(error.others)}: name them in retry to send those."
    else:
        next_step = "A request that the API found invalid is sent again by default, once it is corrected in the file."
    return f"{error.message_batch_id} has nothing to retry: no request in this file {none}.", next_step


def _problems(error: InvalidRequests) -> str:
    """What is wrong, as much of it as fits."""
    named: list[str] = []
    for number, problem in enumerate(error.problems):
        named.append(quote_untrusted(str(problem)))
        if sum(map(len, named)) > _MOST_OF_PROBLEMS and number:
            named[-1] = f"and {len(error.problems) - number} more"
            break
    return "; ".join(named)
