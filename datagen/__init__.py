"""Data sets: what they are (specs), how they are stored (Parquet shards), and how they are generated.

`errors`, `identity`, `spec` and `shards` are the public face that other packages build on; the rest is internal.
"""
