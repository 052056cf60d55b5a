"""Where files may go: inside one folder, checked after every link and `..` has been followed."""

import os
import stat
from pathlib import Path

from mcp_batch_tools.api.untrusted import escape_invisible
from mcp_batch_tools.errors import PathNotAllowed

FOLDER = "message-batch-results"


def default_results_folder() -> Path:
    """`message-batch-results` in the user's documents, or in the home folder where there are none."""
    from platformdirs import user_documents_path  # only those who save need it

    documents = user_documents_path()
    return (documents if documents.is_dir() else Path.home()) / FOLDER


def resolve_output_path(path: str | None, folder: Path, default_name: str, suffixes: tuple[str, ...]) -> Path:
    """The file that `path` names inside `folder`: relative to it, or absolute and still inside; None is the default.

    Raises:
        PathNotAllowed: it lies outside (also by way of a link), is no regular file, or its name ends otherwise than in
            one of `suffixes`.
    """
    try:
        root = folder.expanduser().resolve()
        wanted = root / Path(path if path is not None else default_name).expanduser()
        if path is not None and (path.endswith(("/", os.sep)) or wanted.is_dir()):
            wanted /= default_name
        place = wanted.resolve()
    except (OSError, ValueError, RuntimeError) as error:  # a name too long, a NUL in it, a loop of links, no such user
        raise PathNotAllowed(f"the path cannot be used: {error}", folder=str(folder)) from error
    if escape_invisible(str(place), breaks=False) != str(place):
        raise PathNotAllowed("the path holds characters that nobody would see", folder=str(root))
    if not place.is_relative_to(root) or place == root:
        raise PathNotAllowed("the path leads out of the folder where files may be saved", folder=str(root))
    if not place.name.endswith(suffixes):
        raise PathNotAllowed(f"the name must end in {', '.join(suffixes[:-1])} or {suffixes[-1]}", folder=str(root))
    if len(place.parts) - len(root.parts) > 8:
        raise PathNotAllowed("the path has too many folders in it", folder=str(root))
    try:
        if not stat.S_ISREG(place.lstat().st_mode):
            raise PathNotAllowed("something that is no regular file has that name", folder=str(root))
    except FileNotFoundError:
        pass
    except OSError as error:
        raise PathNotAllowed(f"the path cannot be used: {error.strerror}", folder=str(root)) from error
    return place
