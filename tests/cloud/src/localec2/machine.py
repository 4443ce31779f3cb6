"""The computers that instances run on: an interface, and one without any guest."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from .httpd import Handler, HttpServer
from .storage import Store

#: EC2 keeps the last 64 KiB of the serial console.
CONSOLE_BYTES = 64 * 1024


@dataclass(frozen=True)
class MachineSpec:
    """What a machine is to be. `kernel` boots directly; without it the firmware boots the root."""

    instance_id: str
    private_ip: str
    metadata: Handler
    kernel: str | None = None
    kernel_arguments: str = ""


@dataclass(frozen=True)
class Disk:
    """A volume and the device name that it was requested under."""

    volume_id: str
    device: str


class Machine(Protocol):
    """One computer. Volumes are attached in the order of the calls; all calls may block."""

    def start(self, disks: list[Disk]) -> None:
        """Switch on, the first disk being the root."""

    def attach(self, disk: Disk) -> None:
        """Make a volume appear in the guest."""

    def detach(self, volume_id: str) -> None:
        """Take a volume out of the guest; does nothing when it is not in."""

    def snapshot(self, volume_id: str, snapshot_id: str) -> None:
        """Freeze the content of a volume, in the guest or not, at one point in time."""

    def console(self) -> bytes:
        """The last 64 KiB that the guest wrote to its serial console."""

    def power_off(self, seconds: float) -> None:
        """Ask the guest to shut down, wait up to `seconds`, then switch off. Ends the machine."""

    def metadata_url(self) -> str | None:
        """URL of the metadata service when it can be reached from the host."""


class Hypervisor(Protocol):
    """Makes machines, and removes all of them at the end."""

    #: Whether machines run a guest's code, so that images must be bootable.
    runs_guests: bool

    def machine(self, spec: MachineSpec, on_power_off: Callable[[], None]) -> Machine:
        """A new machine, switched off. `on_power_off` is called when the guest shuts down."""

    def close(self) -> None:
        """Remove whatever is left of all machines."""


class NoGuest:
    """A machine that runs nothing: for tests of the API and the metadata service alone.

    Its metadata service listens on the loopback interface of the host.
    """

    def __init__(self, spec: MachineSpec, store: Store, on_power_off: Callable[[], None]) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._console = b""
        self._server: HttpServer | None = None
        self._spec = spec
        self._on_power_off = on_power_off

    def start(self, disks: list[Disk]) -> None:
        """See Machine."""
        listener = socket.create_server(("127.0.0.1", 0))
        server = HttpServer(listener, self._spec.metadata, name=f"imds-{self._spec.instance_id}")
        with self._lock:
            self._server = server

    def attach(self, disk: Disk) -> None:
        """See Machine. There is nobody to see the volume."""

    def detach(self, volume_id: str) -> None:
        """See Machine."""

    def snapshot(self, volume_id: str, snapshot_id: str) -> None:
        """See Machine."""
        self._store.snapshot(volume_id, snapshot_id)

    def console(self) -> bytes:
        """See Machine."""
        with self._lock:
            return self._console[-CONSOLE_BYTES:]

    def write_console(self, text: bytes) -> None:
        """Pretend that the guest printed something."""
        with self._lock:
            self._console += text

    def press_off(self) -> None:
        """Pretend that the guest shut itself down."""
        self._on_power_off()

    def power_off(self, seconds: float) -> None:
        """See Machine."""
        with self._lock:
            server, self._server = self._server, None
        if server is not None:
            server.close()

    def metadata_url(self) -> str | None:
        """See Machine."""
        with self._lock:
            return f"http://127.0.0.1:{self._server.port}" if self._server else None


class NoHypervisor:
    """Machines without guests."""

    runs_guests = False

    def __init__(self, store: Store) -> None:
        self._store = store
        self._machines: list[NoGuest] = []

    def machine(self, spec: MachineSpec, on_power_off: Callable[[], None]) -> NoGuest:
        """See Hypervisor."""
        machine = NoGuest(spec, self._store, on_power_off)
        self._machines.append(machine)
        return machine

    def close(self) -> None:
        """See Hypervisor."""
        for machine in self._machines:
            machine.power_off(0)
