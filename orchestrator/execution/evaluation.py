"""Asks stored networks what sets show, and measures sets in their features; publishes each answer by itself."""

from __future__ import annotations

import functools
import itertools
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from datagen.core.device import this_device
from datagen.core.errors import InputError
from orchestrator.execution.messages import ImagesDrawn
from orchestrator.planning.plan import stored_needs
from orchestrator.storage.images import folder_of, images_of
from orchestrator.storage.measures import publish_measures
from orchestrator.storage.predictions import publish_predictions
from orchestrator.storage.store import MODEL, WEIGHTS, Store
from trainables.evaluation.measure_spec import MeasureSpec
from trainables.evaluation.prediction_spec import PredictionSpec

SECONDS_BETWEEN_REPORTS = 2.0


def predict_and_publish(
    specs: Sequence[PredictionSpec], store: Store, report: Callable[[object], None], say: Callable[[str], None]
) -> None:
    """Makes the predictions that are not published yet, one after the other; a set is read once for all its networks.

    A training that failed has no network and is passed over, which the log tells.

    Raises:
        InputError: a set or weights are damaged.
    """
    import torch
    from safetensors.torch import load_file

    from trainables.evaluation.predict import predict
    from trainables.input.pixel_statistics import PixelStatistics

    device = this_device()
    if device.type == "cpu":
        torch.set_num_threads(1)
    told_at = time.monotonic()
    total, done = sum(spec.images.images for spec in specs), 0
    ordered = sorted(specs, key=lambda spec: spec.images.fingerprint)
    for _, group in itertools.groupby(ordered, key=lambda spec: spec.images.fingerprint):
        images = None
        for spec in group:
            for needed in stored_needs(spec):
                store.open(needed)
            if failure := store.read_model(spec.training).failure:
                say(f"{spec.title} is left out: the training failed: {failure}")
            elif not store.find(spec):
                images = images or images_of(store, spec.images)
                state = load_file(store.open(spec.training, checked=True) / WEIGHTS)
                with store.sidecar(spec.training, MODEL) as values:
                    told = values["training_normalization"]
                    statistics = PixelStatistics(tuple(told["mean"]), tuple(told["std"]))
                folder = folder_of(store, spec.images)
                logits = predict(spec.training, state, images, statistics, folder=folder, device=device)
                publish_predictions(store, spec, logits.numpy(), images.labels.numpy())
            done += spec.images.images
            if done == total or time.monotonic() - told_at > SECONDS_BETWEEN_REPORTS:
                told_at = time.monotonic()
                report(ImagesDrawn(done, total))


def measure_and_publish(
    specs: Sequence[MeasureSpec], store: Store, report: Callable[[object], None], say: Callable[[str], None]
) -> None:
    """Makes the measures that are not published yet, one after the other.

    Raises:
        InputError: a set or weights are damaged, or the encoder's training failed.
    """
    from datagen.measuring.summary import measured

    if this_device().type == "cpu":
        import torch

        torch.set_num_threads(1)
    total, done = sum(spec.images.images for spec in specs), 0
    for spec in specs:
        for needed in stored_needs(spec):
            store.open(needed)
        if failure := store.read_model(spec.encoder).failure:
            raise InputError(f"The encoder, {spec.encoder.title}, failed: {failure}.")
        encoder = store.open(spec.encoder, checked=True)
        found = [_features(store.folder(part), encoder) for part in (spec.images, spec.reference)]
        publish_measures(store, spec, measured(found, spec.nearest, names_pairs=False))
        done += spec.images.images
        say(f"{spec.title} measured")
        report(ImagesDrawn(done, total))


@functools.lru_cache(maxsize=2)
def _features(folder: Path, encoder: Path) -> Any:
    """Kept for the next set of this process: the reference's are the same for all."""
    from datagen.measuring.encoders import features_of, load_encoder

    return features_of(folder, load_encoder(encoder), lambda done, total: None)
