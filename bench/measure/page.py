"""The tables, for the screen and for docs/performance.md."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from . import figures, plots, repair
from .figures import Groups

BEGIN = "<!-- measured: made by bench/run --page -->"
END = "<!-- end of what was measured -->"


def tables(groups: Groups, verdicts: list[figures.Verdict]) -> str:
    """All that was measured, as Markdown."""
    parts = ["## Targets\n", figures.verdict_table(verdicts)]
    for name, scenario in groups.get("copies", {}).items():
        parts.append(f"\n## {name}\n\n{figures.scenario_title(scenario)}\n")
        parts.append(figures.scenario_table(scenario))
    parts += _sweeps(groups)
    if "memory" in groups:
        parts.append(f"\n## Memory during a copy\n\n{_memory(groups['memory'])}")
    if "repair" in groups:
        parts.append(f"\n## Repair\n\nMedians of {groups['repair']['rounds']} rounds.\n")
        parts.append(repair.repair_table(groups["repair"]))
    if "calls" in groups:
        parts.append(f"\n## API calls for one AMI\n\n{_calls(groups['calls'])}")
    return "\n".join(parts)


def _sweeps(groups: Groups) -> list[str]:
    """The sweeps: a plot, which lies beside the page, and its medians."""
    return [
        f"\n## {sweep.title}\n\n![{sweep.title}]({sweep.file})\n\n{plots.table(sweep, measured)}"
        for sweep in plots.SWEEPS
        if (measured := groups.get(sweep.group))
    ]


def _memory(memory: dict[str, float]) -> str:
    return (
        f"The disk worker {memory['worker_mib']:.0f} MiB while it copies "
        f"({memory['worker_peak_mib']:.0f} MiB at most in the whole conversion), the agent "
        f"{memory['agent_mib']:.0f} MiB. Pages of the program and of libraries that both have are "
        "counted twice."
    )


def _calls(calls: dict[str, Any]) -> str:
    lines = [
        f"{calls['total']} calls in {calls['seconds']:.0f} s. {calls['errors']} were answered with an "
        "error: what was made a moment ago is not known yet.\n",
        "| action | calls |",
        "|---|---:|",
    ]
    lines += [f"| {action} | {count} |" for action, count in calls["by_action"].items()]
    return "\n".join(lines)


def rewrite(path: Path, known: dict[str, Any]) -> None:
    """Put the tables between the two marks of a page."""
    text = path.read_text()
    head, begin, rest = text.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"'{path}' has not both '{BEGIN}' and '{END}'")
    groups = known["groups"]
    found = tables(groups, figures.verdicts(groups))
    measured = f"{_machine(known['machines'])}\n\n{found}"
    path.write_text(f"{head}{BEGIN}\n{measured}\n{END}{tail}")


def _machine(machines: dict[str, dict[str, Any]]) -> str:
    one = next(iter(machines.values()))
    dates = sorted({machine["date"] for machine in machines.values()})
    return (
        f"Machine: {one['processors']} processors ({one['processor']}), {one['memory_gib']:g} GiB "
        f"of memory, Linux {one['kernel']}, one disk for sources and targets ({one['disk']}), "
        f"{' to '.join(dates)}."
    )
