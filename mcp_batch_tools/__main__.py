"""`mcp-batch-tools`, and `python -m mcp_batch_tools`."""

import gc
import sys


def run() -> None:
    """Run the command line and exit with its status."""
    # Imports make many objects and little garbage: collecting while they run costs a tenth of the start.
    gc.disable()
    from mcp_batch_tools.cli import main

    gc.freeze()
    gc.enable()
    sys.exit(main(sys.argv[1:]))


if __name__ == "__main__":
    run()
