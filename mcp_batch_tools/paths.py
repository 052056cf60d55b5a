"""Paths as people and models write them, before it is known whether they may be used."""

import os
import re
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from mcp_batch_tools.errors import PathNotAllowed, PathProblem, Purpose

_AROUND = " \t\r\n`'\""
_VARIABLE = re.compile(r"\$\{?\w|%\w+%")
_DRIVE = re.compile(r"[A-Za-z]:[\\/]")
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:(?=/)")


def written_path(text: str, *, purpose: Purpose, folder: Path) -> str:
    """The path without the blanks and quotes around it; a file URL is the path that it names.

    Raises:
        PathNotAllowed: it is another kind of URL, a path of another operating system, or starts with a variable.
    """
    path = text.strip(_AROUND)
    problem: PathProblem | None = None
    if _DRIVE.match(path) or "\\" in path:
        problem = None if os.name == "nt" else "foreign"
    elif path.lower().startswith("file:"):
        host, path = urlsplit(path)[1:3]
        path = url2pathname(path)
        problem = "url" if host not in {"", "localhost"} else None
    elif _URL.match(path):
        problem = "url"
    if _VARIABLE.match(path):
        problem = "variable"
    if problem is not None:
        raise PathNotAllowed(problem, purpose=purpose, folder=str(folder))
    return path


def below(root: Path, path: str, *names: str) -> Path:
    """`path` seen from `root`, or as it is where it is absolute; `~` is the home folder.

    A first part that names `root` itself, by its own name or one of `names`, is left out unless something in it has
    that name. Raises `RuntimeError` for a user that there is not, and as the file system does.
    """
    parts = Path(path).expanduser().parts
    if parts and parts[0] in {root.name, *names} and not os.path.lexists(root / parts[0]):
        parts = parts[1:]
    return root.joinpath(*parts)
