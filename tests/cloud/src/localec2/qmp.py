"""A client of the QEMU Machine Protocol."""

from __future__ import annotations

import contextlib
import json
import queue
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .errors import LocalEc2Error

Event = dict[str, Any]

_REPLY_SECONDS = 60.0
_RETRY_SECONDS = 0.02


class QmpError(LocalEc2Error):
    """QEMU refused a command, or is gone."""


class Qmp:
    """One connection. Commands may come from several threads; they are carried out in turn."""

    def __init__(self, path: Path, *, alive: Callable[[], bool], seconds: float = 20.0) -> None:
        """Connect to the socket at `path`, which a starting QEMU creates while `alive()` holds."""
        self._socket = self._connect(path, alive, time.monotonic() + seconds)
        self._reader = self._socket.makefile("r", encoding="utf-8")
        self._lock = threading.Lock()
        self._replies: queue.Queue[dict[str, Any]] = queue.Queue()
        self._changed = threading.Condition()
        self._events: list[Event] = []
        self._closed = False
        self._await_greeting()
        threading.Thread(target=self._read, name=f"qmp-{path.parent.name}", daemon=True).start()
        self.command("qmp_capabilities")

    @staticmethod
    def _connect(path: Path, alive: Callable[[], bool], deadline: float) -> socket.socket:
        while True:
            connection = socket.socket(socket.AF_UNIX)
            try:
                connection.connect(str(path))
                return connection
            except OSError as error:
                connection.close()
                if not alive():
                    raise QmpError(f"QEMU ended before it opened '{path}'") from error
                if time.monotonic() > deadline:
                    raise QmpError(f"QEMU did not open '{path}' in time: {error}") from error
                time.sleep(_RETRY_SECONDS)

    def _await_greeting(self) -> None:
        try:
            greeting = self._reader.readline()
        except OSError as error:
            raise QmpError(f"QEMU ended before it said hello: {error}") from error
        if not greeting:
            raise QmpError("QEMU ended before it said hello")

    def _read(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            for line in self._reader:
                message = json.loads(line)
                if "event" in message:
                    with self._changed:
                        self._events.append(message)
                        self._changed.notify_all()
                else:
                    self._replies.put(message)
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._replies.put({"error": {"desc": "QEMU closed the connection"}})

    def command(self, name: str, **arguments: Any) -> Any:
        """Run a command; underscores in argument names become hyphens."""
        fields = {key.replace("_", "-"): value for key, value in arguments.items()}
        with self._lock:
            if self._closed:
                raise QmpError(f"{name}: QEMU is gone")
            message = json.dumps({"execute": name, "arguments": fields}) + "\n"
            try:
                self._socket.sendall(message.encode())
                reply = self._replies.get(timeout=_REPLY_SECONDS)
            except (OSError, queue.Empty) as error:
                raise QmpError(f"{name}: no reply from QEMU: {error!r}") from error
        if "error" in reply:
            raise QmpError(f"{name} {fields}: {reply['error']['desc']}")
        return reply["return"]

    def event_count(self) -> int:
        """How many events there were so far; a starting point for `wait_event`."""
        with self._changed:
            return len(self._events)

    def wait_event(
        self, accept: Callable[[Event], bool], seconds: float | None, start: int = 0
    ) -> Event | None:
        """The first event from number `start` on that `accept` takes.

        None when QEMU ends first. Raises QmpError after `seconds` (None: waits for ever).
        """
        deadline = None if seconds is None else time.monotonic() + seconds
        index = start
        with self._changed:
            while True:
                while index < len(self._events):
                    if accept(self._events[index]):
                        return self._events[index]
                    index += 1
                if self._closed:
                    return None
                left = None if deadline is None else deadline - time.monotonic()
                if left is not None and left <= 0:
                    raise QmpError(f"no such event within {seconds} s; last: {self._events[-3:]}")
                self._changed.wait(left)

    def ends(self, seconds: float) -> bool:
        """Whether QEMU is gone, or goes within so many seconds."""
        with self._changed:
            return self._changed.wait_for(lambda: self._closed, seconds)

    def close(self) -> None:
        """End the connection."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
