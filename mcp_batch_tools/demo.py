"""The guided tour: a real MCP client, the real server as a process, a sandbox behind it."""

import sys
import textwrap
from collections.abc import Mapping
from tempfile import TemporaryDirectory
from typing import Any

from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.shared.exceptions import MCPError
from mcp_types import CallToolResult, TextContent


class Surprise(Exception):
    """A step went otherwise than the tour says."""


async def run_demo() -> int:
    """Walk from a running batch to a deleted one; 0 where every step is as told, else 1."""
    print("This is mcp-batch-tools on a sandbox: a real client, the real server, no key, nothing billed.\n")
    with TemporaryDirectory() as state:  # the receipts of a tour are not the user's
        # -P: the current folder is not a place to import from.
        args = ["-P", "-m", "mcp_batch_tools", "--sandbox", "--state-dir", state]
        server = StdioServerParameters(command=sys.executable, args=args)
        try:
            async with Client(stdio_client(server)) as client:
                await _walk(client)
        except (Surprise, MCPError) as error:
            surprise: BaseException | None = error
        except BaseExceptionGroup as group:
            surprise = _first_in(group)
        else:
            surprise = None
        if surprise is not None:
            print(f"\nThis step differs from what the tour says: {surprise}")
            return 1
    print("All steps went as told. The README says how to give this server to your assistant.")
    return 0


def _first_in(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """What went wrong in the tour itself: the task groups of the client wrap it. Anything else is a bug."""
    ours, others = group.split((Surprise, MCPError))
    if ours is None or others is not None:
        raise group
    error: BaseException = ours
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


async def _walk(client: Client) -> None:
    _say("1. Which batches are there?")
    listed = await _call(client, "list_message_batches")
    running = [row["id"] for row in listed["batches"] if row["processing_status"] == "in_progress"]
    _expect(bool(running), "a batch in progress is listed")
    batch = {"message_batch_id": running[-1]}

    _say("2. Delete one that is still running: nothing is deleted, and the answer says what to do first.")
    refused = await _call(client, "delete_message_batch", batch)
    _expect(refused.get("reason") == "in_progress", "the answer is that the batch is in progress")
    tools = [step["tool"] for step in refused["next_steps"]]
    _expect(tools == ["cancel_message_batch", "get_message_batch", "delete_message_batch"], "three calls lead there")

    _say("3. Follow the answer, call by call. First: cancel.")
    cancel, wait, delete = refused["next_steps"]
    canceled = await _call(client, cancel["tool"], cancel["arguments"])
    _expect(canceled["outcome"] == "cancellation_requested", "the cancellation was requested")

    _say("4. Wait until it has ended.")
    ended = await _call(client, wait["tool"], wait["arguments"])
    _expect(ended["processing_status"] == "ended", "the batch has ended")

    _say("5. Delete it: the answer is the API's own object.")
    gone = await _call(client, delete["tool"], delete["arguments"])
    _expect(gone == {"id": running[-1], "type": "message_batch_deleted"}, "the deleted object is returned")

    _say("6. Delete it again: an error that says it is already gone.")
    again = await _call(client, "delete_message_batch", batch, fails=True)
    _expect("already gone" in again["error"], "the answer is that it is already gone")


async def _call(
    client: Client, tool: str, arguments: Mapping[str, Any] | None = None, *, fails: bool = False
) -> dict[str, Any]:
    """Call a tool and print both sides; returns the structured content, or the text of the error."""
    print(f"   -> {tool} {_short(arguments or {})}")

    result: CallToolResult = await client.call_tool(tool, dict(arguments or {}), progress_callback=_show_progress)
    texts = [block.text for block in result.content if isinstance(block, TextContent)]
    print(textwrap.indent("\n".join(texts), "   <- ", lambda _: True) + "\n")
    _expect(bool(result.is_error) == fails, "an error" if fails else "no error")
    if fails:
        return {"error": texts[0]}
    structured = result.structured_content
    if not isinstance(structured, dict):
        raise Surprise("there is no structured content")
    return structured


async def _show_progress(progress: float, total: float | None, message: str | None) -> None:
    print(f"      … {message}")


def _say(line: str) -> None:
    print(line)


def _short(arguments: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in arguments.items())


def _expect(held: bool, what: str) -> None:
    if not held:
        raise Surprise(f"expected that {what}")
