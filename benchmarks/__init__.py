"""Speed, measured side by side as ratios in one run. Nothing here is timed in the tests.

Each file is a command, `python -m benchmarks.NAME`; `common/` has what several use, `results/` what was measured last.
It may import everything; nothing imports it.
Start reading with `README.md`, then `train_step.py`.
"""
