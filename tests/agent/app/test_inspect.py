# SPDX-License-Identifier: Apache-2.0
"""`amilift inspect` of real filesystems: its text, JSON, page and exit codes, and what it leaves behind. Needs root."""

from __future__ import annotations

import copy
import ctypes
import html.parser
import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
from small_image import KERNEL, image_of, tree_of

jsonschema = pytest.importorskip("jsonschema")

ROOT = Path(__file__).resolve().parents[3]
AMILIFT = Path(os.environ.get("AMILIFT_BUILD_DIR", "build")).resolve() / "amilift"
SCHEMA = json.loads((ROOT / "conf/inspection.schema.json").read_text())
MOUNTS = Path("/run/amilift")

READY, REFUSED, USAGE, INVALID, NOT_FOUND, DENIED, IO_ERROR, CANCELLED, REPAIRABLE = 0, 4, 2, 3, 5, 6, 7, 10, 12
EXISTS = CANCELLED
#: prctl(2), capabilities(7)
PR_CAPBSET_DROP, CAP_SETPCAP = 24, 8

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root for loop devices and mounts")

def mount_directories() -> set[str]:
    return {path.name for path in MOUNTS.glob("mount-*")}


def loops_of(image: Path) -> str:
    return subprocess.run(["losetup", "-j", image], capture_output=True, text=True, check=True, timeout=60).stdout


def inspect(image: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Runs it, and checks that the image is as before and that nothing of it is left."""
    before = image.read_bytes() if image.is_file() else b""
    directories = mount_directories()
    done = subprocess.run([AMILIFT, "inspect", image, *arguments], capture_output=True, text=True, timeout=120,
                          check=False)  # fmt: skip
    assert not image.is_file() or image.read_bytes() == before
    assert mount_directories() <= directories
    assert loops_of(image) == ""
    return done


def document(image: Path, *arguments: str) -> tuple[int, dict[str, Any]]:
    done = inspect(image, "--json", *arguments)
    assert done.stderr == ""
    return done.returncode, json.loads(done.stdout)


def closed(schema: Any) -> Any:
    """The schema, but every member must be described."""
    schema = copy.deepcopy(schema)

    def visit(node: Any) -> None:
        if isinstance(node, list):
            for child in node:
                visit(child)
        if isinstance(node, dict):
            for child in node.values():
                visit(child)
            if "properties" in node and isinstance(node["properties"], dict):
                node["additionalProperties"] = False

    visit(schema)
    return schema


def test_schema_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("platform", ["pv", "xen", "nitro", "nitro-uefi"])
def test_json_is_as_the_schema_says(tmp_path: Path, platform: str) -> None:
    code, seen = document(image_of(tree_of(tmp_path)), "--platform", platform)
    jsonschema.Draft202012Validator(closed(SCHEMA)).validate(seen)
    assert seen["platform"] == platform
    assert seen["verdict"] == seen["platforms"][platform]["verdict"]
    # A bare filesystem boots by PV-GRUB only.
    assert (code, seen["verdict"]) == ((READY, "ready") if platform == "pv" else (REPAIRABLE, "repairable"))
    assert seen["os"]["name"] == "Test \u2603 <b>"
    kernel = seen["kernels"][0]
    assert kernel["drivers"]["nvme"]["place"] == "built in"
    assert kernel["compression"] == "xz" and kernel["starts_on_efi"] and kernel["starts_on_xen_pv"]
    assert [entry["boots"] for entry in seen["menu"]["entries"]] == [True, False]
    assert seen["menu"]["entries"][0]["root"] == "LABEL=/"


def test_kernel_without_drivers_is_refused_on_nitro_only(tmp_path: Path) -> None:
    tree = tree_of(tmp_path)
    (tree / "lib/modules" / KERNEL / "modules.builtin").write_text(
        "kernel/drivers/block/xen-blkfront.ko\nkernel/drivers/net/xen-netfront.ko\n"
    )
    image = image_of(tree)
    code, seen = document(image)
    jsonschema.Draft202012Validator(closed(SCHEMA)).validate(seen)
    assert (code, seen["verdict"]) == (REFUSED, "refused")
    ids = [reason["id"] for reason in seen["platforms"]["nitro"]["reasons"] if reason["verdict"] == "refused"]
    assert ids == ["no-nvme-driver", "no-ena-driver"]
    assert document(image, "--platform", "xen")[0] == REPAIRABLE


def test_image_that_cannot_boot_has_a_refusal_that_the_schema_knows(tmp_path: Path) -> None:
    tree = tree_of(tmp_path)
    (tree / f"boot/vmlinuz-{KERNEL}").unlink()
    code, seen = document(image_of(tree))
    jsonschema.Draft202012Validator(closed(SCHEMA)).validate(seen)
    assert code == REFUSED
    assert {"kernel-missing"} == {finding["id"] for finding in seen["findings"] if finding["severity"] == "refusal"}


def test_text_tells_platforms_entries_and_findings(tmp_path: Path) -> None:
    tree = tree_of(tmp_path)
    menu = tree / "boot/grub/menu.lst"
    menu.write_bytes(menu.read_bytes().replace(b"the one", b"red\x1b[31m\xc2\x9b31m\x9b31m"))
    done = subprocess.run([AMILIFT, "inspect", image_of(tree)], capture_output=True, timeout=120, check=False)
    assert done.returncode == REPAIRABLE
    text = done.stdout.decode()  # UTF-8, all of it
    assert not any(ord(c) < 32 and c != "\n" or 127 <= ord(c) < 160 for c in text)
    for expected in ("PV              ready", "* Nitro (BIOS)    repairable", "no-boot-loader",
                     "* entry 0 'red\\x1b[31m\\xc2\\x9b31m\\x9b31m' at /boot/grub/menu.lst:3",
                     "nvme         built in", "entry 1 'other'", "Test \u2603 <b>"):  # fmt: skip
        assert expected in text


class Page(html.parser.HTMLParser):
    """Checks that elements are nested well, and collects their names."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_page_is_whole_and_has_no_markup_of_the_image(tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    assert inspect(image_of(tree_of(tmp_path)), "--html", file).returncode == REPAIRABLE
    text = file.read_text()
    page = Page()
    page.feed(text)
    page.close()
    assert page.open == []
    assert {"html", "head", "body", "table", "h1"} <= page.seen
    assert "b" not in page.seen and "script" not in page.seen
    assert "Test \u2603 &lt;b&gt;" in text


def test_page_takes_the_place_of_nothing_but_a_page(tmp_path: Path) -> None:
    image = image_of(tree_of(tmp_path))
    before = image.read_bytes()
    other = tmp_path / "other.img"
    other.write_bytes(b"a disk")
    link = tmp_path / "link"
    link.symlink_to(image)
    for name, code in ((image, INVALID), (link, INVALID), (other, EXISTS)):
        done = inspect(image, "--html", name)
        assert done.returncode == code, done.stderr
        assert name.name in done.stderr
    assert image.read_bytes() == before
    assert other.read_bytes() == b"a disk"
    page = tmp_path / "page.html"
    for _ in range(2):
        assert inspect(image, "--html", page).returncode == REPAIRABLE


def test_page_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    done = inspect(image_of(tree_of(tmp_path)), "--html", tmp_path / "none/report.html")
    assert done.returncode == NOT_FOUND
    assert "report.html" in done.stderr


def test_result_that_does_not_get_out_is_an_error(tmp_path: Path) -> None:
    image = image_of(tree_of(tmp_path))
    job = ROOT / "conf/jobs/minimal.yaml"
    for command in (["inspect", image], ["inspect", image, "--json"], ["plan", "--source", image],
                    ["plan", "--source", image, "--json"], ["validate", job], ["validate", "--json", job],
                    ["version"], ["version", "--json"], ["--help"]):  # fmt: skip
        with open("/dev/full", "wb") as full:
            done = subprocess.run([AMILIFT, *command], stdout=full, stderr=subprocess.PIPE, text=True, timeout=120,
                                  check=False)  # fmt: skip
        assert done.returncode == IO_ERROR, command
        assert "No space left on device" in done.stderr
    assert loops_of(image) == ""


def test_missing_image_and_unknown_platform_are_errors(tmp_path: Path) -> None:
    assert inspect(tmp_path / "none.img").returncode == NOT_FOUND
    assert inspect(image_of(tree_of(tmp_path)), "--platform", "azure").returncode == USAGE
    done = subprocess.run([AMILIFT, "inspect"], capture_output=True, timeout=60, check=False)
    assert done.returncode == USAGE


@pytest.mark.parametrize("command", [["inspect"], ["plan", "--source"]])
def test_disk_is_read_in_an_enclosed_process_or_not_at_all(tmp_path: Path, command: list[str]) -> None:
    image = image_of(tree_of(tmp_path))
    libc = ctypes.CDLL(None, use_errno=True)

    def cannot_enclose() -> None:
        # Root can mount and attach all the same, but not take capabilities away from the disk worker.
        if libc.prctl(PR_CAPBSET_DROP, CAP_SETPCAP, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "PR_CAPBSET_DROP")

    done = subprocess.run([AMILIFT, *command, image], capture_output=True, text=True, timeout=120, check=False,
                          preexec_fn=cannot_enclose)  # fmt: skip
    assert done.returncode == DENIED, done.stderr
    assert "cannot enclose the disk worker: PR_CAPBSET_DROP" in done.stderr
    assert done.stdout == ""
    assert loops_of(image) == ""


@pytest.mark.parametrize("command", [["inspect"], ["plan", "--source"]])
def test_disk_is_mounted_where_nobody_else_is(tmp_path: Path, command: list[str]) -> None:
    image = image_of(tree_of(tmp_path))
    # A /run of the caller's own, in which the caller would mount.
    script = 'mount -t tmpfs none /run; "$@"; code=$?; ls -A /run >&2; exit $code'
    done = subprocess.run(["unshare", "--mount", "sh", "-c", script, "sh", AMILIFT, *command, image, "--json"],
                          capture_output=True, text=True, timeout=120, check=False)  # fmt: skip
    assert (done.returncode, done.stderr) == (READY if command[0] == "plan" else REPAIRABLE, "")


def test_disk_is_found_however_it_is_named(tmp_path: Path) -> None:
    image = image_of(tree_of(tmp_path))
    code, expected = document(image)
    link = tmp_path / "link.img"
    link.symlink_to(image.name)
    del expected["source"]
    for name in (image.name, f"../{tmp_path.name}/{link.name}", "/dev/stdin"):
        with open(image, "rb") as file:
            done = subprocess.run([AMILIFT, "inspect", name, "--json"], stdin=file, capture_output=True, text=True,
                                  cwd=tmp_path, timeout=120, check=False)  # fmt: skip
        assert (done.returncode, done.stderr) == (code, ""), name
        seen = json.loads(done.stdout)
        assert seen.pop("source") == name
        assert seen == expected, name
    assert loops_of(image) == ""


@pytest.mark.parametrize("command", [["inspect"], ["plan", "--source"]])
def test_interrupt_leaves_nothing(tmp_path: Path, command: list[str]) -> None:
    image = image_of(tree_of(tmp_path))
    directories = mount_directories()

    def interrupt_pending() -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
        os.kill(os.getpid(), signal.SIGINT)

    done = subprocess.run([AMILIFT, *command, image], capture_output=True, text=True, timeout=120, check=False,
                          preexec_fn=interrupt_pending)  # fmt: skip
    # Who is first, the signal or the work, is open; what is left is not.
    assert done.returncode in {CANCELLED, READY if command[0] == "plan" else REPAIRABLE}
    assert mount_directories() <= directories
    assert loops_of(image) == ""
