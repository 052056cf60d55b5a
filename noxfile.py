"""One command for each habit: `uv run nox -s check`, or `test`, `test-all`, `clients`, `contract`, `bench`.

CI calls the same. Every session runs in the environments that uv makes, so nox itself builds none.
"""

import os
import sys
from pathlib import Path

import nox

nox.options.default_venv_backend = "none"
nox.options.sessions = ["check", "test"]

ROOT = Path(__file__).parent
PYTHONS = ["3.11", "3.12", "3.13", "3.14"]
SCHEMA = os.environ.get("SERVER_SCHEMA")
"""Path of the registry's schema of `server.json`; without it that one check is left out, and says so."""

VALIDATE = """
import json, sys
from pathlib import Path
import jsonschema
schema = json.loads(Path(sys.argv[1]).read_text())
jsonschema.Draft7Validator(schema).validate(json.loads(Path("server.json").read_text()))
print("server.json is valid")
"""


def uv_run(session: nox.Session, *command: str, **environment: str | None) -> None:
    """Run a command in the project's environment. Tests write bytecode, also where the machine says otherwise."""
    variables: dict[str, str | None] = {"PYTHONDONTWRITEBYTECODE": None, **environment}
    session.run("uv", "run", *command, env=variables, external=True)


@nox.session
def check(session: nox.Session) -> None:
    """Style, types, and the manifest for the registry."""
    uv_run(session, "ruff", "check", ".")
    uv_run(session, "ruff", "format", "--check", ".")
    uv_run(session, "mypy")
    if SCHEMA:
        uv_run(session, "python", "-c", VALIDATE, SCHEMA)
    else:
        session.log("server.json was not checked: SERVER_SCHEMA names no schema")


@nox.session
def test(session: nox.Session) -> None:
    """Run the whole suite on one Python; says how much of the code it reaches, and fails below the bound."""
    uv_run(session, "pytest", "--cov", "--cov-report=term", *session.posargs)


@nox.session(name="test-all")
def test_all(session: nox.Session) -> None:
    """Run the suite without its slow tests on every other supported Python that is on this machine."""
    current = f"{sys.version_info.major}.{sys.version_info.minor}"
    for version in PYTHONS:
        if version == current:
            continue
        python = interpreter(session, version)
        if python is None:
            session.log(f"Python {version} is not on this machine: skipped")
            continue
        session.log(f"Python {version}: {python}")
        environment = {"UV_PROJECT_ENVIRONMENT": str(ROOT / ".nox" / version), "VIRTUAL_ENV": None}
        uv_run(session, "--python", python, "pytest", "-m", "not slow", *session.posargs, **environment)


@nox.session
def clients(session: nox.Session) -> None:
    """Run the stories of a delete in real clients, each in an environment that is installed once."""
    uv_run(session, "pytest", "tests/clients", *session.posargs)


@nox.session
def contract(session: nox.Session) -> None:
    """Write the contract of the tools anew, and show what changed in it."""
    uv_run(session, "python", "-m", "mcp_batch_tools.tools.contract")
    file = "mcp_batch_tools/tools/catalogue.json"
    session.run("git", "--no-pager", "diff", "--stat", "-p", "--", file, external=True)


@nox.session
def bench(session: nox.Session) -> None:
    """Measure everything beside its rival; what follows `--` goes to `python -m benchmarks`."""
    uv_run(session, "python", "-m", "benchmarks", *session.posargs)


def interpreter(session: nox.Session, version: str) -> str | None:
    """The path of an interpreter of this version that is already here; nothing is downloaded."""
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    kept = sorted(pyenv.glob(f"{version}.*/bin/python"), reverse=True)
    if kept:
        return str(kept[0])
    found = session.run(
        "uv", "python", "find", "--no-project", "--no-python-downloads", version,
        external=True, silent=True, log=False, success_codes=[0, 1, 2],
    )  # fmt: skip
    path = str(found or "").strip().splitlines()
    return path[-1] if path and Path(path[-1]).exists() else None
