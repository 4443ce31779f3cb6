#!/usr/bin/env python3
"""Converts an AMI on a Local EC2 and boots the result, telling what happens.

A real helper instance (QEMU) gets a job as its user-data and is left alone: no login, no
network but the endpoints of AWS. The last line of a success is

  amilift demo: ami-... is HVM and booted to login in N s (helper i-... terminated, 0 volumes left)

and with --source-type hvm, for a source that is HVM already, "runs on Nitro" in place of "is HVM".
N counts from the launch of the helper. What is told is asserted, too: a call that the helper's
policy refused, a name that it looked up and does not need, or a volume that is left fails the
demonstration. After a failure the exit code is 1, and the message says which part failed and where
its logs are; they are all that stays.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent / "src"))

from botocore.exceptions import ClientError

from localec2 import HELPER_ROLE, LocalEc2, LocalEc2Error, Settings

#: What the helper's VPC has, besides the metadata service.
ENDPOINTS = ("ec2",)
JOB = """\
#amilift
source:
  ami: {ami}
target:
  name: "{{source.name}}-{suffix}-{{date}}"
  tags: {{Project: demo}}
{more}finish: {{on_success: terminate, on_failure: terminate}}
"""
#: Of a source that is HVM already: what it needs, and a disk that has to grow.
JOB_OF_HVM = "  platform: nitro\n  size: 4GiB\n"
SECTOR = 512
POLL_SECONDS = 0.2
SETTLE_SECONDS = 20
SHOWN_LINES = 12
ESCAPE_SEQUENCE = re.compile(r"\x1b(\[[0-9;?]*[ -/]*[@-~]|[ -/]*[0-~])")
#: From the agent's name on: before it, there may be a login prompt or a time.
AGENT_LINE = re.compile(r"(^|(?<=\s))amilift(\[\d+\])?[ :].*")


class DemoFailure(Exception):
    """A part of the demonstration did not do what it should."""


@dataclass
class Story:
    """Prints the story with the time since its start."""

    begin: float = field(default_factory=time.monotonic)
    chapter: str = "start"

    def tell(self, text: str) -> None:
        """Print one line, or several below one another."""
        for line in text.splitlines():
            print(f"{time.monotonic() - self.begin:6.1f} s  {line}", flush=True)

    def head(self, number: int, title: str) -> None:
        """Begin a chapter."""
        self.chapter = title
        print(flush=True)
        self.tell(f"({number}) {title}")

    def quote(self, text: str) -> None:
        """Print text that is not ours, indented."""
        for line in ESCAPE_SEQUENCE.sub("", text).rstrip().splitlines():
            self.tell(f"      {line}")


def main() -> int:
    """Run the demonstration; returns the exit code."""
    options = _parse()
    story = Story()
    directory = options.dir or Path(tempfile.mkdtemp(prefix="amilift-demo-"))
    failure = ""
    cloud = LocalEc2(directory, settings=Settings(endpoints=ENDPOINTS))
    try:
        with cloud:
            try:
                closing = _play(cloud, story, options)
                if cloud.errors:
                    raise DemoFailure(f"the Local EC2 had an error: {cloud.errors[0]}")
            finally:
                _keep_logs(cloud, directory)
    # Whatever it was, Ctrl-C and SIGTERM included: the part is named and the disks are removed.
    except BaseException as error:
        failure = _explained(error, directory)
    for dispensable in ("store", "tls"):  # gigabytes, and a key; nothing to read in either
        shutil.rmtree(directory / dispensable, ignore_errors=True)
    if failure:
        print(f"\namilift demo: FAILED in '{story.chapter}': {failure}", file=sys.stderr)
        print(
            f"amilift demo: consoles, QEMU logs and API calls are in {directory}", file=sys.stderr
        )
        return 1
    if options.dir is None and not options.keep:
        shutil.rmtree(directory, ignore_errors=True)
    print(f"\n{closing}", flush=True)
    return 0


def _explained(error: BaseException, directory: Path) -> str:
    """What to say about a failure; of one that nobody expected, the traceback goes to the logs."""
    if isinstance(error, (DemoFailure, LocalEc2Error, ClientError)):
        return str(error)
    log = directory / "traceback.txt"
    directory.mkdir(parents=True, exist_ok=True)
    log.write_text("".join(traceback.format_exception(error)), "utf-8")
    if isinstance(error, (KeyboardInterrupt, SystemExit)):
        return f"it was told to end ({type(error).__name__}: {error})"
    return f"{type(error).__name__}: {error} (see {log})"


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--helper", type=Path, required=True, help="raw root image of the helper")
    parser.add_argument("--kernel", type=Path, required=True, help="kernel of the helper")
    parser.add_argument("--source", type=Path, required=True, help="raw root image")
    parser.add_argument(
        "--source-type",
        choices=["pv", "hvm"],
        default="pv",
        help="a paravirtual root without a partition table, or a disk that boots by itself",
    )
    parser.add_argument("--dir", type=Path, help="keep logs here (default: a temporary directory)")
    parser.add_argument("--keep", action="store_true", help="keep the logs of a success as well")
    parser.add_argument(
        "--timeout", type=float, default=300, help="seconds for the helper, and again for the boot"
    )
    parser.add_argument(
        "--within",
        type=float,
        metavar="SECONDS",
        help="fail if it takes longer from the launch of the helper to the login of the result",
    )
    return parser.parse_args()


def _play(cloud: LocalEc2, story: Story, options: argparse.Namespace) -> str:
    """All chapters; returns the closing line."""
    ec2 = cloud.client("ec2")
    story.tell("A Local EC2 is up: EC2's API with QEMU guests as instances, no way out to the net.")
    source = _show_source(cloud, story, ec2, options)
    helper_snapshot = cloud.import_image(options.helper, "helper")
    helper_image = cloud.register_helper(helper_snapshot, options.kernel)

    story.head(2, "launch a helper with the job in its user-data")
    hvm = options.source_type == "hvm"
    job = JOB.format(ami=source, suffix="nitro" if hvm else "hvm", more=JOB_OF_HVM if hvm else "")
    story.quote(job)
    launched = time.monotonic()
    helper = cloud.run_instance(helper_image, user_data=job, profile=HELPER_ROLE)
    story.tell(f"RunInstances: {helper}. From here on nobody touches it.")

    story.head(3, "the helper works")
    _follow(cloud, story, ec2, helper, options.timeout)
    story.tell(f"{helper} is terminated, {time.monotonic() - launched:.0f} s after its launch.")
    _check_calls(cloud, story, helper)
    if hvm:
        _check_one_volume(cloud, helper)
    result = _result_of(ec2, helper)

    story.head(4, "the result")
    _check_result(cloud, story, ec2, result)
    booted = cloud.run_instance(result)
    story.tell(f"RunInstances of {result}: {booted}, firmware and boot loader from the disk itself")
    try:
        cloud.wait_console(booted, "login:", options.timeout)
    except LocalEc2Error as error:
        story.quote(_last_lines(cloud.console(booted)))
        raise DemoFailure(f"the result does not boot to a login prompt: {error}") from error
    seconds = time.monotonic() - launched
    story.quote(_last_lines(cloud.console(booted)))
    ec2.terminate_instances(InstanceIds=[booted])
    cloud.wait_state(booted, "terminated", SETTLE_SECONDS)
    _show_result(cloud, story, ec2, result, hvm)
    left = _volumes_left(cloud, ec2)
    if left:
        raise DemoFailure(f"volumes are left: {left}")
    if options.within is not None and seconds > options.within:
        raise DemoFailure(
            f"{seconds:.1f} s from the launch of {helper} to the login of {result}, "
            f"expected at most {options.within:g} s (this machine: {os.cpu_count()} processors, "
            f"load {os.getloadavg()[0]:.1f})"
        )
    became = "runs on Nitro" if hvm else "is HVM"
    return (
        f"amilift demo: {result} {became} and booted to login in {seconds:.0f} s "
        f"(helper {helper} terminated, {len(left)} volumes left)"
    )


# --- chapter 1 -------------------------------------------------------------------------------


def _show_source(cloud: LocalEc2, story: Story, ec2: Any, options: argparse.Namespace) -> str:
    if options.source_type == "hvm":
        return _show_hvm_source(cloud, story, ec2, options.source)
    story.head(1, "an AMI from the years before HVM")
    snapshot = cloud.import_image(options.source, "root of a paravirtual Debian")
    source = cloud.register_source(snapshot, "debian-pv")
    image = ec2.describe_images(ImageIds=[source])["Images"][0]
    kernel = ec2.describe_images(ImageIds=[image["KernelId"]])["Images"][0]
    story.tell(
        f"{source} '{image['Name']}': {image['VirtualizationType']}, {image['Architecture']}, "
        f"kernel {image['KernelId']} ({kernel['Name']})"
    )
    facts = dict(
        line.partition("=")[::2]
        for line in _run("blkid", "-p", "-o", "export", str(options.source)).splitlines()
    )
    if "PTTYPE" in facts:
        raise DemoFailure(f"the source has a {facts['PTTYPE']} partition table, expected none")
    story.tell(
        f"its disk: a bare {facts.get('TYPE')} filesystem, no partition table, no boot loader"
    )
    story.tell("its menu.lst, for a boot loader outside of the disk and a Xen console:")
    story.quote(_uncommented(_file_in(options.source, "/boot/grub/menu.lst")))
    story.tell("its fstab, with devices that only Xen hosts had:")
    story.quote(_uncommented(_file_in(options.source, "/etc/fstab")))
    return source


def _show_hvm_source(cloud: LocalEc2, story: Story, ec2: Any, disk: Path) -> str:
    story.head(1, "an AMI from the years before Nitro")
    source = cloud.register_hvm_source(cloud.import_image(disk, "disk of a Debian"), "debian-xen")
    image = ec2.describe_images(ImageIds=[source])["Images"][0]
    story.tell(
        f"{source} '{image['Name']}': {image['VirtualizationType']}, {image['Architecture']}, "
        f"EnaSupport {image.get('EnaSupport', False)}"
    )
    _show_disk(story, disk, "its")
    return source


def _show_disk(story: Story, disk: Path, whose: str) -> None:
    """Partition table, menu and fstab of a disk that boots by itself."""
    story.tell(f"{whose} partition table:")
    story.quote("\n".join(line.partition(" : ")[2] for line in _partition_lines(disk)))
    root = _root_partition(disk)
    story.tell(f"{whose} kernel line in grub.cfg:")
    menu = _file_in(root, "/boot/grub/grub.cfg")
    story.quote("\n".join(line.strip() for line in menu.splitlines() if "\tlinux\t" in line))
    story.tell(f"{whose} fstab:")
    story.quote(_uncommented(_file_in(root, "/etc/fstab")))


def _partition_lines(disk: Path) -> list[str]:
    return [line for line in _run("sfdisk", "--dump", str(disk)).splitlines() if " : " in line]


def _root_partition(disk: Path) -> str:
    """The largest partition, as debugfs names it."""
    table = json.loads(_run("sfdisk", "--json", str(disk)))["partitiontable"]
    root = max(table["partitions"], key=lambda partition: int(partition["size"]))
    return f"{disk}?offset={root['start'] * SECTOR}"


# --- chapter 3 -------------------------------------------------------------------------------


def _follow(cloud: LocalEc2, story: Story, ec2: Any, helper: str, timeout: float) -> None:
    """Show console and tags of the helper until it is terminated."""
    deadline = time.monotonic() + timeout
    console = _NewLines(lambda: cloud.console(helper))
    known: dict[str, str] = {}
    while True:
        ended = cloud.instance_state(helper) == "terminated"
        tags = _tags(ec2, helper)
        for key in sorted(key for key in tags if tags[key] != known.get(key)):
            if key.startswith("amilift:"):
                story.tell(f"  tag      {key} = {tags[key]}")
        known = tags
        for line in console.take(whole=ended):
            said = AGENT_LINE.search(ESCAPE_SEQUENCE.sub("", line))
            if said is not None:
                story.tell(f"  console  {said.group().strip()}")
        if ended:
            return
        if cloud.errors:
            raise DemoFailure(f"the Local EC2 had an error: {cloud.errors[0]}")
        if time.monotonic() > deadline:
            story.quote(_last_lines(cloud.console(helper)))
            raise DemoFailure(f"{helper} did not end within {timeout:.0f} s")
        time.sleep(POLL_SECONDS)


class _NewLines:
    """Lines that were added to a growing text since they were asked for last."""

    def __init__(self, read: Callable[[], str]) -> None:
        self._read = read
        self._shown: list[str] = []

    def take(self, *, whole: bool) -> list[str]:
        """New complete lines; with `whole`, an unfinished last one too."""
        lines = self._read().split("\n")
        if not whole:
            lines.pop()
        new = lines[len(self._shown) :]
        self._shown = lines
        return new


def _tags(ec2: Any, resource: str) -> dict[str, str]:
    filters = [{"Name": "resource-id", "Values": [resource]}]
    return {tag["Key"]: tag["Value"] for tag in ec2.describe_tags(Filters=filters)["Tags"]}


def _check_calls(cloud: LocalEc2, story: Story, helper: str) -> None:
    """What the helper asked of AWS, and of the name server: all of it allowed."""
    calls = cloud.wire.calls(lambda call: call.origin == helper)
    counts = Counter(call.action for call in calls)
    refused = sorted({call.action for call in calls if call.status == 403})
    story.tell(f"It made {len(calls)} API calls: {_counted(counts)}.")
    story.tell(f"Refused by its IAM policy: {', '.join(refused) or 'none'}.")
    asked = [(name, known) for who, name, known in cloud.egress.questions() if who == helper]
    names = Counter(name if known else f"{name} (no answer)" for name, known in asked)
    story.tell(f"Names that it looked up: {_counted(names)}.")
    if refused:
        raise DemoFailure(f"the helper's IAM policy refused {', '.join(refused)}")
    foreign = sorted({name for name, _ in asked} - set(cloud.settings.endpoint_names()))
    if foreign:
        raise DemoFailure(
            f"{helper} looked up {', '.join(foreign)}, expected only the endpoints of its VPC: "
            f"{', '.join(cloud.settings.endpoint_names())}"
        )


def _check_one_volume(cloud: LocalEc2, helper: str) -> None:
    """A disk that boots by itself is not copied: one volume is made, of the source's snapshot."""
    made = cloud.wire.calls(lambda call: call.origin == helper and call.action == "CreateVolume")
    if len(made) != 1 or "SnapshotId" not in made[0].params:
        raise DemoFailure(f"expected one volume, made of a snapshot, not {made}")


def _counted(counts: Counter[str]) -> str:
    return ", ".join(f"{n} {name}" if n > 1 else name for name, n in counts.most_common()) or "none"


# --- chapter 4 -------------------------------------------------------------------------------


def _result_of(ec2: Any, helper: str) -> str:
    """The AMI that the helper reported."""
    tags = _tags(ec2, helper)
    if "amilift:error" in tags or "amilift:result" not in tags:
        raise DemoFailure(
            f"{helper} ended in state {tags.get('amilift:state')!r} with result "
            f"{tags.get('amilift:result')!r}: {tags.get('amilift:error', 'it gave no reason')}"
        )
    return tags["amilift:result"]


def _check_result(cloud: LocalEc2, story: Story, ec2: Any, result: str) -> None:
    image = ec2.describe_images(ImageIds=[result])["Images"][0]
    story.tell(
        f"{result} '{image['Name']}': {image['VirtualizationType']}, {image['Architecture']}, "
        f"EnaSupport {image.get('EnaSupport', False)}, root {image['RootDeviceName']}"
    )
    for what, seen, expected in (
        ("virtualization type", image["VirtualizationType"], "hvm"),
        ("state", image["State"], "available"),
    ):
        if seen != expected:
            raise DemoFailure(f"{result} has {what} {seen!r}, expected {expected!r}")
    left = _volumes_left(cloud, ec2)
    if left:
        raise DemoFailure(f"the helper left volumes behind: {left}")
    story.tell("volumes left behind: none")


def _volumes_left(cloud: LocalEc2, ec2: Any) -> list[str]:
    """IDs of all volumes, after those that are being deleted are gone."""

    def volumes() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = ec2.describe_volumes()["Volumes"]
        return found

    cloud.wait(
        "deleted volumes to be gone",
        lambda: not any(volume["State"] == "deleting" for volume in volumes()),
        SETTLE_SECONDS,
    )
    return [volume["VolumeId"] for volume in volumes()]


def _show_result(cloud: LocalEc2, story: Story, ec2: Any, result: str, hvm: bool) -> None:
    """The new disk, as the helper left it."""
    image = ec2.describe_images(ImageIds=[result])["Images"][0]
    snapshot = image["BlockDeviceMappings"][0]["Ebs"]["SnapshotId"]
    disk = cloud.directory / "result.img"
    cloud.store.export_snapshot(snapshot, disk)
    try:
        if hvm:
            _show_disk(story, disk, "now its")
            return
        story.tell("its disk now:")
        story.quote("\n".join(line.partition(" : ")[2] for line in _partition_lines(disk)))
        root = _root_partition(disk)
        story.tell("its menu.lst now, still the one that its kernel packages update:")
        story.quote(_uncommented(_file_in(root, "/boot/grub/menu.lst")))
        story.tell("its fstab now:")
        story.quote(_uncommented(_file_in(root, "/etc/fstab")))
    finally:
        disk.unlink(missing_ok=True)


# --- helpers ---------------------------------------------------------------------------------


def _keep_logs(cloud: LocalEc2, directory: Path) -> None:
    """Write the API calls and name lookups beside the consoles."""
    calls = [call.as_dict() for call in cloud.wire.calls()]
    (directory / "wire.json").write_text(json.dumps(calls, indent=1), "utf-8")
    (directory / "egress.json").write_text(json.dumps(cloud.egress.questions()), "utf-8")
    (directory / "errors.txt").write_text("\n".join(cloud.errors), "utf-8")


def _run(*arguments: str) -> str:
    """Output of a program; DemoFailure when it fails or is missing."""
    try:
        result = subprocess.run(arguments, capture_output=True, text=True, timeout=60, check=False)
    except FileNotFoundError as error:
        raise DemoFailure(f"'{arguments[0]}' is not installed: run packaging/setup test") from error
    if result.returncode != 0:
        raise DemoFailure(f"{' '.join(arguments)}: {result.stderr.strip()}")
    return result.stdout


def _file_in(filesystem: Path | str, path: str) -> str:
    """A file of an ext filesystem in a file, without mounting it."""
    text = _run("debugfs", "-R", f"cat {path}", str(filesystem))
    if not text:
        raise DemoFailure(f"there is no '{path}' in '{filesystem}'")
    return text


def _uncommented(text: str) -> str:
    lines = (line.rstrip() for line in text.splitlines())
    return "\n".join(line for line in lines if line and not line.startswith("#"))


def _last_lines(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return "\n".join(lines[-SHOWN_LINES:])


if __name__ == "__main__":
    sys.exit(main())
