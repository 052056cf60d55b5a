"""The contract of the tools, made from their functions: what `catalogue.json` must hold.

    uv run python -m mcp_batch_tools.tools.contract

writes that file. A tool is a plain function whose docstring is written for the model; title and hints are given here.
"""

import json
from dataclasses import dataclass
from inspect import cleandoc
from pathlib import Path
from typing import Any

from mcp.server.mcpserver.tools import Tool

from mcp_batch_tools.tools.calls import function_of, strict_tool
from mcp_batch_tools.tools.catalogue import FILE


@dataclass(frozen=True)
class _Entry:
    """One tool. It can destroy something unless it is `read_only`, and every tool reaches the API."""

    name: str
    title: str
    read_only: bool = False
    idempotent: bool = True


_ENTRIES = (
    _Entry("list_message_batches", "List message batches", read_only=True),
    _Entry("get_message_batch", "Look at a message batch", read_only=True),
    _Entry("create_message_batch", "Create a message batch", idempotent=False),
    _Entry("cancel_message_batch", "Cancel a message batch"),
    _Entry("delete_message_batch", "Delete a message batch"),
    _Entry("read_message_batch_results", "Read results of a message batch", read_only=True),
    _Entry("save_message_batch_results", "Save results of a message batch"),
)


def contract() -> list[dict[str, Any]]:
    """All tools as `tools/list` shows them where none is hidden, in the order in which a model should read them."""
    return [_described(entry) for entry in _ENTRIES]


def _described(entry: _Entry) -> dict[str, Any]:
    function = function_of(entry.name)
    arguments = _short(strict_tool(function).fn_metadata.arg_model.model_json_schema(by_alias=True))
    # Some clients cannot convert it, and an unknown argument is refused anyway.
    del arguments["additionalProperties"]
    for argument in arguments["properties"].values():
        if argument.get("items", {}).get("additionalProperties") is True:
            argument["items"]["additionalProperties"] = {}  # the same in words that they all can convert
        if "default" in argument and argument["default"] is None:
            del argument["default"]
    return {
        "name": entry.name,
        "title": entry.title,
        "description": cleandoc(function.__doc__ or ""),
        "inputSchema": arguments,
        "outputSchema": _short(Tool.from_function(function).output_schema),
        "annotations": {
            "title": entry.title,
            "readOnlyHint": entry.read_only,
            "destructiveHint": not entry.read_only,
            "idempotentHint": entry.idempotent,
            "openWorldHint": True,
        },
    }


def _short(schema: Any) -> Any:
    """A JSON schema without pydantic's `title`s, which repeat the names and are a third of what a model must read."""
    match schema:
        case dict():
            return {
                key: {name: _short(held) for name, held in value.items()}
                if key in {"properties", "$defs"}
                else _short(value)
                for key, value in schema.items()
                if key != "title" or not isinstance(value, str)
            }
        case list():
            return [_short(member) for member in schema]
        case _:
            return schema


def as_text() -> str:
    """The content of `catalogue.json`."""
    return json.dumps(contract(), indent=2) + "\n"


if __name__ == "__main__":
    Path(str(FILE)).write_text(as_text(), encoding="utf-8")
