"""Where files of requests may lie: inside one folder, checked after every link and `..` has been followed."""

from pathlib import Path

from mcp_batch_tools.errors import PathNotAllowed
from mcp_batch_tools.paths import below, written_path


def resolve_input_path(path: str, folder: Path | None) -> Path:
    """The file that `path` names inside `folder` (by default the home folder), after every link has been followed.

    Raises:
        PathNotAllowed: it lies outside, there is none, or it is no path of this computer.
    """
    root = (folder or Path.home()).resolve()
    try:
        place = below(root, written_path(path, purpose="read_requests", folder=root)).resolve(strict=True)
    except (OSError, ValueError, RuntimeError) as error:
        if isinstance(error, FileNotFoundError):
            raise PathNotAllowed("missing", purpose="read_requests", folder=str(root)) from error
        detail = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise PathNotAllowed("unusable", purpose="read_requests", folder=str(root), detail=detail) from error
    if not place.is_relative_to(root):
        raise PathNotAllowed("outside", purpose="read_requests", folder=str(root))
    return place
