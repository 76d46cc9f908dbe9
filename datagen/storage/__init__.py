"""Where artifacts are kept, in a folder or an object store, and who may write there.

May import `datagen.core` and `datagen.datasets`.
Start reading with `store.py`; `backend.py` says what a place must be able to do.
"""
