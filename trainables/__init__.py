"""Training: layered models, trunk and branches, views, the recipe, and the loop that trains a cohort.

The loop knows torch, not Ray or MLflow: it is handed its world. `layers` and `spec` import without torch.
"""
