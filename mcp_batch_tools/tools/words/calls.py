"""Which call a sentence is about."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

Act = Literal["list", "get", "create", "cancel", "delete", "read_results", "save_results", "check", "receipts"]

TOOLS: Mapping[Act, str] = {
    "list": "list_message_batches",
    "get": "get_message_batch",
    "create": "create_message_batch",
    "cancel": "cancel_message_batch",
    "delete": "delete_message_batch",
    "read_results": "read_message_batch_results",
    "save_results": "save_message_batch_results",
}


def act_of(tool: str) -> Act:
    """What a tool does; one that is not named here only looks."""
    return next((act for act, name in TOOLS.items() if name == tool), "get")


@dataclass(frozen=True)
class Call:
    """The call of a tool, or a command: all that a sentence about its failure may depend on.

    `arguments` are those of the tool, as they were given; `key_source` names the variable that the credentials come
    from; `deleted_at` is when this installation deleted the batch, where its receipts say so; `tool` is its name.
    """

    act: Act
    arguments: Mapping[str, Any] = field(default_factory=dict)
    key_source: str | None = None
    deleted_at: datetime | None = None
    tool: str | None = None

    @property
    def batch(self) -> str | None:
        """The batch that the call is about."""
        return self.arguments.get("message_batch_id") or self.arguments.get("retry_of")

    @property
    def again(self) -> str:
        """`Call get_message_batch again`, or what that is for a command."""
        tool = self.tool or TOOLS.get(self.act)
        return f"Call {tool} again" if tool else "Run this command again"

    def user(self, *tasks: str) -> str:
        """A sentence that asks for one of these tasks, which only a person can do.

        A model is to ask the user, while whoever runs a command is the user.
        """
        if self.act in TOOLS:
            return f"Ask the user to {', or to '.join(tasks)}."
        either = ", or ".join(tasks)
        return f"{either[0].upper()}{either[1:]}."
