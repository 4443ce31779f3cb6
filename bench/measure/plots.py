"""The plots of the documentation: seconds against fullness, and against size."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import copies, figures, svg
from .figures import Groups


@dataclass(frozen=True)
class Sweep:
    """A group of scenarios that differ in one number, which is its key."""

    group: str
    title: str
    file: str
    axis: svg.Axis
    unit: str


SWEEPS = (
    Sweep(
        "fullness",
        f"Copy of an ext4 of {copies.PERCENT_GIB} GiB",
        "copy-by-fullness.svg",
        svg.Axis("percent of the filesystem in use", [0, 20, 40, 60, 80, 100]),
        "%",
    ),
    Sweep(
        "sizes",
        f"Copy of an ext4 with {copies.SIZE_DATA_MIB} MiB of files",
        "copy-by-size.svg",
        svg.Axis("size of the filesystem, GiB", [float(s) for s in copies.SIZES], logarithmic=True),
        "GiB",
    ),
)


def draw(groups: Groups, directory: Path) -> list[Path]:
    """Those plots whose figures were measured."""
    directory.mkdir(parents=True, exist_ok=True)
    drawn = []
    for sweep in SWEEPS:
        if measured := groups.get(sweep.group):
            path = directory / sweep.file
            lines = [svg.Line(tool, points) for tool, points in _points(measured).items()]
            seconds = [value for line in lines for _, value in line.points]
            y = svg.Axis("seconds (logarithmic)", svg.decades(seconds), logarithmic=True)
            path.write_text(svg.plot(sweep.title, sweep.axis, y, lines))
            drawn.append(path)
    return drawn


def table(sweep: Sweep, measured: dict[str, Any]) -> str:
    """Markdown: the median seconds of each tool at each place."""
    places = sorted(measured, key=float)
    lines = [
        "| seconds | " + " | ".join(f"{place} {sweep.unit}" for place in places) + " |",
        "|---|" + "---:|" * len(places),
    ]
    for tool, points in _points(measured).items():
        seconds = dict(points)
        cells = [f"{seconds[float(p)]:.2f}" if float(p) in seconds else "" for p in places]
        lines.append(f"| {tool} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _points(measured: dict[str, Any]) -> dict[str, list[tuple[float, float]]]:
    """The median seconds of each tool, by place."""
    points: dict[str, list[tuple[float, float]]] = {}
    for place, scenario in measured.items():
        for line in figures.summary(scenario):
            points.setdefault(line["tool"], []).append((float(place), line["seconds"]))
    return {tool: sorted(found) for tool, found in points.items()}
