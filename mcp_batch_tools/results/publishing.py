"""Files that are whole: how they get their names, and how they are recognised again."""

import hashlib
import os
import zlib
from contextlib import suppress
from pathlib import Path

from mcp_batch_tools.results.errors import SaveFailed
from mcp_batch_tools.results.formats import pieces_of
from mcp_batch_tools.results.lines import InvalidLine
from mcp_batch_tools.results.summary import ResultSummary, ResultValidator


def publish(part: Path, place: Path, *, overwrite: bool, sha256: str, descriptor: int) -> bool:
    """Give a checked file its name at once, and bring the name to the disk.

    `descriptor` is the open file that was checked. Returns whether the very same file had the name already; the new one
    is removed then.

    Raises:
        SaveFailed: the name is another file's, or `part` is not the file any more that was checked.
    """
    if overwrite:
        part.replace(place)
    else:
        try:
            place.hardlink_to(part)  # unlike a rename, this fails where the name is taken
        except FileExistsError:
            if sha256_of(place) != sha256:
                raise SaveFailed("name_taken", path=str(place)) from None
            part.unlink()
            return True
        except OSError:  # a file system without links
            if place.exists():
                raise SaveFailed("name_taken", path=str(place)) from None
            part.rename(place)
        else:
            part.unlink()
    if not os.path.samestat(os.fstat(descriptor), place.lstat()):
        place.unlink()
        raise SaveFailed("replaced", path=str(place))
    if os.name == "posix":  # elsewhere a folder cannot be opened
        folder = os.open(place.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    return False


def make_folders(folder: Path) -> None:
    """Make a folder and those above it where they are missing, each for its owner alone.

    Raises:
        OSError: one cannot be made.
    """
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    for path in reversed(missing):
        path.mkdir(mode=0o700, exist_ok=True)
    folder.mkdir(exist_ok=True)  # fails where something that is not a folder has the name


def size_of(path: Path) -> int | None:
    """The size of a file in bytes, or None where there is none."""
    with suppress(OSError):
        return path.stat().st_size
    return None


def sha256_of(path: Path) -> str | None:
    """The SHA-256 of a file in hex, or None where it cannot be read."""
    with suppress(OSError), path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
    return None


def summary_of(place: Path, sha256: str, validator: ResultValidator) -> ResultSummary | None:
    """What a saved file adds up to; None where it is not the file with this hash, or not what `validator` accepts."""
    if sha256_of(place) != sha256:
        return None
    try:
        for piece in pieces_of(place):
            validator.feed(piece)
        validator.finish()
        validator.verify()
    except (InvalidLine, OSError, ValueError, EOFError, zlib.error, ImportError):
        return None
    return validator.summary
