"""Where chance comes from: the same at every run, or new where `TEST_SEED` asks for it; and how much of it there is."""

import os
import random

ALWAYS = 20261125


def seed() -> int:
    """The number that all chance of this run is derived from."""
    return int(os.environ.get("TEST_SEED") or ALWAYS)


def dice(*what: object) -> random.Random:
    """Chance for one test, named so that two tests do not share it; a failure shows how to have it again."""
    print(f"to repeat this: TEST_SEED={seed()}")
    return random.Random(repr((seed(), *what)))


def rounds(usual: int) -> int:
    """How often something random is tried: `TEST_ROUNDS` times as often as usual."""
    return usual * int(os.environ.get("TEST_ROUNDS") or 1)
