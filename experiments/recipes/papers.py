"""The recipe of both papers and of t-ReX: SGD, a cosine over 100 epochs, a cosine classifier (docs/papers.md).

The papers' scales have it already; here it is for others and for comparisons.
"""

RECIPE = {
    "optimizer": "sgd",
    "momentum": 0.9,
    "weight_decay": 1e-4,
    "learning_rate": 0.1,
    "schedule": "cosine",
    "epochs": 100,
    "warmup_epochs": 10,
    "batch_size": 256,
    "head": "cosine",
}
