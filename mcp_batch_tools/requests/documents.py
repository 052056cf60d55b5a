"""One JSON document that holds all requests, `{"requests": […]}` or a list, taken apart while it arrives."""

import re
from collections.abc import Iterator

from mcp_batch_tools.requests.reading import LONGEST, MOST_BLANK, TOO_LONG, WHITESPACE, Unreadable

_SPACES = re.compile(rb"[ \t\r\n]*+")
_STRING = re.compile(rb'"[^"]*+"')
_SCALAR = re.compile(rb'[^ \t\r\n,:"\[\]{}]++')
_TO_BRACKET = re.compile(rb'[^"\[\]{}]*+(?:"[^"]*+"[^"\[\]{}]*+)*+[\[\]{}]')
_FIRST_KEY = re.compile(rb'\{[ \t]*+("(?:[^"\\\r\n]++|\\.)*+")')
_LIST_OF_REQUESTS = re.compile(rb'"requests"\s*+:\s*+\[')


def is_document(first: bytes) -> bool:
    """Whether this is the start of one JSON document. A damaged first line does not make it one."""
    text = first.lstrip(WHITESPACE)
    if not text.startswith(b"{"):
        return text.startswith(b"[")
    line = text.partition(b"\n")[0]
    key = _FIRST_KEY.match(line)
    if key is None:
        return not line[1:].strip(WHITESPACE)  # printed over many lines
    if key[1] in {b'"custom_id"', b'"params"'}:
        return False
    requests = _LIST_OF_REQUESTS.search(line)
    if requests is None:
        # An object over many lines starts with a line that does not end one.
        return not line.rstrip(WHITESPACE).endswith(b"}") and b'"requests"' in text
    return b'"custom_id"' not in line[: requests.start()]


class Document:
    """A document, of which each request is the bytes between two brackets."""

    def __init__(self, blocks: Iterator[bytes]) -> None:
        self._blocks = blocks
        self._text = b""
        self._plain = b""  # the same without escaped quotes: strings in it have a simple pattern, three times as fast
        self._at = 0
        self._held = b""
        self._blank = 0

    def requests(self) -> Iterator[tuple[int, bytes]]:
        """Number from 1 and JSON of each request, or `TOO_LONG`.

        Raises:
            Unreadable: the document is not JSON, or holds something else.
        """
        others: list[str] = []
        if self._next() == b"[":
            yield from self._list()
        else:
            yield from self._members(others)
        if self._next():
            raise Unreadable("something follows behind the end of the JSON document")
        if others:
            raise Unreadable(f"a document holds `requests` once and nothing else, and this one has {', '.join(others)}")

    def _members(self, others: list[str]) -> Iterator[tuple[int, bytes]]:
        found = False
        self._take(b"{")
        more = self._next() != b"}"
        while more:
            if self._next() != b'"':
                raise Unreadable("a key is missing where one must be in the JSON document")
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
            raise Unreadable('a JSON document must be {"requests": […]}, and this one has no `requests`')

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
            if spaces:
                self._blank += spaces.end() - self._at
                self._at = spaces.end()
            if self._blank > MOST_BLANK:
                raise Unreadable(f"more than {MOST_BLANK:,} bytes of it are blank")
            if self._at < len(self._text):
                return self._text[self._at : self._at + 1]
            if not self._read_on():
                return b""

    def _take(self, allowed: bytes) -> bytes:
        byte = self._next()
        if not byte:
            raise Unreadable("the JSON document has no end")
        if byte not in allowed:
            raise Unreadable(f"the JSON document lacks {' or '.join(map(chr, allowed))} where one must be")
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
                raise Unreadable("the JSON document has no end, or a value is missing in it")
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
                raise Unreadable("the JSON document has no end")

    def _read_on(self) -> bool:
        """Read as much again as is waiting, so that a long value is looked at twice, and not once for each block."""
        waiting = len(self._text) - self._at
        if waiting > LONGEST:
            raise Unreadable(f"what follows is longer than {LONGEST:,} bytes, and nothing behind it was read")
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
