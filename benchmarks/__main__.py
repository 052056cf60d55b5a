"""Speed and memory beside a rival, measured in one run: a table of ratios with their medians and spread.

    uv run python -m benchmarks [--quick] [--only NAME] [--json FILE] [--baseline CHECKOUT]

Ours and its rival take turns, so that a noisy machine disturbs both. A ratio is made of each pair, and the table shows
the median of the ratios and the middle half of them; saving, creating and checking are speeds (more is better), all
others are times or sizes (less is better). `bar` is what a release must reach, `aim` what it should. Needs Linux.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks import calling, creating, reading, remembering, saving, starting
from benchmarks.figures import Figure, Skipped, table, write

Rows = Sequence[Figure | Skipped]


def plan(options: argparse.Namespace, folder: Path) -> dict[str, Callable[[], Rows]]:
    """What can be measured, by the name that `--only` takes, in the order of the table."""
    quick = bool(options.quick)
    rounds = 2 if quick else 5
    size = 40 if quick else 1000
    return {
        "start": lambda: starting.measure(3 if quick else 15),
        "delete": lambda: calling.measure_deletes(60 if quick else 400),
        "first": lambda: calling.measure_first_act(2 if quick else 12),
        "saving": lambda: saving.measure(rounds, size, 9_500, bar="0.5", aim="0.8", folder=folder),
        "saving-small": lambda: saving.measure(rounds, size // 4, 630, bar="0.2", aim="0.35", folder=folder),
        "creating": lambda: creating.measure(rounds, 20 if quick else 250),
        "checking": lambda: creating.measure_checking(rounds, 10 if quick else 120, options.baseline),
        "ledger": lambda: remembering.measure(20 if quick else 100, *((5_000, 500) if quick else (1_000_000, 100_000))),
        "page": lambda: reading.measure(rounds, 12 if quick else 120, folder),
        "catalogue": starting.measure_catalogue,
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; 2 where a name is unknown."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--quick", action="store_true", help="small files and few rounds: whether it runs, not how fast"
    )
    parser.add_argument("--only", action="append", metavar="NAME", help="only this row; can be given again")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all values there")
    parser.add_argument("--baseline", type=Path, metavar="CHECKOUT", help="another revision, the rival in checking")
    parser.add_argument("--folder", type=Path, metavar="FOLDER", help="where large files go (3 GB)")
    options = parser.parse_args(arguments)
    rows: list[Figure | Skipped] = []
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        planned = plan(options, Path(name))
        if unknown := sorted(set(options.only or []) - planned.keys()):
            print(f"no row is named {', '.join(unknown)}; there are {', '.join(planned)}", file=sys.stderr)
            return 2
        for row, measure in planned.items():
            if not options.only or row in options.only:
                print(f"measuring {row} ...", file=sys.stderr, flush=True)
                rows += measure()
    print(table(rows))
    if options.json:
        write(options.json, rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
