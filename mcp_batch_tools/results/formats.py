"""The formats that results can be saved in, chosen by the name of the file: as they came, compressed, or as a table."""

import gzip
import hashlib
import json
import zlib
from collections.abc import Iterator
from contextlib import suppress
from io import BufferedRandom
from pathlib import Path
from typing import Any

from mcp_batch_tools.results.errors import SaveFailed
from mcp_batch_tools.results.lines import parse_line

_AT_ONCE = 1024 * 1024


class Writer:
    """Writes lines of results to a file that is open for it: this one as they came."""

    def __init__(self, file: BufferedRandom) -> None:
        self._file = file
        self._hash = hashlib.sha256()

    def write(self, piece: bytes) -> None:
        """Take a piece of the results as it came, before it is checked."""
        self._hash.update(piece)
        self._file.write(piece)

    def resume(self, piece: bytes) -> None:
        """Take a piece that is in the file already, where writing goes on after it."""
        self._hash.update(piece)

    def add(self, lines: list[bytes]) -> None:
        """Take the lines that ended in that piece, each with its line break, once they are checked."""

    def finish(self) -> str:
        """Write what is left; returns the SHA-256 of the whole file, in hex."""
        return self._hash.hexdigest()

    def abandon(self) -> None:
        """Let go of the file. After this nothing is written to it any more."""


class _Gzip(Writer):
    """The lines compressed; the same lines make the same file, since it holds no time."""

    def __init__(self, file: BufferedRandom) -> None:
        super().__init__(file)
        self._compressor = zlib.compressobj(level=6, wbits=31)

    def write(self, piece: bytes) -> None:
        super().write(self._compressor.compress(piece))

    def finish(self) -> str:
        super().write(self._compressor.flush())
        return super().finish()


class _Parquet(Writer):
    """One row a result. The file is written by pyarrow, which an extra brings."""

    def __init__(self, file: BufferedRandom) -> None:
        try:
            import pyarrow as pa
            import pyarrow.parquet as pq
        except ImportError:
            raise SaveFailed("parquet_missing", path=file.name) from None
        super().__init__(file)
        text, number = pa.string(), pa.int64()
        columns = {
            "custom_id": text,
            "outcome": text,
            "text": text,
            "stop_reason": text,
            "error_type": text,
            "error_message": text,
            "input_tokens": number,
            "cache_creation_input_tokens": number,
            "cache_read_input_tokens": number,
            "output_tokens": number,
            "raw": text,
        }
        self._pa = pa
        self._schema = pa.schema(list(columns.items()))
        self._writer = pq.ParquetWriter(file, self._schema, compression="zstd")
        self._read = pq.ParquetFile
        self._rows: list[dict[str, Any]] = []
        self._bytes = self._count = 0

    def write(self, piece: bytes) -> None:
        """Only whole lines become rows."""

    def add(self, lines: list[bytes]) -> None:
        self._rows += [_row(line) for line in lines]
        self._bytes += sum(map(len, lines))
        if self._bytes >= 8 * 1024 * 1024 or len(self._rows) >= 10_000:
            self._flush()

    def finish(self) -> str:
        self._flush()
        self._writer.close()
        self._file.flush()
        self._file.seek(0)
        if self._read(self._file).metadata.num_rows != self._count:
            raise SaveFailed("table_unreadable", path=self._file.name)
        self._file.seek(0)
        return hashlib.file_digest(self._file, "sha256").hexdigest()

    def abandon(self) -> None:
        # Otherwise the writer would close itself later, and write its end into whatever the file holds by then.
        with suppress(Exception):
            self._writer.close()

    def _flush(self) -> None:
        if self._rows:
            self._writer.write_table(self._pa.Table.from_pylist(self._rows, schema=self._schema))
            self._count += len(self._rows)
            self._rows, self._bytes = [], 0


_WRITERS: dict[str, type[Writer]] = {".jsonl": Writer, ".jsonl.gz": _Gzip, ".parquet": _Parquet}

SUFFIXES = tuple(_WRITERS)


def writer_for(place: Path, file: BufferedRandom) -> Writer:
    """The writer that the name of `place` asks for, writing to `file`.

    Raises:
        SaveFailed: the library that it needs is not installed.
    """
    return next(writer for suffix, writer in _WRITERS.items() if place.name.endswith(suffix))(file)


def pieces_of(path: Path) -> Iterator[bytes]:
    """The results that a file holds, as they came, in pieces of about 1 MiB.

    Raises:
        OSError, ValueError, EOFError, zlib.error, ImportError: it cannot be read as what its name says.
    """
    if path.suffix == ".parquet":
        import pyarrow.parquet as pq

        for rows in pq.ParquetFile(path).iter_batches(1000, columns=["raw"]):
            yield "".join(f"{row}\n" for row in rows.column(0).to_pylist()).encode()
        return
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
        while piece := file.read(_AT_ONCE):
            yield piece


def _row(raw: bytes) -> dict[str, Any]:
    line = parse_line(raw, 0)
    succeeded = line.outcome == "succeeded"
    kind, message = line.error if line.outcome == "errored" else (None, None)
    tokens = line.tokens
    return {
        "custom_id": _storable(line.custom_id),
        "outcome": _storable(line.outcome),
        "text": _storable("\n".join(line.texts) if succeeded else None),
        "stop_reason": _storable(line.message.get("stop_reason")),
        "error_type": _storable(kind),
        "error_message": _storable(message),
        "input_tokens": tokens.input if succeeded else None,
        "cache_creation_input_tokens": tokens.cache_write_5m + tokens.cache_write_1h if succeeded else None,
        "cache_read_input_tokens": tokens.cache_read if succeeded else None,
        "output_tokens": tokens.output if succeeded else None,
        "raw": raw.removesuffix(b"\n").decode(),
    }


def _storable(text: object) -> str | None:
    """The text, if it is one, without lone surrogates, which no UTF-8 can hold; `raw` keeps them as they came."""
    if not isinstance(text, str):
        return None
    try:
        text.encode()
    except UnicodeEncodeError:
        return json.dumps(text)[1:-1]
    return text
