"""Leaves these tests out of every run that does not name this folder or the marker `clients`."""

from pathlib import Path

import pytest

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
