"""Searches: studies whose points are not a grid but are suggested, one after the other, by Optuna.

Two aims at once: the highest top-1 with the fewest real images to label. What was tried is kept in a ledger in the
store, so that a search goes on where it stopped.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from datagen.core.errors import InputError
from orchestrator.planning.plan import Plan, Task, plan_of
from orchestrator.settings import POINT
from orchestrator.storage.store import Store
from orchestrator.study import Point, Range, Search, Trial
from trainables.direction import REAL, SYNTHETIC_TO_REAL
from trainables.spec import TrainingSpec

if TYPE_CHECKING:
    import optuna

RUNNING, DONE, STOPPED, FAILED = "running", "done", "stopped", "failed"
ATTEMPTS = 20
"""How often a suggestion that has been tried before is passed over; a small space runs out of new ones."""


@dataclass
class Entry:
    """A point of the ledger: what Optuna suggested, and what became of it.

    `top1` is the mean over the last epochs and the seeds, percent; `real_images` how many images need a label.
    """

    parameters: dict[str, Any]
    state: str
    top1: float | None = None
    real_images: int | None = None


class Aims(NamedTuple):
    """The two values of a finished point."""

    top1: float
    real_images: int


def ledger_of(plan: Plan, store: Store) -> list[Entry]:
    """What a study's search has tried in this scale and with these settings; empty before the first run."""
    ledgers = _ledgers(plan, store)
    return [_entry(values) for values in ledgers.get(_settings(plan)) or ledgers.get(_settings_formerly(plan), [])]


def _entry(values: Mapping[str, Any]) -> Entry:
    """An entry with its settings' present names."""
    return Entry(**{**values, "parameters": {POINT.named(key).key: v for key, v in values["parameters"].items()}})


def _ledgers(plan: Plan, store: Store) -> dict[str, list[dict[str, Any]]]:
    """What searches of the study have tried, by their settings: one must not cost what another needs to go on."""
    try:
        ledger = store.read_ledger(plan.study.name, plan.scale.name)
    except FileNotFoundError:
        return {}
    return {**ledger.get("others", {}), ledger["settings"]: ledger["entries"]}


def searched_trials(plan: Plan, store: Store) -> list[Trial]:
    """The trials of a search that are done, in the order of their suggestion."""
    points = [point_of(entry.parameters) for entry in ledger_of(plan, store) if entry.state == DONE]
    return [trial for point in points for trial in plan.trials_at(point)]


def with_searched(plan: Plan, store: Store) -> Plan:
    """The plan of a search with what it has found so far; any other plan as it is."""
    if plan.study.search is None:
        return plan
    tried = len([entry for entry in ledger_of(plan, store) if entry.state != RUNNING])
    grid = dict.fromkeys((trial.spec.fingerprint, trial.seed) for trial in plan.grid)
    found = [trial for trial in searched_trials(plan, store) if (trial.spec.fingerprint, trial.seed) not in grid]
    extended = plan_of(plan, [*plan.grid, *found], store)
    return replace(extended, to_search=max(0, plan.study.search.trials - tried))


def point_of(parameters: Mapping[str, Any]) -> Point:
    """The grid point of suggested parameters. N = 0 takes nothing over: it is a training from scratch."""
    point = {"direction": str(SYNTHETIC_TO_REAL), **parameters}
    return point if point.get("frozen_layers", 1) else {**point, "direction": REAL}


class SearchRun:
    """A search while it runs: suggests works, and is told what became of them."""

    def __init__(self, plan: Plan, store: Store, top1_of: Callable[[TrainingSpec], float | None]) -> None:
        assert plan.study.search is not None
        self._plan, self._store, self._top1_of = plan, store, top1_of
        self.search: Search = plan.study.search
        self._entries = [entry for entry in ledger_of(plan, store) if entry.state != RUNNING]
        self._others = {key: tried for key, tried in _ledgers(plan, store).items() if key != _settings(plan)}
        self._unfinished = [entry for entry in ledger_of(plan, store) if entry.state == RUNNING]
        self._asked: dict[int, optuna.trial.Trial] = {}
        self._waits: dict[int, set[str]] = {}
        self._optuna = _optuna_study(self.search, self._entries)
        for entry in self._unfinished:
            if self.search.includes(entry.parameters):
                self._optuna.enqueue_trial(entry.parameters)

    @property
    def over(self) -> bool:
        """Whether every point of the search has been suggested."""
        return len(self._entries) >= self.search.trials

    @property
    def fingerprints(self) -> set[str]:
        """Those of the trainings that are being tried now."""
        return {fingerprint for waiting in self._waits.values() for fingerprint in waiting}

    @property
    def left(self) -> int:
        """How many points are still to be suggested."""
        return max(0, self.search.trials - len(self._entries))

    def ask(self) -> list[Task]:
        """The tasks of the next point that is new; empty if the search is over or finds nothing new.

        A point whose training exists already, from another study, counts at once and the next is taken.
        """
        for _ in range(ATTEMPTS):
            if self.over:
                break
            asked = self._optuna.ask(_distributions(self.search))
            parameters = dict(asked.params)
            if parameters in [entry.parameters for entry in self._entries]:
                self._optuna.tell(asked, state=_states().FAIL)
                continue
            number = len(self._entries)
            self._entries.append(Entry(parameters, RUNNING))
            self._asked[number] = asked
            try:
                trials = self._plan.trials_at(point_of(parameters))
            except InputError:  # Values that are allowed each, but not together.
                self._settle(number, FAILED)
                continue
            tasks = plan_of(self._plan, trials, self._store).tasks()
            self._waits[number] = {trial.spec.fingerprint for trial in trials}
            self._save()
            if tasks:
                return tasks
            self._settle(number, DONE)
        return []

    def ended(self, task: Task, state: str) -> None:
        """Notes that a task is done, stopped early or failed."""
        fingerprints = {spec.fingerprint for spec in task.members}
        for number, waiting in list(self._waits.items()):
            if waiting & fingerprints:
                waiting -= fingerprints
                if state != DONE or not waiting:
                    self._settle(number, state)

    def _settle(self, number: int, state: str) -> None:
        entry = self._entries[number]
        aims = self._aims(entry) if state == DONE else None
        entry.state = DONE if aims else (FAILED if state == DONE else state)
        if aims:
            entry.top1, entry.real_images = aims
        asked = self._asked.pop(number)
        self._waits.pop(number, None)
        if aims:
            self._optuna.tell(asked, list(aims))
        else:
            self._optuna.tell(asked, state=_states().PRUNED if entry.state == STOPPED else _states().FAIL)
        self._save()

    def _aims(self, entry: Entry) -> Aims | None:
        trials = self._plan.trials_at(point_of(entry.parameters))
        top1 = [value for trial in trials if (value := self._top1_of(trial.spec)) is not None]
        return Aims(sum(top1) / len(top1), trials[0].spec.train_images) if len(top1) == len(trials) else None

    def _save(self) -> None:
        entries = [asdict(entry) for entry in self._entries]
        ledger = {"settings": _settings(self._plan), "entries": entries, "others": self._others}
        self._store.write_ledger(self._plan.study.name, self._plan.scale.name, ledger)


def _settings(plan: Plan) -> str:
    """The fingerprint of what a suggestion would be trained as: other settings make another search.

    Its space is none of them: a search that goes on in a narrower or wider space keeps what it has tried.
    """
    return " ".join(trial.spec.fingerprint for trial in plan.trials_at(point_of({"frozen_layers": 1})))


def _settings_formerly(plan: Plan) -> str:
    """The same as ledgers had it before spaces could change."""
    space = plan.study.search.space if plan.study.search else {}
    probe = {key: values.low if isinstance(values, Range) else values[-1] for key, values in space.items()}
    try:
        return " ".join(trial.spec.fingerprint for trial in plan.trials_at(point_of(probe)))
    except InputError:  # Values that do not go together: a ledger of before cannot have had them.
        return ""


def _optuna_study(search: Search, entries: Sequence[Entry]) -> optuna.Study:
    """A study that knows what the ledger has; Optuna's own storage is not used, the store is the record.

    Points outside of the space, which may have been another when they were tried, stay in the ledger and among the
    results, but guide nothing: Optuna takes none whose values it could not have suggested.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    # Seeded by how much is known, so that going on does not suggest the first points again.
    sampler = optuna.samplers.TPESampler(
        seed=search.seed + len(entries), n_startup_trials=search.random_first, constant_liar=True
    )
    study = optuna.create_study(directions=["maximize", "minimize"], sampler=sampler)
    for entry in entries:
        if entry.top1 is not None and entry.real_images is not None and search.includes(entry.parameters):
            study.add_trial(
                optuna.trial.create_trial(
                    params=entry.parameters,
                    distributions=_distributions(search),
                    values=[entry.top1, entry.real_images],
                )
            )
    return study


def _distributions(search: Search) -> dict[str, Any]:
    from optuna import distributions

    return {
        key: distributions.FloatDistribution(values.low, values.high, log=values.logarithmic)
        if isinstance(values, Range)
        else distributions.CategoricalDistribution(tuple(values))
        for key, values in search.space.items()
    }


def _states() -> Any:
    from optuna.trial import TrialState

    return TrialState
