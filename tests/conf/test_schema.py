# SPDX-License-Identifier: Apache-2.0
"""conf/job.schema.json and the reader of jobs say the same about every document.

The reader is asked through the program job_probe of the build. Where a rule cannot be written as a
schema, the `.expect` file of a sample says "# schema: accepts", and STRICTER below has the value.
"""

import json
import os
import pathlib
import subprocess
import sys

import jsonschema
import pytest

import strict_yaml

ROOT = pathlib.Path(__file__).parents[2]
JOBS = ROOT / "tests/data/jobs"
SCHEMA = json.loads((ROOT / "conf/job.schema.json").read_text())
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)
DIGEST = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def ask(documents, mode="job"):
    """What the reader says to each document (bytes)."""
    build = os.environ.get("AMILIFT_BUILD_DIR")
    if not build:
        pytest.skip("AMILIFT_BUILD_DIR does not name the build that has tests/job_probe")
    probe = pathlib.Path(build) / "tests/job_probe"
    data = b"".join(b"%d\n" % len(document) + document for document in documents)
    done = subprocess.run([probe, mode], input=data, stdout=subprocess.PIPE, timeout=60, check=True)
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(answers) == len(documents)
    return answers


def schema_accepts(data):
    """Whether the schema takes the document."""
    try:
        document = strict_yaml.load(data)
    except strict_yaml.Refused:
        return False
    return VALIDATOR.is_valid(document)


def samples(folder):
    """The job documents of the corpus."""
    files = sorted((JOBS / folder).glob("*.yaml"))
    assert len(files) >= 15
    return files


def test_schema_is_a_schema():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


def test_everything_is_described():
    missing = []

    def visit(node, path):
        if not isinstance(node, dict):
            return
        for name, child in node.get("properties", {}).items():
            target = child
            if "$ref" in child:
                target = {**SCHEMA["$defs"][child["$ref"].rsplit("/", 1)[1]], **child}
            if "description" not in target and "enum" not in target and name != "job":
                missing.append(f"{path}/{name}")
            visit(child, f"{path}/{name}")

    for name, definition in SCHEMA["$defs"].items():
        visit(definition, name)
    assert missing == []


@pytest.mark.parametrize("path", samples("valid"), ids=lambda path: path.stem)
def test_valid_sample_is_accepted(path):
    document = strict_yaml.load(path.read_bytes())
    VALIDATOR.validate(document)


@pytest.mark.parametrize("path", samples("invalid"), ids=lambda path: path.stem)
def test_invalid_sample_is_refused_unless_it_says_otherwise(path):
    expected = "# schema: accepts" in path.with_suffix(".expect").read_text().splitlines()
    assert schema_accepts(path.read_bytes()) == expected


@pytest.mark.parametrize("path", sorted((ROOT / "conf/jobs").glob("*.yaml")),
                         ids=lambda path: path.stem)
def test_example_is_accepted(path):
    VALIDATOR.validate(strict_yaml.load(path.read_bytes()))


def test_full_example_has_every_key():
    example = strict_yaml.load((ROOT / "conf/jobs/full.yaml").read_bytes())
    job = SCHEMA["$defs"]["job"]["properties"]
    assert set(example) | {"endpoints"} == set(job)
    for section in ("source", "target", "conversion", "finish"):
        assert set(example[section]) == set(job[section]["properties"]), section


def test_defaults_are_the_readers():
    (job,) = ask([b"source: {ami: ami-0abc1234}"])
    properties = SCHEMA["$defs"]["job"]["properties"]
    seen = 0
    for section in ("target", "conversion", "finish"):
        for key, schema in properties[section]["properties"].items():
            if key in ("platform", "size"):  # they have no default
                continue
            assert job[section][key] == schema["default"], f"{section}.{key}"
            seen += 1
    assert seen == 15
    assert properties["deadline"]["default"] == "2h" and job["deadline_seconds"] == 7200
    assert job["endpoints"] == properties["endpoints"]["default"]


def test_defaults_of_a_paravirtual_target_are_the_readers():
    (plain, job) = ask([b"source: {ami: ami-0abc1234}",
                        b"source: {ami: ami-0abc1234}\ntarget: {virtualization: paravirtual}"])
    (rule,) = SCHEMA["$defs"]["job"]["properties"]["target"]["allOf"]
    stated = {key: schema["default"] for key, schema in rule["then"]["properties"].items()}
    differs = {key for key in job["target"] if job["target"][key] != plain["target"][key]}
    assert stated == {key: job["target"][key] for key in differs - {"virtualization"}}
    assert len(stated) == 3


# Values that are right somewhere and wrong elsewhere; each is tried at every place of a job.
VALUES = [
    None, True, False, 0, 7, -1.5, "", " ", "x", "ab", "abc", "yes", "true", "42", "a b", "a,b",
    "Käse", "a\nb", "a\tb", "a\u0007b", "a\u007fb", "{", "}", "{{", "}}", "{{}}", "{date}",
    "{date", "date}", "{{date}}", "{{{date}}}", "{source.name}", "{source.ami}-{time}", "{job.id}",
    "{x}", "{ date }", "{}", "a{date}b", "it's [a] (name) ./-@_", "n" * 64, "n" * 65, "n" * 128,
    "n" * 129, "n" * 255, "n" * 256, "ami-0abc1234", "ami-0123456789abcdef0", "ami-0ABC1234",
    "ami-0abc123", "aki-0abc1234", "aki-0abc123", "auto", "hvm", "paravirtual", "/dev/xvda", "/dev/sda1", "/dev/sda", "gp3", "gp2",
    "standard", "io2", "fail", "suffix", "mbr", "in-place", "grub2", "grub-legacy", "terminate", "stop", "keep",
    "2h", "90m", "30s", "10s", "9s", "24h", "25h", "1h30m", "2d", "999999h", "1000000s", "h",
    "https://x", "http://x:80/p", "https://u@x", "https://x?q", "https://x:65535", "https://x:0",
    "https://x:65536", "https://[::1]:1", "https://[::1", "https://-x", "https://x-",
    "https://x-:1", "https://a..b", "https://a.b.", "https://x/a%20b", "https://", "ftp://x",
    "b-b/k", "s3://b-b/k", "s3://b-b/", "b/k", "B-b/k", "b..b/k", "10.0.0.1/k", "10.0.0.1.2/k",
    "1.2.3/k", "b-b./k", "-bb/k", "a.b.c/k/l m", "bb-/k", "b" * 64 + "/k", "b" * 63 + "/k",
    DIGEST, DIGEST.upper(), DIGEST[1:], "null", "v 1",
    [], ["tty0"], ["tty0", "tty0"], ["ttyS0,115200n8", "tty1"], ["hvc0"], ["ttyS0,"], ["ttyS0,9"],
    ["ttyS0,96"], ["tty0,96"], ["ttyS0,96n8r"], ["ttyS0,96r"], ["ttyS100"], [1], [["tty0"]],
    ["tty0"] * 5, ["tty0", "tty1", "tty2", "tty3"], ["tty0", "tty1", "tty2", "tty3", "tty4"],
    {}, {"a": "b"}, {"a": 1}, {"a": ""}, {"": "b"}, {"aws:a": "b"}, {"AMIlift:a": "b"},
    {"awsa": "b"}, {"k" * 128: "b"}, {"k" * 129: "b"}, {"a\nb": "c"}, {"a": "{x}"}, {"日本": "b"},
    {str(i): "x" for i in range(40)}, {str(i): "x" for i in range(41)}, {"ami": "ami-0abc1234"},
    {"ec2": "https://x"}, {"ec3": "https://x"}, {"s3": "https://x", "ec2": "https://y"},
    {"on_success": "keep"}, {"on_success": "no"}, {"bootloader": "grub2"}, {"consoles": ["tty0"]},
    {"name": "abc"}, {"tags": {"a": "b"}}, {"s3": "b-b/k", "sha256": DIGEST}, {"s3": "b-b/k"},
    {"sha256": DIGEST},
]

# Right for the schema and wrong for the reader: what a pattern cannot count or compare.
STRICTER = {
    "deadline": {"9s", "25h", "999999h"},
    "endpoints.ec2": {"https://x:0", "https://x:65536"},
    "target.name": {"n" * 129, "n" * 255, "n" * 256},
    "target.description": {"n" * 256},
    "target.tags.Key": {"n" * 256},
}


def places():
    """Yields (path, function that makes a document with a value there)."""
    base = {"source": {"ami": "ami-0abc1234"}}
    job = SCHEMA["$defs"]["job"]["properties"]
    for key, schema in job.items():
        yield key, lambda value, key=key: {**base, key: value}
        for inner in schema.get("properties", {}):
            if key == "endpoints" and inner != "ec2":
                continue
            yield f"{key}.{inner}", lambda value, key=key, inner=inner: {
                **base, key: {inner: value}}
    yield "target.tags.Key", lambda value: {**base, "target": {"tags": {"Key": value}}}
    yield "unknown", lambda value: {**base, "unknown": value}
    yield "job", lambda value: {"job": value}
    pointer = {"s3": "b-b/k", "sha256": DIGEST}
    for key in ("s3", "version", "sha256", "unknown"):
        yield f"job.{key}", lambda value, key=key: {"job": {**pointer, key: value}}
    yield "job beside a job", lambda value: {"job": pointer, "id": value}
    yield "(document)", lambda value: value


def test_schema_and_reader_agree_at_every_place():
    cases = [(path, value, make(value)) for path, make in places() for value in VALUES]
    answers = ask([json.dumps(document, ensure_ascii=False).encode() for _, _, document in cases])
    differences = []
    accepted = 0
    for (path, value, document), answer in zip(cases, answers, strict=True):
        by_schema = VALIDATOR.is_valid(document)
        by_reader = "error" not in answer
        accepted += by_reader
        stricter = isinstance(value, str) and value in STRICTER.get(path, ())
        if by_schema != (by_reader or stricter):
            differences.append((path, value, by_schema, answer.get("error")))
    assert differences == []
    assert accepted > 200


def test_mime_example_makes_user_data(tmp_path):
    script = tmp_path / "setup.sh"
    script.write_text("#!/bin/sh\necho hello\n")
    done = subprocess.run(
        [sys.executable, ROOT / "conf/jobs/mime-user-data.py", ROOT / "conf/jobs/minimal.yaml",
         script, ROOT / "conf/jobs/cloud-config.yaml"], stdout=subprocess.PIPE, timeout=30,
        check=True)
    # The last part is a job, too, which must be noticed.
    (answer,) = ask([done.stdout], "user-data")
    assert "2 jobs" in answer["error"]
    done = subprocess.run(
        [sys.executable, ROOT / "conf/jobs/mime-user-data.py", ROOT / "conf/jobs/minimal.yaml",
         script], stdout=subprocess.PIPE, timeout=30, check=True)
    (answer,) = ask([done.stdout], "user-data")
    assert answer["source"] == {"ami": "ami-0abc1234"}


def test_mime_example_refuses_what_ec2_would_refuse(tmp_path):
    script = tmp_path / "large.sh"
    script.write_text("#!/bin/sh\n" + "x" * 17000)
    done = subprocess.run(
        [sys.executable, ROOT / "conf/jobs/mime-user-data.py", ROOT / "conf/jobs/minimal.yaml",
         script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=30, check=False)
    assert done.returncode != 0
    assert done.stdout == b""
    assert b"16384" in done.stderr
