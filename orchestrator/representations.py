"""Where in the network the two worlds part: python -m orchestrator.representations [--scale S] [key=value ...].

For every layer of the base on real and of the base on synthetic images, from what `layer_importance` has stored: linear
CKA between the two networks, a linear probe's accuracy on real images, and how well real and synthetic images can be
told apart by the layer's features. Exit codes: 0 written; 2 wrong usage or input.
"""

from __future__ import annotations

import click
import pandas as pd

from datagen.core.command import errors_in_a_sentence
from datagen.core.device import this_device
from datagen.core.errors import InputError
from datagen.core.files import write_text
from datagen.core.terminal import console_for_errors, console_for_output
from orchestrator.cli.overrides import apply_overrides
from orchestrator.evaluation.representations import domain_accuracy, linear_cka, probe_accuracy
from orchestrator.planning.catalog import load
from orchestrator.planning.plan import Plan, make_plan, stored_needs
from orchestrator.reporting.representations import draw_representations
from orchestrator.reporting.tables import finished_models
from orchestrator.storage.images import images_of
from orchestrator.storage.store import Store
from trainables.direction import REAL, REAL_TO_SYNTHETIC, SYNTHETIC, SYNTHETIC_TO_REAL
from trainables.spec import TrainingSpec

STUDY = "layer_importance"


@click.command(context_settings={"max_content_width": 110})
@click.argument("settings", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--scale", help="As in the sweep.")
@click.option("--store", default="store", show_default=True, help="Folder of results, or s3://bucket/folder.")
@errors_in_a_sentence
def main(settings: tuple[str, ...], scale: str | None, store: str) -> None:
    """Compares the bases that layer_importance has stored, layer by layer; trains nothing."""
    study, world = apply_overrides(*load(STUDY, scale), settings)
    opened = Store(store).look()
    plan = make_plan(study, world, 1, opened, check=False)
    bases = {spec.train.name: spec for spec in plan.trials if spec.source is None and not spec.initial_weights}
    if any(name not in bases or not opened.has(bases[name]) for name in (REAL, SYNTHETIC)):
        again = " ".join(["python -m orchestrator.sweep layer_importance", *settings])
        raise InputError(f"The two bases are not in {store}. Train them: {again} with the same --scale and --store.")
    table = representation_table(bases[REAL], bases[SYNTHETIC], opened).merge(_transfers(plan, opened), how="left")
    with opened.report("representations", world.name) as folder:
        paths = draw_representations(table, f"{world.name}: where the two worlds part", folder)
        write_text(folder / "table.csv", table.round(4).to_csv(index=False))
    console = console_for_output()
    console.print(table.round(3).to_string(index=False), soft_wrap=True)
    for path in (folder / "table.csv", *paths):
        console.print(str(path), soft_wrap=True)


def representation_table(real: TrainingSpec, synthetic: TrainingSpec, store: Store) -> pd.DataFrame:
    """A row for each layer below the head of two trainings of one network: `layer` from 1, and the measures.

    Probes learn from the real training images; the synthetic images are those that the second training saw, as many of
    them as there are validation images.
    """
    from safetensors.torch import load_file

    from trainables.evaluation.representations import layer_features
    from trainables.input.mixtures import subset
    from trainables.input.pixel_statistics import IMAGENET

    device = this_device()
    for spec in (real, synthetic):
        for needed in stored_needs(spec):
            store.open(needed)
    sets = {"train": images_of(store, real.train), "real": images_of(store, real.validation)}
    per_class = max(1, real.validation.images // len(real.train.class_names))
    sets["synthetic"] = subset(images_of(store, synthetic.train), per_class, seed=0)
    features = {}
    for name, spec in ((REAL, real), (SYNTHETIC, synthetic)):
        state = load_file(store.open(spec, checked=True) / "weights.safetensors")
        for kind, images in sets.items():
            console_for_errors().print(f"Base on {name} images: {len(images):,} {kind} images")
            features[name, kind] = layer_features(spec, state, images, IMAGENET, device)
    labels = {kind: images.labels.numpy() for kind, images in sets.items()}
    rows = []
    for place in range(real.depth - 1):
        row: dict[str, float] = {"layer": place + 1}
        for kind in (REAL, SYNTHETIC):
            row[f"cka_{kind}"] = linear_cka(features[REAL, kind][place], features[SYNTHETIC, kind][place])
        for name in (REAL, SYNTHETIC):
            learned, tested = features[name, "train"][place], features[name, REAL][place]
            row[f"probe_{name}"] = probe_accuracy(learned, labels["train"], tested, labels[REAL])
            row[f"shift_{name}"] = domain_accuracy(tested, features[name, SYNTHETIC][place])
        rows.append(row)
    return pd.DataFrame(rows)


def _transfers(plan: Plan, store: Store) -> pd.DataFrame:
    """The last top-1 of the transfers that are at hand, by the number of frozen layers."""
    models = finished_models(plan, store)
    found: dict[int, dict[str, float]] = {}
    names = {str(SYNTHETIC_TO_REAL): "top1_synthetic_to_real", str(REAL_TO_SYNTHETIC): "top1_real_to_synthetic"}
    for spec in plan.trials:
        model = models.get(spec.fingerprint)
        if spec.source is not None and model and model.failure is None:
            found.setdefault(spec.frozen_layers, {})[names[str(spec.direction)]] = model.history[-1]["top1"]
    rows = [{"layer": depth, **values} for depth, values in found.items()]
    return pd.DataFrame(rows, columns=["layer", *names.values()]).astype({"layer": int})


if __name__ == "__main__":
    main()
