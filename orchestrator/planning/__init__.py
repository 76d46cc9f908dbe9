"""From a study and a scale to the tasks that are still to be done, and what they cost.

Imports `storage`.
Start reading with `plan.py`.
"""
