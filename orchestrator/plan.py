"""The plan: which artifacts a study needs, which exist, and the work that makes the rest, in order."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeGuard

from datagen.spec import DatasetSpec, GeneratedDataset
from orchestrator.cost import cohort_seconds, generation_seconds
from orchestrator.scale import Rates, Scale
from orchestrator.store import Store
from orchestrator.study import Study
from trainables.spec import TrainingSpec

Spec = DatasetSpec | TrainingSpec


@dataclass(frozen=True)
class Work:
    """What one Tune trial does: generate one data set, or train one cohort (or a piece of it).

    `needs` are the fingerprints of artifacts that must exist before; `seconds` is an estimate for one core or GPU.
    """

    title: str
    makes: tuple[Spec, ...]
    needs: frozenset[str]
    seconds: float

    @property
    def members(self) -> tuple[TrainingSpec, ...]:
        """The trainings of a cohort; empty for a data set."""
        return tuple(spec for spec in self.makes if isinstance(spec, TrainingSpec))

    @property
    def workers(self) -> int:
        """Data-parallel workers of a cohort; 1 for a data set."""
        return self.members[0].workers if self.members else 1


@dataclass(frozen=True)
class Plan:
    """A study's trials, every artifact that they need (those needed by others first), and which of these exist."""

    study: Study
    scale: Scale
    trials: tuple[TrainingSpec, ...]
    artifacts: tuple[Spec, ...]
    existing: frozenset[str]
    lacking: tuple[str, ...] = ()
    """What only the user can provide, a sentence each that says how; nothing can run before."""

    def missing(self) -> list[Spec]:
        """The artifacts to make."""
        return [spec for spec in self.artifacts if spec.fingerprint not in self.existing]

    def work(self, slots: int = 1) -> list[Work]:
        """The work that makes what is missing, in at least as many pieces as `slots` (CPUs or GPUs) can run at once."""
        rates = self.scale.rates
        slots //= max(spec.workers for spec in self.trials)
        missing = self.missing()
        datasets = [_dataset_work(spec, rates) for spec in missing if isinstance(spec, GeneratedDataset)]
        cohorts: dict[str, list[TrainingSpec]] = defaultdict(list)
        for spec in missing:
            if isinstance(spec, TrainingSpec):
                cohorts[spec.cohort].append(spec)
        bases = [members for members in cohorts.values() if members[0].source is None]
        transfers = [members for members in cohorts.values() if members[0].source is not None]
        pieces = [*bases, *_split_for(transfers, slots, rates)]
        return datasets + [self._cohort_work(members) for members in pieces]

    def _cohort_work(self, members: Sequence[TrainingSpec]) -> Work:
        needs = {spec.fingerprint for spec in _needs(members[0])} - self.existing
        return Work(_cohort_title(members), tuple(members), frozenset(needs), cohort_seconds(members, self.scale.rates))

    def seconds(self) -> float:
        """Estimated seconds of one core or GPU for all that is missing."""
        return sum(work.seconds for work in self.work())

    def seconds_alone(self) -> float:
        """The same if every missing training ran alone, without sharing a trunk."""
        rates = self.scale.rates
        return sum(
            cohort_seconds([spec], rates) if isinstance(spec, TrainingSpec) else generation_seconds(spec, rates)
            for spec in self.missing()
            if isinstance(spec, TrainingSpec | GeneratedDataset)
        )


def make_plan(study: Study, scale: Scale, seeds: int, store: Store, *, check: bool = True) -> Plan:
    """Plans a study: nothing runs, nothing is written. With `check` every file's size is compared.

    Real images or a generator that are not there are no error here: the plan says what it lacks.

    Raises:
        InputError: a spec is invalid, or an artifact in the store is damaged (its size is not what its manifest says).
    """
    trials = tuple({spec.fingerprint: spec for spec in study.trials(scale, seeds)}.values())
    artifacts = tuple(_closure(trials).values())
    existing = frozenset(spec.fingerprint for spec in artifacts if store.has(spec))
    for spec in artifacts:
        if spec.fingerprint in existing:
            if check:
                store.check(spec)
    lacking = [scale.how_to_get(spec) for spec in artifacts if _cannot_be_made(spec, existing)]
    return Plan(study, scale, trials, artifacts, existing, tuple(dict.fromkeys(lacking)))


def _cannot_be_made(spec: Spec, existing: frozenset[str]) -> TypeGuard[DatasetSpec]:
    if spec.fingerprint in existing or isinstance(spec, TrainingSpec):
        return False
    return not (isinstance(spec, GeneratedDataset) and (spec.pipeline_folder / "model_index.json").is_file())


def repair(plan: Plan, store: Store) -> list[str]:
    """Removes every damaged artifact of a plan from the store, checking every byte; returns what was wrong."""
    complaints = []
    for spec in plan.artifacts:
        if store.has(spec) and (found := store.complaints(spec, checksums=True)):
            store.remove(spec)
            complaints.append(found[0])
    return complaints


def _closure(trials: Iterable[TrainingSpec]) -> dict[str, Spec]:
    """All artifacts that the trials need, themselves included, by fingerprint; what is needed comes before."""
    found: dict[str, Spec] = {}

    def visit(spec: Spec) -> None:
        if spec.fingerprint not in found:
            for needed in _needs(spec):
                visit(needed)
            found[spec.fingerprint] = spec

    for trial in trials:
        visit(trial)
    return found


def _needs(spec: Spec) -> list[Spec]:
    if not isinstance(spec, TrainingSpec):
        return []
    return [spec.train, spec.validation, *([spec.source] if spec.source else [])]


def _dataset_work(spec: GeneratedDataset, rates: Rates) -> Work:
    title = f"generate {spec.images} {spec.name} images"
    return Work(title, (spec,), frozenset(), generation_seconds(spec, rates))


def _cohort_title(members: Sequence[TrainingSpec]) -> str:
    if len(members) == 1:
        return members[0].title
    depths = sorted(member.frozen_layers for member in members)
    return members[0].title.replace(f"N={members[0].frozen_layers}", f"N={depths[0]}..{depths[-1]}")


def _split_for(cohorts: list[list[TrainingSpec]], slots: int, rates: Rates) -> list[list[TrainingSpec]]:
    """Cuts cohorts into pieces if there are fewer of them than slots."""
    if not cohorts or len(cohorts) >= slots:
        return cohorts
    pieces = slots // len(cohorts)
    return [piece for members in cohorts for piece in split_cohort(members, pieces, rates)]


def split_cohort(members: Sequence[TrainingSpec], pieces: int, rates: Rates) -> list[list[TrainingSpec]]:
    """Cuts a cohort into `pieces` runs of neighbouring depths (or one for each member, if fewer) of about equal cost.

    Neighbours stay together because a piece pays for the trunk up to its own deepest cut: shallow pieces pay little.
    """
    ordered = sorted(members, key=lambda member: member.frozen_layers)
    pieces = min(pieces, len(ordered))
    low, high = 0.0, cohort_seconds(ordered, rates)
    for _ in range(30):
        limit = (low + high) / 2
        if len(_runs_below(limit, ordered, rates)) <= pieces:
            high = limit
        else:
            low = limit
    runs = _runs_below(high, ordered, rates)
    while len(runs) < pieces:
        longest = max(range(len(runs)), key=lambda position: len(runs[position]))
        run = runs[longest]
        runs[longest : longest + 1] = [run[: len(run) // 2], run[len(run) // 2 :]]
    return runs


def _runs_below(limit: float, ordered: Sequence[TrainingSpec], rates: Rates) -> list[list[TrainingSpec]]:
    """Fills runs one after the other up to a cost of `limit` seconds; a member that costs more stands alone."""
    runs: list[list[TrainingSpec]] = []
    for member in ordered:
        if runs and cohort_seconds([*runs[-1], member], rates) <= limit:
            runs[-1].append(member)
        else:
            runs.append([member])
    return runs
