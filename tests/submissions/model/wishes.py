"""What the users of the model want sent."""

from dataclasses import dataclass

RETRIED = "retried"


@dataclass(frozen=True)
class Part:
    """Content: its fingerprint, the custom ids of its requests, and what of a retried batch it pays for."""

    fingerprint: str
    custom_ids: tuple[str, ...]
    retries: frozenset[str] = frozenset()


# Once corrected, the prompt of "A" has the same custom ids: results cannot tell the two apart.
PLANS = {
    "A": (Part("A", ("a",)),),
    "A, corrected": (Part("A'", ("a",)),),
    "A and B": (Part("A", ("a",)), Part("B", ("b",))),
    "B": (Part("B", ("b",)),),
}
RETRIED_FILES = (frozenset({"1"}), frozenset({"1", "2"}))


@dataclass(frozen=True)
class Wish:
    """What a user wants sent."""

    plan: str
    parts: tuple[Part, ...]
    again: bool
    retry_of: str | None = None
    last_seq: int = 0


@dataclass(frozen=True)
class Habits:
    """What the users of one schedule want: these plans and acts, and so often the same again."""

    plans: tuple[str, ...] = tuple(PLANS)
    acts: tuple[str, ...] = ("create", "retry", "look", "delete")
    weights: tuple[int, ...] = (10, 4, 4, 1)
    again: float = 0.3
