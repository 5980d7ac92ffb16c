"""Lines over time as plain SVG: no library draws more than four pictures need."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

WIDTH, HEIGHT = 900, 360
LEFT, RIGHT, TOP, BOTTOM = 80, 210, 40, 40
COLOURS: Final = (
    "#1b5e7a",
    "#c1542d",
    "#4b7f3a",
    "#7a3b8f",
    "#8a6d1f",
    "#444444",
    "#b0305c",
    "#2f8f83",
    "#9a9a9a",
    "#5566cc",
)
_TICKS: Final = 5


@dataclass(frozen=True, slots=True)
class Lines:
    """A picture: what it shows, in which unit, and one line a name over the same ages."""

    title: str
    unit: str
    x: Sequence[float]
    y: Mapping[str, Sequence[float]]
    logarithmic: bool = False


def svg(lines: Lines) -> str:
    """Return a picture; lines shorter than the ages end early."""
    values = [value for line in lines.y.values() for value in line if math.isfinite(value)]
    low, high = min(values, default=0.0), max(values, default=1.0)
    if lines.logarithmic:
        low, high = math.log10(max(low, 1.0)), math.log10(max(high, 10.0))
    else:
        low = min(low, 0.0)
    high = high if high > low else low + 1.0
    first, last = lines.x[0], lines.x[-1]
    across = (WIDTH - LEFT - RIGHT) / max(last - first, 1e-9)
    upwards = (HEIGHT - TOP - BOTTOM) / (high - low)

    def place(x: float, y: float) -> str:
        level = math.log10(max(y, 1.0)) if lines.logarithmic else y
        return f"{LEFT + (x - first) * across:.1f},{HEIGHT - BOTTOM - (level - low) * upwards:.1f}"

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}"',
        f'width="{WIDTH}" height="{HEIGHT}" font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        f'<text x="{LEFT}" y="22" font-size="15">{escape(lines.title)}</text>',
    ]
    for step in range(_TICKS + 1):
        level = low + (high - low) * step / _TICKS
        shown = 10**level if lines.logarithmic else level
        y = HEIGHT - BOTTOM - (level - low) * upwards
        parts.append(
            f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>'
            f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">'
            f"{escape(_said(shown, lines.unit))}</text>"
        )
    for age in range(math.ceil(first), math.floor(last) + 1, 4):
        x = LEFT + (age - first) * across
        parts.append(
            f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{age}</text>'
        )
    for spot, (name, line) in enumerate(lines.y.items()):
        colour = COLOURS[spot % len(COLOURS)]
        points = " ".join(
            place(x, y) for x, y in zip(lines.x, line, strict=False) if math.isfinite(y)
        )
        parts.append(
            f'<polyline fill="none" stroke="{colour}" stroke-width="1.4" points="{points}"/>'
            f'<text x="{WIDTH - RIGHT + 10}" y="{TOP + 16 * spot}" fill="{colour}">'
            f"{escape(name)}</text>"
        )
    return "\n".join([*parts, "</svg>", ""])


def _said(value: float, unit: str) -> str:
    return f"${value:,.0f}" if unit == "$" else f"{value:,.4g} {unit}".strip()
