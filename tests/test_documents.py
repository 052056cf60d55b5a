"""README and server.json say what the code does."""

import ast
import importlib
import json
import pkgutil
import re
import tomllib
from pathlib import Path

import pytest
from mcp_types import ToolAnnotations

import mcp_batch_tools
from mcp_batch_tools import __version__
from mcp_batch_tools.cli import main
from mcp_batch_tools.errors import Failure
from mcp_batch_tools.settings import Settings, flag_names, variable_of
from tests.conftest import Connect

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
MANIFEST = json.loads((ROOT / "server.json").read_text())
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def rows(heading: str) -> list[list[str]]:
    """The cells of the first table below a heading, without its head."""
    section = README.split(f"\n## {heading}\n")[1]
    lines = re.search(r"(?:^\|.*\n)+", section, re.MULTILINE)
    assert lines is not None
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[0].strip().splitlines()[2:]]


def kind(hints: ToolAnnotations | None) -> str:
    assert hints is not None
    return "read" if hints.read_only_hint else "destructive" if hints.destructive_hint else "write"


@pytest.mark.anyio
async def test_the_table_of_tools_is_the_catalogue(connect: Connect) -> None:
    async with connect() as assistant:
        tools = (await assistant.client.list_tools()).tools
    told = [(name.strip("`"), hints.split(",")[0]) for name, hints, _ in rows("Tools")]
    assert told == [(tool.name, kind(tool.annotations)) for tool in tools]


def test_the_table_of_settings_is_the_code() -> None:
    expected = []
    for name, field in Settings.model_fields.items():
        flag = f"`--{name.replace('_', '-')}`" if name in flag_names() else ""
        default = "" if field.default is None else f"`{field.default}`"
        expected.append([f"`{variable_of(name)}`", flag, default, field.description])
    assert rows("Settings") == expected


def test_the_commands_of_the_readme_exist(capsys: pytest.CaptureFixture[str]) -> None:
    commands = set(re.findall(r"mcp-batch-tools (demo|sandbox|check|serve|receipts)\b", README))
    assert commands == {"demo", "sandbox", "check", "receipts"}
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(command in shown for command in commands)


def test_the_server_manifest_fits_the_project_and_the_readme() -> None:
    package = MANIFEST["packages"][0]
    assert MANIFEST["version"] == package["version"] == __version__
    assert package["identifier"] == PROJECT["name"] == next(iter(PROJECT["scripts"]))
    assert len(MANIFEST["description"]) <= 100
    assert f"<!-- mcp-name: {MANIFEST['name']} -->" in README
    assert {variable["name"] for variable in package["environmentVariables"]} <= {
        variable_of(name) for name in Settings.model_fields
    }


def named_tests() -> list[tuple[str, str]]:
    text = (ROOT / "SECURITY.md").read_text()
    return re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", text)


def test_the_page_on_security_names_tests_that_exist() -> None:
    named = named_tests()
    assert len(named) > 20
    for path, name in named:
        tree = ast.parse((ROOT / path).read_text())
        functions = {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
        assert name in functions, f"{path}::{name}"


@pytest.mark.parametrize(
    "document",
    ["README.md", "CONTRIBUTING.md", "SECURITY.md", *(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))],
)
def test_links_between_the_documents_lead_somewhere(document: str) -> None:
    place = ROOT / document
    for link in re.findall(r"\]\((?!https?:)([^)]+)\)", place.read_text()):
        path, _, heading = link.partition("#")
        target = place.parent / path if path else place
        assert target.exists(), link
        if heading:
            headings = re.findall(r"^#+ (.+)$", target.read_text(), re.MULTILINE)
            assert heading in {re.sub(r"[^\w -]", "", text).lower().replace(" ", "-") for text in headings}, link


def test_every_session_that_is_told_to_contributors_exists() -> None:
    sessions = set(re.findall(r"nox -s ([\w-]+)", (ROOT / "CONTRIBUTING.md").read_text()))
    text = (ROOT / "noxfile.py").read_text()
    defined = set(re.findall(r"@nox.session\ndef (\w+)", text)) | set(
        re.findall(r"@nox.session\(name=\"([\w-]+)\"", text)
    )
    assert sessions == defined


def below(kind: type[Failure]) -> set[str]:
    """The class and all those below it, as far as they are part of what a room shows to others."""
    names = {kind.__name__} if kind.__module__.endswith(".errors") else set()
    for child in kind.__subclasses__():
        names |= below(child)
    return names


def test_the_picture_of_the_errors_has_every_class_and_no_other() -> None:
    for module in pkgutil.walk_packages(mcp_batch_tools.__path__, "mcp_batch_tools."):
        if module.name.endswith(".errors"):
            importlib.import_module(module.name)
    picture = (ROOT / "docs" / "errors.md").read_text().split("```")[1]
    assert set(re.findall(r"^[ │├└─]*([A-Z]\w+)", picture, re.MULTILINE)) == below(Failure)


@pytest.mark.parametrize("document", ["CONTRIBUTING.md", "docs/architecture.md", "docs/errors.md"])
def test_the_files_that_the_documents_name_exist(document: str) -> None:
    for name in re.findall(r"`((?:[\w.-]+/)*[\w.-]+(?:/|\.py|\.json|\.md|\.yml))`", (ROOT / document).read_text()):
        assert (ROOT / name).exists() or (ROOT / "mcp_batch_tools" / name).exists(), name
