"""Evaluation of IAM identity policies: effect, action, resource and condition.

moto checks the action only. A least-privilege policy lives from its resources and conditions, so
they are evaluated here. Whatever the evaluator does not know (an operator, an element) is an
error, not a silent yes: a policy must never pass a test because part of it was not understood.
Source: "Policy evaluation logic" and "Condition operators" of the IAM user guide.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from .errors import LocalEc2Error

#: Condition keys of a request; names are matched without regard to case.
Context = Mapping[str, str | Sequence[str]]

_STATEMENT_ELEMENTS = {
    "Sid",
    "Effect",
    "Action",
    "NotAction",
    "Resource",
    "NotResource",
    "Condition",
}


@dataclass(frozen=True)
class Access:
    """One permission that a request needs: an action on a resource, in a context."""

    action: str
    resource: str = "*"
    context: Context = field(default_factory=dict)


class PolicyError(LocalEc2Error):
    """The policy document itself is wrong, or uses something that is not evaluated here."""


def is_allowed(policies: Iterable[Mapping[str, Any]], access: Access) -> bool:
    """True when some statement allows `access` and none denies it."""
    context = {name.lower(): value for name, value in access.context.items()}
    allowed = False
    for policy in policies:
        for statement in _statements(policy):
            if not _applies(statement, access, context):
                continue
            if statement["Effect"] == "Deny":
                return False
            allowed = True
    return allowed


def check_policy(policy: Mapping[str, Any]) -> None:
    """Raise PolicyError when a statement has an element or operator that is not evaluated."""
    for statement in _statements(policy):
        for operator, tests in statement.get("Condition", {}).items():
            _operator(operator)
            if not isinstance(tests, Mapping) or not tests:
                raise PolicyError(f"condition {operator!r} is {tests!r}, expected key: value(s)")


def _statements(policy: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    statements = policy["Statement"]
    result = [statements] if isinstance(statements, Mapping) else list(statements)
    for statement in result:
        unknown = set(statement) - _STATEMENT_ELEMENTS
        if unknown:
            raise PolicyError(
                f"statement {statement.get('Sid', '?')!r} has unknown {sorted(unknown)}"
            )
        if statement.get("Effect") not in ("Allow", "Deny"):
            raise PolicyError(
                f"statement {statement.get('Sid', '?')!r} has no Effect Allow or Deny"
            )
        if ("Action" in statement) == ("NotAction" in statement):
            raise PolicyError(
                f"statement {statement.get('Sid', '?')!r} needs one of Action and NotAction"
            )
        if ("Resource" in statement) == ("NotResource" in statement):
            raise PolicyError(
                f"statement {statement.get('Sid', '?')!r} needs one of Resource and NotResource"
            )
    return result


def _applies(
    statement: Mapping[str, Any], access: Access, context: Mapping[str, str | Sequence[str]]
) -> bool:
    if "Action" in statement:
        matched = any(_like(p.lower(), access.action.lower()) for p in _list(statement["Action"]))
    else:
        matched = not any(
            _like(p.lower(), access.action.lower()) for p in _list(statement["NotAction"])
        )
    if not matched:
        return False
    if "Resource" in statement:
        patterns = _list(statement["Resource"])
        matched = any(_like(_expand(p, context), access.resource) for p in patterns)
    else:
        patterns = _list(statement["NotResource"])
        matched = not any(_like(_expand(p, context), access.resource) for p in patterns)
    return matched and all(
        _condition_holds(operator, key, _list(values), context)
        for operator, tests in statement.get("Condition", {}).items()
        for key, values in tests.items()
    )


def _condition_holds(
    operator: str, key: str, values: list[str], context: Mapping[str, str | Sequence[str]]
) -> bool:
    quantifier, name, if_exists, test, negated = _operator(operator)
    present = context.get(key.lower())
    if name == "Null":
        return (present is None) == (str(values[0]).lower() == "true")
    expected = [_expand(str(value), context) for value in values]
    if quantifier == "ForAllValues":
        # True for a missing key as well: this is why such a statement also needs a Null test.
        return all(_any(test, expected, item, negated) for item in _list(present or []))
    if quantifier == "ForAnyValue":
        return any(_any(test, expected, item, negated) for item in _list(present or []))
    if present is None:
        return if_exists or negated
    if not isinstance(present, str):
        raise PolicyError(f"{key!r} has several values; use ForAllValues or ForAnyValue with it")
    return _any(test, expected, present, negated)


def _any(test: Callable[[str, str], bool], expected: list[str], actual: str, negated: bool) -> bool:
    return any(test(item, actual) for item in expected) != negated


@lru_cache(maxsize=4096)
def _pattern(pattern: str) -> re.Pattern[str]:
    parts = (".*" if c == "*" else "." if c == "?" else re.escape(c) for c in pattern)
    return re.compile("".join(parts), re.DOTALL)


def _like(pattern: str, text: str) -> bool:
    return _pattern(pattern).fullmatch(text) is not None


_TESTS: dict[str, Callable[[str, str], bool]] = {
    "StringEquals": lambda expected, actual: expected == actual,
    "StringEqualsIgnoreCase": lambda expected, actual: expected.lower() == actual.lower(),
    "StringLike": _like,
    "ArnEquals": _like,
    "ArnLike": _like,
    "Bool": lambda expected, actual: expected.lower() == actual.lower(),
    "NumericEquals": lambda expected, actual: float(actual) == float(expected),
    "NumericLessThan": lambda expected, actual: float(actual) < float(expected),
    "NumericLessThanEquals": lambda expected, actual: float(actual) <= float(expected),
    "NumericGreaterThan": lambda expected, actual: float(actual) > float(expected),
    "NumericGreaterThanEquals": lambda expected, actual: float(actual) >= float(expected),
    "Null": lambda expected, actual: False,
}
_NEGATIONS = {
    "StringNotEquals": "StringEquals",
    "StringNotLike": "StringLike",
    "ArnNotEquals": "ArnEquals",
    "ArnNotLike": "ArnLike",
    "NumericNotEquals": "NumericEquals",
}


def _operator(text: str) -> tuple[str, str, bool, Callable[[str, str], bool], bool]:
    quantifier, _, name = text.rpartition(":")
    if quantifier not in ("", "ForAllValues", "ForAnyValue"):
        raise PolicyError(f"condition operator {text!r} has an unknown quantifier")
    if_exists = name.endswith("IfExists")
    name = name.removesuffix("IfExists")
    negated = name in _NEGATIONS
    name = _NEGATIONS.get(name, name)
    if name not in _TESTS:
        raise PolicyError(f"condition operator {text!r} is not evaluated by the Local EC2")
    return quantifier, name, if_exists, _TESTS[name], negated


def _expand(pattern: str, context: Mapping[str, str | Sequence[str]]) -> str:
    """Replace `${key}` by the context's value; a pattern with an unknown key matches nothing."""

    def value(match: re.Match[str]) -> str:
        found = context.get(match.group(1).lower())
        return found if isinstance(found, str) else "\0"

    return re.sub(r"\$\{([^}]+)\}", value, pattern)


def _list(value: Any) -> list[Any]:
    return [value] if isinstance(value, (str, bool, int, float)) else list(value)
