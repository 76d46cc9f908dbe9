"""The studies that ship, one file each: a question, its grid, and how it is shown. No logic lives here.

Beside them `scales/` (the worlds a study is asked in), `datasets/` (recipes of sets) and `claims/` (the papers').
May import `orchestrator.study`, `orchestrator.scale` and the folders beside it.
Start reading with `layer_importance.py`.
"""
