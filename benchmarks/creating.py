"""Creating a batch from a file beside the official SDK, as ratios measured in one run, and the memory that it takes.

    uv run python benchmarks/creating.py [--megabytes 250] [--requests 100000] [--rounds 3]

Both read the same file of JSON Lines and send it over loopback to the same upstream, in turn. Ours, the real server
over stdio, also checks every request, counts tokens on a sample, and writes its intent; the SDK is given the parsed
lines, as its users do.
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

SDK = """
import json
import sys
import anthropic

client = anthropic.Anthropic(max_retries=0)
with open(sys.argv[1], "rb") as file:
    client.messages.batches.create(requests=[json.loads(line) for line in file])
print(open("/proc/self/status").read().split("VmHWM:")[1].split()[0])
"""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=250)
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _generate(folder / "requests.jsonl", options.megabytes * 1_000_000, options.requests)
        upstream = subprocess.Popen([sys.executable, str(HERE / "upstream.py")], stdout=subprocess.PIPE)
        try:
            assert upstream.stdout is not None
            address = f"http://127.0.0.1:{int(upstream.stdout.readline())}"
            _measure(address, folder, options.rounds)
        finally:
            upstream.kill()
            upstream.wait()


def _measure(address: str, folder: Path, rounds: int) -> None:
    environment = {
        **{name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"},
        "ANTHROPIC_BASE_URL": address,
        "ANTHROPIC_API_KEY": "sk-ant-benchmark-only",
        "MCP_BATCH_TOOLS_REQUESTS_DIR": str(folder),
        "MCP_BATCH_TOOLS_ASK_ABOVE_USD": "1000000",
    }
    size = (folder / "requests.jsonl").stat().st_size
    taken: dict[str, list[float]] = {"ours": [], "sdk": []}
    memory: dict[str, list[float]] = {"ours": [], "sdk": []}
    for number in range(rounds):
        seconds, peak = _ours({**environment, "MCP_BATCH_TOOLS_STATE_DIR": str(folder / f"state{number}")})
        taken["ours"].append(seconds)
        memory["ours"].append(peak)
        seconds, peak = _sdk(environment, folder)
        taken["sdk"].append(seconds)
        memory["sdk"].append(peak)
    for name, all_seconds in taken.items():
        rates = [size / seconds / 1e6 for seconds in all_seconds]
        print(f"{name:5} {statistics.median(rates):6.0f} MB/s, from {min(rates):.0f} to {max(rates):.0f}")
    ratios = sorted(sdk / ours for sdk, ours in zip(taken["sdk"], taken["ours"], strict=True))
    print(f"ours beside sdk: {statistics.median(ratios):.2f} times, from {ratios[0]:.2f} to {ratios[-1]:.2f}")
    print(
        f"memory: ours {statistics.median(memory['ours']):.1f} MiB on top of the server at rest, "
        f"sdk {statistics.median(memory['sdk']):.0f} MiB in all"
    )


def _generate(path: Path, size: int, requests: int) -> None:
    text = "The customer wrote: the parcel arrived two days late, and the box was dented. " * (size // requests // 78)
    with path.open("w") as file:
        for number in range(requests):
            params = {"model": "claude-haiku-4-5", "max_tokens": 10, "messages": [{"role": "user", "content": text}]}
            file.write(json.dumps({"custom_id": f"request-{number}", "params": params}) + "\n")


def _ours(environment: dict[str, str]) -> tuple[float, float]:
    connection = Connection([str(Path(sys.executable).with_name("mcp-batch-tools"))], environment)
    connection.ask("tools/list", {})
    before = connection.memory()
    begin = time.perf_counter()
    answer = connection.ask(
        "tools/call", {"name": "create_message_batch", "arguments": {"requests_file": "requests.jsonl"}}
    )
    seconds = time.perf_counter() - begin
    assert answer["result"]["structuredContent"]["type"] == "message_batch_created", json.dumps(answer)[:600]
    peak = connection.memory("VmHWM")
    connection.close()
    return seconds, peak - before


def _sdk(environment: dict[str, str], folder: Path) -> tuple[float, float]:
    begin = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", SDK, str(folder / "requests.jsonl")], env=environment, check=True, capture_output=True
    )
    return time.perf_counter() - begin, int(done.stdout) / 1024


if __name__ == "__main__":
    main()
