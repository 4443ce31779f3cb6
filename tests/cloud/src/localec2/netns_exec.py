"""Run a program in a network namespace of its own that has nothing but a loopback interface.

Started as a process of its own (never forked from the threaded Local EC2):

    netns_exec.py SOCKET_FD LOG ADDRESSES LISTENERS PROGRAM ARGUMENT...

ADDRESSES are put on the loopback interface. LISTENERS (`tcp:IP:PORT` or `udp:IP:PORT`) are opened
there and passed back through the UNIX socket SOCKET_FD, so that the Local EC2 can serve them from
outside. Then this process becomes PROGRAM, which can reach those addresses and nothing else, and
which dies with its parent. Both lists are comma separated. Uses only the standard library: it
runs in isolated mode.
"""

from __future__ import annotations

import array
import ctypes
import os
import signal
import socket
import subprocess
import sys

# <sched.h> and <sys/prctl.h>
_CLONE_NEWUSER = 0x10000000
_CLONE_NEWNET = 0x40000000
_PR_SET_PDEATHSIG = 1


def _call(libc: ctypes.CDLL, name: str, *arguments: int) -> None:
    if getattr(libc, name)(*arguments) != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{name}: {os.strerror(code)}")


def _new_namespace(libc: ctypes.CDLL) -> None:
    user, group = os.geteuid(), os.getegid()
    if user == 0:
        _call(libc, "unshare", _CLONE_NEWNET)
        return
    _call(libc, "unshare", _CLONE_NEWUSER | _CLONE_NEWNET)
    for name, text in (
        ("setgroups", "deny"),
        ("uid_map", f"0 {user} 1"),
        ("gid_map", f"0 {group} 1"),
    ):
        with open(f"/proc/self/{name}", "w", encoding="ascii") as file:
            file.write(text)


def _listen(specification: str) -> socket.socket:
    protocol, address, port = specification.split(":")
    stream = protocol == "tcp"
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM if stream else socket.SOCK_DGRAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((address, int(port)))
    if stream:
        listener.listen(64)
    return listener


def main() -> None:
    """See the module's text."""
    channel_fd, log, addresses, listeners, *program = sys.argv[1:]
    libc = ctypes.CDLL(None, use_errno=True)
    parent = os.getppid()
    _call(libc, "prctl", _PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit("the parent ended")
    _new_namespace(libc)
    commands = ["link set lo up"]
    commands += [f"addr add {address}/32 dev lo" for address in addresses.split(",")]
    subprocess.run(
        ["ip", "-batch", "-"], input="\n".join(commands) + "\n", text=True, check=True, timeout=30
    )
    sockets = [_listen(specification) for specification in listeners.split(",")]
    descriptors = array.array("i", [listener.fileno() for listener in sockets])
    channel = socket.socket(fileno=int(channel_fd))
    channel.sendmsg([b"ready"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, descriptors)])
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.execvp(program[0], program)


if __name__ == "__main__":
    main()
