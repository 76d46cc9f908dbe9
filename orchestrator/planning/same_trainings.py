"""Points that are one training, and settings that change nothing: they are refused, or a plan says so.

Results of one training that stand at several points look like a finding, that a setting has no influence.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import fields
from typing import Any

from datagen.core.errors import InputError
from datagen.core.wording import counted
from datagen.datasets.spec import DatasetSpec, DiffusionDataset
from datagen.datasets.virtual import MixedDataset, SubsetDataset, TransformedDataset
from datagen.recipes.settings import PROMPT_STYLE
from orchestrator.axes import names_of
from orchestrator.scale import Scale
from orchestrator.settings import DIRECTION, RECIPE, TRAINING
from orchestrator.study import Study, Trial
from trainables.spec import TrainingSpec


def refuse_idle_axes(study: Study, grid: Sequence[Trial]) -> None:
    """Refuses an axis none of whose values ever makes another training than its other values.

    Args:
        study: whose axes.
        grid: its trials in a scale.

    Raises:
        InputError: there is such an axis; the sentence says why, where that is known.
    """
    trials = [trial for trial in _grid(study, grid) if trial.seed == 0]
    for axis in study.axes:
        own = names_of(axis)
        if (spec := _idle_at(trials, [name for name in study.axis_names if name not in own])) is not None:
            raise InputError(
                f"The axis {' with '.join(own)} of {study.name} changes nothing: all its values make the same trainings"
                f"{_reason(own, spec)}. Leave it out, or give it one value."
            )


def _idle_at(trials: Sequence[Trial], others: Sequence[str]) -> TrainingSpec | None:
    """A training that points share which differ in no other axis, if all such points do; None if there are none."""
    seen: dict[tuple[Any, ...], TrainingSpec] = {}
    for trial in trials:
        rest = tuple(trial.point[name] for name in others)
        first = seen.setdefault(rest, trial.spec)
        if first.fingerprint != trial.spec.fingerprint:
            return None
    return trials[0].spec if len(seen) < len(trials) else None


def repetitions(study: Study, grid: Sequence[Trial]) -> tuple[str, ...]:
    """Which points of a grid are the same training as others of it, a sentence for each reason.

    A baseline that is a point of the grid too is no repetition: it is there to be compared with.
    """
    same: dict[str, list[Trial]] = defaultdict(list)
    for trial in _grid(study, grid):
        if trial.seed == 0:
            same[trial.spec.fingerprint].append(trial)
    told: dict[str, list[int]] = {}
    for trials in same.values():
        if len(trials) > 1:
            differ = tuple(
                name for name in study.axis_names if len({trial.point[name] for trial in trials}) > 1
            )  # fmt: skip
            what = f"{' and '.join(differ)} {'change' if len(differ) > 1 else 'changes'} nothing"
            where = _reason(differ, trials[0].spec) or f" where direction is {trials[0].point[DIRECTION]}"
            sums = told.setdefault(what + where, [0, 0])
            sums[0] += len(trials)
            sums[1] += 1
    return tuple(
        f"{counted(points, 'point')} are {counted(trainings, 'training')}: {why}."
        for why, (points, trainings) in told.items()
    )


def refuse_idle_settings(study: Study, scale: Scale, given: Mapping[str, Any]) -> None:
    """Refuses a setting of the user's that changes nothing in any training of a study.

    Args:
        study: the question. Of a search nothing is refused: its points are not known.
        scale: as it is with the settings.
        given: the settings.

    Raises:
        InputError: there is such a setting; the sentence says why, where that is known.
    """
    if study.search is not None:
        return
    open_ones = set(given)
    last = None
    for point in study.points():
        if scale.unsupported(point) is None and open_ones:
            last = scale.training(point, 0, study.transfer_only)
            open_ones -= {name for name in open_ones if _matters(name, last)}
    if open_ones and last is not None:
        name = min(open_ones)
        raise InputError(f"{name}={given[name]} changes nothing in {study.name}{_reason([name], last)}. Leave it out.")


def _grid(study: Study, trials: Iterable[Trial]) -> Iterable[Trial]:
    """The trials that are points of the grid, each once; none if the study has no axes."""
    seen = set()
    for trial in trials:
        place = (*(trial.point.get(name) for name in study.axis_names), trial.seed)
        if study.axes and all(name in trial.point for name in study.axis_names) and place not in seen:
            seen.add(place)
            yield trial


def _reason(names: Collection[str], spec: TrainingSpec) -> str:
    """Why settings change nothing in a training, a phrase that begins with a blank; empty if it is not known."""
    idle = spec.without_effect()
    runtime = {declared.name for declared in fields(spec) if declared.metadata["role"] == "runtime"}
    if runtime.issuperset(names):
        return ", for it says how a training runs and not what it is"
    reasons = dict.fromkeys(idle[name] for name in names if name in idle)
    return f" where {' and '.join(reasons)}" if reasons else ""


def _matters(name: str, spec: TrainingSpec) -> bool:
    """Whether a setting has an effect on a training or on its source."""
    if name in TRAINING:
        return any(name not in one.without_effect() for one in (spec, spec.source) if one is not None)
    if name == RECIPE:
        return True
    sets = [part for one in (spec, spec.source) if one is not None for part in _parts(one.train)]
    if name == "real_share":
        return any(isinstance(part, MixedDataset) for part in sets)
    if name == "per_class":
        return any(isinstance(part, SubsetDataset) for part in sets)
    if name == "transform":
        return any(isinstance(part, TransformedDataset) for part in sets)
    drawn = [part for part in sets if isinstance(part, DiffusionDataset)]
    if name in ("generator", PROMPT_STYLE.key):
        return bool(drawn)
    return any(hasattr(part, name) and name not in part.without_effect() for part in drawn)


def _parts(spec: DatasetSpec) -> list[DatasetSpec]:
    return [spec, *(part for made in spec.made_from for part in _parts(made))]
