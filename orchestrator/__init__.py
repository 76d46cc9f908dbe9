"""Orchestration: studies become plans, plans run on Ray, results are recorded in the store and MLflow, and reported."""
