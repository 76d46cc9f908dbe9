"""Whether a cohort fits in a GPU's memory, and in how many parts if not.

Imports `augmentations`, `input` and `models`.
Start reading with `budget.py`.
"""
