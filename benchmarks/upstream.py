"""An upstream that answers at once: `retrieve` with an ended batch, `delete` with the deleted object.

Prints its port on the first line of standard output.
"""

import asyncio
import json


def _answer(method: str, message_batch_id: str) -> bytes:
    if method == "DELETE":
        return json.dumps({"id": message_batch_id, "type": "message_batch_deleted"}).encode()
    return json.dumps(
        {
            "id": message_batch_id,
            "type": "message_batch",
            "processing_status": "ended",
            "request_counts": {"processing": 0, "succeeded": 3, "errored": 0, "canceled": 0, "expired": 0},
            "ended_at": "2026-11-03T09:30:00.000000+00:00",
            "created_at": "2026-11-03T09:00:00.000000+00:00",
            "expires_at": "2026-11-04T09:00:00.000000+00:00",
            "archived_at": None,
            "cancel_initiated_at": None,
            "results_url": None,
        }
    ).encode()


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            method, path, _ = head.split(b" ", 2)
            body = _answer(method.decode(), path.decode().rsplit("/", 1)[1])
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body))
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
