"""Where requests come from: a file, in any of the forms that people keep them in, or the argument of a tool.

A source gives the JSON of one request after the other, byte for byte as it was found, and holds no more than one of
them in memory. What is inside a request is not its business.
"""

import gzip
import json
import os
import stat
import zlib
from collections.abc import Generator, Iterator, Sequence
from functools import partial
from io import BufferedReader, FileIO
from pathlib import Path
from typing import Any, Literal, Protocol

from mcp_batch_tools.requests.documents import Document, is_document
from mcp_batch_tools.requests.errors import InvalidRequests
from mcp_batch_tools.requests.parsing import MOST_LEVELS
from mcp_batch_tools.requests.reading import LONGEST, MOST_BLANK, TOO_LONG, WHITESPACE, Unreadable

__all__ = ["LONGEST", "TOO_LONG", "FileSource", "InlineSource", "Source", "Unit"]

Unit = Literal["line", "request"]

BLOCK = 256 * 1024
"""Bytes of a file that are read at a time."""
_MARK = b"\xef\xbb\xbf"
"""The byte order mark of UTF-8, which some programs write."""
_MOST_BLANK_LINES = 10_000_000
"""A hundred for each request of the largest batch."""


_TOO_DEEP = b"[" * 2 * MOST_LEVELS + b"]" * 2 * MOST_LEVELS
"""Stands for a request that cannot even be written as JSON, so deeply is it nested."""


class Source(Protocol):
    """Requests, to be read as often as needed. `name` is for messages; `unit` is what the numbers count."""

    name: str
    unit: Unit

    def open(self) -> Generator[tuple[int, bytes], None, None]:
        """Number from 1 and JSON of each request, or `TOO_LONG`; `unit` holds once the first one is there.

        Raises:
            InvalidRequests: they cannot be read, at all or from here on.
        """
        ...


class InlineSource:
    """Requests that are in memory already."""

    def __init__(self, requests: Sequence[dict[str, Any]]) -> None:
        self.name = "the requests"
        self.unit: Unit = "request"
        self._requests = requests

    def open(self) -> Generator[tuple[int, bytes], None, None]:
        """Their compact JSON. Half a pair of surrogates has no UTF-8, so it goes as an escape."""
        for number, request in enumerate(self._requests, 1):
            try:
                raw = json.dumps(request, ensure_ascii=False, separators=(",", ":")).encode()
            except UnicodeEncodeError:
                raw = json.dumps(request, separators=(",", ":")).encode()
            except RecursionError:
                raw = _TOO_DEEP
            yield number, raw if len(raw) <= LONGEST else TOO_LONG


class FileSource:
    """A regular file: JSON Lines, a document `{"requests": […]}`, or a list; any of them also packed with gzip.

    What it is shows in its content, not in its name.
    """

    def __init__(self, path: Path, *, block: int = BLOCK) -> None:
        self.name = str(path)
        self.unit: Unit = "line"
        self._path = path
        self._block = block

    def open(self) -> Generator[tuple[int, bytes], None, None]:
        """The requests without the whitespace around them; empty lines are left out, and counted."""
        number = 0
        try:
            with _opened(self._path) as file:
                content = self._content(file)
                first = content.read(self._block)
                content.seek(_length_of_mark(first))
                document = is_document(first.removeprefix(_MARK))
                self.unit = "request" if document else "line"
                blocks = iter(partial(content.read, self._block), b"")
                for number, raw in Document(blocks).requests() if document else _lines(content):
                    yield number, raw
        except (Unreadable, EOFError, zlib.error, OSError) as error:
            why = _explained(error)
            raise InvalidRequests([f"after {self.unit} {number}: {why}" if number else why]) from error

    def _content(self, file: FileIO) -> BufferedReader:
        packed = file.read(2) == b"\x1f\x8b"
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
        if self._path.suffix == ".gz" and size and not packed:
            raise Unreadable("the file is named .gz, and is not packed with gzip")
        return BufferedReader(gzip.GzipFile(fileobj=file) if packed else file, self._block)


def _explained(error: Exception) -> str:
    match error:
        case Unreadable():
            return str(error)
        case EOFError():
            return "the file is cut off: its gzip data has no end"
        case gzip.BadGzipFile() | zlib.error():
            return "the gzip data of the file is damaged"
        case _:
            return f"the file cannot be read: {getattr(error, 'strerror', None) or error}"


def _opened(path: Path) -> FileIO:
    """Open a regular file. Anything else could block, or never end."""
    flags = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    try:
        descriptor = os.open(path, flags)
    except ValueError as error:  # a NUL in the path
        raise Unreadable(f"the file cannot be read: {error}") from None
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        raise Unreadable("this is a folder, not a file" if stat.S_ISDIR(mode) else "this is not a regular file")
    return FileIO(descriptor, "rb")


def _length_of_mark(first: bytes) -> int:
    if first.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise Unreadable("line 1 starts with the mark of UTF-16: save the file as UTF-8")
    return len(_MARK) if first.startswith(_MARK) else 0


def _lines(content: BufferedReader) -> Iterator[tuple[int, bytes]]:
    number = blank = 0
    while line := content.readline(LONGEST + 1):
        number += 1
        if len(line) > LONGEST and not line.endswith(b"\n"):
            yield number, TOO_LONG
            _skip_line(content)
        elif raw := line.strip(WHITESPACE):
            yield number, raw
        else:
            blank += 1
            if blank > _MOST_BLANK_LINES:
                raise Unreadable(f"more than {_MOST_BLANK_LINES:,} of its lines are blank")


def _skip_line(content: BufferedReader) -> None:
    skipped = 0
    while line := content.readline(BLOCK):
        skipped += len(line)
        if line.endswith(b"\n"):
            return
        if skipped > MOST_BLANK:
            raise Unreadable("nothing behind the start of it was read")
