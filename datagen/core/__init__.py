"""What everything else stands on: errors, fingerprints, settings, files, digests, devices, Ray's start.

Imports no other folder of the project.
Start reading with `identity.py`.
"""
