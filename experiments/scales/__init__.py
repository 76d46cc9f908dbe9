"""The scales that a study can be asked in, one file each: real images, generators, network, recipe, rates.

May import `experiments.datasets` and `orchestrator.scale`.
Start reading with `pocket.py`.
"""
