"""Where results are saved: the path that a call names, and another one where that path was the reason of a failure."""

from pathlib import Path
from typing import Annotated

from pydantic import Field

from mcp_batch_tools.api.errors import ApiError, NoResponse
from mcp_batch_tools.errors import Failure, PathNotAllowed
from mcp_batch_tools.results.errors import SaveFailed
from mcp_batch_tools.results.formats import SUFFIXES
from mcp_batch_tools.results.paths import default_results_folder, free_name, resolve_output_path
from mcp_batch_tools.tools.app import App

SavePath = Annotated[
    str,
    Field(min_length=1, description="File inside the results folder; its name ends in .jsonl, .jsonl.gz or .parquet."),
]


def place_of(app: App, message_batch_id: str, path: str | None) -> Path:
    """Where results go. Raises `PathNotAllowed`."""
    return resolve_output_path(path, _folder(app), _default_name(message_batch_id), SUFFIXES)


def _folder(app: App) -> Path:
    return app.settings.results_dir or default_results_folder()


def _default_name(message_batch_id: str) -> str:
    letters = (letter if letter.isalnum() or letter in "_-." else "_" for letter in message_batch_id)
    return f"{''.join(letters)}.jsonl"


def another_path(app: App, message_batch_id: str, error: Failure) -> str | None:
    """A name in the results folder that can be used where this one was the reason of a failed save, else None."""
    match error:
        case PathNotAllowed():
            return error.instead
        case SaveFailed(problem="name_taken" | "parquet_missing" | "table_unreadable"):
            name = Path(error.path).name
            wanted = name if error.problem == "name_taken" else name.removesuffix(".parquet")
            return free_name(wanted, _folder(app), _default_name(message_batch_id), SUFFIXES)
        case _:
            return None


def may_pass(error: Failure) -> bool:
    """Whether the same save can succeed a little later."""
    match error:
        case SaveFailed(problem="upstream", __cause__=Failure() as cause):
            return may_pass(cause)
        case SaveFailed():
            return error.problem in {"interrupted", "upstream", "being_saved", "too_many", "stopped"}
        case ApiError():
            return error.status in {408, 409, 429} or error.status >= 500
        case _:
            return isinstance(error, NoResponse)
