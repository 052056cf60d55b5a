"""Stands between a client and the server it starts, and writes down what they say: `recorder.py FILE COMMAND ...`.

Each line of the file is a message with who said it: `{"from": "client" | "server", "message": {...}}`.
"""

import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import IO


def pass_on(source: IO[bytes], target: IO[bytes], speaker: str, file: Path) -> None:
    """Pass lines on until there are no more, and note each."""
    for line in source:
        with file.open("a") as notes:
            notes.write(json.dumps({"from": speaker, "message": json.loads(line)}) + "\n")
        target.write(line)
        target.flush()
    target.close()


def main(file: Path, command: list[str]) -> int:
    """Run the server until the client closes its input; the status is the server's."""
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        listening = (sys.stdin.buffer, server.stdin, "client", file)
        threading.Thread(target=pass_on, args=listening, daemon=True).start()
        pass_on(server.stdout, sys.stdout.buffer, "server", file)
    return server.returncode


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
