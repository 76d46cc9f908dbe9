"""What the papers claim, sentence by sentence, to be checked against what was measured.

May import `orchestrator.claims`.
Start reading with `papers.py`.
"""
