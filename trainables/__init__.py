"""Training: a frozen trunk, the branches above it, and one loop over both. It knows torch, not Ray or MLflow.

Here: `spec`, `loop`, `trunk`, `recipe`, `checkpoint`. Folders: `input`, `models`, `augmentations`, `memory`.
Of `datagen` it may use `core` and `datasets`.
Start reading with `spec.py`, then `loop.py`.
"""
