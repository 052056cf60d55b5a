"""Saving results beside `curl` and the official SDK, as ratios measured in one run, and the memory that it takes.

    uv run python benchmarks/saving.py [--megabytes 1000] [--lines 100000] [--rounds 3]

All three download the same file over loopback from the same upstream to the same disk, in turn, so that a noisy machine
disturbs all alike. `curl` only writes; ours, the real server over stdio, also checks and counts every line, hashes the
file and brings it to the disk; the SDK's `results()` loop parses every line and writes nothing.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from overhead import HERE, Connection

MESSAGE_BATCH_ID = "msgbatch_01HkcTjaV5uDC8jWR4ZsDV8d"

SDK = """
import sys
import anthropic

client = anthropic.Anthropic()
count = 0
for _ in client.messages.batches.results(sys.argv[1]):
    count += 1
print(count)
"""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=1000)
    parser.add_argument("--lines", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=None, help="where the files go; about 4 times their size")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        source = folder / "source.jsonl"
        _generate(source, options.megabytes * 1_000_000, options.lines)
        size = source.stat().st_size
        upstream = subprocess.Popen(
            [sys.executable, str(HERE / "upstream.py"), str(source), str(options.lines)], stdout=subprocess.PIPE
        )
        try:
            assert upstream.stdout is not None
            address = f"http://127.0.0.1:{int(upstream.stdout.readline())}"
            _measure(address, folder, size, options.rounds)
        finally:
            upstream.kill()
            upstream.wait()


def _measure(address: str, folder: Path, size: int, rounds: int) -> None:
    environment = {
        **{name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"},
        "ANTHROPIC_BASE_URL": address,
        "ANTHROPIC_API_KEY": "sk-ant-benchmark-only",
        "MCP_BATCH_TOOLS_STATE_DIR": str(folder / "state"),
        "MCP_BATCH_TOOLS_RESULTS_DIR": str(folder / "results"),
    }
    taken: dict[str, list[float]] = {"curl": [], "ours": [], "sdk": []}
    grown = []
    for _ in range(rounds):
        taken["curl"].append(_curl(address, folder))
        seconds, memory = _ours(environment, folder)
        taken["ours"].append(seconds)
        grown.append(memory)
        taken["sdk"].append(_sdk(environment))
    for name, seconds_all in taken.items():
        rates = [size / seconds / 1e6 for seconds in seconds_all]
        print(f"{name:5} {statistics.median(rates):7.0f} MB/s, from {min(rates):.0f} to {max(rates):.0f}")
    for rival in ("curl", "sdk"):
        ratios = sorted(theirs / ours for theirs, ours in zip(taken[rival], taken["ours"], strict=True))
        print(f"ours beside {rival}: {statistics.median(ratios):.2f} times, from {ratios[0]:.2f} to {ratios[-1]:.2f}")
    print(f"memory on top of the server at rest: {statistics.median(grown):.1f} MiB at most, median of {rounds} rounds")


def _generate(path: Path, size: int, lines: int) -> None:
    words = 'The parcel arrived \\"two days late\\" and the box was dented, but the lamp inside was whole.\\n'
    usage = (
        '{"input_tokens":512,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,'
        '"cache_creation":{"ephemeral_5m_input_tokens":0,"ephemeral_1h_input_tokens":0},'
        '"output_tokens":2400,"service_tier":"batch","inference_geo":null,"server_tool_use":null}'
    )
    start = '{"custom_id":"request-%07d","result":{"type":"succeeded","message":{"id":"msg_01","type":"message",'
    middle = '"role":"assistant","model":"claude-haiku-4-5","content":[{"type":"text","text":"'
    end = f'"}}],"stop_reason":"end_turn","stop_sequence":null,"usage":{usage}}}}}}}\n'
    text = (words * (size // lines // len(words) + 1))[: size // lines - len(start % 0) - len(middle) - len(end)]
    text = text[: text.rindex("\\n")]
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
    seconds = time.perf_counter() - begin
    target.unlink()
    return seconds


def _ours(environment: dict[str, str], folder: Path) -> tuple[float, float]:
    connection = Connection([str(Path(sys.executable).with_name("mcp-batch-tools"))], environment)
    connection.ask("tools/call", {"name": "get_message_batch", "arguments": {"message_batch_id": MESSAGE_BATCH_ID}})
    before = connection.memory()
    begin = time.perf_counter()
    answer = connection.ask(
        "tools/call",
        {"name": "save_message_batch_results", "arguments": {"message_batch_id": MESSAGE_BATCH_ID}},
    )
    seconds = time.perf_counter() - begin
    assert answer["result"]["structuredContent"]["type"] == "message_batch_results_saved", json.dumps(answer)[:500]
    peak = connection.memory("VmHWM")
    connection.close()
    Path(answer["result"]["structuredContent"]["path"]).unlink()
    return seconds, peak - before


def _sdk(environment: dict[str, str]) -> float:
    begin = time.perf_counter()
    subprocess.run(
        [sys.executable, "-c", SDK, MESSAGE_BATCH_ID], env=environment, check=True, stdout=subprocess.DEVNULL
    )
    return time.perf_counter() - begin


if __name__ == "__main__":
    main()
