"""The two commands of the README do all the set-up by themselves, on a fresh clone."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform == "win32", reason="commands for a POSIX shell")]

DEMO_ENVIRONMENT_BYTES = 120_000_000


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    if not (ROOT / ".git").exists():
        pytest.skip("this is no clone, so there is nothing to clone")
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(tmp_path / "clone")], check=True)
    return tmp_path / "clone"


def commands() -> list[str]:
    section = (ROOT / "README.md").read_text().split("\n## See it\n")[1].split("\n## ")[0]
    blocks = re.findall(r"```sh\n(.*?)```", section, re.DOTALL)
    assert all(block.count("\n") == 1 for block in blocks)
    return [block.strip() for block in blocks]


def paste(command: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    """Run it as on another machine: without the environment of this test run."""
    foreign = ("VIRTUAL_ENV", "UV_PROJECT_ENVIRONMENT", "PYTHONDONTWRITEBYTECODE", "TEST_ROUNDS")
    environment = {name: value for name, value in os.environ.items() if name not in foreign}
    done = subprocess.run(
        ["sh", "-c", command], cwd=folder, env=environment, capture_output=True, text=True, timeout=600, check=False
    )
    if done.returncode and re.search(r"No matching distribution|NewConnectionError|error sending request", done.stderr):
        pytest.skip("no package registry can be reached")
    return done


def size_of(folder: Path) -> int:
    return sum(path.lstat().st_size for path in folder.rglob("*") if not path.is_dir())


def test_each_command_alone_sets_everything_up_and_the_demo_brings_no_tools_of_developers(clone: Path) -> None:
    demo, tests = commands()
    shown = paste(demo, clone)
    assert shown.returncode == 0, shown.stdout + shown.stderr
    assert '"type": "message_batch_deleted"' in shown.stdout
    assert not list(clone.glob(".venv/lib/*/site-packages/pytest"))
    assert size_of(clone / ".venv") < DEMO_ENVIRONMENT_BYTES
    # All of the tests would be this one again; a few tell that they can be run.
    ran = paste(f"{tests} -q -n 0 tests/test_rooms.py", clone)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "passed" in ran.stdout
