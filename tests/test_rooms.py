"""The rooms of the project: arrows between them run one way, and none grows too large."""

import ast
from pathlib import Path

import pytest

import mcp_batch_tools

PACKAGE = Path(mcp_batch_tools.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))
SHARED = {"errors", "clock"}
MAY_IMPORT: dict[str, set[str]] = {
    "__init__": set(),
    "errors": set(),
    "clock": set(),
    "paths": {"errors"},
    "sandbox": set(),
    "ledger": {*SHARED},
    "api": {*SHARED},
    "requests": {*SHARED, "paths", "api"},
    "results": {*SHARED, "paths", "api"},
    "pricing": {*SHARED, "api", "requests", "results"},
    "submissions": {*SHARED, "api", "requests", "results", "ledger"},
    "settings": {*SHARED},
    "tools": {*SHARED, "api", "requests", "results", "pricing", "submissions", "ledger", "settings"},
    "server": {*SHARED, "api", "ledger", "settings", "tools", "sandbox"},
    "jsonrpc": set(),
    "stdio": {"jsonrpc"},
    "demo": set(),
    "printing": {"api", "ledger"},
    "cli": {*SHARED, "printing", "api", "ledger", "settings", "tools", "server", "stdio", "sandbox", "demo"},
    "__main__": {"cli"},
}
MAY_KNOW_MCP = {"tools", "server", "jsonrpc", "stdio", "demo"}


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def modules_imported_by(path: Path) -> set[str]:
    modules = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            assert not node.level, "relative imports hide the room"
            module = node.module or ""
            modules |= {f"{module}.{alias.name}" for alias in node.names} if module == "mcp_batch_tools" else {module}
        elif isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
    return modules


def rooms_imported_by(path: Path) -> set[str]:
    ours = {module for module in modules_imported_by(path) if module.startswith("mcp_batch_tools.")}
    return {module.split(".")[1] for module in ours} - {"__version__"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_every_room_imports_only_what_lies_below_it(path: Path) -> None:
    assert rooms_imported_by(path) - {room_of(path)} <= MAY_IMPORT[room_of(path)]


def test_only_the_tools_and_what_starts_them_know_mcp() -> None:
    knowing = {
        room_of(path)
        for path in FILES
        if any(module.split(".")[0] in {"mcp", "mcp_types"} for module in modules_imported_by(path))
    }
    assert knowing == MAY_KNOW_MCP


def test_only_the_ledger_knows_the_database() -> None:
    knowing = {room_of(path) for path in FILES if "sqlite3" in modules_imported_by(path)}
    assert knowing <= {"ledger"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_file_is_too_large(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 300
