#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes the user-data samples beside this script, as the usual tools make them.

Each sample is NAME.bin with NAME.expect: "ok: ORIGIN" or "ID: MESSAGE", what
decode_user_data() is to say. The samples are kept in the tree; run this after a change here.
"""

import base64
import gzip
import pathlib
from email.mime.application import MIMEApplication
from email.mime.message import MIMEMessage
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText

HERE = pathlib.Path(__file__).parent
JOB = "#amilift\nsource:\n  ami: ami-0abc1234\n"
CLOUD_CONFIG = "#cloud-config\npackages: [htop]\namilift:\n  source: {ami: ami-0abc1234}\n"
OTHER_CONFIG = "#cloud-config\npackages: [htop]\n"
SCRIPT = "#!/bin/sh\necho PASSWORD=hunter2\n"


def packed(data: bytes) -> bytes:
    """gzip without a time stamp, so that two runs give the same bytes."""
    return gzip.compress(data, mtime=0)


def message(*parts, boundary="==amilift=="):
    """A multipart/mixed message with a fixed boundary."""
    outer = MIMEMultipart("mixed", boundary)
    for part in parts:
        outer.attach(part)
    return outer


def text_part(text, subtype, name=None):
    """A text part; Python encodes it as base64 if it is not ASCII."""
    part = MIMEText(text, subtype)
    if name:
        part.add_header("Content-Disposition", "attachment", filename=name)
    return part


def gzip_part(data, subtype="gzip", name=None):
    """An application part with packed data, in base64."""
    part = MIMEApplication(packed(data), subtype)
    if name:
        part.add_header("Content-Disposition", "attachment", filename=name)
    return part


def nested(levels):
    """A job inside `levels` multiparts."""
    inner = text_part(JOB, "x-amilift")
    for level in range(levels):
        inner = message(inner, boundary=f"==level{level}==")
    return inner


def samples():
    """Yields (name, bytes, expectation)."""
    script = text_part(SCRIPT, "x-shellscript", "setup.sh")
    ok = "ok: user-data"
    yield "plain", JOB.encode(), ok
    yield "plain-crlf-bom", ("\ufeff" + JOB.replace("\n", "\r\n")).encode(), ok
    yield "blank-lines-first", ("\n\n  \n" + JOB).encode(), ok
    yield "cloud-config", CLOUD_CONFIG.encode(), ok
    yield "cloud-config-broken", CLOUD_CONFIG.replace("}", "").encode(), ok
    yield "gzip", packed(JOB.encode()), ok + " (gzip)"
    yield "gzip-two-members", packed(JOB.encode()) + packed(b"id: two\n"), ok + " (gzip)"
    yield "gzip-padded", packed(JOB.encode()) + bytes(100), ok + " (gzip)"
    yield "base64", base64.encodebytes(JOB.encode()), ok + " (base64)"
    yield "base64-one-line", base64.b64encode(JOB.encode()), ok + " (base64)"
    yield ("base64-gzip", base64.b64encode(packed(CLOUD_CONFIG.encode())),
           ok + " (base64) (gzip)")
    yield ("mime", message(script, text_part(JOB, "x-amilift", "job.yaml")).as_bytes(),
           ok + ", MIME part 2 'job.yaml'")
    yield "mime-crlf", message(script, text_part(JOB, "x-amilift")).as_bytes().replace(
        b"\n", b"\r\n"), ok + ", MIME part 2"
    yield ("mime-mbox-line", b"From nobody Sat Nov 21 09:30:00 2026\n" +
           message(text_part(JOB, "x-amilift")).as_bytes(), ok + ", MIME part 1")
    yield ("mime-utf-8", message(text_part(JOB + "id: x # Käse\n", "x-amilift")).as_bytes(),
           ok + ", MIME part 1")
    yield ("mime-no-first-line", message(script, text_part("source: {ami: ami-0abc1234}\n",
                                                           "x-amilift")).as_bytes(),
           ok + ", MIME part 2")
    yield ("mime-plain-text", message(text_part(JOB, "plain")).as_bytes(), ok + ", MIME part 1")
    yield ("mime-cloud-config", message(script, text_part(CLOUD_CONFIG, "cloud-config")).as_bytes(),
           ok + ", MIME part 2")
    yield ("mime-gzip-part", message(script, gzip_part(JOB.encode(), name="job.gz")).as_bytes(),
           ok + ", MIME part 2 'job.gz' (gzip)")
    yield "gzip-mime", packed(message(script, text_part(JOB, "x-amilift")).as_bytes()), (
        ok + " (gzip), MIME part 2")
    yield "base64-gzip-mime-gzip", base64.encodebytes(packed(message(
        gzip_part(JOB.encode())).as_bytes())), ok + " (base64) (gzip), MIME part 1 (gzip)"
    yield "mime-nested", message(script, nested(2)).as_bytes(), ok + ", MIME part 2.1.1"
    yield "mime-attached-message", message(script, MIMEMessage(
        message(text_part(JOB, "x-amilift"), boundary="==inner=="))).as_bytes(), (
        ok + ", MIME part 2.1")
    yield "mime-one-part", (b"MIME-Version: 1.0\nContent-Type: text/x-amilift\n\n" +
                            JOB.encode()), ok + ", MIME part 1"
    yield ("mime-quoted-printable",
           b"Content-Type: text/x-amilift\nContent-Transfer-Encoding: quoted-printable\n\n"
           b"source:\n  ami: ami=2D0abc=\n1234\n", ok + ", MIME part 1")
    yield ("mime-binary-neighbour", message(MIMEApplication(bytes(range(256))),
                                            text_part(JOB, "x-amilift")).as_bytes(),
           ok + ", MIME part 2")

    yield "empty", b"", "no-user-data: user-data is empty or not there, expected a job in it"
    yield "blank", b" \n\t\n", "no-user-data: user-data is empty or not there, expected a job in it"
    no_job = "no-job: user-data has no job; it is "
    other = "a text whose first line is not '#amilift'"
    yield "script", SCRIPT.encode(), no_job + "a script"
    yield ("cloud-config-without-job", OTHER_CONFIG.encode(),
           no_job + "a #cloud-config without the key 'amilift'")
    yield "include", b"#include\nhttps://example.com/x\n", no_job + "an #include list"
    yield "plain-word", b"abcd", no_job + other
    yield "word-in-base64", base64.b64encode(b"hello there"), no_job + other
    yield ("near-first-line", JOB.replace("#amilift", "# amilift").encode(),
           no_job + "a text whose first line is '# amilift', expected '#amilift'")
    yield ("no-first-line", JOB.replace("#amilift\n", "").encode(), no_job + other)
    yield ("mime-without-job", message(script, text_part(OTHER_CONFIG, "cloud-config")).as_bytes(),
           no_job + "a script (user-data, MIME part 1 'setup.sh'), a #cloud-config without the key "
           "'amilift' (user-data, MIME part 2)")
    yield ("mime-without-parts", message().as_bytes(),
           no_job + "an empty text (user-data, MIME part 1)")
    yield ("two-jobs", message(text_part(JOB, "x-amilift", "a.yaml"), script,
                               text_part(CLOUD_CONFIG, "cloud-config")).as_bytes(),
           "two-jobs: user-data has 2 jobs (user-data, MIME part 1 'a.yaml'; user-data, MIME part "
           "3), expected one")

    bad = "unreadable-user-data: user-data"
    yield "binary", bytes(range(256)), (
        bad + " is 256 bytes of binary data, expected UTF-8 text, gzip, MIME or base64")
    yield "latin-1", JOB.encode() + "# K\xe4se\n".encode("latin-1"), (
        bad + " is not UTF-8: byte 0xe4 in line 4")
    yield "utf-16", JOB.encode("utf-16"), bad + " is UTF-16, expected UTF-8"
    yield "gzip-cut-off", packed(JOB.encode())[:-12], bad + " is gzip data that ends too early"
    damaged = bytearray(packed(JOB.encode()))
    damaged[-6] ^= 0xFF
    yield "gzip-damaged", bytes(damaged), bad + " is gzip data that is damaged"
    yield "gzip-then-text", packed(JOB.encode()) + b"more", bad + " has 4 bytes after its gzip data"
    yield "gzip-bomb", packed(bytes(5 * 1024 * 1024)), bad + " unpacks to more than 4194304 bytes"
    half = gzip_part(b" " * (3 * 1024 * 1024))
    yield "mime-bombs", message(half, half).as_bytes(), (
        bad + ", MIME part 2 unpacks to more than 1048576 bytes")
    many = JOB.encode()
    for _ in range(7):
        many = packed(many)
    yield "gzip-in-gzip", many, bad + " (gzip)" * 6 + ": more than 6 layers of packing"
    yield ("mime-cut-off", message(script, text_part(JOB, "x-amilift")).as_bytes()[:-20],
           bad + " has a MIME multipart without its closing delimiter '--==amilift==--'")
    yield ("mime-too-deep", nested(12).as_bytes(),
           bad + " has more than 64 MIME parts or more than 8 levels of them")
    yield ("mime-too-many", message(*[text_part("x", "plain") for _ in range(200)]).as_bytes(),
           bad + " has more than 64 MIME parts or more than 8 levels of them")


def main():
    for name, data, expectation in samples():
        (HERE / f"{name}.bin").write_bytes(data)
        (HERE / f"{name}.expect").write_text(expectation + "\n")


if __name__ == "__main__":
    main()
