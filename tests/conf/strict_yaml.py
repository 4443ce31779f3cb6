# SPDX-License-Identifier: Apache-2.0
"""Loads YAML the way conf/job.schema.json is meant: nothing ambiguous, nothing repeated.

What only the syntax shows (a repeated key, an alias, a tag, a second document) is an error here; a
plain scalar that YAML 1.1 and 1.2 read differently becomes an object that no schema type fits.
"""

import re

import yaml

MAX_BYTES = 64 * 1024
MAX_DEPTH = 32

NULL = re.compile(r"~|null|Null|NULL|", re.A)
NUMBER = re.compile(
    r"[-+]?(0x[0-9a-fA-F_]*[0-9a-fA-F][0-9a-fA-F_]*|0b[01_]*[01][01_]*|0o[0-7_]*[0-7][0-7_]*"
    r"|([0-9][0-9_]*:)+[0-9_]+(\.[0-9_]*)?"
    r"|([0-9][0-9_]*(\.[0-9_]*)?|\.[0-9][0-9_]*)([eE][-+]?[0-9]+)?"
    r"|\.(inf|Inf|INF|nan|NaN|NAN))", re.A)
DATE = re.compile(r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}([Tt \t].*)?", re.A)
OTHER_BOOLEAN = re.compile(r"(?i:yes|no|on|off|y|n|true|false)", re.A)


class Ambiguous:
    """A plain scalar that is not a text to every reader."""


class Refused(Exception):
    """The document is not a job for a reason that a schema cannot see."""


def load(data: bytes):
    """The document's value, the value of `amilift` in a cloud-config; Refused otherwise."""
    if len(data.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n")) > MAX_BYTES:
        raise Refused("too large")
    try:
        text = data.decode("utf-8-sig")
        nodes = list(yaml.compose_all(text, Loader=yaml.SafeLoader))
        events = list(yaml.parse(text, Loader=yaml.SafeLoader))
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise Refused(str(error)) from error
    if len(nodes) > 1:
        raise Refused("more than one document")
    if not nodes or nodes[0] is None:
        return None
    first = text.lstrip("\r\n\t ").split("\n", 1)[0].rstrip()
    node = nodes[0]
    job_keys = {"id", "source", "target", "conversion", "finish", "deadline", "endpoints", "job"}
    if isinstance(node, yaml.MappingNode):
        keys = [key.value for key, _ in node.value]
        wrapped = first == "#cloud-config" or (
            first != "#amilift" and "amilift" in keys and not job_keys & set(map(str, keys)))
        if wrapped:
            values = [value for key, value in node.value if key.value == "amilift"]
            if len(values) != 1:
                raise Refused("not one key amilift")
            return convert(values[0], 0)
    if any(isinstance(event, yaml.AliasEvent) for event in events):
        raise Refused("an alias")
    if any(getattr(event, "tag", None) not in (None, "!") for event in events):
        raise Refused("a tag")
    return convert(node, 0)


def convert(node, depth):
    """A node as Python data."""
    if depth > MAX_DEPTH:
        raise Refused("too deep")
    if isinstance(node, yaml.SequenceNode):
        return [convert(item, depth + 1) for item in node.value]
    if isinstance(node, yaml.MappingNode):
        out = {}
        for key_node, value_node in node.value:
            key = convert(key_node, depth + 1)
            if not isinstance(key, str):
                raise Refused("a key that is not a text")
            if key in out:
                raise Refused("a repeated key")
            out[key] = convert(value_node, depth + 1)
        return out
    if node.style is not None:
        return node.value
    return plain(node.value)


def plain(value):
    """A plain scalar's value."""
    if value in ("true", "false"):
        return value == "true"
    if NULL.fullmatch(value):
        return None
    if NUMBER.fullmatch(value):
        return 0
    if DATE.fullmatch(value) or OTHER_BOOLEAN.fullmatch(value):
        return Ambiguous()
    return value
