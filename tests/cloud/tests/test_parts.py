"""Small parts on their own: DNS, the certificate authority, sparse files, one per process."""

from __future__ import annotations

import os
import socket
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import QUICK

from localec2 import LocalEc2, LocalEc2Error, Settings
from localec2.dns import DnsServer, lookup, parse_question
from localec2.pki import ensure_authority
from localec2.storage import copy_sparse

NAMES = {"ec2.us-east-1.amazonaws.com": "10.1.1.1", "*.s3.us-east-1.amazonaws.com": "10.1.1.2"}


def question(name: str, kind: int = 1) -> bytes:
    labels = b"".join(bytes([len(p)]) + p.encode() for p in name.split("."))
    return struct.pack(">HHHHHH", 7, 0x0100, 1, 0, 0, 0) + labels + struct.pack(">BHH", 0, kind, 1)


def test_dns_answers_for_endpoints_and_notes_the_rest() -> None:
    asked: list[tuple[str, bool]] = []
    listener = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    listener.bind(("127.0.0.1", 0))
    server = DnsServer(listener, NAMES, lambda name, known: asked.append((name, known)))
    client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    client.settimeout(5)
    client.connect(listener.getsockname())

    def ask(query: bytes) -> tuple[int, int, bytes]:
        client.send(query)
        reply = client.recv(512)
        _, flags, _, answers, _, _ = struct.unpack_from(">HHHHHH", reply)
        return flags & 15, answers, reply[-4:]

    try:
        client.send(b"\0" * 5)  # not a question, no answer
        assert ask(question("EC2.us-east-1.amazonaws.com")) == (0, 1, bytes([10, 1, 1, 1]))
        assert ask(question("jobs.s3.us-east-1.amazonaws.com"))[2] == bytes([10, 1, 1, 2])
        assert ask(question("ec2.us-east-1.amazonaws.com", kind=28))[:2] == (0, 0)
        assert ask(question("example.com"))[:2] == (3, 0)
    finally:
        server.close()
        client.close()
    assert ("example.com", False) in asked
    assert ("ec2.us-east-1.amazonaws.com", True) in asked


@pytest.mark.parametrize("cut", range(1, 40))
def test_broken_questions_are_ignored(cut: int) -> None:
    whole = question("ec2.us-east-1.amazonaws.com")
    assert parse_question(whole[:cut]) is None
    assert parse_question(whole) is not None


def test_wildcards_match_below_only() -> None:
    assert lookup(NAMES, "a.b.s3.us-east-1.amazonaws.com") == "10.1.1.2"
    assert lookup(NAMES, "s3.us-east-1.amazonaws.com") is None


def test_the_authority_is_kept_and_a_broken_one_replaced(tmp_path: Path) -> None:
    first = ensure_authority(tmp_path)
    assert ensure_authority(tmp_path).certificate == first.certificate
    assert (tmp_path / "ca.key").stat().st_mode & 0o077 == 0
    (tmp_path / "ca.crt").write_text("broken")
    second = ensure_authority(tmp_path)
    assert second.certificate != first.certificate
    (tmp_path / "ca.key").write_bytes(b"")
    assert ensure_authority(tmp_path).certificate != second.certificate


def test_sparse_copies_stay_sparse(tmp_path: Path) -> None:
    source, target = tmp_path / "a", tmp_path / "b"
    with open(source, "wb") as file:
        for position in (0, 5 << 20, (9 << 20) + 123):
            file.seek(position)
            file.write(os.urandom(70_000))
        file.truncate(64 << 20)
    copy_sparse(source, target)
    assert source.read_bytes() == target.read_bytes()
    assert target.stat().st_blocks * 512 < 1 << 20


def test_one_local_ec2_per_process(cloud: LocalEc2, cache: Path) -> None:
    with pytest.raises(LocalEc2Error, match="already runs"):
        LocalEc2(cache=cache, settings=QUICK).__enter__()
    assert cloud.client("ec2").describe_volumes()["Volumes"] == []


def test_nothing_is_left_and_nothing_remembered(cache: Path, tmp_path: Path) -> None:
    for _ in range(2):
        with LocalEc2(cache=cache, settings=QUICK) as cloud:
            ec2 = cloud.client("ec2")
            assert ec2.describe_volumes()["Volumes"] == []
            assert cloud.client("s3").list_buckets()["Buckets"] == []
            ec2.create_volume(Size=1, AvailabilityZone="us-east-1a")
            cloud.put_job("jobs/x", b"")
            directory = cloud.directory
        assert not directory.exists()


SCRIPT = """
import os, signal, sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from localec2 import LocalEc2, Settings
with LocalEc2(cache=Path(sys.argv[2]), settings=Settings(qemu=False)) as cloud:
    print(cloud.directory, flush=True)
    os.kill(os.getpid(), signal.SIGTERM)
    signal.pause()
"""


def test_sigterm_cleans_up(cache: Path) -> None:
    source = Path(__file__).resolve().parents[1] / "src"
    result = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(source), str(cache)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 128 + 15, result.stderr
    assert not Path(result.stdout.strip()).exists()


def test_a_missing_image_is_named(cloud: LocalEc2, tmp_path: Path) -> None:
    with pytest.raises(LocalEc2Error, match="nothing.img"):
        cloud.import_image(tmp_path / "nothing.img")


def test_settings_know_their_endpoints() -> None:
    settings = Settings(endpoints=("ec2", "s3"))
    assert sorted(settings.endpoint_names()) == [
        "*.s3.us-east-1.amazonaws.com",
        "ec2.us-east-1.amazonaws.com",
        "s3.us-east-1.amazonaws.com",
    ]
