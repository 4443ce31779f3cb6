"""The tools that are compared, each as fast as its options make it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from .host import BUILD

EXT = frozenset({"ext3", "ext4"})
XFS = frozenset({"xfs"})
AMILIFT = "amilift"
VERIFIED = "amilift, verified"
DD = "dd bs=256M"
PLAIN_DD = "dd"
FLOORS = {"floor 16 x 1 MiB": (16, 1 << 20), "floor 32 x 512 KiB": (32, 512 << 10)}

#: Of source, target and a directory for this run: the words of a command.
Command = Callable[[str, str, Path], list[str]]


@dataclass(frozen=True)
class Tool:
    """One way to copy a filesystem from one device to another."""

    name: str
    filesystems: frozenset[str]
    command: Command
    #: One that a user would pick instead of amilift, and that should know better than dd.
    is_rival: bool = True


def _amilift(source: str, target: str, work: Path) -> list[str]:
    # With a journal, as on EC2, where a copy goes on after a crash.
    journal = str(work / "journal")
    return [str(BUILD / "amilift-copybench"), source, target, "--journal", journal]


def _amilift_verified(source: str, target: str, work: Path) -> list[str]:
    return [*_amilift(source, target, work), "--verify"]


def _dd(source: str, target: str, work: Path) -> list[str]:
    return ["dd", f"if={source}", f"of={target}", "bs=256M", "status=none"]


def _plain_dd(source: str, target: str, work: Path) -> list[str]:
    return ["dd", f"if={source}", f"of={target}", "status=none"]


def _partclone(program: str) -> Command:
    def command(source: str, target: str, work: Path) -> list[str]:
        return [program, "-b", "-q", "-s", source, "-O", target, "-L", "/dev/null"]

    return command


def _e2image(source: str, target: str, work: Path) -> list[str]:
    return ["e2image", "-ra", source, target]


def _xfs_copy(source: str, target: str, work: Path) -> list[str]:
    return ["xfs_copy", "-d", source, target]


def _qemu_img(source: str, target: str, work: Path) -> list[str]:
    # io_uring past the page cache, 16 requests in any order, and told that the target is empty.
    def device(path: str) -> str:
        return f"driver=host_device,filename={path},aio=io_uring,cache.direct=on"

    return [
        *("qemu-img", "convert", "-n", "-W", "-m", "16", "-t", "none", "-T", "none"),
        *("--target-is-zero", "--image-opts", device(source)),
        *("--target-image-opts", device(target)),
    ]


TOOLS = (
    Tool(AMILIFT, EXT | XFS, _amilift, is_rival=False),
    Tool(VERIFIED, EXT | XFS, _amilift_verified, is_rival=False),
    Tool(DD, EXT | XFS, _dd, is_rival=False),
    Tool("partclone.extfs", EXT, _partclone("partclone.extfs")),
    Tool("partclone.xfs", XFS, _partclone("partclone.xfs")),
    Tool("e2image -ra", EXT, _e2image),
    Tool("xfs_copy", XFS, _xfs_copy),
    Tool("qemu-img convert", EXT | XFS, _qemu_img),
)
ONCE = Tool(PLAIN_DD, EXT | XFS, _plain_dd, is_rival=False)


def tools_for(filesystem: str) -> list[Tool]:
    """All that can copy such a filesystem, amilift first."""
    return [tool for tool in TOOLS if filesystem in tool.filesystems]


def floor(name: str, read_bytes: int, write_bytes: int) -> Tool:
    """Reads and writes so many bytes at a depth, as a tool; its source is a file without holes."""
    depth, block = FLOORS[name]

    def command(source: str, target: str, work: Path) -> list[str]:
        return [
            *(str(BUILD / "amilift-copyfloor"), source, target),
            *("--read-bytes", str(read_bytes), "--write-bytes", str(write_bytes)),
            *("--depth", str(depth), "--block-bytes", str(block)),
        ]

    return Tool(name, EXT | XFS, command)
