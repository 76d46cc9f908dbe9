"""How time and memory grow with trials, images, classes, workers and branches: python -m benchmarks.growth.

It may import the packages and `benchmarks/common`.
Start reading with `curves.py`, then `points.py`.
"""
