"""The rooms of the project: arrows between them run one way, and none grows too large."""

import ast
from pathlib import Path

import mcp_batch_tools

PACKAGE = Path(mcp_batch_tools.__file__).parent
SEAM = {"clock", "errors", "models", "wire", "retries", "client", "settings"}
CREATING = {
    "estimates",
    "request_checks",
    "request_hashes",
    "request_sizes",
    "request_sources",
    "requests_file",
    "sending",
    "submissions",
}
FILES = {"places", "finished_files", "pricing", "result_lines", "result_formats", "results_file", "result_pages"}
MAY_IMPORT: dict[str, set[str]] = {
    "__init__": set(),
    "__main__": {"cli"},
    "errors": set(),
    "models": set(),
    "settings": set(),
    "wire": {"errors"},
    "clock": set(),
    "retries": {"clock", "errors"},
    "client": {"clock", "errors", "models", "retries", "wire"},
    "sandbox": set(),
    "untrusted": set(),
    "ledger_tables": set(),
    "ledger": {"errors", "ledger_tables"},
    "submissions": {"ledger", "ledger_tables"},
    "request_hashes": set(),
    "request_sizes": set(),
    "estimates": {"client", "errors", "pricing", "request_hashes", "request_sizes", "requests_file"},
    "sending": {"client", "errors", "models"},
    "consent": {"models", "settings", "untrusted"},
    "places": {"errors", "untrusted"},
    "finished_files": {"errors"},
    "pricing": {"errors"},
    "result_lines": {"models", "pricing"},
    "result_formats": {"errors", "result_lines"},
    "results_file": {"client", "errors", "finished_files", "models", "result_formats", "result_lines"},
    "result_pages": {"client", "result_lines"},
    "request_sources": {"errors"},
    "request_checks": set(),
    "requests_file": {"errors", "request_checks", "request_sources", "request_hashes", "request_sizes"},
    "tools": {*SEAM, "consent", "ledger", "untrusted", *FILES, *CREATING},
    "server": {*SEAM, "tools", "sandbox", "ledger"},
    "demo": {"server", "sandbox"},
    "cli": {*SEAM, "tools", "server", "sandbox", "demo", "ledger", "untrusted"},
}


def room_of(path: Path) -> str:
    first = path.relative_to(PACKAGE).parts[0]
    return first.removesuffix(".py")


def imports_of(path: Path) -> set[str]:
    rooms = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("mcp_batch_tools"):
            parts = (node.module or "").split(".")[1:]
            rooms |= {parts[0]} if parts else {alias.name for alias in node.names} - {"__version__"}
        elif isinstance(node, ast.Import):
            rooms |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("mcp_batch_tools.")}
    return rooms


def test_every_room_imports_only_what_lies_below_it() -> None:
    for path in PACKAGE.rglob("*.py"):
        room = room_of(path)
        assert imports_of(path) - {room} <= MAY_IMPORT[room], path.name


def test_the_client_knows_nothing_of_mcp() -> None:
    for path in [
        *PACKAGE.glob("sandbox/*.py"),
        *(PACKAGE / f"{name}.py" for name in ("client", "wire", "models", "errors")),
    ]:
        tree = ast.parse(path.read_text())
        names = {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        names |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
        assert not {name for name in names if name.split(".")[0] in {"mcp", "mcp_types"}}


def test_no_room_is_too_large() -> None:
    for path in PACKAGE.rglob("*.py"):
        assert len(path.read_text().splitlines()) <= 320, path.name
