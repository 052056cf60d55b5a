"""Parts: files on their way. The next save of the same results, by whichever server, finds what there is of one."""

import hashlib
import os
import re
import secrets
import stat
import sys
from contextlib import suppress
from datetime import datetime, timedelta
from io import BufferedRandom
from pathlib import Path

from mcp_batch_tools.results.errors import SaveFailed

_FLAGS = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
_NAME = re.compile(r".+\.(jsonl|jsonl\.gz|parquet)\.[0-9a-f]{8}\.part", re.DOTALL)
_KEPT = timedelta(days=1)
"""How long a part is kept that nobody comes back to. A save is given up long before, and writes all the time."""
_AT_ONCE = 1024 * 1024
_MOST_TRIES = 10
"""Each but the last finds a file that another server has just finished, or that cannot be gone on with."""

if sys.platform == "win32":
    import msvcrt

    def _lock(file: BufferedRandom) -> None:
        """Lock a byte that no file has, so that everybody can still read this one."""
        file.seek(2**62)
        try:
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        except OSError as error:
            raise BlockingIOError(error.errno, error.strerror) from error
        finally:
            file.seek(0)

else:
    import fcntl

    def _lock(file: BufferedRandom) -> None:
        """Hold a file until it is closed, or until this process ends in whatever way."""
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def part_of(place: Path, message_batch_id: str) -> Path:
    """What the part of this file is called while the results of this batch are saved to it."""
    return place.with_name(f"{place.name}.{hashlib.sha256(message_batch_id.encode()).hexdigest()[:8]}.part")


def open_part(place: Path, message_batch_id: str) -> tuple[Path, BufferedRandom]:
    """The part of a file, open to read and write and held until it is closed. It may hold what an earlier save left.

    Where the file system knows no locks, it is a new one under a name of its own.

    Raises:
        SaveFailed: another server holds it.
        OSError: it cannot be made.
    """
    part = part_of(place, message_batch_id)
    for _ in range(_MOST_TRIES):
        file = os.fdopen(os.open(part, _FLAGS, 0o600), "r+b")
        try:
            _lock(file)
        except BlockingIOError:
            file.close()
            break
        except OSError:
            file.close()
            part = place.with_name(f"{place.name}.{secrets.token_hex(4)}.part")
            return part, os.fdopen(os.open(part, _FLAGS | os.O_EXCL, 0o600), "r+b")
        if _can_be_used(file, part):
            return part, file
        file.close()
    raise SaveFailed("being_saved", path=str(place))


def _can_be_used(file: BufferedRandom, part: Path) -> bool:
    """Whether the file that was opened still has the name, and is nobody else's; what is in the way is removed."""
    status = os.fstat(file.fileno())
    try:
        if not os.path.samestat(status, part.lstat()):
            return False
    except FileNotFoundError:
        return False
    # With a second name it was published, by a server that was killed before it took this name away.
    ours = status.st_nlink <= 1 and stat.S_ISREG(status.st_mode)
    if sys.platform != "win32":
        ours = ours and status.st_uid == os.geteuid()
    if not ours:
        part.unlink()
    return ours


def last_line_break(file: BufferedRandom) -> int:
    """How many bytes there are before the last line break; 0 where there is none."""
    end = file.seek(0, os.SEEK_END)
    while end:
        start = max(end - _AT_ONCE, 0)
        file.seek(start)
        found = file.read(end - start).rfind(b"\n")
        if found >= 0:
            return start + found
        end = start
    return 0


def keep_or_remove_part(part: Path) -> str | None:
    """The name of what there is of a file; an empty one is removed."""
    with suppress(OSError):
        if part.stat().st_size:
            return str(part)
        part.unlink()
    return None


def sweep_parts(folder: Path, now: datetime, *, but: Path) -> None:
    """Remove the parts in a folder that nothing has been written to for a day; `but` is about to be gone on with."""
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if not _NAME.fullmatch(entry.name) or entry.name == but.name:
                continue
            with suppress(OSError):
                if entry.stat(follow_symlinks=False).st_mtime < (now - _KEPT).timestamp():
                    Path(entry).unlink()
