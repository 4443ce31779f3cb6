"""What the EC2 backend needs from the Local EC2 around it."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from .errors import LocalEc2Error
from .faults import FaultPlan
from .machine import Hypervisor
from .settings import Settings
from .storage import Store


class Cloud(Protocol):
    """The services around the EC2 state."""

    settings: Settings
    store: Store
    faults: FaultPlan
    hypervisor: Hypervisor
    #: Guards all EC2 state. Held while a request is carried out and while a background task
    #: changes state; a task must not hold a machine's lock when it takes this one.
    state_lock: threading.RLock

    def start_task(self, name: str, work: Callable[[], None]) -> None:
        """Run `work` in the background; a failure ends up in the Local EC2's errors."""

    def pause(self, seconds: float) -> None:
        """Sleep in a task; raises Closing when the Local EC2 ends meanwhile."""

    def mint_credentials(self, instance_id: str, role_name: str) -> dict[str, Any]:
        """Fresh credentials of a role, as the metadata service hands them out."""


class Closing(Exception):
    """The Local EC2 ends: a background task stops where it is."""


_active: Cloud | None = None


def active() -> Cloud:
    """The Local EC2 that runs in this process."""
    if _active is None:
        raise LocalEc2Error("no Local EC2 runs in this process")
    return _active


@contextlib.contextmanager
def activated(cloud: Cloud) -> Iterator[None]:
    """Make `cloud` the active one. moto's state is global, so there can be one per process."""
    global _active
    if _active is not None:
        raise LocalEc2Error("a Local EC2 already runs in this process: close it first")
    _active = cloud
    try:
        yield
    finally:
        _active = None
