"""Where requests come from: a file, in any of the forms that people keep them in, or the argument of a tool.

A source gives the JSON of one request after the other, byte for byte as it was found, and holds no more than one of
them in memory. What is inside a request is not its business.
"""

import gzip
import json
import os
import re
import stat
import zlib
from collections.abc import Iterator, Sequence
from io import FileIO
from itertools import chain
from pathlib import Path
from typing import Any, Literal, Protocol

from mcp_batch_tools.requests.errors import InvalidRequests

Unit = Literal["line", "request"]

LONGEST = 32 * 1024 * 1024
"""Bytes of one request: the most that the Messages API takes."""

TOO_LONG = b""
"""Stands for a request that is longer than `LONGEST`."""

_BLOCK = 1024 * 1024
_MOST_SKIPPED = 256 * 1024 * 1024
"""Bytes of one line that are read only to find its end."""
_WHITESPACE = b" \t\r\n"  # JSON's, which is less than Python's

_SPACES = re.compile(rb"[ \t\r\n]*+")
_STRING = re.compile(rb'"[^"]*+"')
_SCALAR = re.compile(rb'[^ \t\r\n,:"\[\]{}]++')
_TO_BRACKET = re.compile(rb'[^"\[\]{}]*+(?:"[^"]*+"[^"\[\]{}]*+)*+[\[\]{}]')
_FIRST_KEY = re.compile(rb'\{[ \t]*+("(?:[^"\\\r\n]++|\\.)*+")')
_LIST_OF_REQUESTS = re.compile(rb'"requests"\s*+:\s*+\[')


class Source(Protocol):
    """Requests, to be read as often as needed. `name` is for messages; `unit` is what the numbers count."""

    name: str
    unit: Unit

    def open(self) -> Iterator[tuple[int, bytes]]:
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

    def open(self) -> Iterator[tuple[int, bytes]]:
        """Their compact JSON. Half a pair of surrogates has no UTF-8, so it goes as an escape."""
        for number, request in enumerate(self._requests, 1):
            try:
                raw = json.dumps(request, ensure_ascii=False, separators=(",", ":")).encode()
            except UnicodeEncodeError:
                raw = json.dumps(request, separators=(",", ":")).encode()
            yield number, raw if len(raw) <= LONGEST else TOO_LONG


class FileSource:
    """A regular file: JSON Lines, a document `{"requests": […]}`, or a list; any of them also packed with gzip.

    What it is shows in its content, not in its name.
    """

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        self.unit: Unit = "line"
        self._path = path

    def open(self) -> Iterator[tuple[int, bytes]]:
        """The requests without the whitespace around them; empty lines are left out, and counted."""
        number = 0
        try:
            blocks = self._blocks()
            first = _without_mark(next(blocks, b""))
            blocks = chain([first], blocks)
            document = _is_document(first)
            self.unit = "request" if document else "line"
            for number, raw in _Document(blocks).requests() if document else _lines(blocks):
                yield number, raw
        except _Broken as error:
            raise InvalidRequests([f"after {self.unit} {number}: {error}" if number else str(error)]) from error

    def _blocks(self) -> Iterator[bytes]:
        try:
            with _opened(self._path) as file:
                packed = file.read(2) == b"\x1f\x8b"
                size = file.seek(0, os.SEEK_END)
                file.seek(0)
                if self._path.suffix == ".gz" and size and not packed:
                    raise _Broken("the file is named .gz, and is not packed with gzip")
                content = gzip.GzipFile(fileobj=file) if packed else file
                while block := content.read(_BLOCK):
                    yield block
        except EOFError:
            raise _Broken("the file is cut off: its gzip data has no end") from None
        except (gzip.BadGzipFile, zlib.error):
            raise _Broken("the gzip data of the file is damaged") from None
        except (OSError, ValueError) as error:  # the second for a NUL in the path
            raise _Broken(f"the file cannot be read: {getattr(error, 'strerror', None) or error}") from None


class _Broken(Exception):
    """Nothing more can be read. The text says why."""


def _opened(path: Path) -> FileIO:
    """Open a regular file. Anything else could block, or never end."""
    flags = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    descriptor = os.open(path, flags)
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        raise _Broken("this is a folder, not a file" if stat.S_ISDIR(mode) else "this is no regular file")
    return FileIO(descriptor, "rb")


def _without_mark(first: bytes) -> bytes:
    if first.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise _Broken("line 1 starts with the mark of UTF-16: save the file as UTF-8")
    return first.removeprefix(b"\xef\xbb\xbf")


def _is_document(first: bytes) -> bool:
    """Whether this is the start of one JSON document. A damaged first line does not make it one."""
    text = first.lstrip(_WHITESPACE)
    if not text.startswith(b"{"):
        return text.startswith(b"[")
    line = text.partition(b"\n")[0]
    key = _FIRST_KEY.match(line)
    if key is None:
        return not line[1:].strip(_WHITESPACE)  # printed over many lines
    if key[1] in {b'"custom_id"', b'"params"'}:
        return False
    requests = _LIST_OF_REQUESTS.search(line)
    if requests is None:
        # An object over many lines starts with a line that does not end one.
        return not line.rstrip(_WHITESPACE).endswith(b"}") and b'"requests"' in text
    return b'"custom_id"' not in line[: requests.start()]


def _lines(blocks: Iterator[bytes]) -> Iterator[tuple[int, bytes]]:
    number, size = 1, 0
    pieces: list[bytes] = []
    for block in chain(blocks, [b"\n"]):
        lines = block.split(b"\n")
        size += len(lines[0])
        if size <= LONGEST:
            pieces.append(lines[0])
        else:
            pieces.clear()
        if len(lines) == 1:
            if size <= _MOST_SKIPPED:
                continue
            yield number, TOO_LONG
            raise _Broken("nothing behind the start of it was read")
        if size > LONGEST:
            yield number, TOO_LONG
        last = lines.pop()
        lines[0] = b"".join(pieces)
        for line in lines:
            if raw := line.strip(_WHITESPACE):
                yield number, raw
            number += 1
        pieces, size = [last], len(last)


class _Document:
    """One JSON document, taken apart while it arrives: each request of it is the bytes between two brackets."""

    def __init__(self, blocks: Iterator[bytes]) -> None:
        self._blocks = blocks
        self._text = b""
        self._plain = b""  # the same without escaped quotes: strings in it have a simple pattern, three times as fast
        self._at = 0
        self._held = b""

    def requests(self) -> Iterator[tuple[int, bytes]]:
        others: list[str] = []
        if self._next() == b"[":
            yield from self._list()
        else:
            yield from self._members(others)
        if self._next():
            raise _Broken("something follows behind the end of the JSON document")
        if others:
            raise _Broken(f"a document holds `requests` once and nothing else, and this one has {', '.join(others)}")

    def _members(self, others: list[str]) -> Iterator[tuple[int, bytes]]:
        found = False
        self._take(b"{")
        more = self._next() != b"}"
        while more:
            if self._next() != b'"':
                raise _Broken("a key is missing where one must be in the JSON document")
            key = self._value()
            self._take(b":")
            if key == b'"requests"' and not found:
                found = True
                yield from self._list()
            else:
                self._value()
                if len(others) < 5:
                    others.append(f"`{key[1:-1][:40].decode(errors='replace')}`")
            more = self._take(b",}") == b","
        if not found:
            raise _Broken('a JSON document must be {"requests": […]}, and this one has no `requests`')

    def _list(self) -> Iterator[tuple[int, bytes]]:
        self._take(b"[")
        number = 0
        more = self._next() != b"]"
        while more:
            number += 1
            yield number, self._value()
            more = self._take(b",]") == b","
        if not number:
            self._take(b"]")

    def _next(self) -> bytes:
        """The next byte that is no whitespace; nothing at the end."""
        while True:
            spaces = _SPACES.match(self._text, self._at)
            self._at = spaces.end() if spaces else self._at
            if self._at < len(self._text):
                return self._text[self._at : self._at + 1]
            if not self._read_on():
                return b""

    def _take(self, allowed: bytes) -> bytes:
        byte = self._next()
        if not byte:
            raise _Broken("the JSON document has no end")
        if byte not in allowed:
            raise _Broken(f"the JSON document lacks {' or '.join(map(chr, allowed))} where one must be")
        self._at += 1
        return byte

    def _value(self) -> bytes:
        """The bytes of the value that starts here. Only brackets and strings are looked at."""
        first = self._next()
        if first in {b"{", b"["}:
            length = self._length_of_brackets()
        else:
            pattern = _STRING if first == b'"' else _SCALAR
            while not (match := pattern.match(self._plain, self._at)) or match.end() == len(self._text):
                if not self._read_on():
                    break
            if not match:
                raise _Broken("the JSON document has no end, or a value is missing in it")
            length = match.end() - match.start()
        value = self._text[self._at : self._at + length]
        self._at += length
        return value if length <= LONGEST else TOO_LONG

    def _length_of_brackets(self) -> int:
        depth = length = 0
        while True:
            match = _TO_BRACKET.match(self._plain, self._at + length)
            if match:
                end = match.end()
                depth += 1 if self._plain[end - 1] in b"{[" else -1
                length = end - self._at
                if not depth:
                    return length
            elif not self._read_on():
                raise _Broken("the JSON document has no end")

    def _read_on(self) -> bool:
        """Read as much again as is waiting, so that a long value is looked at twice, and not once for each block."""
        waiting = len(self._text) - self._at
        if waiting > LONGEST:
            raise _Broken(f"what follows is longer than {LONGEST:,} bytes, and nothing behind it was read")
        text, plain = [self._text[self._at :]], [self._plain[self._at :]]
        read = 0
        while read <= waiting and (piece := self._uncut()):
            text.append(piece)
            plain.append(piece.replace(rb"\\", b"__").replace(rb"\"", b"__"))
            read += len(piece)
        self._text, self._plain, self._at = b"".join(text), b"".join(plain), 0
        return read > 0

    def _uncut(self) -> bytes:
        """The next block, which ends in no half of an escape."""
        block = next(self._blocks, b"")
        piece, self._held = self._held + block, b""
        if block and (len(piece) - len(piece.rstrip(b"\\"))) % 2:
            piece, self._held = piece[:-1], b"\\"
            return piece or self._uncut()
        return piece
