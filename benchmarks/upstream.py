"""An upstream that answers at once: an ended batch, an empty list, the deleted object, and results from a file.

    python upstream.py [RESULTS_FILE NUMBER_OF_LINES]

Prints its port on the first line of standard output.
"""

import asyncio
import itertools
import json
import sys
from datetime import UTC, datetime, timedelta
from email.utils import formatdate
from pathlib import Path

RESULTS = Path(sys.argv[1]) if len(sys.argv) > 1 else None
SUCCEEDED = int(sys.argv[2]) if len(sys.argv) > 1 else 3

CREATED = itertools.count(1)
HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ndate: %s\r\n"
    b"anthropic-workspace-id: wrkspc_01benchmark\r\ncontent-length: %d\r\n\r\n"
)


def _answer(method: str, path: str, address: str) -> bytes:
    message_batch_id = path.rsplit("/", 1)[1]
    if method == "POST" and message_batch_id == "count_tokens":
        return b'{"input_tokens": 700}'
    if "?" in path:
        return b'{"data": [], "has_more": false, "first_id": null, "last_id": null}'
    if message_batch_id == "batches":
        message_batch_id = f"msgbatch_created{next(CREATED):014}"
    if method == "DELETE":
        return json.dumps({"id": message_batch_id, "type": "message_batch_deleted"}).encode()
    created = datetime.now(UTC) - timedelta(hours=2)
    return json.dumps(
        {
            "id": message_batch_id,
            "type": "message_batch",
            "processing_status": "ended",
            "request_counts": {"processing": 0, "succeeded": SUCCEEDED, "errored": 0, "canceled": 0, "expired": 0},
            "ended_at": (created + timedelta(minutes=30)).isoformat(),
            "created_at": created.isoformat(),
            "expires_at": (created + timedelta(days=1)).isoformat(),
            "archived_at": None,
            "cancel_initiated_at": None,
            "results_url": f"http://{address}/v1/messages/batches/{message_batch_id}/results",
        }
    ).encode()


def _length_of(head: str) -> int:
    named = [line for line in head.lower().split("\r\n") if line.startswith("content-length:")]
    return int(named[0].split(":")[1]) if named else 0


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            method, path, _ = head.split(" ", 2)
            if path.endswith("/results") and RESULTS is not None:
                size = RESULTS.stat().st_size
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/x-jsonl\r\n")
                writer.write(b"content-length: %d\r\n\r\n" % size)
                await writer.drain()
                with RESULTS.open("rb") as file:
                    await asyncio.get_running_loop().sendfile(writer.transport, file)
                continue
            length = _length_of(head)
            while length:
                length -= len(await reader.read(min(length, 1 << 20)))
            address = head.lower().split("\r\nhost: ")[1].split("\r\n")[0]
            body = _answer(method, path, address)
            writer.write(HEAD % (formatdate(usegmt=True).encode(), len(body)))
            writer.write(body)
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


async def _main() -> None:
    server = await asyncio.start_server(_serve, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_main())
