"""The benchmarks run; how fast anything is, is never asserted."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc"),
]


def measured(*arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "benchmarks", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)


def test_a_row_is_measured_beside_its_rival_and_written_as_json(tmp_path: Path) -> None:
    done = measured("--quick", "--only", "first", "--only", "checking", "--json", str(tmp_path / "figures.json"))
    assert done.returncode == 0, done.stderr
    rows = {row["name"]: row for row in json.loads((tmp_path / "figures.json").read_text())["rows"]}
    memory = rows["memory after the first act"]
    assert memory["beside"] == "bare tool"
    assert len(memory["values"]) == len(memory["detail"]["bare, MiB"]) == 2
    assert "--baseline" in rows["checking requests of 620 bytes"]["skipped"]
    assert all(name in done.stdout for name in rows)


def test_a_row_that_does_not_exist_is_named_with_those_that_do() -> None:
    done = measured("--only", "everything")
    assert done.returncode == 2
    assert "everything" in done.stderr
    assert "start, delete" in done.stderr
