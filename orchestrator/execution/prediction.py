"""Predicts with stored networks what the store's sets show, and publishes each answer by itself."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence

from datagen.core.device import this_device
from orchestrator.execution.messages import ImagesDrawn
from orchestrator.planning.plan import stored_needs
from orchestrator.storage.images import folder_of, images_of
from orchestrator.storage.predictions import publish_predictions
from orchestrator.storage.store import MODEL, WEIGHTS, Store
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
