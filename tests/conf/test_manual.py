# SPDX-License-Identifier: Apache-2.0
"""The manual pages and docs/operator.md say what the program says of itself."""

import json
import os
import pathlib
import re
import shutil
import subprocess

import pytest

ROOT = pathlib.Path(__file__).parents[2]
COMMANDS = ("agent", "convert", "plan", "inspect", "validate", "cleanup", "version")


def rendered(name):
    """A manual page as plain text, in one line."""
    if shutil.which("mandoc") is None:
        pytest.skip("mandoc is not installed (packaging/apt-packages, group lint)")
    done = subprocess.run(["mandoc", "-T", "utf8", "-O", "width=900", ROOT / "docs/man" / name],
                          stdout=subprocess.PIPE, timeout=30, check=True)
    return re.sub(r".\x08", "", done.stdout.decode())


def program():
    """The program of this build."""
    path = pathlib.Path(os.environ.get("AMILIFT_BUILD_DIR", "/nonexistent")) / "amilift"
    if not path.exists():
        pytest.skip(f"{path} is not built")
    return path


@pytest.mark.parametrize("name", ["amilift.1", "amilift-job.5"])
def test_page_is_clean(name):
    if shutil.which("mandoc") is None:
        pytest.skip("mandoc is not installed (packaging/apt-packages, group lint)")
    done = subprocess.run(["mandoc", "-T", "lint", "-W", "warning", ROOT / "docs/man" / name],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=30, check=False)
    assert done.stdout.decode() == ""
    assert done.returncode == 0


def synopsis_options(page, command):
    """The options of a command in the synopsis."""
    synopsis = page.split("DESCRIPTION", 1)[0]
    (line,) = [line for line in synopsis.splitlines()
               if re.match(rf"\s+amilift (\[--debug\] )?{command}\b", line)]
    return set(re.findall(r"--[a-z-]+", line)) - {"--debug"}


@pytest.mark.parametrize("command", COMMANDS)
def test_synopsis_has_the_options_of(command):
    done = subprocess.run([program(), command, "--help"], stdout=subprocess.PIPE, timeout=30,
                          check=True)
    options = set(re.findall(r"^ +(?:-\w,)?(--[a-z-]+)", done.stdout.decode(), re.M)) - {"--help"}
    assert synopsis_options(rendered("amilift.1"), command) == options


def test_no_command_is_missing():
    done = subprocess.run([program(), "--help"], stdout=subprocess.PIPE, timeout=30, check=True)
    listed = re.findall(r"^  ([a-z-]+) {2,}", done.stdout.decode().split("Subcommands:")[1], re.M)
    assert tuple(listed) == COMMANDS


def test_exit_codes_are_those_of_the_source():
    source = (ROOT / "agent/app/exit_code.hpp").read_text()
    codes = [int(value) for value in re.findall(r"^\s+\w+ = (\d+)", source, re.M)]
    assert len(codes) >= 12
    section = rendered("amilift.1").split("EXIT STATUS", 1)[1].split("EXAMPLES", 1)[0]
    assert [int(value) for value in re.findall(r"^ +(\d+) ", section, re.M)] == codes


def test_every_key_of_a_job_is_described():
    page = rendered("amilift-job.5")
    schema = json.loads((ROOT / "conf/job.schema.json").read_text())["$defs"]
    keys = []
    for key, value in schema["job"]["properties"].items():
        inner = value.get("properties", {})
        keys += [key] if key == "endpoints" or not inner else [f"{key}.{name}" for name in inner]
    keys += [f"job.{name}" for name in schema["pointer"]["properties"]["job"]["properties"]]
    assert len(keys) >= 19
    assert [key for key in keys if not re.search(rf"^ +.*\b{re.escape(key)}\b", page, re.M)] == []


def test_endpoint_takes_the_services_that_are_described(tmp_path):
    schema = json.loads((ROOT / "conf/job.schema.json").read_text())["$defs"]
    services = list(schema["job"]["properties"]["endpoints"]["properties"])
    assert f"({', '.join(services)})" in rendered("amilift.1")
    assert f"services {' and '.join(services)} to URLs" in rendered("amilift-job.5")
    # Refused before anybody is asked anything.
    done = subprocess.run([program(), "agent", "--endpoint", "sts=https://x.example",
                           "--state-dir", tmp_path, "--runtime-dir", tmp_path],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=30, check=False)
    assert f"no service 'sts', expected {' or '.join(services)}" in done.stderr.decode()
    assert done.returncode == 3


def as_text(value):
    """A value of JSON as the manual writes it; None where words take its place."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return "[" + ", ".join(f'"{item}"' if "," in item else item for item in value) + "]"
    return None if value == {} else value


def test_every_default_of_a_job_is_told():
    page = rendered("amilift-job.5").split("Pointer to a job", 1)[0]
    blocks = {}
    for names, text in re.findall(r"^ {5}(\S.*)\n((?: {13}.*\n|\n)+)", page, re.M):
        blocks |= dict.fromkeys(names.split(", "), text.translate({ord(c): None for c in "‘’"}))
    keys = json.loads((ROOT / "conf/job.schema.json").read_text())["$defs"]["job"]["properties"]
    told = 0
    for key, value in keys.items():
        inner = {} if key == "endpoints" else value.get("properties", {})
        for name, schema in ({key: value} if not inner else
                             {f"{key}.{name}": schema for name, schema in inner.items()}).items():
            default = as_text(schema.get("default"))
            if default is not None:
                text = blocks[name]
                assert f"Default: {default}." in text or f"{default} (default)" in text, name
                told += 1
    assert told == 15
    pv = keys["target"]["allOf"][0]["then"]["properties"]
    for key, schema in pv.items():
        assert f"{schema['default']} for target.{key}" in blocks["target.virtualization"], key


def test_operator_page_has_every_state_and_refusal_of_the_source():
    page = (ROOT / "docs/operator.md").read_text()
    states = re.findall(r'\{State::\w+, "([a-z-]+)"\}',
                        (ROOT / "agent/flow/states.cpp").read_text())
    assert len(states) >= 10
    assert [state for state in states if f"`{state}`" not in page and state != "ended"] == []
    header = (ROOT / "agent/flow/preflight.hpp").read_text()
    refusals = re.findall(r'"([a-z-]+)"', header[header.index("Each refusal"):header.index("[[")])
    assert len(refusals) >= 7
    assert [name for name in refusals if f"`{name}`" not in page] == []
    ids = re.findall(r'Severity::refusal, "([a-z-]+)"', "".join(
        path.read_text() for path in sorted((ROOT / "agent/image").glob("*.cpp"))))
    assert {"xen-only-kernel", "no-menu"} <= set(ids)
    assert [name for name in ids if f"`{name}`" not in page] == []
