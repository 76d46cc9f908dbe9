"""Trains one cohort from what the store holds and publishes the results: the same in Tune's process and Ray Train's."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from datagen.core.device import this_device
from datagen.core.errors import InputError
from datagen.core.identity import fingerprint_of
from datagen.datasets.virtual import VirtualDataset
from datagen.storage.store import Unfinished
from orchestrator.execution.usage import MEASURED, TOTALS, Meter, add_up, with_usage
from orchestrator.planning.plan import stored_needs
from orchestrator.storage.images import folder_of, images_of
from orchestrator.storage.predictions import publish_predictions
from orchestrator.storage.store import Store
from trainables.evaluation.prediction_spec import PredictionSpec
from trainables.report import EpochReport
from trainables.spec import TrainingSpec


def train_and_publish(
    members: tuple[TrainingSpec, ...],
    store: Store,
    report: Callable[[object], None],
    context: Any = None,
    *,
    gpu_share: float = 1.0,
) -> dict[str, str]:
    """Trains a cohort from what the store holds, continuing where an earlier run stopped, and publishes each result.

    Args:
        members: the cohort.
        store: where data and base are, and the results go.
        report: called with an `EpochReport` after every epoch, which also tells what the epoch has used.
        context: a `trainables.distributed.DistributedContext`; by default alone on this process's device.
        gpu_share: the part of a GPU, 0..1, that is this process's: its memory, and for the record of what was used.

    Returns:
        The reason of each training that failed, by its title.

    Raises:
        CohortTooLarge: the cohort does not fit in the GPU's memory.
        InputError: the data or the source's weights are damaged.
    """
    import torch
    from safetensors.torch import load_file, save_file

    from trainables.checkpoint import CohortCheckpoint
    from trainables.distributed import DistributedContext
    from trainables.evaluation.record import evaluation_record
    from trainables.loop import train_cohort
    from trainables.memory.budget import meter_of
    from trainables.models.networks import timm_checkpoint

    if context is None:
        context = DistributedContext(device=this_device())
    if context.device.type == "cpu":
        # One process a core with one thread each: two threads were slower than one (docs/cluster.md, "On CPUs").
        torch.set_num_threads(1)
    spec, source = members[0], None
    for needed in stored_needs(spec):
        store.open(needed)
    if spec.source is not None:
        folder = store.open(spec.source, checked=True)
        if reason := store.read_model(spec.source).failure:
            raise InputError(f"Its base, {spec.source.title}, failed: {reason}.")
        source = load_file(folder / "weights.safetensors")
    sets = {"train": spec.train, "validation": spec.validation}
    with store.unfinished(spec.cohort) as work:
        checkpoint = CohortCheckpoint(work.folder)
        with _measured(members, store, work, context, report, gpu_share) as (measured, usage):
            results = train_cohort(
                members,
                images_of(store, spec.train),
                images_of(store, spec.validation),
                source,
                context=context,
                folders={kind: found for kind, part in sets.items() if (found := folder_of(store, part))},
                checkpoint=checkpoint,
                report=measured,
                meter=meter_of(context.device, gpu_share),
            )
        if context.rank == 0:
            for result in results:
                if result.logits is not None and not isinstance(spec.validation, VirtualDataset):
                    told = PredictionSpec(training=result.spec, images=spec.validation)
                    labels = images_of(store, spec.validation).labels.numpy()  # It is held already.
                    publish_predictions(store, told, result.logits.numpy(), labels)
                store.publish_model(
                    result.spec,
                    result.history,
                    result.failure,
                    functools.partial(save_file, timm_checkpoint(spec.network, result.state)),
                    evaluation_record(result.spec, result.normalization, result.evaluation_normalization),
                    usage.get(result.spec.fingerprint),
                )
            checkpoint.discard([result.spec.fingerprint for result in results])
    return {result.spec.title: result.failure for result in results if result.failure is not None}


@contextmanager
def _measured(
    members: tuple[TrainingSpec, ...],
    store: Store,
    work: Unfinished,
    context: Any,
    report: Callable[[object], None],
    gpu_share: float,
) -> Iterator[tuple[Callable[[EpochReport], None], dict[str, dict[str, float]]]]:
    """`report` with what each epoch has used, over all workers, and the sums by trial, which survive a restart."""
    import torch

    fingerprints = [spec.fingerprint for spec in members]
    usage = store.read_usage(members[0].cohort, fingerprints)
    meter = Meter(context.device.index or 0 if context.device.type == "cuda" else None, gpu_share)

    def measured(progress: EpochReport) -> None:
        used = meter.take()
        if context.size > 1:
            mine = [used.get(key, 0.0) for key in MEASURED]
            means = context.mean(torch.tensor(mine, dtype=torch.float64, device=context.device)).tolist()
            mean = dict(zip(MEASURED, means, strict=True))
            used = {key: mean[key] * (context.size if key in TOTALS else 1) for key in used}
        if context.rank == 0:
            add_up(usage, progress, used)
            store.write_usage(members[0].cohort, fingerprint_of(sorted(fingerprints))[:16], usage)
            work.keep()
        report(with_usage(progress, used))

    try:
        yield measured, usage
    finally:
        meter.close()
