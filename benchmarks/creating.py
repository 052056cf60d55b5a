"""Creating a batch from a file beside the official SDK, and checking its requests beside another revision.

Both sides read the same file of JSON Lines and send it over loopback to the same upstream, in turn. Ours, the real
server over stdio, also checks every request, counts tokens on a sample, and writes its intent; the SDK is given the
parsed lines, as its users do.
"""

import json
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.figures import Figure, Skipped, ratios
from benchmarks.processes import OURS, Connection, surroundings

SDK = """
import json
import sys
import anthropic

client = anthropic.Anthropic(max_retries=0)
with open(sys.argv[1], "rb") as file:
    client.messages.batches.create(requests=[json.loads(line) for line in file])
print(open("/proc/self/status").read().split("VmHWM:")[1].split()[0])
"""


def measure(rounds: int, megabytes: int) -> list[Figure]:
    """Requests of 2.5 kB, `megabytes` in all; each round has a new ledger, so that all is sent each time."""
    taken: dict[str, list[float]] = {"ours": [], "sdk": []}
    grown, peaks = [], []
    with surroundings() as (environment, folder):
        write_requests(folder / "requests.jsonl", 2_500, megabytes * 400)
        for number in range(rounds):
            own = {**environment, "MCP_BATCH_TOOLS_STATE_DIR": str(folder / f"state{number}")}
            seconds, memory = _ours(own)
            taken["ours"].append(seconds)
            grown.append(memory)
            seconds, memory = _sdk(environment, folder)
            taken["sdk"].append(seconds)
            peaks.append(memory)
    name = f"creating from {megabytes} MB"
    detail = {"ours, s": taken["ours"], "sdk, s": taken["sdk"], "sdk, MiB in all": peaks}
    return [
        Figure(name, "official SDK", ratios(taken["sdk"], taken["ours"]), bar="3.3", aim="4", detail=detail),
        Figure(f"memory while {name}", "at rest", grown, unit="MiB more", bar="+32"),
    ]


def measure_checking(rounds: int, megabytes: int, baseline: Path | None) -> list[Figure | Skipped]:
    """A dry run over large and small requests, beside the server of the checkout `baseline`."""
    rows: list[Figure | Skipped] = []
    for request_bytes in (2_800, 620):
        name = f"checking requests of {request_bytes:,} bytes"
        if baseline is None:
            rows.append(Skipped(name, "as its rival is another revision: give the path of a checkout with --baseline"))
            continue
        rival = (str(_python_of(baseline)), "-m", "mcp_batch_tools")
        taken: dict[str, list[float]] = {"ours": [], "baseline": []}
        with surroundings() as (environment, folder):
            write_requests(
                folder / "requests.jsonl", request_bytes, min(megabytes * 1_000_000 // request_bytes, 90_000)
            )
            for _ in range(rounds):
                taken["baseline"].append(_dry_run(rival, environment, baseline))
                taken["ours"].append(_dry_run(OURS, environment, None))
        detail = {f"{who}, s": times for who, times in taken.items()}
        beside = f"checkout in {baseline.name}"
        rows.append(Figure(name, beside, ratios(taken["baseline"], taken["ours"]), bar="1.6", aim="2.5", detail=detail))
    return rows


def write_requests(path: Path, request_bytes: int, requests: int) -> None:
    """Lines of JSON, each of about so many bytes."""
    frame = len(_line(0, ""))
    sentence = "The customer wrote: the parcel arrived two days late, and the box was dented. "
    text = (sentence * (request_bytes // len(sentence) + 1))[: max(request_bytes - frame, 1)]
    with path.open("w") as file:
        for number in range(requests):
            file.write(_line(number, text))


def _line(number: int, text: str) -> str:
    params = {"model": "claude-haiku-4-5", "max_tokens": 10, "messages": [{"role": "user", "content": text}]}
    return json.dumps({"custom_id": f"request-{number}", "params": params}) + "\n"


def _python_of(checkout: Path) -> Path:
    found = [path for path in (checkout / ".venv/bin/python", checkout / ".venv/Scripts/python.exe") if path.exists()]
    return found[0] if found else Path(sys.executable)


def _dry_run(command: tuple[str, ...], environment: dict[str, str], checkout: Path | None) -> float:
    connection = Connection(command, environment, checkout)
    connection.ask("tools/list", {})
    begin = time.perf_counter()
    answer = connection.call("create_message_batch", requests_file="requests.jsonl", dry_run=True)
    seconds = time.perf_counter() - begin
    assert answer["type"] == "message_batch_estimate", answer
    connection.close()
    return seconds


def _ours(environment: dict[str, str]) -> tuple[float, float]:
    connection = Connection(OURS, environment)
    connection.ask("tools/list", {})
    before = connection.memory()
    begin = time.perf_counter()
    answer = connection.call("create_message_batch", requests_file="requests.jsonl")
    seconds = time.perf_counter() - begin
    assert answer["type"] == "message_batch_created", json.dumps(answer)[:600]
    peak = connection.memory("VmHWM")
    connection.close()
    return seconds, peak - before


def _sdk(environment: dict[str, str], folder: Path) -> tuple[float, float]:
    begin = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", SDK, str(folder / "requests.jsonl")], env=environment, check=True, capture_output=True
    )
    return time.perf_counter() - begin, int(done.stdout) / 1024
