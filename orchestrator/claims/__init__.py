"""The papers' claims, and the statistics that they are checked by.

Imports no other folder of `orchestrator`.
Start reading with `kinds.py` (what papers claim), then `checks.py` (how a claim is checked).
"""
