"""Measures amilift beside what one would take instead, against the targets of docs/performance.md.

Prints tables, writes the figures as JSON and draws plots. A target that was missed is printed as
MISSED; the exit code is not 0 only when something could not be measured.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from . import agent, conversion, copies, figures, host, page, plots, repair

Group = Callable[[argparse.Namespace], dict[str, Any]]

#: In the order in which they are measured.
GROUPS: dict[str, Group] = {
    "copies": lambda options: copies.measure_copies(
        options.quick, options.rounds, options.scenario
    ),
    "agent": lambda options: agent.measure_agent(3 if options.quick else 11),
    "memory": lambda options: conversion.measure_memory(),
    "repair": lambda options: repair.measure_repairs(options.quick, options.rounds),
    "fullness": lambda options: copies.measure_fullness(options.quick, options.rounds),
    "sizes": lambda options: copies.measure_sizes(options.quick, options.rounds),
    "calls": lambda options: agent.measure_calls(),
}
#: All but the one that starts machines.
QUICK = tuple(name for name in GROUPS if name != "calls")


def main() -> int:
    """Measure, and tell."""
    options = _parse()
    if os.geteuid() != 0:
        raise host.CannotMeasure("needs root: loop devices and mounts")
    host.leave_on_sigterm()
    known = _known(options)
    for name in options.only or (QUICK if options.quick else GROUPS):
        measured = GROUPS[name](options)
        if name == "copies" and options.scenario:
            measured = {**known["groups"].get(name, {}), **measured}
        known["groups"][name] = measured
        known["machines"][name] = host.describe()
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(known, indent=1) + "\n")
    groups = known["groups"]
    found = figures.verdicts(groups)
    if options.quick:
        # Its sources are small: what a tool costs to start is most of their times.
        found = [verdict for verdict in found if verdict.met is not None]
    print()
    print(page.tables(groups, found))
    for path in plots.draw(groups, options.plots):
        print(f"plot: {path}")
    if options.page:
        page.rewrite(options.page, known)
    known["verdicts"] = figures.as_data(found)
    options.json.write_text(json.dumps(known, indent=1) + "\n")
    print(f"figures: {options.json}")
    missed = [verdict for verdict in found if verdict.met is False]
    for verdict in missed:
        print(f"MISSED {verdict.what}: {verdict.measured}, expected {verdict.bound}")
    print(f"{sum(verdict.met is True for verdict in found)} targets met, {len(missed)} missed")
    return 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench/run", description=__doc__)
    output = host.BUILD / "bench"
    parser.add_argument(
        "--quick", action="store_true", help="small sources, one round, no machines"
    )
    parser.add_argument(
        "--rounds", type=int, help="interleaved rounds (default 5, of slow sources 3)"
    )
    parser.add_argument(
        "--only",
        action="append",
        choices=list(GROUPS),
        help="measure this group, keep the last figures of the others; may be repeated",
    )
    parser.add_argument(
        "--scenario", action="append", choices=figures.SCENARIOS, help="of the copies, this one"
    )
    parser.add_argument(
        "--json", type=Path, help="figures (default build/bench/figures.json, or quick.json)"
    )
    parser.add_argument(
        "--plots", type=Path, help="where plots go (default build/bench, or build/bench/quick)"
    )
    parser.add_argument(
        "--page", type=Path, help="rewrite the measured part of this page, docs/performance.md"
    )
    options = parser.parse_args()
    options.json = options.json or output / ("quick.json" if options.quick else "figures.json")
    options.plots = options.plots or (output / "quick" if options.quick else output)
    if options.quick and options.page:
        parser.error("--page takes the figures of a whole run, not of --quick")
    return options


def _known(options: argparse.Namespace) -> dict[str, Any]:
    """What earlier runs have measured, when only a part is measured now."""
    if options.only and options.json.exists():
        known: dict[str, Any] = json.loads(options.json.read_text())
        return known
    return {"groups": {}, "machines": {}}


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (host.CannotMeasure, OSError, json.JSONDecodeError) as error:
        print(f"bench/run: cannot measure: {error}", file=sys.stderr)
        sys.exit(1)
