"""What everything else stands on: errors, fingerprints, settings, files, digests, Ray's start, the model hub.

Imports no other folder of the project.
Start reading with `identity.py`.
"""
