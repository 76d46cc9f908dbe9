"""Reading pictures that exist, from folders and lists, into data sets.

Imports `core`, `datasets` and `recipes` (for class lists).
Start reading with `picture_lists.py`.
"""
