"""Faults that a test asks for: what goes wrong, at which call, and how often."""

from __future__ import annotations

import enum
import fnmatch
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .errors import LocalEc2Error


class Effect(enum.Enum):
    """What happens to a matching API or metadata request, or to a matching volume or snapshot."""

    #: Answer with `status` and the AWS error `code`.
    error = "error"
    #: Answer with `status` and bytes that are neither XML nor JSON.
    garbage = "garbage"
    #: Keep the connection open without an answer for `seconds`, then close it.
    hang = "hang"
    #: Close the connection without an answer.
    drop = "drop"
    #: Answer half of the real reply, then close the connection.
    truncate = "truncate"
    #: Wait `seconds`, then go on normally.
    delay = "delay"
    #: AttachVolume reports `attached`, but no device appears in the guest.
    invisible = "invisible"
    #: The operation never leaves its transitional state (attaching, creating, pending).
    stuck = "stuck"
    #: DetachVolume leaves the attachment `busy`; only a forced detach ends it.
    busy = "busy"
    #: The resource ends in its failed state (`error` or `failed`).
    failed = "failed"


_NEEDS_HTTP = {
    Effect.error,
    Effect.garbage,
    Effect.hang,
    Effect.drop,
    Effect.truncate,
    Effect.delay,
}
_RESOURCE_ACTIONS = {
    Effect.invisible: {"AttachVolume"},
    Effect.stuck: {
        "AttachVolume",
        "DetachVolume",
        "CreateVolume",
        "CreateSnapshot",
        "RegisterImage",
    },
    Effect.busy: {"DetachVolume"},
    Effect.failed: {"CreateVolume", "CreateSnapshot", "RegisterImage"},
}


@dataclass
class Fault:
    """One thing that goes wrong.

    `action` is an API action or a shell pattern of it (`Describe*`); metadata requests are called
    `imds:GET /latest/user-data`, uploads and downloads `GetObject` and so on. The fault hits the
    `nth` matching call, counted from 1 when the fault was added, and the `count - 1` calls after
    it (`count` 0: all later ones). `where` narrows by request parameter (shell patterns too).
    With `after`, the request is carried out and only its answer is lost.
    """

    action: str
    effect: Effect
    nth: int = 1
    count: int = 1
    status: int = 503
    code: str = "RequestLimitExceeded"
    message: str = "Request limit exceeded."
    seconds: float = 30.0
    after: bool = False
    where: Mapping[str, str] = field(default_factory=dict)
    seen: int = 0

    def __post_init__(self) -> None:
        if self.nth < 1 or self.count < 0:
            raise LocalEc2Error(f"fault on {self.action!r}: nth is {self.nth}, count {self.count}")
        allowed = _RESOURCE_ACTIONS.get(self.effect)
        if allowed is not None and self.action not in allowed:
            raise LocalEc2Error(
                f"fault {self.effect.value!r} exists for {sorted(allowed)}, not for {self.action!r}"
            )

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Fault:
        """A fault from decoded JSON: the field names of this class, `effect` by name."""
        known = set(cls.__dataclass_fields__) - {"seen"}
        unknown = sorted(set(fields) - known)
        if unknown or not {"action", "effect"} <= set(fields):
            raise LocalEc2Error(
                f"a fault has the fields {sorted(known)}, action and effect are required; "
                f"unknown: {unknown}"
            )
        try:
            effect = Effect(fields["effect"])
        except ValueError:
            raise LocalEc2Error(
                f"fault effect is {fields['effect']!r}, expected one of "
                f"{[item.value for item in Effect]}"
            ) from None
        return cls(**{**fields, "effect": effect})

    @classmethod
    def parse(cls, text: str) -> Fault:
        """A fault from the short form `ACTION[@NTH[xCOUNT]]=EFFECT`.

        EFFECT is `STATUS:CODE`, or the name of an effect, with `:SECONDS` for hang and delay and
        with `-after` for a request that is carried out before its answer is lost.
        """
        match = re.fullmatch(r"([^@=]+)(?:@(\d+)(?:x(\d+))?)?=(.+)", text)
        if match is None:
            raise LocalEc2Error(f"fault {text!r} is not of the form ACTION[@NTH[xCOUNT]]=EFFECT")
        action, nth, count, effect = match.groups()
        fields: dict[str, Any] = {"action": action, "nth": int(nth or 1), "count": int(count or 1)}
        status, _, code = effect.partition(":")
        if status.isdigit():
            return cls(
                effect=Effect.error, status=int(status), code=code or "InternalError", **fields
            )
        name, _, seconds = effect.partition(":")
        fields["after"] = name.endswith("-after")
        fields["effect"] = name.removesuffix("-after")
        if seconds:
            fields["seconds"] = float(seconds)
        return cls.from_dict(fields)

    @property
    def is_http(self) -> bool:
        """True for faults of the connection, false for faults of a resource."""
        return self.effect in _NEEDS_HTTP

    def matches(self, action: str, params: Mapping[str, str]) -> bool:
        """Whether the call is one that this fault counts."""
        return fnmatch.fnmatchcase(action, self.action) and all(
            fnmatch.fnmatchcase(params.get(name, ""), pattern)
            for name, pattern in self.where.items()
        )


class FaultPlan:
    """The faults in force. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._faults: list[Fault] = []

    def add(self, fault: Fault) -> Fault:
        """Put `fault` in force; it counts calls from now on."""
        with self._lock:
            self._faults.append(fault)
        return fault

    def clear(self) -> None:
        """Forget all faults."""
        with self._lock:
            self._faults.clear()

    def remaining(self) -> list[Fault]:
        """Faults that have not hit as often as they should: a test may want none to be left."""
        with self._lock:
            return [f for f in self._faults if f.count and f.seen < f.nth + f.count - 1]

    def take(self, action: str, params: Mapping[str, str], *, http: bool) -> Fault | None:
        """The fault that hits this call, if any. Every matching fault counts the call."""
        hit = None
        with self._lock:
            for fault in self._faults:
                if fault.is_http != http or not fault.matches(action, params):
                    continue
                fault.seen += 1
                last = fault.nth + fault.count - 1 if fault.count else None
                due = fault.seen >= fault.nth and (last is None or fault.seen <= last)
                if due and hit is None:
                    hit = fault
        return hit
