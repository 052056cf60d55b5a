"""Leaves these tests out of every run that does not name this folder or the marker `clients`."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from mcp_batch_tools.sandbox import Sandbox
from tests.clients.world import World
from tests.support.serving import served

HERE = Path(__file__).parent


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """They take minutes, and fetch what they need from package registries when they first run."""
    named = [config.invocation_params.dir / argument.split("::")[0] for argument in config.args]
    if "clients" in config.option.markexpr or any(path.resolve().is_relative_to(HERE) for path in named):
        return
    left_out = [item for item in items if item.get_closest_marker("clients")]
    if left_out:
        items[:] = [item for item in items if item not in left_out]
        config.hook.pytest_deselected(items=left_out)


@pytest.fixture
def canceling_seconds() -> float:
    """How long a cancellation takes."""
    return 2


@pytest.fixture
def world(canceling_seconds: float, tmp_path: Path) -> Iterator[World]:
    sandbox = Sandbox(canceling_seconds=canceling_seconds, retry_after=1)
    with served(sandbox) as address:
        yield World(sandbox, address, tmp_path)
