#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs the tests beside this script, or says what is missing and ends with 77 (skipped)."""

import importlib.util
import pathlib
import sys

MISSING = [name for name in ("jsonschema", "yaml", "pytest")
           if importlib.util.find_spec(name) is None]
if MISSING:
    print(f"skipped: {sys.executable} has no {', '.join(MISSING)}: "
          "pip install -r tests/cloud/requirements.txt, then set AMILIFT_PYTHON")
    sys.exit(77)

import pytest  # noqa: E402  (only after the check above)

sys.exit(pytest.main(["-q", "-p", "no:cacheprovider", str(pathlib.Path(__file__).parent)]))
