"""The catalogue: which tools there are, in which order, and what a client is told of each.

It is read from `catalogue.json`, which `contract.py` makes from the functions and a test holds against them. So a
server answers `tools/list` without loading any tool; the first call of a tool loads its function, which has the last
word on its arguments.
"""

import json
from functools import cached_property
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from mcp.server.mcpserver.tools import Tool
from mcp.server.mcpserver.utilities.func_metadata import ArgModelBase, FuncMetadata
from mcp_types import ToolAnnotations
from pydantic import ConfigDict

from mcp_batch_tools.settings import Settings
from mcp_batch_tools.tools.app import ToolContext

if TYPE_CHECKING:
    from mcp_batch_tools.tools.calls import ToolCalls

FILE = files("mcp_batch_tools.tools") / "catalogue.json"

_BLOCKED = frozenset({"cancel_message_batch", "delete_message_batch"})
"""What `--destructive block` hides: named, since other tools that can destroy something stay."""


def catalogue(settings: Settings) -> list[Tool]:
    """The tools that a server with these settings offers, in the order in which a model should read them."""
    every = json.loads(FILE.read_text("utf-8"))
    listed = [entry for entry in every if _is_listed(entry, settings)]
    hidden = {entry["name"] for entry in every} - {entry["name"] for entry in listed}
    return [_ListedTool.of(entry, settings, frozenset(hidden)) for entry in listed]


def _is_listed(entry: dict[str, Any], settings: Settings) -> bool:
    if settings.read_only:
        return bool(entry["annotations"]["readOnlyHint"])
    return not (settings.destructive == "block" and entry["name"] in _BLOCKED)


class _ListedTool(Tool):
    """A tool as the file describes it; its function is loaded by the first call."""

    model_config = ConfigDict(defer_build=True)

    settings: Settings
    hidden: frozenset[str]

    @classmethod
    def of(cls, entry: dict[str, Any], settings: Settings, hidden: frozenset[str]) -> "_ListedTool":
        return cls.model_construct(
            name=entry["name"],
            title=entry["title"],
            description=entry["description"],
            parameters=entry["inputSchema"],
            fn_metadata=FuncMetadata.model_construct(arg_model=ArgModelBase, output_schema=entry["outputSchema"]),
            annotations=ToolAnnotations.model_validate(entry["annotations"]),
            settings=settings,
            hidden=hidden,
        )

    @cached_property
    def calls(self) -> "ToolCalls":
        from mcp_batch_tools.tools.calls import ToolCalls

        return ToolCalls(self.name, self.parameters, self.settings, self.hidden)

    async def run(self, arguments: dict[str, Any], context: ToolContext, convert_result: bool = False) -> Any:
        return await self.calls.run(arguments, context, convert_result)
