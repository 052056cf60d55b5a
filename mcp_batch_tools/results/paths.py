"""Where files may go: inside one folder, checked after every link and `..` has been followed."""

import os
import stat
from pathlib import Path

from mcp_batch_tools.api.untrusted import escape_invisible
from mcp_batch_tools.errors import PathNotAllowed

FOLDER = "message-batch-results"
_LONGEST_NAME = 240
"""Bytes: file systems take 255, and while a file is on its way its name has a suffix of 14."""


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
        detail = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise PathNotAllowed("unusable", purpose="save_results", folder=str(folder), detail=detail) from error
    if escape_invisible(str(place), breaks=False) != str(place):
        raise PathNotAllowed("invisible", purpose="save_results", folder=str(root))
    if not place.is_relative_to(root) or place == root:
        raise PathNotAllowed("outside", purpose="save_results", folder=str(root))
    if not place.name.endswith(suffixes):
        raise PathNotAllowed("suffix", purpose="save_results", folder=str(root), suffixes=suffixes)
    if len(os.fsencode(place.name)) > _LONGEST_NAME:
        raise PathNotAllowed("too_long", purpose="save_results", folder=str(root))
    if len(place.parts) - len(root.parts) > 8:
        raise PathNotAllowed("too_deep", purpose="save_results", folder=str(root))
    try:
        if not stat.S_ISREG(place.lstat().st_mode):
            raise PathNotAllowed("not_a_file", purpose="save_results", folder=str(root))
    except FileNotFoundError:
        pass
    except OSError as error:
        detail = error.strerror or str(error)
        raise PathNotAllowed("unusable", purpose="save_results", folder=str(root), detail=detail) from error
    return place
