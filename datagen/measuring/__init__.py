"""Numbers about a set of images, alone or against another, in the features of an encoder.

May import `datagen.core` and `datagen.datasets`.
Start reading with `measures.py`.
"""
