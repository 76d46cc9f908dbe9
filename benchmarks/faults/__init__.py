"""Faults injected into a small pocket study: python -m benchmarks.faults.

It may import the packages and `benchmarks/common`.
Start reading with `__main__.py`, then `suite.py`.
"""
