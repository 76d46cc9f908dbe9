"""Drawing the images of a set with Ray Data and diffusers, and stylizing those of another.

Imports `core` and `datasets`.
Start reading with `engine.py`; `generators.py` says which generator draws which kind of set.
"""
