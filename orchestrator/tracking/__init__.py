"""The records in MLflow; no other folder knows it.

Imports `planning`, `storage` and `execution`'s messages.
Start reading with `recorder.py`.
"""
