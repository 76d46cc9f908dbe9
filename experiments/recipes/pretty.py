"""The classifiers of "When Pretty Isn't Useful" (Adamkiewicz et al., CVPR 2026, arXiv:2602.19946, its code's defaults).

Theirs begins the warm-up at a rate of 1e-5, this at 0.
"""

RECIPE = {
    "optimizer": "adam",
    "weight_decay": 0.0,
    "learning_rate": 1e-3,
    "learning_rate_scaling": "none",
    "final_learning_rate": 1e-8,
    "schedule": "cosine",
    "epochs": 80,
    "warmup_epochs": 5,
    "batch_size": 1024,
    "gradient_clipping": 1.0,
    "cutmix": 1.0,
    "head": "linear",
}
