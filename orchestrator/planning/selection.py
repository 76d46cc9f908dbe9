"""Which trials are meant: `--only 'N>=14 and seed == 0'`, and a trial's title or fingerprint."""

from __future__ import annotations

import ast
import difflib
import operator
from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from typing import Any

from simpleeval import EvalWithCompoundTypes, InvalidExpression

from datagen.core.errors import InputError
from orchestrator.planning.plan import Plan
from orchestrator.settings import POINT
from trainables.direction import KINDS, PAPERS_NAMES
from trainables.spec import TrainingSpec


def _of_numbers(operation: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    def compute(first: Any, second: Any) -> Any:
        if not (isinstance(first, int | float) and isinstance(second, int | float)):
            raise TypeError("+ - * / take numbers")
        return operation(first, second)

    return compute


_OPERATORS: Mapping[type[ast.AST], Callable[..., Any]] = {
    **{ast.Eq: operator.eq, ast.NotEq: operator.ne, ast.Lt: operator.lt, ast.LtE: operator.le},
    **{ast.Gt: operator.gt, ast.GtE: operator.ge, ast.Not: operator.not_, ast.USub: operator.neg},
    ast.In: lambda value, several: value in several,
    ast.NotIn: lambda value, several: value not in several,
    **{ast.Add: _of_numbers(operator.add), ast.Sub: _of_numbers(operator.sub)},
    **{ast.Mult: _of_numbers(operator.mul), ast.Div: _of_numbers(operator.truediv)},
}
_ALLOWED = (
    *(ast.Compare, ast.BoolOp, ast.And, ast.Or, ast.UnaryOp, ast.BinOp, *_OPERATORS),
    *(ast.Name, ast.Load, ast.Constant, ast.Tuple, ast.List, ast.Set),
)
LONGEST = 1000
"""Characters of an expression: more is no question about a grid, and deep nesting would exhaust Python's parser."""


def trial_values(spec: TrainingSpec) -> dict[str, Any]:
    """What can be asked of a trial, by name: every plain setting of the training and of the images it trains on.

    `N` is `frozen_layers`; `direction`, `trained_on` and `pretrained_on` are the kinds of data.
    """
    values: dict[str, Any] = {}
    for part in (*reversed(spec.train.made_from), spec.train, spec):
        values |= {f.name: getattr(part, f.name) for f in fields(part) if _is_plain(getattr(part, f.name))}
    return values | {
        "N": spec.frozen_layers,
        "direction": str(spec.direction),
        "trained_on": spec.train.name,
        "pretrained_on": spec.source.train.name if spec.source else "",
        "fingerprint": spec.fingerprint,
    }


def _is_plain(value: Any) -> bool:
    return isinstance(value, bool | int | float | str)


def parse_only(expression: str) -> Callable[[TrainingSpec], bool]:
    """A condition on trials, out of comparisons of names, numbers and strings with and, or, not, in, + - * /.

    Nothing else is evaluated: no calls, no attributes.

    Raises:
        InputError: it is no such expression; or, when asked of a trial, it has an unknown name.
    """
    try:
        if len(expression) > LONGEST:
            raise SyntaxError("too long")
        tree = ast.parse(expression.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        reason = getattr(error, "msg", None) or error
        raise InputError(
            f"--only {expression!r} cannot be read ({reason}). Write it like 'N >= 14 and seed == 0'."
        ) from None
    for node in ast.walk(tree):
        _refuse_other_than_comparisons(node)
    asked = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    evaluator = EvalWithCompoundTypes(operators=dict(_OPERATORS), functions={})
    evaluator.nodes[ast.Constant] = lambda node: _meaning(node.value)

    def holds(spec: TrainingSpec) -> bool:
        values = trial_values(spec)
        evaluator.names = names = {**_WORDS, **{_formerly(name): values[name] for name in values}, **values}
        if unknown := sorted(asked - names.keys()):
            raise InputError(f"--only knows no {unknown[0]!r}. {_nearest(unknown[0], list(values))}")
        try:
            return bool(evaluator.eval(expression, previously_parsed=tree))
        except (TypeError, ArithmeticError, InvalidExpression, RecursionError) as error:
            raise InputError(f"--only {expression!r}: {error}.") from None

    return holds


_WORDS = {name: name for name in KINDS} | {name: str(direction) for name, direction in PAPERS_NAMES.items()}
"""Names that stand for themselves, and the papers' for directions."""


def _meaning(value: Any) -> Any:
    return _WORDS.get(value, value) if isinstance(value, str) else value


def _formerly(name: str) -> str:
    return POINT[name].formerly or name if name in POINT else name


def _refuse_other_than_comparisons(node: ast.AST) -> None:
    """Raises InputError where an expression has anything that could do more than compare, before it is evaluated."""
    parts = [node, *(getattr(node, name) for name in ("op",) if hasattr(node, name)), *getattr(node, "ops", ())]
    plain = not isinstance(node, ast.Constant) or _is_plain(node.value)
    if not plain or not all(isinstance(part, _ALLOWED) for part in parts):
        raise InputError(
            f"--only takes comparisons of settings, with and, or, not, in and + - * /; not {ast.unparse(node)!r}."
        )


def only(plan: Plan, expression: str | None) -> Plan:
    """The plan with those trials selected for which the expression holds: `part` has them. None selects all.

    Raises:
        InputError: the expression is wrong, or no trial is left.
    """
    if expression is None:
        return plan
    selected = replace(plan, selects=parse_only(expression))
    if not selected.part.grid:
        raise InputError(f"--only {expression!r} leaves none of the {len(plan.trials)} trials.")
    return selected


def find_trial(plan: Plan, text: str) -> TrainingSpec:
    """The training of a plan with that title, or whose fingerprint begins so.

    Raises:
        InputError: there is none, and the message names the nearest; or there are several.
    """
    trainings = [spec for spec in plan.artifacts if isinstance(spec, TrainingSpec)]
    found = [spec for spec in trainings if spec.title == text]
    if not found and len(text) >= 4:
        found = [spec for spec in trainings if spec.fingerprint.startswith(text.lower())]
    if len(found) == 1:
        return found[0]
    if found:
        prints = ", ".join(spec.fingerprint[:12] for spec in found[:5])
        raise InputError(f"{len(found)} trials are called {text!r}. Name one by its fingerprint: {prints}.")
    raise InputError(f"There is no trial {text!r}. {_nearest(text, [spec.title for spec in trainings])}")


def _nearest(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.4)
    return f"Did you mean {close[0]!r}?" if close else "--plan lists them."
