"""The filesystems that are copied: made by recipe, kept in the cache, counted by other tools."""

from __future__ import annotations

import json
import os
import random
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path

from .host import GIB, MIB, cache_directory, loop_device, mounted, run

#: Raise it when fill() or count() changes: sources made by another recipe are not used again.
RECIPE = 3
BLOCK = 4096
ZEROS = bytes(BLOCK)
MAKE = {
    "ext4": ["mke2fs", "-q", "-F", "-t", "ext4", "-E", "lazy_itable_init=0,lazy_journal_init=0"],
    "ext3": ["mke2fs", "-q", "-F", "-t", "ext3", "-E", "lazy_itable_init=0,lazy_journal_init=0"],
    "xfs": ["mkfs.xfs", "-q", "-f"],
}


@dataclass(frozen=True)
class Recipe:
    """A filesystem: `percent` of the device are in use, or, when 0, `data_mib` of files in it."""

    filesystem: str
    gib: float
    percent: int = 0
    data_mib: int = 0

    @property
    def path(self) -> Path:
        """Where the image is kept."""
        key = sha256(json.dumps([RECIPE, asdict(self)]).encode()).hexdigest()[:12]
        return cache_directory() / "bench" / f"{self.filesystem}-{self.gib:g}g-{key}.img"

    @property
    def title(self) -> str:
        """For people."""
        amount = f"{self.percent} % full" if self.percent else f"{self.data_mib} MiB of files"
        names = {"ext3": "ext3", "ext4": "ext4", "xfs": "XFS"}
        return f"{names[self.filesystem]} of {self.gib:g} GiB, {amount}"


@dataclass(frozen=True)
class Source:
    """A recipe's image, and what is in it."""

    recipe: Recipe
    image: Path
    used_bytes: int
    #: Of the used bytes, in blocks of 4 KiB that are not all zeros.
    nonzero_bytes: int
    used_extents: int


def prepare(recipe: Recipe) -> Source:
    """The source of a recipe, made and counted unless it is there."""
    image = recipe.path
    counted = image.with_suffix(".json")
    if not image.exists():
        print(f"making the source: {recipe.title}, in {image}", flush=True)
        image.parent.mkdir(parents=True, exist_ok=True)
        filled, unfinished = (image.with_suffix(f".{os.getpid()}{end}") for end in ("", ".copy"))
        try:
            make(recipe, filled)
            # Its blocks lie on the host in the order in which they were written. A disk has them in
            # the order of their addresses, as the file of the floor does.
            run("cp", "--sparse=always", filled, unfinished)
            unfinished.rename(image)
        finally:
            filled.unlink(missing_ok=True)
            unfinished.unlink(missing_ok=True)
        counted.unlink(missing_ok=True)
    if not counted.exists():
        counted.write_text(json.dumps(count(recipe, image)) + "\n")
    return Source(recipe, image, **json.loads(counted.read_text()))


def make(recipe: Recipe, image: Path) -> None:
    """Format and fill."""
    with open(image, "wb") as file:
        file.truncate(int(recipe.gib * GIB))
    run(*MAKE[recipe.filesystem], image)
    with loop_device(image) as device, mounted(device, filesystem=recipe.filesystem) as directory:
        fill(directory, recipe)


def fill(directory: Path, recipe: Recipe) -> None:
    """A tree as of a machine in use: many sizes, deletions, sparse and preallocated files."""
    generator = random.Random(20)
    batch = 0
    written = 0
    while not _is_full(directory, recipe, written):
        folder = directory / f"var/data{batch}"
        folder.mkdir(parents=True)
        for number in range(150):
            size = int(2 ** generator.uniform(8, 21.5))
            (folder / f"f{number}").write_bytes(generator.randbytes(size))
            written += size
        with open(folder / "sparse", "wb") as sparse:
            sparse.seek(3 * MIB)
            sparse.write(b"x" * 5000)
        if batch % 5 == 0:
            with open(folder / "preallocated", "wb") as file:
                os.posix_fallocate(file.fileno(), 0, 8 * MIB)
        run("sync", "--file-system", directory)
        if batch % 3 == 0:
            for number in range(0, 150, 5):
                written -= (folder / f"f{number}").stat().st_size
                (folder / f"f{number}").unlink()
        batch += 1


def _is_full(directory: Path, recipe: Recipe, written: int) -> bool:
    if not recipe.percent:
        return written >= recipe.data_mib * MIB
    status = os.statvfs(directory)
    free = status.f_bfree * status.f_frsize
    return free <= recipe.gib * GIB * (100 - recipe.percent) / 100


def count(recipe: Recipe, image: Path) -> dict[str, int]:
    """What is in use, as the filesystem's own tools tell it."""
    free = _free_of_xfs(image) if recipe.filesystem == "xfs" else _free_of_ext(image)
    used = nonzero = extents = 0
    with open(image, "rb", buffering=0) as file:
        for start, end in _gaps(free, int(recipe.gib * GIB)):
            extents += 1
            used += end - start
            nonzero += _nonzero(file.fileno(), start, end)
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    return {"used_bytes": used, "nonzero_bytes": nonzero, "used_extents": extents}


def _free_of_ext(image: Path) -> list[tuple[int, int]]:
    """Free ranges in bytes, from dumpe2fs."""
    text = run("dumpe2fs", image)
    size = int(re.findall(r"^Block size:\s+(\d+)$", text, re.MULTILINE)[0])
    ranges = []
    for line in re.findall(r"^  Free blocks: (.*)$", text, re.MULTILINE):
        for part in filter(None, line.split(", ")):
            first, _, last = part.partition("-")
            ranges.append((int(first) * size, (int(last or first) + 1) * size))
    return sorted(ranges)


def _free_of_xfs(image: Path) -> list[tuple[int, int]]:
    """Free ranges in bytes, from xfs_db."""
    superblock = run("xfs_db", "-r", "-c", "sb 0", "-c", "p", image)
    shape = dict(re.findall(r"^(\w+) = (\d+)$", superblock, re.MULTILINE))
    size, group = int(shape["blocksize"]), int(shape["agblocks"])
    ranges = []
    for line in run("xfs_db", "-r", "-c", "freesp -d", image).splitlines():
        words = line.split()
        if len(words) != 3 or not all(word.isdigit() for word in words):
            continue  # a heading, or the histogram below the list
        number, block, length = map(int, words)
        start = (number * group + block) * size
        ranges.append((start, start + length * size))
    return sorted(ranges)


def _gaps(free: list[tuple[int, int]], size: int) -> Iterator[tuple[int, int]]:
    """What is not free."""
    at = 0
    for start, end in free:
        if start > at:
            yield at, start
        at = max(at, end)
    if at < size:
        yield at, size


def _nonzero(descriptor: int, start: int, end: int) -> int:
    """Bytes of the range in blocks that are not all zeros."""
    nonzero = 0
    while start < end:
        data = os.pread(descriptor, min(end - start, 4 * MIB), start)
        blocks = range(0, len(data), BLOCK)
        nonzero += sum(BLOCK for at in blocks if data[at : at + BLOCK] != ZEROS[: len(data) - at])
        start += len(data)
    return nonzero


def dense_file(used_bytes: int) -> Path:
    """A file without holes of at least that size, for the floor."""
    size = next(size for size in (GIB // 2, 4 * GIB, 64 * GIB) if size >= used_bytes)
    path = cache_directory() / "bench" / f"dense-{size // MIB}m.img"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(f".{os.getpid()}")
        try:
            generator = random.Random(size)
            with open(unfinished, "wb") as file:
                for _ in range(size // (8 * MIB)):
                    file.write(generator.randbytes(8 * MIB))
                os.fsync(file.fileno())
            unfinished.rename(path)
        finally:
            unfinished.unlink(missing_ok=True)
    return path
