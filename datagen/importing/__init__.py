"""Reading pictures that exist, from folders and lists, into data sets.

Imports `core`, `datasets`, `hub` and `recipes` (for class lists).
Start reading with `picture_lists.py`.
"""
