"""The start beside a bare `MCPServer`, from the start of the process to the answer to its first `tools/list`."""

import json
import time

from benchmarks.figures import Figure, ratios
from benchmarks.processes import BARE, OURS, Connection, surroundings


def measure(rounds: int) -> list[Figure]:
    """The servers start in turn; the first round only compiles bytecode."""
    taken: dict[str, list[float]] = {"bare": [], "ours": []}
    with surroundings() as (environment, _):
        for number in range(rounds + 1):
            for name, command in (("bare", BARE), ("ours", OURS)):
                begin = time.perf_counter()
                connection = Connection(command, environment)
                connection.ask("tools/list", {})
                if number:
                    taken[name].append((time.perf_counter() - begin) * 1000)
                connection.close()
    detail = {"ours, ms": taken["ours"], "bare, ms": taken["bare"]}
    return [
        Figure("start", "bare MCPServer", ratios(taken["ours"], taken["bare"]), bar="1.0", aim="0.87", detail=detail)
    ]


def measure_catalogue() -> list[Figure]:
    """What a model reads of all tools: name, description and input schema, as compact JSON."""
    with surroundings() as (environment, _):
        connection = Connection(OURS, environment)
        tools = connection.ask("tools/list", {})["result"]["tools"]
        connection.close()
    read = [{key: tool[key] for key in ("name", "description", "inputSchema")} for tool in tools]
    size = len(json.dumps(read, separators=(",", ":"), ensure_ascii=False).encode())
    return [Figure(f"catalogue of {len(tools)} tools", "", [size], unit="bytes", bar="7,000 for 7", aim="6,000 for 7")]
