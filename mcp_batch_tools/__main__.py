"""`mcp-batch-tools`, and `python -m mcp_batch_tools`."""

import gc
import io
import os
import sys


def run() -> None:
    """Run the command line and exit with its status."""
    # Imports make many objects and little garbage: collecting while they run costs a tenth of the start.
    gc.disable()
    try:
        from mcp_batch_tools.cli import main

        gc.freeze()
        gc.enable()
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(
                    errors="backslashreplace"
                )  # a terminal that knows no letter of a name still shows it
        status = main(sys.argv[1:])
        sys.stdout.flush()
    except KeyboardInterrupt:  # while it was starting
        status = 130
    except BrokenPipeError:  # `… | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 1
    sys.exit(status)


if __name__ == "__main__":
    run()
