"""The agent on a Local EC2: how soon it asks, what it holds while it waits, how often it calls."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from .host import BUILD, GIB, MIB, ROOT, CannotMeasure, resident_memory, run

AMILIFT = BUILD / "amilift"
#: What the agent needs to come to its first wait, seconds; more than that is a failure.
PATIENCE = 30.0
#: After CreateVolume: it waits for the volume then.
SETTLE = 1.0


def measure_agent(starts: int) -> dict[str, Any]:
    """Figures of the agent that need no guest."""
    runs = list(_starts(starts))
    stripped = _stripped_bytes() / MIB
    return {
        "starts": starts,
        "imds_ms": statistics.median(run["imds_ms"] for run in runs),
        "ec2_ms": statistics.median(run["ec2_ms"] for run in runs),
        "idle_mib": max(run["idle_mib"] for run in runs),
        "binary_mib": stripped,
        "runs": runs,
    }


def _stripped_bytes() -> int:
    with tempfile.TemporaryDirectory() as directory:
        copy = Path(directory) / "amilift"
        run("strip", "-o", copy, AMILIFT)
        return copy.stat().st_size


class Relay:
    """Passes connections on, and notes when the first bytes came."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._to = (parts.hostname or "", parts.port or 80)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.first: float | None = None
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Take no more connections."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._to)
                for connection in (client, server):
                    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                threading.Thread(
                    target=self._pass, args=(client, server, True), daemon=True
                ).start()
                threading.Thread(
                    target=self._pass, args=(server, client, False), daemon=True
                ).start()

    def _pass(self, source: socket.socket, target: socket.socket, asks: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if asks and self.first is None:
                    self.first = time.monotonic()
                target.sendall(data)
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_WR)


def _starts(count: int) -> Iterator[dict[str, float]]:
    """Start the agent for an instance each, up to where it waits for a volume."""
    sys.path.insert(0, str(ROOT / "tests" / "cloud" / "src"))
    try:
        from localec2 import HELPER_ROLE, LocalEc2, Settings
    except ImportError as error:
        raise CannotMeasure(
            f"the Local EC2 cannot start: {error}; run packaging/setup test"
        ) from error
    settings = Settings(qemu=False, volume_seconds=600, visibility_seconds=0, instance_seconds=0)
    with tempfile.TemporaryDirectory(prefix="amilift-bench-") as name:
        directory = Path(name)
        with LocalEc2(cache=directory / "cache", settings=settings) as cloud:
            blank = directory / "blank.img"
            with open(blank, "wb") as file:
                file.truncate(GIB)
            snapshot = cloud.import_image(blank)
            source = cloud.register_source(snapshot, "old")
            helper = cloud.register_helper(snapshot, blank)
            for number in range(count):
                job = f"#amilift\nsource: {{ami: {source}}}\ntarget: {{name: result-{number}}}\n"
                instance = cloud.run_instance(helper, user_data=job, profile=HELPER_ROLE)
                cloud.wait_state(instance, "running", PATIENCE)
                yield _start(cloud, instance, directory / str(number))


def _start(cloud: Any, instance: str, directory: Path) -> dict[str, float]:
    environment = _environment(directory)
    imds, ec2 = Relay(cloud.metadata_url(instance)), Relay(cloud.endpoint)
    cloud.wire.clear()
    log = directory / "log"
    argv: list[str | Path] = [
        *(AMILIFT, "agent", "--imds", imds.url, "--endpoint", f"ec2={ec2.url}"),
        *("--state-dir", directory / "state", "--runtime-dir", directory / "run"),
    ]
    with open(log, "wb") as output:
        begin = time.monotonic()
        process = subprocess.Popen(
            argv, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
        )
        try:
            while "CreateVolume" not in cloud.wire.actions():
                if process.poll() is not None or time.monotonic() - begin > PATIENCE:
                    raise CannotMeasure(f"the agent made no volume: {log.read_text()[-1000:]}")
                time.sleep(0.02)
            time.sleep(SETTLE)
            idle = resident_memory(process.pid)
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            imds.close()
            ec2.close()
    if imds.first is None or ec2.first is None:
        raise CannotMeasure("the agent asked nobody")
    return {
        "imds_ms": 1000 * (imds.first - begin),
        "ec2_ms": 1000 * (ec2.first - begin),
        "idle_mib": idle,
    }


def _environment(directory: Path) -> dict[str, str]:
    """With a systemctl that does nothing: no agent of a measurement ends this machine."""
    programs = directory / "programs"
    programs.mkdir(parents=True)
    (programs / "systemctl").write_text("#!/bin/sh\n")
    (programs / "systemctl").chmod(0o755)
    for name in ("state", "run"):
        (directory / name).mkdir()
    return {"PATH": f"{programs}:{os.environ['PATH']}"}


def measure_calls() -> dict[str, Any]:
    """The API calls of a whole conversion in guests, by action."""
    directory = Path(tempfile.mkdtemp(prefix="amilift-bench-demo-"))
    try:
        story = run(ROOT / "demo", "--dir", directory, timeout=3600)
        login = re.search(r"booted to login in (\d+) s", story)
        if not login:
            raise CannotMeasure(f"the demo told of no login: {story[-500:]}")
        calls = json.loads((directory / "wire.json").read_text())
        made = [call for call in calls if call["origin"].startswith("i-")]
        counts = Counter(call["action"] for call in made)
        return {
            "total": len(made),
            "by_action": dict(counts.most_common()),
            "errors": sum(call["status"] >= 400 for call in made),
            "seconds": made[-1]["time"] - made[0]["time"] if made else 0.0,
            "login_seconds": float(login[1]),
        }
    finally:
        shutil.rmtree(directory, ignore_errors=True)
