"""Running studies: planning, execution on Ray, the store, records in MLflow, and the report.

Here: the commands (`sweep`, `report`), and the words that a user's files are written in (`study`, `scale`).
Every folder's own `__init__` says what lives in it and what it may import.
Start reading with `sweep.py`.
"""
