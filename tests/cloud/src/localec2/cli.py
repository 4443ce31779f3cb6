"""Command line of the Local EC2."""

from __future__ import annotations

import argparse
import json
import sys
import threading
import time
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from .cloud import LocalEc2
from .errors import LocalEc2Error
from .faults import Fault
from .settings import HELPER_ROLE, JOB_BUCKET, Settings


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    options = _parser().parse_args(arguments)
    try:
        settings = _settings(options)
        faults = [Fault.parse(text) for text in options.fault]
        with LocalEc2(options.dir, settings=settings, port=options.port) as cloud:
            for fault in faults:
                cloud.faults.add(fault)
            facts = _facts(cloud, options)
            if options.json:
                print(json.dumps(facts), flush=True)
            else:
                _print(facts)
            _wait_for_end(until_eof=options.json)
    except LocalEc2Error as error:
        print(f"localec2: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="localec2", description="EC2 on this machine, for tests")
    commands = parser.add_subparsers(dest="command", required=True)
    up = commands.add_parser("up", help="run until interrupted (with --json: until stdin closes)")
    up.add_argument("--dir", type=Path, help="keep all files here (default: a temporary directory)")
    up.add_argument(
        "--port", type=int, default=0, help="port of the endpoint (default: a free one)"
    )
    up.add_argument(
        "--no-qemu", action="store_true", help="the API alone: instances run nothing, start is fast"
    )
    up.add_argument(
        "--json", action="store_true", help="print one line of JSON; end when stdin closes"
    )
    up.add_argument("--helper", type=Path, help="raw root image to register as the helper AMI")
    up.add_argument("--kernel", type=Path, help="kernel of the helper image")
    up.add_argument("--source", type=Path, help="raw root image to register as a paravirtual AMI")
    up.add_argument(
        "--instance",
        action="store_true",
        help="start one instance with the helper's role (with --no-qemu: no image needed)",
    )
    up.add_argument("--user-data", type=Path, help="file with the user-data of that instance")
    up.add_argument(
        "--fault",
        action="append",
        default=[],
        metavar="ACTION[@NTH[xCOUNT]]=EFFECT",
        help="STATUS:CODE, garbage, hang:SECONDS, drop, truncate, delay:SECONDS, "
        "drop-after, hang-after:SECONDS, invisible, stuck, busy, failed",
    )
    up.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="SETTING=VALUE",
        help="change a setting, such as visibility_seconds=0 or snapshot_seconds=5",
    )
    return parser


def _settings(options: argparse.Namespace) -> Settings:
    settings = Settings(qemu=not options.no_qemu)
    kinds = {f.name: f.type for f in fields(Settings)}
    for text in options.set:
        name, equals, value = text.partition("=")
        kind = {"int": int, "float": float, "str": str}.get(str(kinds.get(name)))
        if not equals or kind is None:
            known = sorted(n for n, k in kinds.items() if k in ("int", "float", "str"))
            raise LocalEc2Error(f"--set {text}: expected SETTING=VALUE with one of {known}")
        try:
            settings = replace(settings, **{name: kind(value)})
        except ValueError:
            raise LocalEc2Error(f"--set {text}: {value!r} is not a number") from None
    return settings


def _facts(cloud: LocalEc2, options: argparse.Namespace) -> dict[str, Any]:
    """What a client has to know, after making the images and the instance that were asked for."""
    facts: dict[str, Any] = {
        "endpoint": cloud.endpoint,
        "tls_endpoint": cloud.tls_endpoint,
        "control": f"{cloud.endpoint}/_localec2/",
        "region": cloud.settings.region,
        "zones": list(cloud.settings.zones),
        "ca": str(cloud.authority.certificate_path),
        "access_key": cloud.admin.access_key,
        "secret_key": cloud.admin.secret_key,
        "helper_access_key": cloud.helper_user.access_key,
        "helper_secret_key": cloud.helper_user.secret_key,
        "instance_profile": HELPER_ROLE,
        "job_bucket": JOB_BUCKET,
        "directory": str(cloud.directory),
        "images": {},
    }
    if (options.helper is None) != (options.kernel is None):
        raise LocalEc2Error("--helper and --kernel belong together")
    if options.helper is not None:
        snapshot = cloud.import_image(options.helper, "helper")
        facts["images"]["helper"] = cloud.register_helper(snapshot, options.kernel)
    if options.source is not None:
        snapshot = cloud.import_image(options.source, "source")
        facts["source_snapshot"] = snapshot
        facts["images"]["source"] = cloud.register_source(snapshot, "source-pv")
    if options.instance:
        facts["instance"] = _start_instance(cloud, options, facts)
        facts["metadata"] = cloud.metadata_url(facts["instance"])
    return facts


def _start_instance(cloud: LocalEc2, options: argparse.Namespace, facts: dict[str, Any]) -> str:
    image = facts["images"].get("helper")
    if image is None:
        if cloud.settings.qemu:
            raise LocalEc2Error("--instance needs --helper and --kernel, or --no-qemu")
        blank = cloud.directory / "blank.img"
        with open(blank, "wb") as file:
            file.truncate(1 << 30)
        image = cloud.register_helper(cloud.import_image(blank, "blank"), blank)
        facts["images"]["helper"] = image
    data = options.user_data.read_text("utf-8") if options.user_data else None
    instance = cloud.run_instance(
        image, user_data=data, profile=HELPER_ROLE, tags={"amilift:role": "helper"}
    )
    cloud.wait_state(instance, "running", 60)
    return instance


def _print(facts: dict[str, Any]) -> None:
    print("Local EC2 is up. Press Ctrl-C to end it and everything in it.\n")
    print(f"  export AWS_ENDPOINT_URL={facts['endpoint']}")
    print(f"  export AWS_ACCESS_KEY_ID={facts['access_key']}")
    print(f"  export AWS_SECRET_ACCESS_KEY={facts['secret_key']}")
    print(f"  export AWS_DEFAULT_REGION={facts['region']}\n")
    print(f"  TLS endpoint  {facts['tls_endpoint']}  (CA {facts['ca']})")
    for name, image in facts["images"].items():
        print(f"  {name} image  {image}")
    if "instance" in facts:
        print(f"  instance      {facts['instance']}  metadata {facts['metadata']}")
    sys.stdout.flush()


def _wait_for_end(*, until_eof: bool) -> None:
    if not until_eof:
        while True:
            time.sleep(3600)
    ended = threading.Event()

    def read() -> None:
        while sys.stdin.buffer.read(4096):
            pass
        ended.set()

    threading.Thread(target=read, daemon=True).start()
    ended.wait()
