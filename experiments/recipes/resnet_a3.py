"""timm's A3 for ResNet-50 in 100 epochs (Wightman, Touvron and Jegou, "ResNet strikes back", 2021, Table 2).

Its RandAugment is timm's, 6 of 10 in strength with a deviation; here torchvision's, 18 of 30. Evaluation is at the size
of training where theirs is at 224 px.
"""

RECIPE = {
    "optimizer": "lamb",
    "weight_decay": 0.02,
    "learning_rate": 8e-3,
    "learning_rate_scaling": "none",
    "schedule": "cosine",
    "epochs": 100,
    "warmup_epochs": 5,
    "batch_size": 2048,
    "loss": "binary_cross_entropy",
    "augmentation": "randaugment",
    "randaugment_magnitude": 18,
    "mixup": 0.1,
    "cutmix": 1.0,
    "head": "linear",
}
