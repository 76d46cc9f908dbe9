"""Recipes of data sets: generator, settings, classes and prompts, as the files of `experiments/datasets/` have them.

Imports `core` and `datasets`.
Start reading with `recipe.py`, then `load.py`.
"""
