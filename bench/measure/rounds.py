"""One run of one tool, and the rounds that runs are interleaved in."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from . import peers
from .host import (
    BUILD,
    MIB,
    CannotMeasure,
    Noise,
    cache_directory,
    forget,
    loop_device,
    peak_memory,
    remember,
    run,
    transferred,
)
from .sources import Recipe, Source, dense_file, prepare

#: Of the filesystem on the target: what a conversion does.
OFFSET = MIB
#: What the kernel reads ahead and at once of a volume of EBS; a loop device has more of both.
EBS_LIMITS = {"read_ahead_kb": "128", "max_sectors_kb": "256"}
#: Longest time of one run.
DEADLINE = 3600.0
CHECKS = {
    "ext4": ["e2fsck", "-f", "-n"],
    "ext3": ["e2fsck", "-f", "-n"],
    "xfs": ["xfs_repair", "-n"],
}


@dataclass(frozen=True)
class Scenario:
    """One source, and how often each tool copies it."""

    name: str
    recipe: Recipe
    rounds: int
    lazy: bool = False
    floors: bool = False
    plain_dd: bool = False
    #: Tools that are left out.
    without: frozenset[str] = frozenset()


def measure(scenario: Scenario) -> dict[str, Any]:
    """All runs of a scenario, and what its source is."""
    source = prepare(scenario.recipe)
    tools = [
        t for t in peers.tools_for(scenario.recipe.filesystem) if t.name not in scenario.without
    ]
    if scenario.floors:
        dense_file(source.used_bytes)
        # Beside amilift, the first: the disk is not the same a minute later.
        tools[1:1] = [peers.floor(n, source.used_bytes, source.nonzero_bytes) for n in peers.FLOORS]
    if scenario.lazy:
        remember(source.image)
    runs = []
    for number in range(scenario.rounds):
        # Every other round backwards, so that no tool always follows the same one.
        for tool in tools if number % 2 == 0 else tools[::-1]:
            runs.append(_one(scenario, source, tool, number))
        if number == 0 and scenario.plain_dd:
            runs.append(_one(scenario, source, peers.ONCE, number))
    return {
        "title": scenario.recipe.title + (", lazily loaded" if scenario.lazy else ""),
        "recipe": asdict(scenario.recipe),
        "used_bytes": source.used_bytes,
        "nonzero_bytes": source.nonzero_bytes,
        "used_extents": source.used_extents,
        "rounds": scenario.rounds,
        "runs": runs,
    }


def _one(scenario: Scenario, source: Source, tool: peers.Tool, number: int) -> dict[str, Any]:
    is_floor = tool.name in peers.FLOORS
    image = dense_file(source.used_bytes) if is_floor else source.image
    with contextlib.ExitStack() as stack:
        work = stack.enter_context(
            tempfile.TemporaryDirectory(dir=cache_directory(), prefix="bench-")
        )
        target_file = Path(work) / "target.img"
        with open(target_file, "wb") as file:
            file.truncate(source.image.stat().st_size + OFFSET)
        if scenario.lazy:
            read_from = stack.enter_context(lazy_device(image, Path(work)))
        else:
            forget(image)
            read_from = stack.enter_context(loop_device(image, read_only=True))
        write_to = stack.enter_context(loop_device(target_file, offset=OFFSET))
        # What the run before has written and removed is not this one's work.
        os.sync()
        result = _copy(tool, tool.command(read_from, write_to, Path(work)), read_from, write_to)
        if number == 0 and not is_floor:
            run(*CHECKS[scenario.recipe.filesystem], write_to)
    print(
        f"{scenario.name}, round {number + 1}/{scenario.rounds}: {tool.name}: "
        f"{result['seconds']:.2f} s, load {result['load']:.1f}",
        flush=True,
    )
    return {"tool": tool.name, "round": number, **result}


def _copy(tool: peers.Tool, argv: list[str], source: str, target: str) -> dict[str, Any]:
    """Run a tool and flush what it wrote: what is not on the disk yet is part of the copy."""
    read_before, _ = transferred(source)
    _, written_before = transferred(target)
    with tempfile.TemporaryFile() as output:
        load = os.getloadavg()[0]
        noise = Noise.now()
        start = time.monotonic()
        process = _start(argv, output.fileno())
        try:
            rss = _wait(process)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
        with open(target, "rb+", buffering=0) as device:
            os.fsync(device.fileno())
        seconds = time.monotonic() - start
        busy = noise.processors_since()
        output.seek(0)
        text = output.read().decode(errors="replace").strip()
    if process.returncode != 0:
        raise CannotMeasure(f"{' '.join(argv)}: exit code {process.returncode}: {text[-500:]}")
    result: dict[str, Any] = {
        "seconds": seconds,
        "rss_mib": rss,
        "read_bytes": transferred(source)[0] - read_before,
        "written_bytes": transferred(target)[1] - written_before,
        "load": load,
        "busy_processors": busy,
    }
    if tool.name in (peers.AMILIFT, peers.VERIFIED):
        result["own"] = json.loads(text)
    return result


def _start(argv: list[str], output: int) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
        )
    except FileNotFoundError as error:
        raise CannotMeasure(f"'{argv[0]}' is not installed: run packaging/setup bench") from error


def _wait(process: subprocess.Popen[bytes]) -> float:
    """Wait for the end of a process; gives the most memory that it had.

    What wait4() tells would count this program's own memory, before the exec.
    """
    handle = os.pidfd_open(process.pid)
    try:
        ended = select.poll()
        ended.register(handle, select.POLLIN)
        rss, deadline = 0.0, time.monotonic() + DEADLINE
        while not ended.poll(20):
            rss = max(rss, peak_memory(process.pid))
            if time.monotonic() > deadline:
                raise CannotMeasure(f"{process.args!r} did not end within {DEADLINE:.0f} s")
    finally:
        os.close(handle)
    process.wait()
    return rss


@contextlib.contextmanager
def lazy_device(image: Path, work: Path) -> Iterator[str]:
    """A loop device on a disk that is loaded as it is read; nothing of it is loaded yet."""
    program = BUILD / "amilift-lazydisk"
    if not program.exists():
        raise CannotMeasure(
            "amilift-lazydisk was not built: run packaging/setup bench, then cmake again"
        )
    directory = work / "lazy"
    directory.mkdir()
    process = subprocess.Popen(
        [program, directory, image], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
    )
    try:
        deadline = time.monotonic() + 10
        while not os.path.ismount(directory):
            if process.poll() is not None or time.monotonic() > deadline:
                raise CannotMeasure(
                    f"amilift-lazydisk does not show '{image}': is /dev/fuse there?"
                )
            time.sleep(0.01)
        with loop_device(directory / "disk", read_only=True) as device:
            for limit, value in EBS_LIMITS.items():
                Path(f"/sys/block/{Path(device).name}/queue/{limit}").write_text(value)
            yield device
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.communicate(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
        if os.path.ismount(directory):
            run("umount", "--lazy", directory)
