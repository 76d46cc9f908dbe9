"""The command: python -m benchmarks.growth."""

from __future__ import annotations

from benchmarks.growth.curves import main

if __name__ == "__main__":
    main()
