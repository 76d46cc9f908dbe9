"""What is asked of stored networks: on which sets, accuracy by class, calibration, whether two differ and where.

Imports nothing of ours.
Start reading with `metrics.py`.
"""
