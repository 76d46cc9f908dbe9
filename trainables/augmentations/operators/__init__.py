"""Image operators on whole batches, each sample with its own parameters.

Imports `trainables.input`.
Start reading with `crops.py`.
"""
