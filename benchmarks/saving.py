"""Saving results beside `curl` and a sync, and the memory that it takes.

Both download the same file over loopback from the same upstream to the same disk, in turn. `curl` only writes, and
`sync` brings the file to the disk; ours, the real server over stdio, also checks and counts every line and hashes it.
"""

import os
import subprocess
import time
from pathlib import Path

from benchmarks.figures import Figure, ratios
from benchmarks.processes import MESSAGE_BATCH_ID, OURS, Connection, surroundings


def measure(rounds: int, megabytes: int, line_bytes: int, *, bar: str, aim: str, folder: Path) -> list[Figure]:
    """Results of `megabytes` in lines of `line_bytes`; `folder` has room for the file three times."""
    lines = megabytes * 1_000_000 // line_bytes
    source = folder / f"results-{line_bytes}.jsonl"
    write_results(source, line_bytes, lines)
    size = source.stat().st_size
    taken: dict[str, list[float]] = {"curl": [], "ours": []}
    grown = []
    with surroundings(source, lines) as (environment, place):
        for _ in range(rounds):
            taken["curl"].append(_curl(environment["ANTHROPIC_BASE_URL"], place))
            seconds, memory = _ours(environment)
            taken["ours"].append(seconds)
            grown.append(memory)
    source.unlink()
    rates = {f"{name}, MB/s": [size / seconds / 1e6 for seconds in times] for name, times in taken.items()}
    name = f"saving {megabytes:,} MB in lines of {line_bytes:,} bytes"
    return [
        Figure(name, "curl and a sync", ratios(taken["curl"], taken["ours"]), bar=bar, aim=aim, detail=rates),
        Figure(f"memory while {name}", "at rest", grown, unit="MiB more", bar="+32"),
    ]


def write_results(path: Path, line_bytes: int, lines: int) -> None:
    """Succeeded results as the API sends them, each of about so many bytes."""
    words = 'The parcel arrived \\"two days late\\" and the box was dented, but the lamp inside was whole.\\n'
    usage = (
        '{"input_tokens":512,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,'
        '"cache_creation":{"ephemeral_5m_input_tokens":0,"ephemeral_1h_input_tokens":0},'
        '"output_tokens":2400,"service_tier":"batch","inference_geo":null,"server_tool_use":null}'
    )
    start = '{"custom_id":"request-%07d","result":{"type":"succeeded","message":{"id":"msg_01","type":"message",'
    middle = '"role":"assistant","model":"claude-haiku-4-5","content":[{"type":"text","text":"'
    end = f'"}}],"stop_reason":"end_turn","stop_sequence":null,"usage":{usage}}}}}}}\n'
    room = line_bytes - len(start % 0) - len(middle) - len(end)
    text = (words * (max(room, 0) // len(words) + 1))[: max(room, 0)].rpartition(" ")[0]
    with path.open("wb") as file:
        for number in range(lines):
            file.write((start % number + middle + text + end).encode())


def _curl(address: str, folder: Path) -> float:
    target = folder / "curl.jsonl"
    begin = time.perf_counter()
    subprocess.run(
        ["curl", "--silent", "--fail", "-o", target, f"{address}/v1/messages/batches/{MESSAGE_BATCH_ID}/results"],
        check=True,
    )
    with target.open("rb+") as file:
        os.fsync(file.fileno())
    seconds = time.perf_counter() - begin
    target.unlink()
    return seconds


def _ours(environment: dict[str, str]) -> tuple[float, float]:
    connection = Connection(OURS, environment)
    connection.call("get_message_batch", message_batch_id=MESSAGE_BATCH_ID)
    before = connection.memory()
    begin = time.perf_counter()
    saved = connection.call("save_message_batch_results", message_batch_id=MESSAGE_BATCH_ID)
    seconds = time.perf_counter() - begin
    assert saved["type"] == "message_batch_results_saved", saved
    peak = connection.memory("VmHWM")
    connection.close()
    Path(saved["path"]).unlink()
    return seconds, peak - before
