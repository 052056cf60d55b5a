"""The catalogue: which tools there are, in which order, and the contract that all of them keep.

A tool is a plain function whose docstring is written for the model. `catalogue` makes MCP tools of them: arguments
are strict, every hint is explicit, and every failure reaches the model as sentences of `failures`.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from inspect import cleandoc
from typing import Any

from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ToolError, UnexpectedToolError
from mcp.server.mcpserver.tools import Tool
from mcp.shared.exceptions import MCPError
from mcp_types import CallToolResult, TextContent, ToolAnnotations
from pydantic import ValidationError

from mcp_batch_tools.errors import Failure
from mcp_batch_tools.settings import SANDBOX_NOTE, Settings
from mcp_batch_tools.tools.answers import answer
from mcp_batch_tools.tools.cancel_message_batch import cancel_message_batch
from mcp_batch_tools.tools.create_message_batch import create_message_batch
from mcp_batch_tools.tools.delete_message_batch import delete_message_batch
from mcp_batch_tools.tools.failures import NO_CONSENT, explain, explain_arguments
from mcp_batch_tools.tools.get_message_batch import get_message_batch
from mcp_batch_tools.tools.list_message_batches import list_message_batches
from mcp_batch_tools.tools.read_message_batch_results import read_message_batch_results
from mcp_batch_tools.tools.save_message_batch_results import save_message_batch_results

_STEPS = {"next_steps", "possible_actions"}


@dataclass(frozen=True)
class _Entry:
    run: Callable[..., Any]
    title: str
    read_only: bool = False
    destructive: bool = False
    idempotent: bool = False
    open_world: bool = False


_ENTRIES = (
    _Entry(list_message_batches, "List message batches", read_only=True, idempotent=True),
    _Entry(get_message_batch, "Look at a message batch", read_only=True, idempotent=True),
    _Entry(create_message_batch, "Create a message batch"),
    _Entry(cancel_message_batch, "Cancel a message batch", destructive=True, idempotent=True),
    _Entry(delete_message_batch, "Delete a message batch", destructive=True, idempotent=True),
    _Entry(
        read_message_batch_results, "Read results of a message batch", read_only=True, idempotent=True, open_world=True
    ),
    _Entry(save_message_batch_results, "Save results of a message batch", idempotent=True),
)


def catalogue(settings: Settings) -> list[Tool]:
    """The tools that a server with these settings offers, in the order in which a model should read them."""
    return [_BatchTool.of(entry, settings) for entry in _listed(settings)]


def _listed(settings: Settings) -> list[_Entry]:
    if settings.read_only:
        return [entry for entry in _ENTRIES if entry.read_only]
    return [entry for entry in _ENTRIES if not (entry.destructive and settings.destructive == "block")]


class _BatchTool(Tool):
    """A tool with strict arguments whose failures are sentences and whose answers hold no secret."""

    settings: Settings
    hidden: frozenset[str]

    @classmethod
    def of(cls, entry: _Entry, settings: Settings) -> "_BatchTool":
        hints = ToolAnnotations(
            title=entry.title,
            read_only_hint=entry.read_only,
            destructive_hint=entry.destructive,
            idempotent_hint=entry.idempotent,
            open_world_hint=entry.open_world,
        )
        plain = Tool.from_function(
            entry.run, title=entry.title, description=cleandoc(entry.run.__doc__ or ""), annotations=hints
        )
        arguments = plain.fn_metadata.arg_model
        arguments.model_config["extra"] = "forbid"
        arguments.model_rebuild(force=True)
        plain.parameters = _without_titles(arguments.model_json_schema(by_alias=True))
        plain.fn_metadata.output_schema = _without_titles(plain.fn_metadata.output_schema)
        hidden = frozenset(other.run.__name__ for other in _ENTRIES if other not in _listed(settings))
        return cls.model_construct(**dict(plain), settings=settings, hidden=hidden)

    async def run(self, arguments: dict[str, Any], context: Context[Any, Any], convert_result: bool = False) -> Any:
        try:
            result = await super().run(arguments, context, convert_result)
        except UnexpectedToolError as error:
            cause = error.__cause__
            if not isinstance(cause, Failure):
                raise
            raise ToolError(self._marked(explain(cause, arguments, self.settings.key_source))) from cause
        except ToolError as error:
            # The tools raise none: it comes from arguments that do not fit, or from an answer to a question that
            # does not fit the question.
            wrong = error.__cause__
            said = explain_arguments(self.name, wrong) if isinstance(wrong, ValidationError) else NO_CONSENT
            raise ToolError(self._marked(said)) from wrong
        except MCPError as error:
            # The client answered a question with an error, or was gone.
            raise ToolError(self._marked(NO_CONSENT)) from error
        return self._checked(result) if isinstance(result, CallToolResult) else result

    def _marked(self, text: str) -> str:
        """Text on its way out: no secret in it, and the sandbox named where it answers."""
        return self.settings.redact(f"{text} {SANDBOX_NOTE}" if self.settings.sandbox else text)

    def _checked(self, result: CallToolResult) -> CallToolResult:
        """The same for an answer. An upstream that echoes the key must not get it into a conversation."""
        result = self._without_hidden_tools(result)
        if self.settings.sandbox:
            result.content.append(TextContent(type="text", text=SANDBOX_NOTE))
            facts = result.structured_content
            # The deleted object stays exactly what the API sends; whoever reads only that was told before.
            if isinstance(facts, dict) and facts.get("type") != "message_batch_deleted":
                facts["sandbox"] = True
        wire = result.model_dump_json(by_alias=True, exclude_none=True)
        clean = self.settings.redact(wire)
        return result if clean == wire else CallToolResult.model_validate(json.loads(clean))

    def _without_hidden_tools(self, result: CallToolResult) -> CallToolResult:
        """An answer that leads to no tool that this server does not list."""
        facts = dict(result.structured_content or {})
        for name in _STEPS & facts.keys():
            facts[name] = [step for step in facts[name] if step["tool"] not in self.hidden]
        return result if facts == result.structured_content else answer(facts)


def _without_titles(schema: Any) -> Any:
    """A JSON schema without pydantic's `title`s, which repeat the names and are a third of what a model must read."""
    match schema:
        case dict():
            return {
                key: {name: _without_titles(held) for name, held in value.items()}
                if key in {"properties", "$defs"}
                else _without_titles(value)
                for key, value in schema.items()
                if key != "title" or not isinstance(value, str)
            }
        case list():
            return [_without_titles(member) for member in schema]
        case _:
            return schema
