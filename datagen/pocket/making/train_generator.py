"""Train the pocket generator from Fashion-MNIST and choose its sampler.

Usage:
    python -m datagen.pocket.making.train_generator --source DIR [--out DIR] [--seed 0]

One core, one thread; the README of this folder says how long it takes. The same seed gives the same weights on the
same processor and versions of the libraries. The result replaces the folder ``--out`` only when it is complete.
"""

import argparse
import json
import logging
import platform
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

import torch

from datagen.core.errors import InputError
from datagen.pocket import GENERATOR, GUIDANCE
from datagen.pocket.classes import CLASSES
from datagen.pocket.making.architecture import Pipeline, build_pipeline, save_pipeline
from datagen.pocket.making.fashion_mnist import GENERATOR_TRAIN, ORACLE_TRAIN, VALIDATION, LabelledImages, read_splits
from datagen.pocket.making.folders import replace_folder, unfinished_folder
from datagen.pocket.making.oracle import (
    Judgement,
    Sampler,
    agreement,
    candidate_samplers,
    choose_sampler,
    judge_samplers,
    train_oracle,
)
from datagen.pocket.making.training_loops import (
    Outcome,
    Recipe,
    encode_images,
    to_pixels,
    train_autoencoder,
    train_denoiser,
)


def train_pipeline(data: LabelledImages, recipe: Recipe) -> tuple[Pipeline, dict[str, Outcome]]:
    """Train a pipeline from torch's global random state.

    Args:
        data: The images to learn.
        recipe: How long and how fast.

    Returns:
        The trained pipeline, and loss and cost of each of its two trainings.
    """
    captions = [pocket_class.prompt for pocket_class in CLASSES]
    pipeline = build_pipeline(captions)
    autoencoder = train_autoencoder(pipeline.vae, data, recipe)
    latents = encode_images(pipeline.vae, data)
    denoiser = train_denoiser(pipeline, latents, torch.from_numpy(data.labels), captions, recipe)
    return pipeline, {"autoencoder": autoencoder, "denoiser": denoiser}


def round_to_half(pipeline: Pipeline) -> None:
    """Round all weights to half precision, so that what is judged is what ships, and compute on in single precision."""
    for module in (pipeline.vae, pipeline.unet, pipeline.text_encoder):
        for weight in module.parameters():
            weight.data = weight.data.half().float()


def check_quality(
    pipeline: Pipeline, oracle_data: LabelledImages, validation: LabelledImages
) -> tuple[Sampler, list[Judgement], float]:
    """Train the oracle, judge the samplers and choose one.

    Args:
        pipeline: The trained pipeline.
        oracle_data: What the oracle learns from.
        validation: Real images on which the oracle itself is judged.

    Returns:
        The chosen sampler, all judgements, and the oracle's accuracy on the real validation images, 0 to 1.
    """
    oracle = train_oracle(oracle_data)
    accuracy = agreement(oracle, to_pixels(validation.images), validation.labels)
    samplers = candidate_samplers()
    judgements = judge_samplers(pipeline, oracle, samplers)
    return choose_sampler(samplers, judgements), judgements, accuracy


def describe(
    seed: int,
    recipe: Recipe,
    outcomes: dict[str, Outcome],
    chosen: Sampler,
    judgements: Sequence[Judgement],
    oracle_accuracy: float,
) -> dict[str, object]:
    """Collect what the training did, for the file that lies beside the weights.

    Args:
        seed: Seed of the training.
        recipe: How long and how fast.
        outcomes: Loss and cost of each training.
        chosen: The sampler that ships.
        judgements: How each sampler did.
        oracle_accuracy: The oracle's accuracy on real validation images, 0 to 1.

    Returns:
        Values that JSON can hold, free of anything about the machine but its processor architecture.
    """
    packages = ("torch", "diffusers", "transformers", "tokenizers", "numpy", "timm")
    return {
        "seed": seed,
        "images_per_class": GENERATOR_TRAIN.images_per_class,
        "recipe": asdict(recipe),
        "trainings": {name: _rounded(asdict(outcome)) for name, outcome in outcomes.items()},
        "core_seconds": round(time.process_time()),
        "guidance": GUIDANCE,
        "sampler": {"name": chosen.name, "steps": chosen.steps},
        "oracle": {
            "accuracy_on_real_validation_images": oracle_accuracy,
            "samplers": [_rounded(asdict(judgement)) for judgement in judgements],
        },
        "prompts": [pocket_class.prompt for pocket_class in CLASSES],
        "versions": {"python": platform.python_version()} | {package: version(package) for package in packages},
        "processor": platform.machine(),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Train, judge and save the generator.

    Args:
        arguments: Command line without the program's name; by default the process's own.

    Returns:
        Exit code: 0 when the generator is in place, 2 when the source files cannot be used.
    """
    parser = argparse.ArgumentParser(description="Train the pocket generator from Fashion-MNIST.")
    parser.add_argument("--source", type=Path, required=True, help="folder with the four Fashion-MNIST .gz files")
    parser.add_argument("--out", type=Path, default=GENERATOR, help="folder the generator is written to")
    parser.add_argument("--seed", type=int, default=0, help="seed of the training (default 0)")
    options = parser.parse_args(arguments)

    # Two threads on a shared machine were slower than one, and one thread adds in the same order every time.
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    torch.manual_seed(options.seed)
    logging.getLogger("diffusers").setLevel(logging.ERROR)
    try:
        splits = read_splits(options.source, (GENERATOR_TRAIN, ORACLE_TRAIN, VALIDATION))
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    generator_data, oracle_data, validation = splits

    recipe = Recipe()
    pipeline, outcomes = train_pipeline(generator_data, recipe)
    round_to_half(pipeline)
    chosen, judgements, accuracy = check_quality(pipeline, oracle_data, validation)
    description = describe(options.seed, recipe, outcomes, chosen, judgements, accuracy)

    pipeline.scheduler = chosen.scheduler
    unfinished = unfinished_folder(options.out)
    save_pipeline(pipeline, unfinished)
    (unfinished / "training.json").write_text(json.dumps(description, indent=2) + "\n", encoding="utf-8")
    replace_folder(unfinished, options.out)
    print(
        f"The generator is in {options.out}: {chosen.name} with {chosen.steps} steps, "
        f"{description['core_seconds']} core-seconds in all."
    )
    return 0


def _rounded(values: dict[str, object]) -> dict[str, object]:
    """Round the floats among the values to four decimals, beyond which they mean nothing."""
    return {name: round(value, 4) if isinstance(value, float) else value for name, value in values.items()}


if __name__ == "__main__":
    sys.exit(main())
