"""What a data set is, how it is stored as Parquet shards, and what can be computed from those.

Imports `core`.
Start reading with `spec.py` (what a set is) and `shards.py` (how it is stored).
"""
