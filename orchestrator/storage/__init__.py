"""Where artifacts are kept, in a folder or an object store, and who may write there.

Imports no other folder of `orchestrator`.
Start reading with `store.py`.
"""
