"""Recipes of data sets, one file each, for scales and for `python -m datagen.generate`.

May import `datagen.recipes`, and each other.
Start reading with `pocket.py`.
"""
