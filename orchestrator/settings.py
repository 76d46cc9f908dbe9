"""Every key that a point of a study, a scale or the command line may set: one table, made from the specs.

Each place takes a part of it. What is not in the table is refused, with the nearest name.
"""

from __future__ import annotations

from dataclasses import replace

from datagen.core.identity import Allowed
from datagen.core.settings import Setting, Settings, settings_of
from datagen.datasets.transformations import transformation
from datagen.recipes.settings import GENERATION as GENERATION
from trainables.direction import Direction
from trainables.spec import TrainingSpec

DIRECTION = "direction"
DEFAULT_GENERATOR = "default"
START = "start"
"""Key of a point: "pretrained" starts from the scale's pretrained weights, "random" from none."""
RECIPE = "recipe"
"""Key of a point: the name of a recipe, whose settings replace the scale's."""
STARTS = ("random", "pretrained")
DATA_CHOICES = ("generator", "stylized", "real_share", "per_class", "transform")
"""Keys of a point that say which data sets are meant, beside the settings of generated ones."""
_FILLED_IN = {"train", "validation", "source", "seed", "label", "initial_weights", "initial_weights_file"}
"""Fields of a training that the scale and the grid fill in."""
_ALSO_CALLED = {
    "frozen_layers": ("N", "n", "depth", "freeze"),
    "fraction": ("share", "data_fraction"),
    "model": ("network", "arch", "architecture", "backbone"),
    "image_size": ("resolution", "size"),
    "guidance": ("guidance_scale", "cfg"),
    "steps": ("num_inference_steps",),
}


def _direction(text: str | Direction) -> str:
    return str(Direction.parse(text))


TRAINING = settings_of([TrainingSpec], without=_FILLED_IN)
"""What a scale's recipe and a point may say of a training."""
CHOICES = Settings(
    {
        setting.key: setting
        for setting in (
            Setting(DIRECTION, str | Direction, help="synthetic->real, or real from scratch", meaning=_direction),
            Setting("generator", str, help="one of the scale's"),
            Setting("stylized", bool, help="training images in the style of paintings"),
            Setting("real_share", float, Allowed(minimum=0, maximum=1), "of the images of a mixed training set"),
            Setting("per_class", int, Allowed(minimum=1), "images of each class, of each kind of training images"),
            Setting(
                "transform",
                str,
                help="what is done to all training images: noise:3, low_pass:2, jpeg:1, grey and the like",
                meaning=transformation,
            ),
            Setting(RECIPE, str, help="settings of training under one name: one of experiments/recipes, or a path"),
            Setting(START, str, Allowed(choices=STARTS), "pretrained: from the scale's weights of other data"),
        )
    }
)
"""What only a point can say."""
POINT = Settings({**GENERATION, **TRAINING, **CHOICES})
"""Everything that a point may say. A key that a training and a generated set have, as precision, is the training's."""
for _key, _names in _ALSO_CALLED.items():
    for _table in (TRAINING, GENERATION, POINT):
        if _key in _table:
            _table[_key] = replace(_table[_key], also=_names)
GENERATION_OF_POINT = frozenset(GENERATION) - frozenset(TRAINING)
"""Settings of generated sets that a point may say."""
