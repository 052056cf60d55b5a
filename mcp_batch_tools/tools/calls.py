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
from mcp_batch_tools.tools.arguments import given
from mcp_batch_tools.tools.words.arguments import explain_arguments
from mcp_batch_tools.tools.words.calls import Call, act_of
from mcp_batch_tools.tools.words.failures import NO_CONSENT, explain

_STEPS = {"next_steps", "possible_actions"}


def function_of(name: str) -> Callable[..., Any]:
    """The function of a tool: its module has its name."""
    function: Callable[..., Any] = getattr(import_module(f"mcp_batch_tools.tools.{name}"), name)
    return function


class _StrictArguments(ArgModelBase):
    # What may come in another form was understood before, in `arguments`; Python would take `true` for 1.
    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


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
        now = app_of(context).clock.now()
        understood = given(arguments, self._schema, now)
        meant = understood.arguments
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
            message = NO_CONSENT
            if isinstance(wrong, ValidationError):
                message = explain_arguments(self._name, wrong, self._schema, meant, now)
            raise ToolError(self._marked(message)) from wrong
        except MCPError as error:
            # The client answered a question with an error, or was gone.
            raise ToolError(self._marked(NO_CONSENT)) from error
        return self._checked(result, understood.notes) if isinstance(result, CallToolResult) else result

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

    def _checked(self, result: CallToolResult, notes: list[str]) -> CallToolResult:
        """An answer on its way out: it says what was understood, leads to no hidden tool, and holds no secret.

        An upstream that echoes the key must not get it into a conversation.
        """
        if notes and result.structured_content and "message" in result.structured_content:
            message = " ".join([result.structured_content["message"], *notes])
            result = answer({**result.structured_content, "message": message})
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
