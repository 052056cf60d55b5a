"""What can be wrong with one block of the content of a message."""

from collections.abc import Iterator
from typing import Any

STRICT_SINCE = "2026-10-21"
"""The version of the API from which on some parameters of older ones are refused."""


def block_problems(role: Any, block: Any, *, strict: bool) -> Iterator[str]:
    """The kinds of problems of one block in a message of `role`; `strict` is for `STRICT_SINCE` and later."""
    kind = block.get("type") if isinstance(block, dict) else None
    if not isinstance(kind, str):
        yield "a content block is not an object with a `type`"
    elif kind == "text":
        if not isinstance(block.get("text"), str):
            yield "a text block has no `text`"
        if strict and role == "user" and block.get("citations"):
            yield f"`citations` on a text block of the user are refused by version {STRICT_SINCE} and later ones"
    elif kind == "document" and strict and role == "assistant":
        yield f"a document in a message of the assistant is refused by version {STRICT_SINCE} and later ones"
