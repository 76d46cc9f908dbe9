"""DeiT's recipe for vision transformers (Touvron et al., ICML 2021, Table 9), for TinyViT and its like.

Without its RandAugment, random erasing, stochastic depth and repeated augmentation, which are settings of views and
networks: give an augmentation of your own for the first two.
"""

RECIPE = {
    "optimizer": "adamw",
    "weight_decay": 0.05,
    "learning_rate": 1e-3,
    "learning_rate_scaling": "none",
    "final_learning_rate": 1e-5,
    "schedule": "cosine",
    "epochs": 300,
    "warmup_epochs": 5,
    "batch_size": 1024,
    "label_smoothing": 0.1,
    "mixup": 0.8,
    "cutmix": 1.0,
    "weights_average": 0.99996,
    "head": "linear",
}
