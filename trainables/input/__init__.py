"""Images on their way to the network: read, kept in memory, chosen, mixed, and made ready ahead of the loop.

Imports nothing else of `trainables` but `spec`.
Start reading with `data.py`.
"""
