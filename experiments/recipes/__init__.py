"""Recipes of training, by file name: `recipe=NAME` on the command line, or an axis `recipe` of a study.

Imports nothing. What a recipe leaves out is the scale's: its network, sizes, and the crops of its images.
Start reading with `papers.py`.
"""
