"""A small writer of line plots as SVG: axes, grid, lines with points, a legend."""

from __future__ import annotations

import math
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 760, 430
LEFT, RIGHT, TOP, BOTTOM = 64, 176, 46, 52
#: Distinct also for the colour-blind (after Okabe and Ito).
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
STYLE = (
    "text{font:13px sans-serif;fill:#333}.title{font-size:15px;font-weight:bold}"
    ".grid{stroke:#ccc;stroke-width:1}.axis{stroke:#333;stroke-width:1}"
)


@dataclass(frozen=True)
class Line:
    """One line: its points as (x, y)."""

    name: str
    points: list[tuple[float, float]]


@dataclass(frozen=True)
class Axis:
    """One direction. A logarithmic one takes values above 0."""

    title: str
    ticks: list[float]
    logarithmic: bool = False

    def place(self, value: float) -> float:
        """Where a value is, 0 to 1."""
        low, high = self.ticks[0], self.ticks[-1]
        if self.logarithmic:
            return math.log(value / low) / math.log(high / low)
        return (value - low) / (high - low)


def decades(values: list[float]) -> list[float]:
    """Ticks for a logarithmic axis: 1, 2 and 5 of each power of ten around the values."""
    steps = [m * 10.0**e for e in range(-4, 6) for m in (1, 2, 5)]
    low = max((s for s in steps if s <= min(values)), default=steps[0])
    high = min((s for s in steps if s >= max(values)), default=steps[-1])
    return [step for step in steps if low <= step <= high]


def plot(title: str, x: Axis, y: Axis, lines: list[Line]) -> str:
    """The picture, as text."""

    def across(value: float) -> float:
        return LEFT + x.place(value) * (WIDTH - LEFT - RIGHT)

    def down(value: float) -> float:
        return HEIGHT - BOTTOM - y.place(value) * (HEIGHT - TOP - BOTTOM)

    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{escape(title)}">',
        f"<style>{STYLE}</style>",
        f'<rect class="paper" width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
        f'<text class="title" x="{LEFT}" y="24">{escape(title)}</text>',
    ]
    bottom, right = HEIGHT - BOTTOM, WIDTH - RIGHT
    for tick in x.ticks:
        at = across(tick)
        out.append(f'<line class="grid" x1="{at:.1f}" y1="{TOP}" x2="{at:.1f}" y2="{bottom}"/>')
        out.append(f'<text x="{at:.1f}" y="{bottom + 18}" text-anchor="middle">{tick:g}</text>')
    for tick in y.ticks:
        at = down(tick)
        out.append(f'<line class="grid" x1="{LEFT}" y1="{at:.1f}" x2="{right}" y2="{at:.1f}"/>')
        out.append(f'<text x="{LEFT - 8}" y="{at + 4:.1f}" text-anchor="end">{tick:g}</text>')
    out.append(f'<path class="axis" d="M{LEFT} {TOP}V{bottom}H{right}" fill="none"/>')
    out.append(
        f'<text x="{(LEFT + right) / 2:.0f}" y="{HEIGHT - 12}" text-anchor="middle">'
        f"{escape(x.title)}</text>"
    )
    middle = (TOP + bottom) / 2
    out.append(
        f'<text x="18" y="{middle:.0f}" text-anchor="middle" '
        f'transform="rotate(-90 18 {middle:.0f})">{escape(y.title)}</text>'
    )
    for number, line in enumerate(lines):
        colour = COLOURS[number % len(COLOURS)]
        points = [(across(a), down(b)) for a, b in line.points]
        path = " ".join(f"{a:.1f},{b:.1f}" for a, b in points)
        width = 3 if number == 0 else 1.6
        out.append(
            f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="{width}"/>'
        )
        out += [f'<circle cx="{a:.1f}" cy="{b:.1f}" r="3" fill="{colour}"/>' for a, b in points]
        key = TOP + 12 + 20 * number
        out.append(
            f'<line x1="{right + 14}" y1="{key}" x2="{right + 36}" y2="{key}" '
            f'stroke="{colour}" stroke-width="{width}"/>'
        )
        out.append(f'<text x="{right + 42}" y="{key + 4}">{escape(line.name)}</text>')
    out.append("</svg>")
    return "\n".join(out) + "\n"
