"""The plan: which artifacts a study needs, which exist, and the task that makes the rest, in order."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from datagen.core.digests import NOT_THERE
from datagen.core.errors import InputError
from datagen.core.own_code import is_own
from datagen.datasets.pixel_statistics import dataset_statistics
from datagen.datasets.spec import (
    DatasetSpec,
    DerivedDataset,
    DiffusionDataset,
    RealDataset,
    StylizedDataset,
)
from datagen.datasets.virtual import stored_parts
from datagen.generation.pipeline_folders import check_weights
from orchestrator.planning.balance import balanced
from orchestrator.planning.cost import cohort_seconds, making_seconds, measure_seconds, prediction_seconds
from orchestrator.planning.same_trainings import refuse_idle_axes, repetitions
from orchestrator.scale import Scale
from orchestrator.storage.store import Store
from orchestrator.study import Point, Study, Trial
from trainables.direction import REAL
from trainables.evaluation.measure_spec import MeasureSpec
from trainables.evaluation.prediction_spec import PredictionSpec
from trainables.spec import TrainingSpec

Spec = DatasetSpec | TrainingSpec | PredictionSpec | MeasureSpec
MEASURED_FROM = 3
"""Sets of synthetic images from which on a study has them measured by itself: fewer show no relation."""


@dataclass(frozen=True)
class Task:
    """What one Tune trial does: make one data set, train one cohort (or a piece of it), or predict with its networks.

    `needs` are the fingerprints of artifacts that must exist before; `seconds` is an estimate for one core or GPU.
    """

    title: str
    makes: tuple[Spec, ...]
    needs: frozenset[str]
    seconds: float

    @property
    def members(self) -> tuple[TrainingSpec, ...]:
        """The trainings of a cohort; empty for anything else."""
        return tuple(spec for spec in self.makes if isinstance(spec, TrainingSpec))

    @property
    def predictions(self) -> tuple[PredictionSpec, ...]:
        """The predictions to be made; empty for anything else."""
        return tuple(spec for spec in self.makes if isinstance(spec, PredictionSpec))

    @property
    def measures(self) -> tuple[MeasureSpec, ...]:
        """The measures to be made; empty for anything else."""
        return tuple(spec for spec in self.makes if isinstance(spec, MeasureSpec))

    @property
    def computes(self) -> bool:
        """Whether its own process takes a CPU or a GPU; a data set's actors have theirs from Ray Data."""
        return bool(self.members or self.predictions or self.measures)

    @property
    def workers(self) -> int:
        """Data-parallel workers of a cohort; 1 for a data set."""
        return self.members[0].workers if self.members else 1

    @property
    def fewest_workers(self) -> int:
        """With how few it starts."""
        return (self.members[0].fewest_workers if self.members else 0) or self.workers

    def __str__(self) -> str:
        return self.title

    def __deepcopy__(self, memo: dict[int, object]) -> Task:
        """The task itself, which nothing changes: Tune copies a trial's configuration five times."""
        return self


@dataclass(frozen=True)
class Plan:
    """A study's trials, every artifact that they need (those needed by others first), and which of these exist.

    Attributes:
        study: the question.
        scale: the world it is asked in.
        grid: one trial for each point and seed; several may be the same training.
        artifacts: data sets and trainings, each once.
        existing: fingerprints of the artifacts that the store has.
        missing_inputs: what only the user can provide, a sentence each that says how; nothing can run before.
        dropped: how many points of the grid are left out, by reason.
        seeds: replicates of each point.
        to_search: how many points a search has still to suggest.
        location: the store that `existing` is about, a folder or an address.
        overridden: the settings that the user gave in place of the study's and the scale's, as key=value.
        selects: whether a trial is to run, of those that the user has selected; None: all are.
        forced: the trials that the user wants made again.
    """

    study: Study
    scale: Scale
    grid: tuple[Trial, ...]
    artifacts: tuple[Spec, ...]
    existing: frozenset[str]
    missing_inputs: tuple[str, ...] = ()
    dropped: Mapping[str, int] = field(default_factory=dict)
    seeds: int = 1
    to_search: int = 0
    location: str = ""
    overridden: tuple[str, ...] = ()
    selects: Callable[[TrainingSpec], bool] | None = None
    forced: tuple[TrainingSpec, ...] = ()

    def __str__(self) -> str:
        """How many trials the plan, or its selected part, has, and how many of them are to run."""
        part = self.part
        reused = len([spec for spec in part.trials if spec.fingerprint in part.existing])
        shared = f", {part.shared} the same as another" if part.shared else ""
        bases = len({spec.source.fingerprint for spec in part.trials if spec.source} - part.existing)
        return (
            f"{part.study.name} on scale {part.scale.name}: {len(part.grid)} trials{shared}, {reused} to reuse, "
            f"{len(part.trials) - reused} to run; {bases} bases to train for transfers."
        )

    @cached_property
    def part(self) -> Plan:
        """The plan of the selected trials and of what they need; the plan itself if all are selected."""
        if self.selects is None:
            return self
        grid = tuple(trial for trial in self.grid if self.selects(trial.spec))
        needed = closure(asked_of(grid, self.scale))
        artifacts = tuple(spec for spec in self.artifacts if spec.fingerprint in needed)
        part = replace(self, grid=grid, artifacts=artifacts, selects=None)
        return replace(part, missing_inputs=missing_inputs(part))

    @cached_property
    def trials(self) -> tuple[TrainingSpec, ...]:
        """The trainings of the grid, each once."""
        return tuple({trial.spec.fingerprint: trial.spec for trial in self.grid}.values())

    def trials_at(self, point: Point) -> list[Trial]:
        """The trials of a further point, for each seed of the plan."""
        study = self.study
        point = {**study.fixed, **point}
        return [Trial(point, seed, study.training(self.scale, point, seed)) for seed in range(self.seeds)]

    @cached_property
    def repetitions(self) -> tuple[str, ...]:
        """Which points of the grid are the same training as others, a sentence for each reason."""
        return repetitions(self.study, self.grid)

    @property
    def shared(self) -> int:
        """How many trials of the grid are the same training as another one."""
        return len(self.grid) - len(self.trials)

    def missing(self) -> list[Spec]:
        """The artifacts to make."""
        return [spec for spec in self.artifacts if spec.fingerprint not in self.existing]

    def tasks(self, slots: int = 1) -> list[Task]:
        """The task that makes what is missing, in at least as many pieces as `slots` (CPUs or GPUs) can run at once."""
        rates = self.scale.rates
        missing = self.missing()
        datasets = [self._dataset_task(spec) for spec in missing if isinstance(spec, DerivedDataset)]
        cohorts: dict[str, list[TrainingSpec]] = defaultdict(list)
        for spec in missing:
            if isinstance(spec, TrainingSpec):
                cohorts[spec.cohort].append(spec)
        bases = [members for members in cohorts.values() if members[0].source is None]
        transfers = [members for members in cohorts.values() if members[0].source is not None]
        workers = max((members[0].workers for members in transfers), default=1)
        pieces = [*bases, *balanced(transfers, slots // workers, rates)]
        predicted: dict[str, list[PredictionSpec]] = defaultdict(list)
        for spec in missing:
            if isinstance(spec, PredictionSpec):
                predicted[spec.training.cohort].append(spec)
        predictions = [self._prediction_task(specs) for specs in predicted.values()]
        measures = [self._measure_task(spec) for spec in missing if isinstance(spec, MeasureSpec)]
        return datasets + [self._cohort_task(members) for members in pieces] + predictions + measures

    def _dataset_task(self, spec: DerivedDataset) -> Task:
        verb = "stylize" if isinstance(spec, StylizedDataset) else "generate"
        title = f"{verb} {spec.images} {spec.title} images"
        return Task(title, (spec,), self._needs(spec), making_seconds(spec, self.scale.rates))

    def _cohort_task(self, members: Sequence[TrainingSpec]) -> Task:
        seconds = cohort_seconds(members, self.scale.rates)
        return Task(cohort_title(members), tuple(members), self._needs(members[0]), seconds)

    def _prediction_task(self, specs: Sequence[PredictionSpec]) -> Task:
        sets = sorted({spec.images.title for spec in specs})
        members = list({spec.training.fingerprint: spec.training for spec in specs}.values())
        title = f"predict {cohort_title(members)} on {', '.join(sets)}"
        needs = frozenset().union(*(self._needs(spec) for spec in specs))
        return Task(title, tuple(specs), needs, sum(prediction_seconds(spec, self.scale.rates) for spec in specs))

    def _measure_task(self, spec: MeasureSpec) -> Task:
        return Task(f"measure {spec.title}", (spec,), self._needs(spec), measure_seconds(spec, self.scale.rates))

    def _needs(self, spec: Spec) -> frozenset[str]:
        return frozenset(needed.fingerprint for needed in stored_needs(spec)) - self.existing

    def seconds(self) -> float:
        """Estimated seconds of one core or GPU for all that is missing."""
        return sum(task.seconds for task in self.tasks())

    def seconds_alone(self) -> float:
        """The same if every missing training ran alone, without sharing a trunk."""
        rates = self.scale.rates
        return sum(
            cohort_seconds([spec], rates) if isinstance(spec, TrainingSpec) else making_seconds(spec, rates)
            for spec in self.missing()
            if isinstance(spec, TrainingSpec | DerivedDataset)
        ) + sum(
            prediction_seconds(spec, rates) if isinstance(spec, PredictionSpec) else measure_seconds(spec, rates)
            for spec in self.missing()
            if isinstance(spec, PredictionSpec | MeasureSpec)
        )

    def seconds_unshared(self) -> float:
        """Estimated seconds if every trial of the grid trained its own base and shared nothing, whatever exists."""
        rates = self.scale.rates
        trainings = [spec for trial in self.grid for spec in (trial.spec, trial.spec.source) if spec is not None]
        alone = {spec.fingerprint: cohort_seconds([spec], rates) for spec in trainings}
        made = [spec for spec in self.artifacts if isinstance(spec, DerivedDataset)]
        return sum(alone[spec.fingerprint] for spec in trainings) + sum(making_seconds(spec, rates) for spec in made)


def make_plan(
    study: Study, scale: Scale, seeds: int, store: Store, *, check: bool = True, overridden: Sequence[str] = ()
) -> Plan:
    """Plans a study: nothing runs, nothing is written.

    Real images or weights that are not there are no error here: the plan says what it lacks.

    Args:
        study: the question, and
        scale: the world it is asked in, both with the user's settings applied.
        seeds: replicates of each point.
        store: where artifacts may exist.
        check: whether to compare every file's size.
        overridden: the user's settings as they were given, for the report.

    Raises:
        InputError: a spec is invalid, an axis changes nothing, no point can be asked in the scale, or an artifact in
            the store is damaged (its size is not what its manifest says).
    """
    grid, dropped = study.trials(scale, seeds), study.dropped(scale)
    if not grid and study.search is None:
        raise InputError(f"{study.name} has no point for the scale {scale.name}: {'; '.join(dropped)}.")
    refuse_idle_axes(study, grid)
    artifacts = tuple(closure(asked_of(grid, scale)).values())
    existing = frozenset(spec.fingerprint for spec in artifacts if store.has(spec))
    if check:
        for spec in artifacts:
            if spec.fingerprint in existing:
                store.check(spec)
    plan = Plan(
        study,
        scale,
        tuple(grid),
        artifacts,
        existing,
        dropped=dropped,
        seeds=seeds,
        location=store.location,
        overridden=tuple(overridden),
    )
    return replace(plan, missing_inputs=missing_inputs(plan))


def seeds_at_hand(study: Study, scale: Scale, at_hand: Callable[[TrainingSpec], bool]) -> int:
    """How many seeds of a study have results, from seed 0 on; at least 1."""
    seeds = 1
    while any(at_hand(trial.spec) for trial in study.trials(scale, seeds + 1) if trial.seed == seeds):
        seeds += 1
    return seeds


def missing_inputs(plan: Plan) -> tuple[str, ...]:
    """What only the user can provide before the plan can run, a sentence each that says how."""
    sentences = [_missing_input(spec, plan.existing, plan.scale) for spec in plan.artifacts]
    return tuple(dict.fromkeys(sentence for sentence in sentences if sentence))


def plan_of(plan: Plan, trials: Sequence[Trial], store: Store) -> Plan:
    """The same plan for other trials."""
    artifacts = tuple(closure(asked_of(trials, plan.scale)).values())
    existing = frozenset(spec.fingerprint for spec in artifacts if store.has(spec))
    return replace(plan, grid=tuple(trials), artifacts=artifacts, existing=existing)


def _missing_input(spec: Spec, existing: frozenset[str], scale: Scale) -> str | None:
    """What the user must provide before an artifact can be made; None if nothing."""
    if spec.fingerprint in existing:
        return None
    if isinstance(spec, PredictionSpec | MeasureSpec):
        return None
    if isinstance(spec, TrainingSpec):
        return scale.how_to_get_weights() if spec.initial_weights == NOT_THERE else None
    if isinstance(spec, DiffusionDataset) and not (spec.pipeline_folder / "model_index.json").is_file():
        return scale.how_to_get(spec)
    if isinstance(spec, DerivedDataset) and all(folder.is_dir() for folder in spec.weights):
        return _unfit_weights(spec)
    return scale.how_to_get(spec)


def _unfit_weights(spec: DerivedDataset) -> str | None:
    """Why weights that are there cannot make a set, as far as their folders tell; None if they can."""
    try:
        if isinstance(spec, DiffusionDataset):
            check_weights(spec)
    except InputError as error:
        return str(error)
    return None


def stored_needs(spec: Spec) -> list[Spec]:
    """The artifacts that one is made from. A set that is put together is none: its parts stand for it."""
    needs: list[Spec] = list(spec.made_from) if isinstance(spec, DatasetSpec) else []
    if isinstance(spec, PredictionSpec):
        needs = [spec.training, spec.images]
    if isinstance(spec, MeasureSpec):
        needs = [spec.encoder, spec.images, spec.reference]
    if isinstance(spec, TrainingSpec):
        needs = [spec.train, spec.validation, *([spec.source] if spec.source else [])]
    return [part for need in needs for part in (stored_parts(need) if isinstance(need, DatasetSpec) else (need,))]


def repair(plan: Plan, store: Store) -> list[str]:
    """Removes every damaged artifact of a plan from the store, checking every byte; returns what was wrong.

    Raises:
        InputError: real images are damaged, or one of them cannot be decoded.
    """
    complaints = []
    for spec in plan.artifacts:
        if not store.has(spec):
            continue
        if found := store.complaints(spec, checksums=True):
            store.remove(spec)
            complaints.append(found[0])
        elif isinstance(spec, RealDataset):
            # Every image of a made set was decoded for its statistics before it was published; here they are made,
            # unless they are known.
            dataset_statistics(spec.folder)
    return complaints


def asked_of(trials: Iterable[Trial], scale: Scale) -> list[Spec]:
    """What a study asks for: its trainings, what each says of every set that is evaluated on, and measures of sets."""
    trials = list(trials)
    trainings = list({trial.spec.fingerprint: trial.spec for trial in trials}.values())
    sets = scale.evaluation_sets()
    predictions = [
        PredictionSpec(training=spec, images=images, labels=labels) for spec in trainings for images, labels in sets
    ]
    return [*trainings, *predictions, *_measures_of(trials, scale)]


def _measures_of(trials: Sequence[Trial], scale: Scale) -> list[MeasureSpec]:
    """Measures of the synthetic sets that are trained on, against the real images, by the base on those.

    Where the user has not said whether, only of three sets or more.
    """
    trained = {spec.fingerprint: spec for trial in trials for spec in (trial.spec, trial.spec.source) if spec}
    bases = [spec for spec in trained.values() if spec.source is None and spec.fraction == 1]
    encoder = next((spec for spec in bases if spec.train.name == REAL and _can_encode(spec)), None)
    parts = [part for spec in trained.values() for part in stored_parts(spec.train)]
    sets = {part.fingerprint: part for part in parts if isinstance(part, DerivedDataset) or _is_drawn(part)}
    wanted = len(sets) >= MEASURED_FROM if scale.measures is None else scale.measures
    if encoder is None or not wanted:
        return []
    return [MeasureSpec(images=part, reference=encoder.train, encoder=encoder) for part in sets.values()]


def _is_drawn(spec: DatasetSpec) -> bool:
    return isinstance(spec, RealDataset) and spec.synthetic


def _can_encode(spec: TrainingSpec) -> bool:
    """Whether a network is one of the project's or timm's, on a set that is stored as it is."""
    return not is_own(spec.model) and stored_parts(spec.train) == (spec.train,)


def closure(asked: Iterable[Spec]) -> dict[str, Spec]:
    """All artifacts that those asked for need, themselves included, by fingerprint; what is needed comes before."""
    found: dict[str, Spec] = {}

    def visit(spec: Spec) -> None:
        if spec.fingerprint not in found:
            for needed in stored_needs(spec):
                visit(needed)
            found[spec.fingerprint] = spec

    for spec in asked:
        visit(spec)
    return found


def cohort_title(members: Sequence[TrainingSpec]) -> str:
    """The title of a cohort or of a piece of one, for example "synthetic->real N=1..17 s0"."""
    first, depths = members[0], sorted(member.frozen_layers for member in members)
    if len(members) == 1:
        return first.title
    whole = depths == list(range(depths[0], depths[-1] + 1))
    span = f"{depths[0]}..{depths[-1]}" if whole else ",".join(map(str, depths))
    return first.title.replace(f"N={first.frozen_layers}", f"N={span}", 1)
