"""Which sources are copied: those of the targets, and the sweeps of the plots."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from . import figures, peers
from .rounds import Scenario, measure
from .sources import Recipe

#: Fullness and size of the sweeps. dd writes the whole device, so it is left out above DD_GIB.
PERCENTS = (10, 25, 50, 75, 95)
PERCENT_GIB = 4
SIZES = (1, 2, 4, 8, 16, 32, 64)
SIZE_DATA_MIB = 512
DD_GIB = 8


def scenarios(quick: bool, rounds: int | None) -> list[Scenario]:
    """Those of the targets; for a quick run small ones."""
    if quick:
        return [
            Scenario("ext4", Recipe("ext4", 0.5, 25), rounds or 1, floors=True),
            Scenario("xfs", Recipe("xfs", 0.5, 25), rounds or 1, floors=True),
            Scenario(
                figures.LAZY_SCENARIO,
                Recipe("ext4", 0.5, 25),
                rounds or 1,
                lazy=True,
                without=frozenset({peers.DD}),
            ),
        ]
    quarter = [
        Scenario(name, Recipe(name, 8, 25), rounds or 5, floors=True, plain_dd=True)
        for name in figures.QUARTER_SCENARIOS
    ]
    return [
        *quarter,
        Scenario(figures.FULL_SCENARIO, Recipe("ext4", 4, 95), rounds or 5, floors=True),
        Scenario(figures.LAZY_SCENARIO, Recipe("ext4", 6, 25), rounds or 3, lazy=True),
    ]


def measure_copies(quick: bool, rounds: int | None, only: list[str] | None) -> dict[str, Any]:
    """All scenarios of the targets, or those of these names."""
    chosen = [s for s in scenarios(quick, rounds) if not only or s.name in only]
    if not Path("/dev/fuse").exists() and any(s.lazy for s in chosen):
        print("not measured: a source that is loaded as it is read, for there is no /dev/fuse")
        chosen = [s for s in chosen if not s.lazy]
    return {scenario.name: measure(scenario) for scenario in chosen}


def measure_fullness(rounds: int | None) -> dict[str, Any]:
    """One size, ever fuller."""
    return {
        str(percent): measure(
            Scenario(f"{percent} % full", Recipe("ext4", PERCENT_GIB, percent), rounds or 3)
        )
        for percent in PERCENTS
    }


def measure_sizes(rounds: int | None) -> dict[str, Any]:
    """The same files in ever larger filesystems."""
    return {
        str(gib): measure(
            Scenario(
                f"{gib} GiB",
                Recipe("ext4", gib, data_mib=SIZE_DATA_MIB),
                rounds or 3,
                without=frozenset() if gib <= DD_GIB else frozenset({peers.DD}),
            )
        )
        for gib in SIZES
    }
