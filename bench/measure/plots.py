"""The plots of the documentation: seconds against fullness, and against size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from . import copies, figures, svg
from .figures import Groups

FULLNESS = "copy-by-fullness.svg"
SIZE = "copy-by-size.svg"


def draw(groups: Groups, directory: Path) -> list[Path]:
    """Those plots whose figures were measured."""
    directory.mkdir(parents=True, exist_ok=True)
    drawn = []
    if sweep := groups.get("fullness"):
        lines = _lines(sweep)
        title = f"Copy of an ext4 of {copies.PERCENT_GIB} GiB"
        x = svg.Axis("percent of the filesystem in use", [0, 20, 40, 60, 80, 100])
        drawn.append(_write(directory / FULLNESS, title, x, lines))
    if sweep := groups.get("sizes"):
        lines = _lines(sweep)
        title = f"Copy of an ext4 with {copies.SIZE_DATA_MIB} MiB of files"
        x = svg.Axis(
            "size of the filesystem, GiB", [float(s) for s in copies.SIZES], logarithmic=True
        )
        drawn.append(_write(directory / SIZE, title, x, lines))
    return drawn


def _lines(sweep: dict[str, Any]) -> list[svg.Line]:
    points: dict[str, list[tuple[float, float]]] = {}
    for place, scenario in sweep.items():
        for line in figures.summary(scenario):
            points.setdefault(line["tool"], []).append((float(place), line["seconds"]))
    return [svg.Line(tool, sorted(found)) for tool, found in points.items()]


def _write(path: Path, title: str, x: svg.Axis, lines: list[svg.Line]) -> Path:
    seconds = [value for line in lines for _, value in line.points]
    y = svg.Axis("seconds (logarithmic)", svg.decades(seconds), logarithmic=True)
    path.write_text(svg.plot(title, x, y, lines))
    return path
