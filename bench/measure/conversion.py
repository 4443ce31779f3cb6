"""Whole conversions by the disk worker, as the agent starts it: its steps and its memory."""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from . import agent
from .host import (
    BUILD,
    GIB,
    ROOT,
    CannotMeasure,
    cache_directory,
    forget,
    loop_device,
    resident_memory,
    run,
)

HEADER = struct.Struct(">I")
#: Longest time of one conversion.
DEADLINE = 600.0
POLL = 0.02


@dataclass
class Conversion:
    """What a disk worker told, each message with the seconds since its start."""

    messages: list[tuple[float, dict[str, Any]]] = field(default_factory=list)
    #: Resident memory, MiB, with the seconds since the start.
    memory: list[tuple[float, float]] = field(default_factory=list)
    seconds: float = 0.0

    def began(self, kind: str, name: str) -> float:
        """When a stage began, or the step of a module."""
        key = "stage" if kind == "stage" else "text"
        for when, message in self.messages:
            if message["type"] == kind and str(message[key]).startswith(name):
                return when
        raise CannotMeasure(f"the disk worker told of no {kind} '{name}'")

    def peak_memory(self, start: float, end: float) -> float:
        """The most that was resident between two moments, MiB."""
        return max((mib for when, mib in self.memory if start <= when <= end), default=0.0)

    def steps(self) -> list[tuple[str, float]]:
        """Each step of the plan and its seconds."""
        marks = [(m["text"], when) for when, m in self.messages if m["type"] == "step"]
        ends = [when for _, when in marks[1:]] + [self.began("stage", "verify")]
        return [(text, end - when) for (text, when), end in zip(marks, ends, strict=True)]


@contextlib.contextmanager
def converted(image: Path, size_bytes: int) -> Iterator[tuple[Conversion, Path]]:
    """Convert an image to a new disk of that size; gives what was told, and the disk."""
    with tempfile.TemporaryDirectory(dir=cache_directory(), prefix="bench-") as work:
        disk = Path(work) / "target.img"
        with open(disk, "wb") as file:
            file.truncate(size_bytes)
        forget(image)
        with loop_device(image, read_only=True) as source, loop_device(disk) as target:
            conversion = _convert(source, target)
        yield conversion, disk


def _convert(source: str, target: str) -> Conversion:
    ours, theirs = socket.socketpair()
    with ours, theirs, tempfile.TemporaryFile() as errors:
        argv = [
            "/bin/sh",
            "-c",
            # 4 would be the journal of the copy, 5 a disk that is open.
            f'exec "$0" disk-worker 3<&{theirs.fileno()} 4<&- 5<&-',
            str(BUILD / "amilift"),
        ]
        process = subprocess.Popen(
            argv,
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"},
            stdin=subprocess.DEVNULL,
            stdout=errors,
            stderr=errors,
            pass_fds=(theirs.fileno(),),
        )
        try:
            theirs.close()
            conversion = _talk(ours, process, _request(source, target))
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()
        last = conversion.messages[-1][1] if conversion.messages else {}
        if last.get("type") != "outcome":
            errors.seek(0)
            said = errors.read().decode(errors="replace")[-500:]
            raise CannotMeasure(f"the disk worker ended with {last or 'no answer'}: {said}")
    return conversion


def _request(source: str, target: str) -> dict[str, Any]:
    """agent/worker/protocol.hpp has the fields."""
    return {
        "v": 1,
        "type": "convert",
        "source": {"path": source, "volume_id": "", "requested_device": ""},
        "target": {"path": target, "volume_id": "", "requested_device": ""},
        "virtualization": "hvm",
        "architecture": "x86_64",
        "bootloader": "grub2",
        "layout": "mbr",
        "size_gib": 0,
        "consoles": [],
        "platform": "any",
        "verify_copy": False,
        "may_replay_source_journal": False,
        "target_content": "zeros",
        "is_interrupted": False,
        "journaled_disks": {"source": "", "target": ""},
    }


def _talk(
    connection: socket.socket, process: subprocess.Popen[bytes], request: dict[str, Any]
) -> Conversion:
    """Send the request; take what comes until the other side has gone."""
    conversion = Conversion()
    begin = time.monotonic()
    text = json.dumps(request).encode()
    connection.sendall(HEADER.pack(len(text)) + text)
    connection.settimeout(POLL)
    pending = b""
    while True:
        if time.monotonic() - begin > DEADLINE:
            raise CannotMeasure(f"the disk worker did not end within {DEADLINE:.0f} s")
        conversion.memory.append((time.monotonic() - begin, resident_memory(process.pid)))
        try:
            data = connection.recv(1 << 16)
        except TimeoutError:
            continue
        except ConnectionError:
            data = b""
        when = time.monotonic() - begin
        if not data:
            conversion.seconds = when
            return conversion
        pending += data
        while len(pending) >= HEADER.size:
            end = HEADER.size + HEADER.unpack_from(pending)[0]
            if len(pending) < end:
                break
            conversion.messages.append((when, json.loads(pending[HEADER.size : end])))
            pending = pending[end:]


def measure_memory() -> dict[str, Any]:
    """What agent and worker hold together while the worker copies and the agent waits for it."""
    recipe = ["--kernel", "xen", "--filesystem", "ext4", "--menu", "amazon"]
    answer = run(ROOT / "tests" / "cloud" / "images" / "build-source", *recipe, timeout=3600)
    with converted(Path(answer.rpartition("source=")[2]), 3 * GIB) as (conversion, _):
        start = conversion.began("step", "copy:")
        marks = [when for when, m in conversion.messages if m["type"] == "step" and when > start]
        worker = conversion.peak_memory(start, marks[0])
    waiting = agent.measure_agent(1)["idle_mib"]
    return {
        "worker_mib": worker,
        "worker_peak_mib": conversion.peak_memory(0, conversion.seconds),
        "agent_mib": waiting,
        "together_mib": worker + waiting,
    }
