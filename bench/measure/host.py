"""The machine that is measured on: programs, loop devices and mounts that end, and noise."""

from __future__ import annotations

import contextlib
import os
import platform
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "build"
MIB = 1 << 20
GIB = 1 << 30


class CannotMeasure(Exception):
    """Something is missing or failed, so that there are no figures."""


def cache_directory() -> Path:
    """Where sources and images are kept from one run to the next."""
    named = os.environ.get("AMILIFT_CACHE")
    if named:
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "amilift"


def run(*argv: str | Path, timeout: float = 1800) -> str:
    """Standard output of a program; CannotMeasure when it fails or is missing."""
    words = [str(word) for word in argv]
    try:
        done = subprocess.run(
            words, stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout, check=False
        )
    except FileNotFoundError as error:
        raise CannotMeasure(
            f"'{words[0]}' is not installed: run packaging/setup bench test"
        ) from error
    except subprocess.TimeoutExpired as error:
        raise CannotMeasure(f"{' '.join(words)}: did not end within {timeout:.0f} s") from error
    if done.returncode != 0:
        said = (done.stderr or done.stdout).decode(errors="replace").strip()
        raise CannotMeasure(f"{' '.join(words)}: exit code {done.returncode}: {said[-500:]}")
    return done.stdout.decode(errors="replace").strip()


def leave_on_sigterm() -> None:
    """Make SIGTERM an exception, so that what is mounted and attached is taken away."""

    def leave(number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    signal.signal(signal.SIGTERM, leave)


@contextlib.contextmanager
def loop_device(path: Path, *, read_only: bool = False, offset: int = 0) -> Iterator[str]:
    """A loop device on a file, past the page cache of the file."""
    options = ["--direct-io=on", "--offset", str(offset)] + (["--read-only"] if read_only else [])
    device = run("losetup", "--find", "--show", *options, path)
    try:
        yield device
    finally:
        run("losetup", "--detach", device)


@contextlib.contextmanager
def mounted(device: str, *, filesystem: str, options: str = "noatime") -> Iterator[Path]:
    """A device mounted on a directory that exists for this."""
    with tempfile.TemporaryDirectory(prefix="amilift-bench-") as directory:
        run("mount", "-t", filesystem, "-o", options, device, directory)
        try:
            yield Path(directory)
        finally:
            run("umount", directory)


def forget(path: Path) -> None:
    """Drop a file's pages, so that no tool reads from memory what another one has read."""
    with open(path, "rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def remember(path: Path) -> None:
    """Read a file's data into the page cache, without its holes."""
    with open(path, "rb", buffering=0) as file:
        at, size = 0, path.stat().st_size
        while at < size:
            try:
                at = os.lseek(file.fileno(), at, os.SEEK_DATA)
            except OSError:
                return  # only a hole is left
            end = os.lseek(file.fileno(), at, os.SEEK_HOLE)
            while at < end:
                at += len(os.pread(file.fileno(), min(end - at, 4 * MIB), at))


def peak_memory(pid: int) -> float:
    """The most that a process has had resident since its exec, MiB; 0 when it has gone."""
    return _memory(pid, "VmHWM:")


def resident_memory(pid: int) -> float:
    """What a process has resident now, MiB; 0 when it has gone."""
    return _memory(pid, "VmRSS:")


def _memory(pid: int, field: str) -> float:
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith(field):
                return int(line.split()[1]) / 1024
    except OSError:
        pass
    return 0.0


def transferred(device: str) -> tuple[int, int]:
    """Bytes read from and written to a block device so far, as the kernel counts them."""
    fields = Path(f"/sys/block/{Path(device).name}/stat").read_text().split()
    return int(fields[2]) * 512, int(fields[6]) * 512


@dataclass(frozen=True)
class Noise:
    """Processor time of the whole machine at one moment."""

    when: float
    busy: float

    @staticmethod
    def now() -> Noise:
        """Read the counters."""
        ticks = [int(word) for word in Path("/proc/stat").read_text().split("\n")[0].split()[1:9]]
        return Noise(
            time.monotonic(), (sum(ticks) - ticks[3] - ticks[4]) / os.sysconf("SC_CLK_TCK")
        )

    def processors_since(self) -> float:
        """Processors that were busy on average since then, the kernel's threads included."""
        now = Noise.now()
        return (now.busy - self.busy) / max(now.when - self.when, 1e-3)


def describe() -> dict[str, object]:
    """The machine, for the record."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    source, filesystem = run(
        "findmnt", "--noheadings", "--output", "SOURCE,FSTYPE", "--target", cache_directory()
    ).split()[:2]
    return {
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "processor": model,
        "processors": os.cpu_count(),
        "memory_gib": round(pages / GIB, 1),
        "kernel": platform.release().partition("-")[0],
        "disk": f"{source}, {filesystem}",
        "load": [round(value, 1) for value in os.getloadavg()],
    }


def build(*targets: str) -> None:
    """Build targets in build/, configured already."""
    run("cmake", "--build", BUILD, "--target", *targets, timeout=3600)
