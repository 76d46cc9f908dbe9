"""Networks as lists of layers that can be cut anywhere: timm's own, built, checked, compiled and synchronized.

Imports nothing else of `trainables`. `python -m trainables.models NAME` lists a network's layers.
Start reading with `layers.py`, then `networks.py`.
"""
