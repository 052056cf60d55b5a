"""Calls of a tool: its function with strict arguments, failures as sentences, and answers that hold no secret."""

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from importlib import import_module
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from mcp.server.mcpserver.exceptions import ToolError, UnexpectedToolError
from mcp.server.mcpserver.tools import Tool
from mcp.server.mcpserver.utilities.func_metadata import ArgModelBase, FuncMetadata
from mcp.shared.exceptions import MCPError
from mcp_types import CallToolResult, TextContent
from pydantic import ConfigDict, Field, ValidationError, create_model
from pydantic.fields import FieldInfo

from mcp_batch_tools.api.errors import ApiError
from mcp_batch_tools.errors import Failure
from mcp_batch_tools.settings import SANDBOX_NOTE, Settings
from mcp_batch_tools.tools.answers import answer
from mcp_batch_tools.tools.app import ToolContext, app_of
from mcp_batch_tools.tools.words.arguments import explain_arguments
from mcp_batch_tools.tools.words.calls import Call, act_of
from mcp_batch_tools.tools.words.failures import NO_CONSENT, explain

_STEPS = {"next_steps", "possible_actions"}
_AROUND = " \t\r\n`'\""
_NO_ID = frozenset({"latest", "last", "null", "none", "undefined"})
"""What models write where they know no id. They would pass for one, and be sent."""
_ADDED_BY_CLIENTS = "wait_for_previous"
"""An argument that one client adds to every call of every tool."""


def function_of(name: str) -> Callable[..., Any]:
    """The function of a tool: its module has its name."""
    function: Callable[..., Any] = getattr(import_module(f"mcp_batch_tools.tools.{name}"), name)
    return function


class _StrictArguments(ArgModelBase):
    model_config = ConfigDict(extra="forbid")


class _Metadata(FuncMetadata):
    def pre_parse_json(self, data: dict[str, Any]) -> dict[str, Any]:
        """The arguments as they were given. The SDK would read any text that is JSON, such as the label `null`."""
        return data


def strict_tool(function: Callable[..., Any]) -> Tool:
    """The SDK's tool for a function: an unknown argument is an error, and an optional one is left out or has its type.

    It does not validate its own answers; the tests do.
    """
    tool = Tool.from_function(function, structured_output=False)
    arguments = {name: _argument(field) for name, field in tool.fn_metadata.arg_model.model_fields.items()}
    model = create_model(f"{tool.name}_arguments", __base__=_StrictArguments, **arguments)
    tool.fn_metadata = _Metadata(arg_model=model)
    return tool


def _argument(field: FieldInfo) -> Any:
    """Type and default of an argument. `str | None` is a text that may be left out, since `given` drops every null."""
    kinds = get_args(field.annotation) if get_origin(field.annotation) in {Union, UnionType} else (field.annotation,)
    kind: Any = Union[tuple(kind for kind in kinds if kind is not NoneType)]  # noqa: UP007  of as many as there are
    described = Field(description=field.description) if field.description else Field()
    return Annotated[(kind, *field.metadata, described)], ... if field.is_required() else field.default


def given(arguments: Mapping[str, Any], schema: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments that a model meant to give.

    `null` and `""` for an optional one count as left out. Lists and objects may come as JSON in a text, and a list of
    texts as its only member; ids and cursors (texts with a pattern) in blanks, quotes or backticks; words of a fixed
    set in capitals and British spelling. A boolean for a number becomes a text that is no number, and so is refused:
    Python would take `true` for 1.
    """
    optional = schema["properties"].keys() - set(schema.get("required", ()))
    return {
        name: _as_meant(value, schema["properties"].get(name, {}))
        for name, value in arguments.items()
        if name != _ADDED_BY_CLIENTS and not (name in optional and (value is None or value == ""))
    }


def _as_meant(value: Any, schema: Mapping[str, Any]) -> Any:
    match schema.get("type"):
        case "array" | "object" if isinstance(value, str):
            try:
                parsed = json.loads(value)
            except (ValueError, RecursionError):
                parsed = None
            if isinstance(parsed, list | dict):
                return parsed
            return [value] if schema.get("items", {}).get("type") == "string" else value
        case "string" if "enum" in schema and isinstance(value, str):
            word = value.strip().lower().replace("cancell", "cancel")
            return word if word in schema["enum"] else value
        case "string" if "pattern" in schema and isinstance(value, str):
            bare = value.strip(_AROUND)
            return "" if bare.lower() in _NO_ID else bare
        case "integer" | "number" if isinstance(value, bool):
            return json.dumps(value)
        case _:
            return value


class ToolCalls:
    """Runs one tool. `hidden` are the tools that this server does not list, and that no answer may lead to."""

    def __init__(self, name: str, schema: Mapping[str, Any], settings: Settings, hidden: frozenset[str]) -> None:
        self._name = name
        self._schema = schema
        self._settings = settings
        self._hidden = hidden
        self._tool = strict_tool(function_of(name))

    async def run(self, arguments: dict[str, Any], context: ToolContext, convert_result: bool) -> Any:
        """Call the function; see `Tool.run` for what is returned and raised."""
        meant = given(arguments, self._schema)
        try:
            result = await self._tool.run(meant, context, convert_result)
        except UnexpectedToolError as error:
            cause = error.__cause__
            if not isinstance(cause, Failure):
                raise
            deleted_at = await self._deleted_at(cause, meant, context)
            call = Call(act_of(self._name), meant, self._settings.key_source, deleted_at, self._name)
            raise ToolError(self._marked(explain(cause, call))) from cause
        except ToolError as error:
            # The tools raise none: it comes from arguments that do not fit, or from an answer to a question that
            # does not fit the question.
            wrong = error.__cause__
            message = explain_arguments(self._name, wrong) if isinstance(wrong, ValidationError) else NO_CONSENT
            raise ToolError(self._marked(message)) from wrong
        except MCPError as error:
            # The client answered a question with an error, or was gone.
            raise ToolError(self._marked(NO_CONSENT)) from error
        return self._checked(result) if isinstance(result, CallToolResult) else result

    async def _deleted_at(self, error: Failure, arguments: Mapping[str, Any], context: ToolContext) -> datetime | None:
        """When this installation deleted the batch that the API says is gone, where its receipts say so."""
        message_batch_id = arguments.get("message_batch_id")
        if not isinstance(error, ApiError) or not error.gone or not isinstance(message_batch_id, str):
            return None
        from mcp_batch_tools.tools.acts import deleted_here

        return await deleted_here(app_of(context), message_batch_id)

    def _marked(self, text: str) -> str:
        """Text on its way out: no secret in it, and the sandbox named where it answers."""
        return self._settings.redact(f"{text} {SANDBOX_NOTE}" if self._settings.sandbox else text)

    def _checked(self, result: CallToolResult) -> CallToolResult:
        """An answer on its way out: it leads to no hidden tool, names the sandbox, and holds no secret.

        An upstream that echoes the key must not get it into a conversation.
        """
        if self._hidden:
            result = self._without_hidden_tools(result)
        if self._settings.sandbox:
            result.content.append(TextContent(type="text", text=SANDBOX_NOTE))
            facts = result.structured_content
            # The deleted object stays exactly what the API sends; whoever reads only that was told before.
            if isinstance(facts, dict) and facts.get("type") != "message_batch_deleted":
                facts["sandbox"] = True
        # Whatever the structured content holds stands in the text too, and a key has no character that JSON escapes.
        texts = [block.text for block in result.content if isinstance(block, TextContent)]
        if all(self._settings.redact(text) == text for text in texts):
            return result
        clean = self._settings.redact(result.model_dump_json(by_alias=True, exclude_none=True))
        return CallToolResult.model_validate(json.loads(clean))

    def _without_hidden_tools(self, result: CallToolResult) -> CallToolResult:
        facts = dict(result.structured_content or {})
        for name in _STEPS & facts.keys():
            facts[name] = [step for step in facts[name] if step["tool"] not in self._hidden]
        return result if facts == result.structured_content else answer(facts)
