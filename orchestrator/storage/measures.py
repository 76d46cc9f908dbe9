"""Measures in the store: measures/<fingerprint>/measures.json."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from datagen.core.files import write_json
from orchestrator.storage.store import Store
from trainables.evaluation.measure_spec import MeasureSpec

SIDECAR = "measures.json"


def publish_measures(store: Store, spec: MeasureSpec, values: Mapping[str, Any]) -> None:
    """Publishes what `datagen.measuring.summary.measured` gave, unless it is there."""
    if store.find(spec):
        return
    about = {"title": spec.title, "encoder": spec.encoder.fingerprint, "spec": spec.described()}
    store.publish_files(spec, lambda folder: write_json(folder / SIDECAR, {**about, "measures": dict(values)}))


def read_measures(store: Store, spec: MeasureSpec) -> dict[str, Any]:
    """The published measures.

    Raises:
        InputError: they are damaged.
    """
    with store.sidecar(spec, SIDECAR) as values:
        found: dict[str, Any] = values["measures"]
    return found
