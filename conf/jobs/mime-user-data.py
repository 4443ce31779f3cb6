#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Puts a job and parts for cloud-init into one user-data document (MIME multipart).

    mime-user-data.py job.yaml setup.sh cloud.cfg > user-data
    aws ec2 run-instances --user-data file://user-data ...

The first file is the job. The others are cloud-init's; what they are is told by their first line
("#!" a script, "#cloud-config" a configuration).
"""

import pathlib
import sys
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText

LIMIT = 16 * 1024  # what EC2 takes, in bytes


def part(path, subtype):
    """One file as an attachment."""
    text = path.read_text(encoding="utf-8")
    if subtype is None:
        subtype = "x-shellscript" if text.startswith("#!") else "cloud-config"
    attachment = MIMEText(text, subtype)
    attachment.add_header("Content-Disposition", "attachment", filename=path.name)
    return attachment


def main(arguments):
    """Writes the document to standard output."""
    if not arguments:
        sys.exit(__doc__.strip())
    message = MIMEMultipart()
    for number, name in enumerate(arguments):
        message.attach(part(pathlib.Path(name), "x-amilift" if number == 0 else None))
    document = message.as_bytes()
    if len(document) > LIMIT:
        sys.exit(f"the document has {len(document)} bytes, EC2 takes at most {LIMIT}: "
                 "compress it with gzip, or put the job into S3")
    sys.stdout.buffer.write(document)


if __name__ == "__main__":
    main(sys.argv[1:])
