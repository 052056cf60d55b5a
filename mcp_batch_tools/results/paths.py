"""Where files may go: inside one folder, checked after every link and `..` has been followed."""

import os
import re
import stat
from functools import partial
from pathlib import Path

from mcp_batch_tools.api.untrusted import escape_invisible
from mcp_batch_tools.errors import PathNotAllowed
from mcp_batch_tools.paths import below, written_path

FOLDER = "message-batch-results"
_LONGEST_NAME = 240
"""Bytes: file systems take 255, and while a file is on its way its name has a suffix of 14."""
_MOST_PARTS = 8
_LONGEST_PLAIN = 60
"""Characters of a name that is proposed."""
_DEVICE = re.compile(r"(con|prn|aux|nul|com\d|lpt\d) *(\.|$)", re.IGNORECASE)
"""Names that Windows keeps for devices, whatever follows the first dot."""


def default_results_folder() -> Path:
    """`message-batch-results` in the user's documents, or in the home folder where there are none."""
    from platformdirs import user_documents_path  # only those who save need it

    documents = user_documents_path()
    return (documents if documents.is_dir() else Path.home()) / FOLDER


def resolve_output_path(path: str | None, folder: Path, default_name: str, suffixes: tuple[str, ...]) -> Path:
    """The file that `path` names inside `folder`: relative to it, or absolute and still inside; None is the default.

    A folder stands for a file with the default name in it. Capitals in the suffix are made small.

    Raises:
        PathNotAllowed: it lies outside (also by way of a link), is no regular file or no path of this computer, or its
            name ends otherwise than in one of `suffixes`. `instead` is a name near it that can be used.
    """
    try:
        return _resolve(path, folder, default_name, suffixes)
    except PathNotAllowed as error:
        error.instead = free_name(path or default_name, folder, default_name, suffixes)
        raise


def free_name(path: str, folder: Path, default_name: str, suffixes: tuple[str, ...]) -> str | None:
    """A plain file name like that of `path`, which nothing in `folder` has; None where none can be used."""
    base = re.split(r"[/\\]", path.rstrip(" \t\r\n`'\"/\\"))[-1]
    suffix = next((known for known in suffixes if base.lower().endswith(known)), suffixes[0])
    stem = base[: -len(suffix)] if base.lower().endswith(suffix) else base.rpartition(".")[0] or base
    stem = re.sub(r"[^\w.-]+", "_", stem).strip("._")[:_LONGEST_PLAIN]
    default = default_name.removesuffix(suffixes[0])
    names = [f"{stem}{suffix}"] if stem else []
    names += [f"{default}{suffix}", *(f"{default}-{number}{suffix}" for number in range(2, 10))]
    for name in names:
        try:
            if not os.path.lexists(_resolve(name, folder, default_name, suffixes)):
                return name
        except PathNotAllowed:
            continue
    return None


def _resolve(path: str | None, folder: Path, default_name: str, suffixes: tuple[str, ...]) -> Path:
    refused = partial(PathNotAllowed, purpose="save_results", folder=str(folder), suffixes=suffixes)
    try:
        root = folder.expanduser().resolve()
        refused = partial(refused, folder=str(root))
        written = written_path(path or default_name, purpose="save_results", folder=root)
        wanted = below(root, written, FOLDER)
        if path is not None and (wanted == root or written.endswith(("/", os.sep)) or wanted.is_dir()):
            wanted /= default_name
        place = _with_small_suffix(wanted.resolve(), default_name, suffixes)
    except (OSError, ValueError, RuntimeError) as error:  # a name too long, a NUL in it, a loop of links, no such user
        raise refused("unusable", detail=_in_words(error)) from error
    if escape_invisible(str(place), breaks=False) != str(place):
        raise refused("invisible")
    if not place.is_relative_to(root) or place == root:
        raise refused("outside")
    if not place.name.endswith(suffixes):
        raise refused("suffix")
    if len(os.fsencode(place.name)) > _LONGEST_NAME:
        raise refused("too_long")
    inside = place.relative_to(root).parts
    if len(inside) > _MOST_PARTS:
        raise refused("too_deep")
    if any(map(_DEVICE.match, inside)):
        raise refused("device")
    try:
        if not stat.S_ISREG(place.lstat().st_mode):
            raise refused("not_a_file")
    except FileNotFoundError:
        pass
    except OSError as error:
        raise refused("unusable", detail=_in_words(error)) from error
    return place


def _with_small_suffix(place: Path, default_name: str, suffixes: tuple[str, ...]) -> Path:
    """The place with its suffix in small letters; a name that is nothing but a suffix gets the stem of the default."""
    suffix = next((known for known in suffixes if place.name.lower().endswith(known)), "")
    stem = place.name[: len(place.name) - len(suffix)]
    return place.with_name(f"{stem or default_name.removesuffix(suffixes[0])}{suffix}") if suffix else place


def _in_words(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
