"""What several benchmarks use: rounds of several ways in turns, plain torch code to compare with, images, a network.

It may import the packages, no other benchmark.
Start reading with `rounds.py`.
"""
