"""Which trials are meant: `--only 'N>=14 and seed == 0'`, and a trial's title or fingerprint."""

from __future__ import annotations

import ast
import difflib
import operator
from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from typing import Any

from datagen.core.errors import InputError
from orchestrator.planning.plan import Plan, closure, missing_inputs
from trainables.direction import KINDS, PAPERS_NAMES
from trainables.spec import TrainingSpec

_COMPARE: Mapping[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.In: lambda value, several: value in several,
    ast.NotIn: lambda value, several: value not in several,
}
_ARITHMETIC: Mapping[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
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
    return lambda spec: bool(_value(tree, trial_values(spec), expression))


def _value(node: ast.expr, names: Mapping[str, Any], whole: str) -> Any:
    def inner(part: ast.expr) -> Any:
        return _value(part, names, whole)

    try:
        match node:
            case ast.Constant(value=value) if _is_plain(value):
                return str(PAPERS_NAMES.get(value, value)) if isinstance(value, str) else value
            case ast.Name(id=name) if name in names:
                return names[name]
            case ast.Name(id=name) if name in (*KINDS, *PAPERS_NAMES):
                return str(PAPERS_NAMES.get(name, name))
            case ast.Name(id=name):
                raise InputError(f"--only knows no {name!r}. {_nearest(name, list(names))}")
            case ast.Tuple(elts=items) | ast.List(elts=items) | ast.Set(elts=items):
                return [inner(item) for item in items]
            case ast.BoolOp(op=ast.And(), values=parts):
                return all(inner(part) for part in parts)
            case ast.BoolOp(op=ast.Or(), values=parts):
                return any(inner(part) for part in parts)
            case ast.UnaryOp(op=ast.Not(), operand=part):
                return not inner(part)
            case ast.UnaryOp(op=ast.USub(), operand=part):
                return -inner(part)
            case ast.BinOp(left=left, op=sign, right=right) if type(sign) in _ARITHMETIC:
                first, second = inner(left), inner(right)
                if isinstance(first, int | float) and isinstance(second, int | float):
                    return _ARITHMETIC[type(sign)](first, second)
            case ast.Compare(left=left, ops=signs, comparators=rights) if all(type(sign) in _COMPARE for sign in signs):
                values = [inner(left), *(inner(right) for right in rights)]
                pairs = zip(signs, values, values[1:], strict=False)
                return all(_COMPARE[type(sign)](first, second) for sign, first, second in pairs)
    except (TypeError, ZeroDivisionError) as error:
        raise InputError(f"--only {whole!r}: {error}.") from None
    raise InputError(
        f"--only takes comparisons of settings, with and, or, not, in and + - * /; not {ast.unparse(node)!r}."
    )


def only(plan: Plan, expression: str | None) -> Plan:
    """The plan of those trials for which the expression holds, and of what they need; None leaves the plan as it is.

    Raises:
        InputError: the expression is wrong, or no trial is left.
    """
    if expression is None:
        return plan
    holds = parse_only(expression)
    grid = tuple(trial for trial in plan.grid if holds(trial.spec))
    if not grid:
        raise InputError(f"--only {expression!r} leaves none of the {len(plan.trials)} trials.")
    needed = closure(trial.spec for trial in grid)
    artifacts = tuple(spec for spec in plan.artifacts if spec.fingerprint in needed)
    narrowed = replace(plan, grid=grid, artifacts=artifacts)
    return replace(narrowed, missing_inputs=missing_inputs(narrowed))


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
