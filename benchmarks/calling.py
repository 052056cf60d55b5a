"""A delete over stdio beside a bare tool that makes the same two requests, with no check, retry or receipt."""

import time

from benchmarks.figures import Figure, ratios
from benchmarks.processes import BARE, OURS, Connection, surroundings

SERVERS = {"bare": BARE, "ours": OURS}
WARMING = 20


def measure_deletes(rounds: int) -> list[Figure]:
    """Two servers that stay up delete in turn, against an upstream that answers at once; ours writes a receipt."""
    taken: dict[str, list[float]] = {name: [] for name in SERVERS}
    with surroundings() as (environment, _):
        connections = {name: Connection(command, environment) for name, command in SERVERS.items()}
        for number in range(rounds + WARMING):
            for name, connection in connections.items():
                begin = time.perf_counter()
                connection.delete()
                if number >= WARMING:
                    taken[name].append((time.perf_counter() - begin) * 1000)
        for connection in connections.values():
            connection.close()
    detail = {"ours, ms": taken["ours"], "bare, ms": taken["bare"]}
    return [
        Figure(
            "delete over stdio", "bare tool", ratios(taken["ours"], taken["bare"]), bar="1.3", aim="1.2", detail=detail
        )
    ]


def measure_first_act(rounds: int) -> list[Figure]:
    """Time of the first delete after a start, and what a server that has deleted once holds on top of the bare one."""
    taken: dict[str, list[float]] = {name: [] for name in SERVERS}
    memory: dict[str, list[float]] = {name: [] for name in SERVERS}
    for number in range(rounds + 1):
        with surroundings() as (environment, _):  # with a new ledger, as on the first day
            for name, command in SERVERS.items():
                connection = Connection(command, environment)
                connection.ask("tools/list", {})
                begin = time.perf_counter()
                connection.delete()
                if number:
                    taken[name].append((time.perf_counter() - begin) * 1000)
                    memory[name].append(connection.memory())
                connection.close()
    more = [ours - bare for ours, bare in zip(memory["ours"], memory["bare"], strict=True)]
    return [
        Figure(
            "first delete after the start", "", taken["ours"], unit="ms", bar="120 ms", aim="80 ms",
            detail={"bare, ms": taken["bare"]},
        ),
        Figure(
            "memory after the first act", "bare tool", more, unit="MiB more", bar="+9", aim="+6",
            detail={"ours, MiB": memory["ours"], "bare, MiB": memory["bare"]},
        ),
    ]  # fmt: skip
