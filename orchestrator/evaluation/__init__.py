"""What is asked of predictions: accuracy by class and by set, calibration, and whether two trainings differ.

Imports nothing of ours.
Start reading with `metrics.py`.
"""
