# SPDX-License-Identifier: Apache-2.0
"""Starts a virtual machine and reads its console until that tells how the boot ended."""
import os
import re
import selectors
import subprocess
import time
from typing import IO

LOGIN = re.compile(rb'login: ')
ESCAPES = re.compile(rb'\x1b[\[(][0-9;?=]*[A-Za-z]?')


def plain(text: bytes) -> bytes:
    """What a console got, without control sequences and carriage returns."""
    return ESCAPES.sub(b'', text).replace(b'\r', b'')


def boot(command: list[object], failures: re.Pattern[bytes], seconds: float,
         errors: IO[bytes] | int = subprocess.STDOUT, wanted: tuple[re.Pattern[bytes], ...] = (LOGIN,)) -> tuple[bool, bytes, float]:
    """Runs `command`, whose stdout is a console, until all that is `wanted`, one of `failures`, its end or `seconds` have passed.

    Tells whether all that is wanted was there before a failure, the plain text of the console and the seconds taken. `errors`
    gets stderr. The machine does not outlive the calling thread.
    """
    begun = time.monotonic()
    console, booted = b'', False
    # However this process ends, the machine ends with it.
    command = ['setpriv', '--pdeathsig', 'KILL', *command]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors) as machine:
        try:
            waiting = selectors.DefaultSelector()
            waiting.register(machine.stdout, selectors.EVENT_READ)
            while time.monotonic() - begun < seconds:
                if not waiting.select(timeout=1):
                    continue
                chunk = os.read(machine.stdout.fileno(), 65536)
                if not chunk:
                    break
                console += chunk
                text = plain(console)
                failed = failures.search(text)
                booted = not failed and all(pattern.search(text) for pattern in wanted)
                if booted or failed:
                    break
        finally:
            machine.kill()
    return booted, plain(console), time.monotonic() - begun
