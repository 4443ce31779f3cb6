"""Which sources are copied: those of the targets, and the sweeps of the plots."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from . import figures, peers
from .rounds import Scenario, measure
from .sources import Recipe

#: Left out where the target is no figure of the verify pass.
UNVERIFIED = frozenset({peers.VERIFIED})

#: Fullness and size of the sweeps. dd writes the whole device, so it is left out above DD_GIB.
PERCENTS = (10, 25, 50, 75, 95)
#: What recipes fill in one go is too much for the last per cent of a small filesystem.
QUICK_PERCENTS = (10, 50)
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
                without=frozenset({peers.DD}) | UNVERIFIED,
            ),
        ]
    quarter = [
        Scenario(name, Recipe(name, 8, 25), rounds or 5, floors=True, plain_dd=True)
        for name in figures.QUARTER_SCENARIOS
    ]
    return [
        *quarter,
        Scenario(
            figures.FULL_SCENARIO,
            Recipe("ext4", 4, 95),
            rounds or 5,
            floors=True,
            without=UNVERIFIED,
        ),
        Scenario(
            figures.LAZY_SCENARIO,
            Recipe("ext4", 6, 25),
            rounds or 3,
            lazy=True,
            without=UNVERIFIED,
        ),
        *(
            Scenario(
                name,
                Recipe(filesystem, 8, 25),
                rounds or 3,
                lazy=True,
                without=frozenset({peers.DD}) | UNVERIFIED,
            )
            for filesystem, name in figures.SCATTERED_SCENARIOS.items()
        ),
    ]


def measure_copies(quick: bool, rounds: int | None, only: list[str] | None) -> dict[str, Any]:
    """All scenarios of the targets, or those of these names."""
    chosen = [s for s in scenarios(quick, rounds) if not only or s.name in only]
    if not Path("/dev/fuse").exists() and any(s.lazy for s in chosen):
        print("not measured: a source that is loaded as it is read, for there is no /dev/fuse")
        chosen = [s for s in chosen if not s.lazy]
    return {scenario.name: measure(scenario) for scenario in chosen}


def measure_fullness(quick: bool, rounds: int | None) -> dict[str, Any]:
    """One size, ever fuller; for a quick run a small one."""
    return {
        str(percent): measure(
            Scenario(
                f"{percent} % full",
                Recipe("ext4", 0.5 if quick else PERCENT_GIB, percent),
                rounds or (1 if quick else 3),
                without=UNVERIFIED,
            )
        )
        for percent in (QUICK_PERCENTS if quick else PERCENTS)
    }


def measure_sizes(quick: bool, rounds: int | None) -> dict[str, Any]:
    """The same files in ever larger filesystems; for a quick run in the two smallest."""
    return {
        str(gib): measure(
            Scenario(
                f"{gib} GiB",
                Recipe("ext4", gib, data_mib=SIZE_DATA_MIB),
                rounds or (1 if quick else 3),
                without=UNVERIFIED if gib <= DD_GIB else UNVERIFIED | {peers.DD},
            )
        )
        for gib in (SIZES[:2] if quick else SIZES)
    }
