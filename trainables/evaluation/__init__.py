"""How networks are evaluated: which images go together, what is written of it, and what a stored network predicts.

Stands above `input`, `augmentations` and `models`; the training loop uses it.
Start reading with `evaluation_set.py`.
"""
