"""What the commands share with the terminal: options, overrides, the view of a plan, progress, and status.

Imports `planning`, `storage` and `execution`'s messages.
Start reading with `options.py`.
"""
