"""Doing the tasks of a plan on Ray: the scheduler, Tune, the workers, and what becomes of failures.

Imports `planning` and `storage`.
Start reading with `tune.py`, then `scheduler.py` (what runs next) and `worker.py` (what runs in a process of Ray's).
"""
