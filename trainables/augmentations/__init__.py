"""What is done to a training image in each epoch: each augmentation in a file of its own, named in `apply.py`.

Imports `input`; `operators/` holds what they are made of.
Start reading with `apply.py`.
"""
