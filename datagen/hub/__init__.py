"""What the Hugging Face hub has: models and data sets, fetched once, by revision, and only the files that are needed.

May import `datagen.core` and `datagen.datasets`.
Start reading with `repository.py`.
"""
