# SPDX-License-Identifier: Apache-2.0
"""`amilift convert` and `plan` of a local image: JSON, text, and progress on a terminal and elsewhere. Needs root."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from small_image import image_of, tree_of

AMILIFT = Path(os.environ.get("AMILIFT_BUILD_DIR", "build")).resolve() / "amilift"
ALREADY_EXISTS = 10
#: Where the filesystem is in the new disk.
ROOT = 1 << 20

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root for loop devices and mounts")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """An image with data enough for several lines of progress."""
    tree = tree_of(tmp_path)
    (tree / "data").write_bytes(os.urandom(64 << 20))
    return image_of(tree, 96)


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([AMILIFT, *arguments], capture_output=True, text=True, timeout=120, check=False)


def document(*arguments: str | Path) -> dict[str, Any]:
    """What a command prints with --json, and nothing else."""
    done = run(*arguments, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    parsed: dict[str, Any] = json.loads(done.stdout)
    assert parsed["version"] == 1
    assert parsed["ok"] is True
    return parsed


def file_of(filesystem: str | Path, path: str) -> bytes:
    """A file of an ext filesystem that is not mounted."""
    command = ["debugfs", "-R", f"cat {path}", str(filesystem)]
    return subprocess.run(command, capture_output=True, check=True, timeout=60).stdout


def test_json_of_a_conversion(source: Path, tmp_path: Path) -> None:
    plan = document("plan", "--source", source, "--verify-copy")
    new = tmp_path / "new.img"
    seen = document("convert", "--source", source, "--output", new, "--verify-copy")
    assert set(seen) == {"version", "ok", "plan", "manifest", "proofs", "copy"}
    assert seen["plan"] == {key: plan[key] for key in plan if key not in ("version", "ok")}
    assert set(seen["plan"]) == {"inspection", "used_bytes", "target_bytes", "steps"}
    assert new.stat().st_size == seen["plan"]["target_bytes"]
    inspected = json.loads(run("inspect", source, "--json").stdout)
    assert seen["plan"]["inspection"].items() <= inspected.items()

    assert all(re.match(r"[a-z-]+: .", proof) for proof in seen["proofs"])
    assert len(seen["proofs"]) > 5
    copied = seen["copy"]
    assert copied["engine"] in ("io_uring", "pread")
    assert copied["read_bytes"] == copied["written_bytes"] + copied["zero_bytes"]
    assert copied["read_bytes"] >= 64 << 20
    assert copied["verified_bytes"] >= copied["read_bytes"]
    assert copied["seconds"] > 0
    assert copied["verify_seconds"] > 0


def test_the_manifest_in_json_is_what_is_on_the_disks(source: Path, tmp_path: Path) -> None:
    new = tmp_path / "new.img"
    manifest = document("convert", "--source", source, "--output", new)["manifest"]
    assert (manifest["schema"], manifest["tool"]) == (1, "amilift")
    entries = {entry["path"]: entry for entry in manifest["entries"]}
    assert {"/boot/grub/menu.lst", "/boot/amilift/grub.cfg"} <= set(entries)
    assert "before" in entries["/boot/grub/menu.lst"]
    assert "before" not in entries["/boot/amilift/grub.cfg"]
    for path, entry in entries.items():
        if entry["kind"] != "file":
            continue
        for side, filesystem in (("before", source), ("after", f"{new}?offset={ROOT}")):
            if side in entry:
                content = file_of(filesystem, path)
                assert hashlib.sha256(content).hexdigest() == entry[side]["sha256"], (side, path)
                assert len(content) == entry[side]["size_bytes"], (side, path)


def test_what_is_planned_is_what_is_done(source: Path, tmp_path: Path) -> None:
    steps = document("plan", "--source", source)["steps"]
    planned = run("plan", "--source", source)
    assert planned.returncode == 0
    head, _, rest = planned.stdout.partition("\n")
    assert head.startswith(f"'{source}': ")
    assert rest == "".join(f"{step}\n" for step in steps)
    told = run("convert", "--source", source, "--output", tmp_path / "new.img").stderr
    numbered = [f"[{number}/{len(steps)}] {step}\n" for number, step in enumerate(steps, 1)]
    positions = [told.find(line) for line in numbered]
    assert -1 not in positions
    assert positions == sorted(positions)
    assert len(re.findall(r"^\[\d+/\d+\] ", told, re.MULTILINE)) == len(steps)


def test_progress_off_a_terminal_is_lines(source: Path, tmp_path: Path) -> None:
    told = run("convert", "--source", source, "--output", tmp_path / "new.img", "--verify-copy").stderr
    assert "\r" not in told
    assert "\x1b" not in told
    for verb in ("copied", "verified"):
        # At most one line for each tenth and one for the end.
        shares = [int(share) for share in re.findall(rf"^{verb} (\d+)% of \d+ MiB", told, re.MULTILINE)]
        assert 2 <= len(shares) <= 11, told
        assert shares == sorted(shares)
        assert shares[-1] == 100


def test_progress_on_a_terminal_is_a_bar(source: Path, tmp_path: Path) -> None:
    ours, theirs = os.openpty()
    with os.fdopen(theirs, "wb") as terminal, os.fdopen(ours, "rb", buffering=0) as screen:
        command = [AMILIFT, "convert", "--source", source, "--output", tmp_path / "new.img"]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=terminal) as process:
            terminal.close()
            told = b""
            with contextlib.suppress(OSError):  # EIO is the end of a terminal
                while chunk := screen.read(4096):
                    told += chunk
    assert process.returncode == 0
    assert re.search(rb"\r\[#{30}\] copied 100% of \d+ MiB[^\r\n]*\x1b\[K\r\n", told), told
    assert re.search(rb"^copied ", told, re.MULTILINE) is None


def test_json_of_a_failure(source: Path, tmp_path: Path) -> None:
    new = tmp_path / "new.img"
    new.write_text("somebody's")
    done = run("convert", "--json", "--source", source, "--output", new)
    assert (done.returncode, done.stderr) == (ALREADY_EXISTS, "")
    seen = json.loads(done.stdout)
    assert (seen["version"], seen["ok"]) == (1, False)
    assert set(seen["error"]) == {"code", "id", "message", "hint"}
    assert seen["error"]["code"] == "already_exists"
    assert str(new) in seen["error"]["message"]
    assert new.read_text() == "somebody's"
