"""Runs an agent in a real client against a server process of ours, behind which stands a sandbox on a port."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tests.clients.environments import environment, node_of, python_of
from tests.clients.programs.agent import Call, Task
from tests.conftest import KEY

PROGRAMS = Path(__file__).parent / "programs"
PATIENCE = 150
"""Seconds for a whole conversation, which takes 5 to 20."""


@dataclass(frozen=True)
class Report:
    """What became of a conversation. `tools` are the descriptions by name, as the model got them."""

    calls: list[Call]
    shown: list[str]
    beginnings: int
    tools: dict[str, str | None]
    asked: list[str] = field(default_factory=list)

    @property
    def names(self) -> list[str]:
        """The tools that were called."""
        return [tool for tool, _ in self.calls]


def server_at(address: str, folder: Path) -> dict[str, Any]:
    """How a client starts the server: the installed command, its files below `folder`, the API at `address`."""
    return {
        "command": str(Path(sys.executable).with_name("mcp-batch-tools")),
        "args": ["serve"],
        "env": {
            "ANTHROPIC_API_KEY": KEY,
            "ANTHROPIC_BASE_URL": address,
            "MCP_BATCH_TOOLS_STATE_DIR": str(folder / "state"),
            "MCP_BATCH_TOOLS_RESULTS_DIR": str(folder / "results"),
        },
    }


Run = Callable[[Task, Path], Report]


def python_program(client: str, program: str) -> Run:
    """A client that a Python program drives."""

    def run(task: Task, home: Path) -> Report:
        return Report(**json.loads(output_of_python(client, program, task, home).splitlines()[-1]))

    return run


def output_of_python(client: str, program: str, task: Task, home: Path, *arguments: str) -> str:
    """Standard output of a Python program that is run in a client's environment."""
    command = [python_of(environment(client)), str(PROGRAMS / program), json.dumps(asdict(task)), *arguments]
    return output_of(command, home)


def node_program(client: str, program: str, *arguments: str) -> Run:
    """A client that a JavaScript program drives. It runs from a copy, since it finds its packages by where it is."""

    def run(task: Task, home: Path) -> Report:
        folder = environment(client)
        home.mkdir()
        (home / "node_modules").symlink_to(folder / "node_modules")
        copy = str(shutil.copy(PROGRAMS / program, home))
        output = output_of([node_of(folder), copy, json.dumps(asdict(task)), *arguments], home)
        return Report(**json.loads(output.splitlines()[-1]))

    return run


def output_of(command: list[str], home: Path, given: str = "", **variables: str) -> str:
    """Standard output of a client that has a home folder of its own, and nothing of this machine's settings."""
    home.mkdir(exist_ok=True)
    done = subprocess.run(
        command, cwd=home, env={**_bare(os.environ), "HOME": str(home), **variables}, input=given,
        capture_output=True, text=True, timeout=PATIENCE, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    return done.stdout


def _bare(environment: Mapping[str, str]) -> dict[str, str]:
    kept = {"PATH", "LANG", "SYSTEMROOT", "TEMP", "TMP", "TMPDIR"}
    return {name: value for name, value in environment.items() if name.upper() in kept}
