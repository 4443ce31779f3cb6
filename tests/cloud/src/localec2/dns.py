"""The resolver of a guest's VPC: knows the endpoints, and writes down every question."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Mapping

_TYPE_A = 1
_TTL_SECONDS = 60
_RESPONSE = 0x8580  # answer, authoritative, recursion desired and available
_NAME_ERROR = 3
_HEADER = struct.Struct(">HHHHHH")


def parse_question(query: bytes) -> tuple[str, int, bytes] | None:
    """Name (lower case), type and raw question of a DNS query; None when it is not one."""
    if len(query) < _HEADER.size or _HEADER.unpack_from(query)[2] != 1:
        return None
    labels = []
    position = _HEADER.size
    while True:
        if position >= len(query):
            return None
        length = query[position]
        if length == 0:
            break
        if length > 63 or position + 1 + length >= len(query):
            return None
        labels.append(query[position + 1 : position + 1 + length].decode("ascii", "replace"))
        position += 1 + length
    end = position + 5
    if end > len(query):
        return None
    kind = struct.unpack_from(">H", query, position + 1)[0]
    return ".".join(labels).lower(), kind, query[_HEADER.size : end]


def lookup(names: Mapping[str, str], name: str) -> str | None:
    """Address of `name`; keys of `names` may start with `*.`."""
    if name in names:
        return names[name]
    for pattern, address in names.items():
        if pattern.startswith("*.") and name.endswith(pattern[1:]):
            return address
    return None


class DnsServer:
    """Answers A questions from a table; everything else does not exist."""

    def __init__(
        self,
        listener: socket.socket,
        names: Mapping[str, str],
        on_question: Callable[[str, bool], None],
    ) -> None:
        self._listener = listener
        self._names = names
        self._on_question = on_question
        self._thread = threading.Thread(target=self._serve, name="dns", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop answering."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(timeout=5)

    def _serve(self) -> None:
        while True:
            try:
                query, peer = self._listener.recvfrom(1500)
            except OSError:
                return
            if not query:  # shutdown() wakes recvfrom() with nothing
                return
            answer = self.answer(query)
            if answer is not None:
                with contextlib.suppress(OSError):
                    self._listener.sendto(answer, peer)

    def answer(self, query: bytes) -> bytes | None:
        """The reply to a query, or None for what is not a query."""
        parsed = parse_question(query)
        if parsed is None:
            return None
        name, kind, question = parsed
        address = lookup(self._names, name)
        self._on_question(name, address is not None)
        identifier = _HEADER.unpack_from(query)[0]
        if address is None:
            return _HEADER.pack(identifier, _RESPONSE | _NAME_ERROR, 1, 0, 0, 0) + question
        if kind != _TYPE_A:
            return _HEADER.pack(identifier, _RESPONSE, 1, 0, 0, 0) + question
        record = struct.pack(">HHHIH", 0xC00C, _TYPE_A, 1, _TTL_SECONDS, 4)
        head = _HEADER.pack(identifier, _RESPONSE, 1, 1, 0, 0)
        return head + question + record + socket.inet_aton(address)
