"""What the answers of all tools are made of: the same facts as text and as structured content."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, TypeVar

from mcp_types import CallToolResult, TextContent
from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    RootModel,
    WithJsonSchema,
)

from mcp_batch_tools.api.models import MessageBatch
from mcp_batch_tools.api.untrusted import escape_all_invisible

Time = Annotated[
    AwareDatetime,
    PlainSerializer(lambda value: value.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]
"""A time in answers: UTC, whole seconds."""

WaitSeconds = Annotated[
    int, Field(ge=0, le=50, description="Wait up to so many seconds for the batch to end; 0 answers at once.")
]


GoalArgument = Annotated[
    Literal["delete"] | None, Field(description="Set to delete: next_steps then lead on to the delete.")
]
GoalPath = Annotated[
    str | None, Field(min_length=1, description="With goal: the path that the delete saves all results to first.")
]
Confirmation = Annotated[
    str | None, Field(description="Code from an earlier answer, once the user has said yes to the question in it.")
]
Argument = str | int | float | bool
WAIT = 20
"""Seconds of waiting that are offered: some clients give up on a call soon after."""
CONFIRMED = "only after the user has said yes to this question"


class Answer(BaseModel):
    """What answers are made of. Pydantic prepares a kind of answer when it is first given: most of them never are."""

    model_config = ConfigDict(defer_build=True)


Kinds = TypeVar("Kinds")


class TaggedAnswer(RootModel[Kinds]):
    """An answer of one of several kinds, told apart by their `type`."""

    # Clients of 2025-11-25 refuse the whole catalogue where an output schema's root has no type.
    model_config = ConfigDict(defer_build=True, json_schema_extra={"type": "object"})


class NextStep(Answer):
    """A call that is ready to be made."""

    tool: str
    arguments: dict[str, Argument]
    why: str


def answer(facts: BaseModel | Mapping[str, Any]) -> CallToolResult:
    """The result of a tool: every fact both as structured content and as text, one line for each key."""
    structured = escape_all_invisible(
        facts.model_dump(mode="json", exclude_none=True) if isinstance(facts, BaseModel) else facts
    )
    return CallToolResult(content=[TextContent(type="text", text=_lines(structured))], structured_content=structured)


def _lines(facts: Mapping[str, Any]) -> str:
    """JSON, with a line for each key and for each member of a list: as short as compact JSON, and readable."""

    def value(held: Any) -> str:
        if isinstance(held, list) and held:
            return "[\n    " + ",\n    ".join(json.dumps(member, ensure_ascii=False) for member in held) + "\n  ]"
        return json.dumps(held, ensure_ascii=False)

    return "{\n" + ",\n".join(f"  {json.dumps(key)}: {value(held)}" for key, held in facts.items()) + "\n}"


def format_time(time: datetime) -> str:
    """A time for a sentence: `2026-11-03 09:00 UTC`."""
    return f"{time.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def requests(count: int) -> str:
    """`1 request`, `4,900 requests`."""
    return f"{count:,} request{'' if count == 1 else 's'}"


def outcomes(batch: MessageBatch) -> str:
    """`4,812 succeeded, 88 errored`; the outcomes that did not occur are left out."""
    counts = batch.request_counts
    named = {name: getattr(counts, name) for name in ("succeeded", "errored", "canceled", "expired")}
    return ", ".join(f"{count:,} {name}" for name, count in named.items() if count) or "no outcomes yet"


@dataclass(frozen=True)
class Goal:
    """A delete that a call leads to; it saves all results first where `save_results_to` is a path for them."""

    save_results_to: str | None = None

    @classmethod
    def of(cls, goal: Literal["delete"] | None, save_results_to: str | None) -> "Goal | None":
        """The goal that these arguments of a call name."""
        return None if goal is None else cls(save_results_to)


def _on_the_way(goal: Goal | None) -> dict[str, Argument]:
    return {} if goal is None else {"goal": "delete", **_given(save_results_to=goal.save_results_to)}


def _given(**arguments: Argument | None) -> dict[str, Argument]:
    return {name: value for name, value in arguments.items() if value is not None}


def wait_step(message_batch_id: str, seconds: int = WAIT, goal: Goal | None = None) -> NextStep:
    """Wait for a batch to end."""
    return NextStep(
        tool="get_message_batch",
        arguments={"message_batch_id": message_batch_id, "wait_seconds": seconds, **_on_the_way(goal)},
        why="Waits for the batch to end; call it again while it has not.",
    )


def look_step(message_batch_id: str) -> NextStep:
    """See how a batch stands now."""
    arguments: dict[str, Argument] = {"message_batch_id": message_batch_id}
    return NextStep(tool="get_message_batch", arguments=arguments, why="Shows how the batch stands now.")


def read_step(message_batch_id: str) -> NextStep:
    """Read the first results."""
    return NextStep(
        tool="read_message_batch_results",
        arguments={"message_batch_id": message_batch_id},
        why="Reads the first results.",
    )


def save_step(message_batch_id: str) -> NextStep:
    """Save all results."""
    return NextStep(
        tool="save_message_batch_results",
        arguments={"message_batch_id": message_batch_id},
        why="Saves all results to a file, and says what they cost.",
    )


def delete_step(message_batch_id: str, save_results_to: str | None = None, confirmation: str | None = None) -> NextStep:
    """Delete a batch that has ended."""
    first = "Saves all results, then deletes" if save_results_to else "Deletes"
    return NextStep(
        tool="delete_message_batch",
        arguments={
            "message_batch_id": message_batch_id,
            **_given(save_results_to=save_results_to, confirmation=confirmation),
        },
        why=f"{first} the batch and its results for good, {CONFIRMED if confirmation else 'if that is wanted'}.",
    )


def cancel_step(message_batch_id: str, goal: Goal | None = None, confirmation: str | None = None) -> NextStep:
    """Cancel a batch that still runs."""
    only = f", {CONFIRMED}" if confirmation else ""
    return NextStep(
        tool="cancel_message_batch",
        arguments={
            "message_batch_id": message_batch_id,
            **_given(confirmation=confirmation),
            **_on_the_way(goal),
        },
        why=f"Stops what has not finished{only}. Requests that have finished are kept, and billed.",
    )


def steps_to_delete(batch: MessageBatch, goal: Goal, patience: int) -> list[NextStep]:
    """The calls that lead from a batch as it is now to its delete, in order."""
    delete = delete_step(batch.id, goal.save_results_to)
    if batch.ended:
        return [delete]
    wait = wait_step(batch.id, patience, goal)
    return [cancel_step(batch.id, goal), wait, delete] if batch.processing_status == "in_progress" else [wait, delete]
