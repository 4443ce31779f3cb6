"""A small HTTP/1.1 server: keep-alive, TLS, raw requests in, full control over what goes out.

werkzeug's development server closes every connection and hides the raw request, and a helper
under emulation needs a second for each new TLS connection.
"""

from __future__ import annotations

import contextlib
import http.client
import http.server
import socket
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from .sigv4 import RawRequest

_MAX_BODY = 64 << 20
_IDLE_SECONDS = 120.0


@dataclass(frozen=True)
class Reply:
    """An answer. With `truncate`, half of the body is sent and the connection closed."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    truncate: bool = False


class Dropped(Exception):
    """Close the connection without an answer."""


#: Answers a request; called from the connection's own thread.
Handler = Callable[[RawRequest], Reply]


class HttpServer:
    """Serves `listener` until closed. One thread per connection."""

    def __init__(
        self,
        listener: socket.socket,
        handler: Handler,
        *,
        name: str,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._listener = listener
        self._handler = handler
        self._tls = tls
        self._lock = threading.Lock()
        self._connections: set[socket.socket] = set()
        self._closed = False
        self._thread = threading.Thread(target=self._accept, name=name, daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        """The TCP port of the listener."""
        return int(self._listener.getsockname()[1])

    def close(self) -> None:
        """Stop accepting, end all connections."""
        with self._lock:
            self._closed = True
            connections = list(self._connections)
        _shut(self._listener)
        for connection in connections:
            _shut(connection)
        self._thread.join(timeout=5)

    def _accept(self) -> None:
        while True:
            try:
                connection, address = self._listener.accept()
            except OSError:
                if self._closed:
                    return
                continue
            threading.Thread(
                target=self._serve, args=(connection, address), daemon=True, name="connection"
            ).start()

    def _serve(self, plain: socket.socket, address: object) -> None:
        with self._lock:
            if self._closed:
                plain.close()
                return
            self._connections.add(plain)
        connection = plain
        # A client may go away at any time, also within the TLS handshake: that is its business.
        with contextlib.suppress(OSError, ValueError):
            plain.settimeout(_IDLE_SECONDS)
            with contextlib.suppress(OSError):
                plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._tls is not None:
                connection = self._tls.wrap_socket(plain, server_side=True)
                with self._lock:
                    self._connections.discard(plain)
                    self._connections.add(connection)
            _Exchange(connection, address, self._handler)
        with self._lock:
            self._connections.discard(plain)
            self._connections.discard(connection)
        _shut(connection)


class _Exchange(http.server.BaseHTTPRequestHandler):
    """The requests of one connection."""

    protocol_version = "HTTP/1.1"

    def __init__(self, connection: socket.socket, address: object, handler: Handler) -> None:
        self._handler = handler
        super().__init__(connection, address, None)  # type: ignore[arg-type]

    def log_message(self, format: str, *args: object) -> None:
        """Nothing goes to the terminal: the wire log has it all."""

    def _answer(self) -> None:
        try:
            body = self._body()
        except (ValueError, http.client.HTTPException) as error:
            self._send(Reply(400, str(error).encode()))
            self.close_connection = True
            return
        headers = tuple((name.lower(), value.strip()) for name, value in self.headers.items())
        try:
            reply = self._handler(RawRequest(self.command, self.path, headers, body))
        except Dropped:
            self.close_connection = True
            return
        self._send(reply)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_OPTIONS = do_PATCH = _answer

    def _body(self) -> bytes:
        if "chunked" in self.headers.get("Transfer-Encoding", "").lower():
            return self._chunks()
        length = int(self.headers.get("Content-Length") or 0)
        if not 0 <= length <= _MAX_BODY:
            raise ValueError(f"Content-Length is {length}, expected 0 to {_MAX_BODY}")
        body = self.rfile.read(length)
        if len(body) != length:
            raise ValueError(f"body has {len(body)} of {length} bytes")
        return body

    def _chunks(self) -> bytes:
        body = bytearray()
        while size := int(self.rfile.readline(64).split(b";")[0], 16):
            if len(body) + size > _MAX_BODY:
                raise ValueError(f"chunked body is longer than {_MAX_BODY} bytes")
            body += self.rfile.read(size)
            self.rfile.readline(64)
        while self.rfile.readline(8192).strip():
            pass
        return bytes(body)

    def _send(self, reply: Reply) -> None:
        reason = http.client.responses.get(reply.status, "Unknown")
        headers = {
            "Date": self.date_time_string(),
            "Content-Length": str(len(reply.body)),
            **reply.headers,
        }
        head = f"HTTP/1.1 {reply.status} {reason}\r\n" + "".join(
            f"{name}: {value}\r\n" for name, value in headers.items()
        )
        body = b"" if self.command == "HEAD" else reply.body
        if reply.truncate:
            body = body[: len(body) // 2]
            self.close_connection = True
        self.wfile.write(head.encode("latin-1") + b"\r\n" + body)


def _shut(connection: socket.socket) -> None:
    # shutdown() also wakes a thread that waits in accept() or recv(); close() alone does not.
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
    with contextlib.suppress(OSError):
        connection.close()
