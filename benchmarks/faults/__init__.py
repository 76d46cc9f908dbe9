"""Faults injected into a small pocket study: python -m benchmarks.faults."""
