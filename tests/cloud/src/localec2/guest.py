"""Instances as QEMU guests: one process and one network namespace for each."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import queue
import shutil
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from . import nvme
from .dns import DnsServer
from .errors import LocalEc2Error
from .httpd import Handler, HttpServer
from .machine import CONSOLE_BYTES, Disk, MachineSpec
from .qmp import Qmp, QmpError
from .settings import DNS_ADDRESS, IMDS_ADDRESS, Settings
from .storage import QcowStore
from .wire import EgressLog

_SPAWN_SECONDS = 30
#: A command fails a moment before the end is seen.
_GONE_SECONDS = 2.0
_UNPLUG_SECONDS = 30
_EXIT_SECONDS = 10
_FIRST_PORT_SLOT = 4  # PCI slot of the first root port; slot 3 is the network card
_PROGRAM = "qemu-system-x86_64"


class Spawner:
    """Starts processes from one thread that lives as long as the Local EC2.

    The "die with your parent" signal of Linux is tied to the thread that started a process, and
    a request's thread ends soon.
    """

    def __init__(self) -> None:
        self._jobs: queue.Queue[Callable[[], None] | None] = queue.Queue()
        self._thread = threading.Thread(target=self._work, name="spawner", daemon=True)
        self._thread.start()

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()

    def run(self, arguments: list[str], keep_fd: int) -> subprocess.Popen[bytes]:
        """Start a process that inherits the descriptor `keep_fd`."""
        done: queue.Queue[subprocess.Popen[bytes] | OSError] = queue.Queue()

        def start() -> None:
            try:
                done.put(
                    subprocess.Popen(
                        arguments,
                        stdin=subprocess.DEVNULL,
                        stdout=subprocess.DEVNULL,
                        stderr=subprocess.PIPE,
                        pass_fds=(keep_fd,),
                        start_new_session=True,
                    )
                )
            except OSError as error:
                done.put(error)

        self._jobs.put(start)
        result = done.get(timeout=_SPAWN_SECONDS)
        if isinstance(result, OSError):
            raise LocalEc2Error(f"cannot start '{arguments[0]}': {result}")
        return result

    def close(self) -> None:
        """End the thread; processes that still run end with it."""
        self._jobs.put(None)
        self._thread.join(timeout=5)


class QemuHypervisor:
    """Makes QEMU guests. `api` serves the TLS endpoints, given the calling instance's ID."""

    runs_guests = True

    def __init__(
        self,
        directory: Path,
        settings: Settings,
        store: QcowStore,
        tls: ssl.SSLContext,
        api: Callable[[str], Handler],
        egress: EgressLog,
    ) -> None:
        for program in (_PROGRAM, "qemu-img", "ip"):
            if shutil.which(program) is None:
                raise LocalEc2Error(f"'{program}' is not installed: run packaging/setup test")
        self.directory = directory
        self.settings = settings
        self.store = store
        self.tls = tls
        self.api = api
        self.egress = egress
        self.spawner = Spawner()
        self._lock = threading.Lock()
        self._guests: list[Guest] = []

    def machine(self, spec: MachineSpec, on_power_off: Callable[[], None]) -> Guest:
        """See Hypervisor."""
        guest = Guest(self, spec, on_power_off)
        with self._lock:
            self._guests.append(guest)
        return guest

    def close(self) -> None:
        """See Hypervisor."""
        with self._lock:
            guests = list(self._guests)
        for guest in guests:
            guest.power_off(0)
        self.spawner.close()


@dataclass(frozen=True)
class _Plugged:
    """A volume in a guest: its root port, the block node that was opened, the node on top."""

    port: int
    opened: str
    top: str


class Guest:
    """One QEMU process. See Machine for the meaning of the calls."""

    def __init__(
        self, host: QemuHypervisor, spec: MachineSpec, on_power_off: Callable[[], None]
    ) -> None:
        self._host = host
        self._spec = spec
        self._on_power_off = on_power_off
        self._lock = threading.RLock()
        self._ended = False
        self._directory = host.directory / spec.instance_id
        self._process: subprocess.Popen[bytes] | None = None
        self._qmp: Qmp | None = None
        self._servers: list[HttpServer | DnsServer] = []
        self._free_ports = list(range(host.settings.guest_slots))
        self._plugged: dict[str, _Plugged] = {}
        self._nodes = 0

    @property
    def console_path(self) -> Path:
        """The file with all that the guest wrote to its serial console."""
        return self._directory / "console.log"

    # --- start -----------------------------------------------------------------------------

    def start(self, disks: list[Disk]) -> None:
        """See Machine."""
        with self._lock:
            if self._ended:
                raise LocalEc2Error(f"{self._spec.instance_id} was switched off before its start")
            self._directory.mkdir(parents=True, exist_ok=True)
            self.console_path.unlink(missing_ok=True)
            self._spawn()
            qmp = self._control()
            for disk in disks:
                self._plug(qmp, disk, boot=disk is disks[0] and self._spec.kernel is None)
            qmp.command("cont")
        threading.Thread(
            target=self._watch, args=(qmp,), name=f"watch-{self._spec.instance_id}", daemon=True
        ).start()

    def _spawn(self) -> None:
        endpoints = self._host.settings.endpoint_addresses()
        addresses = [IMDS_ADDRESS, DNS_ADDRESS, *endpoints.values()]
        listeners = [f"tcp:{IMDS_ADDRESS}:80", f"udp:{DNS_ADDRESS}:53"]
        listeners += [f"tcp:{address}:443" for address in endpoints.values()]
        ours, theirs = socket.socketpair()
        with ours, theirs:
            ours.settimeout(_SPAWN_SECONDS)
            launcher = str(Path(__file__).with_name("netns_exec.py"))
            # fmt: off
            self._process = self._host.spawner.run(
                [sys.executable, "-I", launcher, str(theirs.fileno()),
                 str(self._directory / "qemu.log"), ",".join(addresses), ",".join(listeners),
                 *self._arguments()],
                theirs.fileno(),
            )
            # fmt: on
            theirs.close()
            message, descriptors, _, _ = socket.recv_fds(ours, 16, len(listeners))
        if message != b"ready" or len(descriptors) != len(listeners):
            _, complaint = self._process.communicate(timeout=_EXIT_SECONDS)
            raise LocalEc2Error(
                f"cannot start the guest of {self._spec.instance_id}: "
                f"{complaint.decode('utf-8', 'replace').strip()}"
            )
        self._serve([socket.socket(fileno=descriptor) for descriptor in descriptors])

    def _serve(self, sockets: list[socket.socket]) -> None:
        instance_id = self._spec.instance_id
        metadata, resolver, *endpoints = sockets
        for listener in (metadata, *endpoints):
            listener.setblocking(True)
        egress = self._host.egress
        self._servers = [
            HttpServer(metadata, self._spec.metadata, name=f"imds-{instance_id}"),
            DnsServer(
                resolver,
                self._host.settings.endpoint_names(),
                lambda name, answered: egress.add(instance_id, name, answered),
            ),
        ]
        for listener in endpoints:
            self._servers.append(
                HttpServer(
                    listener,
                    self._host.api(instance_id),
                    name=f"tls-{instance_id}",
                    tls=self._host.tls,
                )
            )

    def _arguments(self) -> list[str]:
        settings = self._host.settings
        spec = self._spec
        network = ipaddress.ip_network(f"{spec.private_ip}/20", strict=False)
        # Firmware and boot loader write to the serial port when there is no graphics card.
        machine = "q35,usb=off,vmport=off,hpet=off,sata=off,smbus=off,graphics=off"
        # fmt: off
        arguments = [
            _PROGRAM, "-name", spec.instance_id,
            "-accel", "tcg,thread=multi", "-machine", machine,
            # The richer CPU models make the guest load modules that cost seconds under emulation.
            "-cpu", "qemu64,-svm",
            "-smp", str(settings.guest_cpus), "-m", str(settings.guest_memory_mib),
            "-nodefaults", "-no-user-config", "-display", "none", "-S",
            # A guest that shuts down stays until its console has been taken.
            "-action", "shutdown=pause",
            "-serial", f"file:{self.console_path}",
            "-qmp", f"unix:{self._directory / 'qmp'},server=on,wait=off",
            "-netdev",
            f"user,id=net0,ipv6=off,net={network},host={network[1]},dns={network[2]},"
            f"dhcpstart={spec.private_ip}",
            "-device", "virtio-net-pci,netdev=net0,romfile=,addr=0x3",
            # As instances have: GRUB 2 with gfxterm waits for ever for a card that is not there.
            "-device", "VGA,addr=0x2,vgamem_mb=8",
        ]
        # fmt: on
        for port in range(settings.guest_slots):
            arguments += [
                "-device",
                f"pcie-root-port,id=port{port},chassis={port + 1},slot={port + 1},io-reserve=0,"
                f"mem-reserve=1M,pref64-reserve=0,addr={_FIRST_PORT_SLOT + port:#x}",
            ]
        if spec.kernel is not None:
            arguments += ["-kernel", spec.kernel, "-append", spec.kernel_arguments]
        return arguments

    def _control(self) -> Qmp:
        process = self._process
        assert process is not None
        if self._qmp is None:
            try:
                self._qmp = Qmp(self._directory / "qmp", alive=lambda: process.poll() is None)
            except QmpError as error:
                log = self._directory / "qemu.log"
                text = log.read_text("utf-8", "replace")[-2000:] if log.exists() else ""
                raise LocalEc2Error(f"{error}: {text}") from error
        return self._qmp

    def _watch(self, qmp: Qmp) -> None:
        """Wait for the guest to shut itself down, or for QEMU to die."""
        qmp.wait_event(lambda event: event["event"] == "SHUTDOWN", None)
        with self._lock:
            if self._ended:
                return
        self._on_power_off()

    # --- volumes ---------------------------------------------------------------------------

    def attach(self, disk: Disk) -> None:
        """See Machine."""
        with self._lock:
            if not self._ended and self._qmp is not None:
                self._plug(self._qmp, disk, boot=False)

    def _plug(self, qmp: Qmp, disk: Disk, *, boot: bool) -> None:
        if not self._free_ports:
            raise LocalEc2Error(f"{self._spec.instance_id} has no free slot for {disk.volume_id}")
        port = self._free_ports.pop(0)
        node = self._open(qmp, self._host.store.top(disk.volume_id))
        serial = nvme.serial_of(disk.volume_id)
        running = bool(qmp.command("query-status")["running"])
        if running:
            qmp.command("stop")
        try:
            # With -kernel, an option ROM owns boot index 0.
            extra = {"bootindex": 0} if boot else {}
            qmp.command(
                "device_add",
                driver="nvme",
                id=serial,
                bus=f"port{port}",
                drive=node,
                serial=serial,
                **extra,
            )
            assert self._process is not None
            nvme.rewrite_identity(self._process.pid, serial, disk.device)
        finally:
            if running:
                qmp.command("cont")
        self._plugged[disk.volume_id] = _Plugged(port, node, node)

    def _open(self, qmp: Qmp, layer: Path) -> str:
        self._nodes += 1
        node = f"node{self._nodes}"
        qmp.command(
            "blockdev-add",
            **{
                "driver": "qcow2",
                "node-name": node,
                "discard": "unmap",
                # Host crashes lose nothing that matters: the directory is temporary anyway.
                "cache": {"direct": False, "no-flush": True},
                "file": {"driver": "file", "filename": str(layer), "discard": "unmap"},
            },
        )
        return node

    def detach(self, volume_id: str) -> None:
        """See Machine."""
        with self._lock:
            if self._ended or self._qmp is None or volume_id not in self._plugged:
                return
            plugged = self._plugged[volume_id]
            try:
                self._unplug(self._qmp, plugged, nvme.serial_of(volume_id))
            except QmpError:
                # A guest that powers off meanwhile lets go of all its volumes.
                if self._qmp.ends(_GONE_SECONDS):
                    return
                raise
            del self._plugged[volume_id]
            self._free_ports.append(plugged.port)

    @staticmethod
    def _unplug(qmp: Qmp, plugged: _Plugged, serial: str) -> None:
        start = qmp.event_count()
        qmp.command("device_del", id=serial)
        qmp.wait_event(
            lambda event: (
                event["event"] == "DEVICE_DELETED" and event["data"].get("device") == serial
            ),
            _UNPLUG_SECONDS,
            start,
        )
        # The layers that snapshots put on top belonged to the device and went with it.
        qmp.command("blockdev-del", node_name=plugged.opened)

    def snapshot(self, volume_id: str, snapshot_id: str) -> None:
        """See Machine."""
        store = self._host.store
        with self._lock:
            if self._ended or self._qmp is None or volume_id not in self._plugged:
                store.snapshot(volume_id, snapshot_id)
                return
            plugged = self._plugged[volume_id]
            layer = store.prepare_online_layer(volume_id)
            self._nodes += 1
            top = f"node{self._nodes}"
            self._qmp.command(
                "blockdev-snapshot-sync",
                node_name=plugged.top,
                snapshot_file=str(layer),
                snapshot_node_name=top,
                format="qcow2",
                mode="absolute-paths",
            )
            store.freeze(volume_id, snapshot_id, layer)
            self._plugged[volume_id] = replace(plugged, top=top)

    # --- console and end -------------------------------------------------------------------

    def console(self) -> bytes:
        """See Machine."""
        try:
            with open(self.console_path, "rb") as file:
                file.seek(0, os.SEEK_END)
                file.seek(max(0, file.tell() - CONSOLE_BYTES))
                return file.read(CONSOLE_BYTES)
        except FileNotFoundError:
            return b""

    def metadata_url(self) -> None:
        """See Machine: the service is in the guest's own namespace."""

    def power_off(self, seconds: float) -> None:
        """See Machine."""
        qmp = self._qmp
        if seconds > 0 and qmp is not None:
            with contextlib.suppress(QmpError):
                qmp.command("system_powerdown")
                qmp.wait_event(lambda event: event["event"] == "SHUTDOWN", seconds)
        with self._lock:
            if self._ended:
                return
            self._ended = True
            process, self._qmp = self._process, None
            servers, self._servers = self._servers, []
            self._plugged.clear()
        for server in servers:
            server.close()
        if qmp is not None:
            with contextlib.suppress(QmpError):
                qmp.command("quit")
            qmp.close()
        if process is not None:
            try:
                process.wait(timeout=_EXIT_SECONDS if qmp is not None else 0.1)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(timeout=_EXIT_SECONDS)
            if process.stderr is not None:
                process.stderr.close()
