"""DeiT's recipe for vision transformers (Touvron et al., ICML 2021, Table 9), for TinyViT and its like.

Its RandAugment is timm's, 9 of 10 in strength with a deviation; here torchvision's, 27 of 30. Erased pixels are the
mean, there noise. Without its stochastic depth and repeated augmentation.
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
    "augmentation": "randaugment",
    "randaugment_magnitude": 27,
    "random_erasing": 0.25,
    "mixup": 0.8,
    "cutmix": 1.0,
    "weights_average": 0.99996,
    "head": "linear",
}
