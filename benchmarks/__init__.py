"""Speed and memory beside a rival, as ratios measured in one run: `python -m benchmarks`."""
