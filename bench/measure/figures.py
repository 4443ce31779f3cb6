"""What is promised, what was measured, and whether the two agree."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

from . import peers
from .host import MIB

QUARTER_SCENARIOS = ("ext4", "ext3", "xfs")
FULL_SCENARIO = "ext4, full"
LAZY_SCENARIO = "ext4, lazily loaded"
#: Their maps of what is in use lie in pieces all over the disk. Without dd, which takes minutes.
SCATTERED_SCENARIOS = {"ext3": "ext3, lazily loaded", "xfs": "xfs, lazily loaded"}
SCENARIOS = (
    *QUARTER_SCENARIOS,
    FULL_SCENARIO,
    LAZY_SCENARIO,
    *SCATTERED_SCENARIOS.values(),
)
#: What was measured, by group.
Groups = dict[str, Any]


@dataclass(frozen=True)
class Verdict:
    """One figure against its bound."""

    what: str
    bound: str
    measured: str
    #: None: not measured.
    met: bool | None

    @property
    def word(self) -> str:
        """For a table."""
        return {True: "met", False: "MISSED", None: "not measured"}[self.met]


def at_least(what: str, bound: float, value: float | None, unit: str = "x") -> Verdict:
    """A figure that should be large."""
    met = None if value is None else value >= bound
    return Verdict(what, f">= {bound:g}{unit}", _figure(value, unit), met)


def at_most(what: str, bound: float, value: float | None, unit: str = "x") -> Verdict:
    """A figure that should be small."""
    met = None if value is None else value <= bound
    return Verdict(what, f"<= {bound:g}{unit}", _figure(value, unit), met)


def _figure(value: float | None, unit: str) -> str:
    if value is None:
        return ""
    digits = 1 if abs(value) >= 10 else 2 if unit != "x" or abs(value) >= 2 else 3
    return f"{value:.{digits}f}{unit}"


# --- of one scenario -------------------------------------------------------------------------


def runs_of(scenario: dict[str, Any], tool: str) -> dict[int, dict[str, Any]]:
    """A tool's runs by round."""
    return {run["round"]: run for run in scenario["runs"] if run["tool"] == tool}


def ratio(scenario: dict[str, Any], tool: str) -> float | None:
    """How many times a tool's seconds are amilift's: the median of the rounds' ratios."""
    ours, theirs = runs_of(scenario, peers.AMILIFT), runs_of(scenario, tool)
    ratios: list[float] = [theirs[n]["seconds"] / ours[n]["seconds"] for n in theirs if n in ours]
    return float(statistics.median(ratios)) if ratios else None


def floor_ratio(scenario: dict[str, Any]) -> float | None:
    """amilift's seconds as a multiple of the floor's, at the depth that was the faster."""
    ratios = [ratio(scenario, name) for name in peers.FLOORS]
    return max((1 / value for value in ratios if value), default=None)


def rivals(scenario: dict[str, Any]) -> dict[str, float]:
    """The ratios of all tools but amilift, dd and the floor."""
    names = [tool.name for tool in peers.TOOLS if tool.is_rival]
    found = {name: ratio(scenario, name) for name in names}
    return {name: value for name, value in found.items() if value is not None}


def summary(scenario: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A line for each tool: medians of its rounds."""
    used = scenario["used_bytes"]
    for tool in dict.fromkeys(run["tool"] for run in scenario["runs"]):
        mine = list(runs_of(scenario, tool).values())

        def median(key: str, mine: list[dict[str, Any]] = mine) -> float:
            return float(statistics.median(run[key] for run in mine))

        yield {
            "tool": tool,
            "ratio": ratio(scenario, tool),
            "seconds": median("seconds"),
            "fastest": min(run["seconds"] for run in mine),
            "slowest": max(run["seconds"] for run in mine),
            "read": median("read_bytes") / used,
            "read_mib": median("read_bytes") / MIB,
            "written_mib": median("written_bytes") / MIB,
            "rss_mib": max(run["rss_mib"] for run in mine),
            "load": median("load"),
            "rounds": len(mine),
        }


# --- against the targets ---------------------------------------------------------------------


def verdicts(groups: Groups) -> list[Verdict]:
    """Every target, in the order of the documentation."""
    return [*_copies(groups), *_lazy(groups), *_process(groups), *_repairs(groups)]


def _scenario(groups: Groups, name: str) -> dict[str, Any] | None:
    found: dict[str, Any] | None = groups.get("copies", {}).get(name)
    return found


def _of(
    scenario: dict[str, Any] | None, value: Callable[[dict[str, Any]], float | None]
) -> float | None:
    return None if scenario is None else value(scenario)


def _share(run_key: str, source_key: str) -> Callable[[dict[str, Any]], float | None]:
    def share(scenario: dict[str, Any]) -> float:
        runs = runs_of(scenario, peers.AMILIFT).values()
        return float(statistics.median(run[run_key] for run in runs) / scenario[source_key])

    return share


def _slowest_rival(scenario: dict[str, Any]) -> float | None:
    return min(rivals(scenario).values(), default=None)


def _copies(groups: Groups) -> Iterator[Verdict]:
    for name in QUARTER_SCENARIOS:
        scenario = _scenario(groups, name)
        yield at_least(f"{name}: `{peers.DD}`", 4, _of(scenario, lambda s: ratio(s, peers.DD)))
        yield at_least(
            f"{name}: `{peers.PLAIN_DD}`", 25, _of(scenario, lambda s: ratio(s, peers.PLAIN_DD))
        )
    for name in SCENARIOS:
        yield at_least(
            f"{name}: the best other tool", 1, _of(_scenario(groups, name), _slowest_rival)
        )
    for name in (*QUARTER_SCENARIOS, FULL_SCENARIO):
        yield at_most(f"{name}: time / floor", 1.15, _of(_scenario(groups, name), floor_ratio))
    for name in (*QUARTER_SCENARIOS, FULL_SCENARIO):
        scenario = _scenario(groups, name)
        read, written = _share("read_bytes", "used_bytes"), _share("written_bytes", "nonzero_bytes")
        yield at_most(f"{name}: bytes read / used", 1.02, _of(scenario, read))
        yield at_most(f"{name}: bytes written / used and not zero", 1.02, _of(scenario, written))
    for name in QUARTER_SCENARIOS:
        verified = _of(_scenario(groups, name), lambda s: ratio(s, peers.VERIFIED))
        yield at_most(f"{name}: with verify pass, time / copy alone", 1.6, verified)


def _lazy(groups: Groups) -> Iterator[Verdict]:
    scenario = _scenario(groups, LAZY_SCENARIO)
    bounds = {peers.DD: 40, "partclone.extfs": 10, "e2image -ra": 10, "qemu-img convert": 1.3}
    for tool, bound in bounds.items():
        value = _of(scenario, lambda s, tool=tool: ratio(s, tool))  # type: ignore[misc]
        yield at_least(f"lazily loaded: `{tool}`", bound, value)


def _process(groups: Groups) -> Iterator[Verdict]:
    agent = groups.get("agent", {})
    memory = groups.get("memory", {}).get("together_mib")
    yield at_most("agent and worker together during a copy, resident", 64, memory, " MiB")
    for key, what, bound, unit in (
        ("imds_ms", "exec to the first metadata request", 30, " ms"),
        ("ec2_ms", "exec to the first EC2 request", 150, " ms"),
        ("idle_mib", "idle agent, resident", 24, " MiB"),
        ("binary_mib", "stripped binary", 6, " MiB"),
    ):
        yield at_most(what, bound, agent.get(key), unit)
    login = groups.get("calls", {}).get("login_seconds")
    yield at_most("launch of the helper to the login of the result", 90, login, " s")


def _repairs(groups: Groups) -> Iterator[Verdict]:
    for image in groups.get("repair", {}).get("images", []):
        yield at_most(f"repair, {image['name']}", 1, image["amilift_seconds"], " s")


def as_data(found: list[Verdict]) -> list[dict[str, Any]]:
    """For JSON."""
    return [asdict(verdict) for verdict in found]


# --- as tables -------------------------------------------------------------------------------


def verdict_table(found: list[Verdict]) -> str:
    """Markdown."""
    lines = ["| figure | target | measured | |", "|---|---:|---:|---|"]
    lines += [f"| {v.what} | {v.bound} | {v.measured} | {v.word} |" for v in found]
    return "\n".join(lines)


def scenario_table(scenario: dict[str, Any]) -> str:
    """Markdown."""
    head = (
        "tool",
        "time / amilift",
        "seconds",
        "range",
        "read / used",
        "read MiB",
        "written MiB",
        "RSS MiB",
        "load",
    )
    lines = ["| " + " | ".join(head) + " |", "|---|" + "---:|" * (len(head) - 1)]
    for line in summary(scenario):
        times = "" if line["ratio"] is None else f"{line['ratio']:.2f}"
        once = " (once)" if line["rounds"] < scenario["rounds"] else ""
        lines.append(
            f"| {line['tool']}{once} | {times} | {line['seconds']:.2f} "
            f"| {line['fastest']:.2f}-{line['slowest']:.2f} | {line['read']:.3f} "
            f"| {line['read_mib']:.0f} | {line['written_mib']:.0f} | {line['rss_mib']:.0f} "
            f"| {line['load']:.1f} |"
        )
    if mapping := _map_seconds(scenario):
        lines.append(f"\nOf amilift's seconds {mapping:.2f} find out what is in use.")
    return "\n".join(lines)


def _map_seconds(scenario: dict[str, Any]) -> float:
    return statistics.median(
        float(run["own"]["map_seconds"]) for run in runs_of(scenario, peers.AMILIFT).values()
    )


def scenario_title(scenario: dict[str, Any]) -> str:
    """What was copied."""
    return (
        f"{scenario['title']}: {scenario['used_bytes'] / MIB:.0f} MiB used, "
        f"{scenario['nonzero_bytes'] / MIB:.0f} MiB of them not zeros, in "
        f"{scenario['used_extents']} extents; {scenario['rounds']} round(s)"
    )
