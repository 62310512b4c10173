"""Pictures in SVG, a few kilobytes each: lines, bars and flames.

Each brings the panel it stands on, so that it can be read on a light page and on a dark one, whichever the page thinks it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from math import ceil, floor, log10
from typing import Final, NamedTuple

Point = tuple[float, float]
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 640, 320, 64, 20, 30, 46
_LIGHT: Final = ("#3949ab", "#d84315", "#2e7d32", "#6a1b9a", "#00838f", "#827717")
_DARK: Final = ("#9fa8da", "#ffab91", "#a5d6a7", "#ce93d8", "#80deea", "#e6ee9c")
_PLAIN: Final = "text{font:12px sans-serif;fill:#37474f}.panel{fill:#fff}.grid{stroke:#cfd8dc;stroke-width:.6}.mark{stroke:#37474f}"
_NIGHT: Final = "text{fill:#cfd8dc}.panel{fill:#1e2129}.grid{stroke:#455a64}.mark{stroke:#cfd8dc}"


class Axis(NamedTuple):
    """One direction of a picture: its name, the marks on it, its ends, and whether equal steps are equal factors."""

    name: str
    marks: Sequence[float]
    low: float
    high: float
    factors: bool = False

    def at(self, value: float) -> float:
        """Where a value is: 0 at the low end, 1 at the high one."""
        if self.factors:
            return (log10(value) - log10(self.low)) / (log10(self.high) - log10(self.low))
        return (value - self.low) / (self.high - self.low)


def powers(name: str, marks: Sequence[float]) -> Axis:
    """An axis of factors that ends at its marks."""
    return Axis(name, marks, min(marks), max(*marks, min(marks) * 1.01), True)


def upwards(name: str, values: Sequence[float]) -> Axis:
    """An axis from 0 to a little over the largest value, with four to eight marks."""
    top = max(values, default=1.0) or 1.0
    step = 10 ** floor(log10(top))
    step = next(size for size in (step / 5, step / 2, step, step * 2) if top / size <= 8)
    return Axis(name, [step * n for n in range(ceil(top / step) + 1)], 0, step * ceil(top / step))


def decades(name: str, values: Sequence[float]) -> Axis:
    """An axis of factors from one power of ten to another, around all values."""
    low, high = floor(log10(min(values, default=1))), ceil(log10(max(values, default=10)))
    return powers(name, [10.0**power for power in range(low, max(high, low + 1) + 1)])


class Bar(NamedTuple):
    """One bar, how long it is, and between which lengths the middle half of the samples lie."""

    name: str
    length: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Box:
    """One function of a flame: where it begins and how wide it is (as shares of the whole), how deep, its name and kind."""

    begin: float
    width: float
    depth: int
    name: str
    kind: str


def lines(title: str, series: Mapping[str, Sequence[Point]], across: Axis, up: Axis) -> str:
    """Lines through points, each with its name on the right of the legend."""
    span, rise = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM - 18

    def spot(x: float, y: float) -> Point:
        return LEFT + across.at(x) * span, HEIGHT - BOTTOM - up.at(y) * rise

    parts = [_rule(spot(mark, up.low), spot(mark, up.high)) for mark in across.marks]
    parts += [_text(spot(mark, up.low)[0], HEIGHT - BOTTOM + 16, short(mark)) for mark in across.marks]
    parts += [_rule(spot(across.low, mark), spot(across.high, mark)) for mark in up.marks]
    parts += [_text(LEFT - 8, spot(across.low, mark)[1] + 4, short(mark), "end") for mark in up.marks]
    for number, (_, points) in enumerate(series.items()):
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (spot(*point) for point in points))
        parts.append(f'<polyline points="{path}" class="l s{number % 6}"/>')
        parts += [f'<circle cx="{spot(*p)[0]:.1f}" cy="{spot(*p)[1]:.1f}" r="3" class="f{number % 6}"/>' for p in points]
    parts += _legend({name: f"f{number % 6}" for number, name in enumerate(series)}, TOP + 4)
    parts += [_text(LEFT + span / 2, HEIGHT - 10, across.name), _text(10, 18, f"{title}: {up.name}", "start")]
    return _picture(f"{title}: {up.name}", HEIGHT, parts)


def bars(title: str, across: str, found: Sequence[Bar], one: float | None = 1.0) -> str:
    """Bars from the left, in the given order; a line through `one`."""
    axis = upwards(across, [max(bar.length, bar.high) for bar in found])
    left, height = 300, TOP + 22 * len(found) + BOTTOM

    def x(value: float) -> float:
        return left + axis.at(value) * (WIDTH - left - RIGHT - 30)

    parts = [_rule((x(mark), TOP), (x(mark), height - BOTTOM)) for mark in axis.marks]
    parts += [_text(x(mark), height - BOTTOM + 16, short(mark)) for mark in axis.marks]
    for number, bar in enumerate(found):
        y = TOP + 22 * number + 4
        kind = 0 if bar.name.startswith("lockwatch") and "0.1.0" not in bar.name else 5 if bar.name.startswith("bare") else 1
        parts.append(f'<rect x="{left}" y="{y}" width="{x(bar.length) - left:.1f}" height="14" class="f{kind}"/>')
        parts.append(f'<path d="M{x(bar.low):.1f} {y + 7}H{x(bar.high):.1f}" class="mark"/>')
        parts.append(_text(left - 8, y + 11, bar.name, "end"))
        parts.append(_text(max(x(bar.length), x(bar.high)) + 6, y + 11, f"{bar.length:.2f}", "start"))
    if one is not None:
        parts.append(f'<path d="M{x(one):.1f} {TOP}V{height - BOTTOM}" class="mark"/>')
    parts += [_text((left + WIDTH) / 2, height - 10, across), _text(10, 18, title, "start")]
    return _picture(title, height, parts)


def flames(title: str, boxes: Sequence[Box], kinds: Sequence[str]) -> str:
    """A flame graph, what calls above what is called; each box says on hovering what it is and its share."""
    width, row, top = 1000, 15, 52
    height = top + row * (1 + max([box.depth for box in boxes], default=0)) + 10
    colours = {kind: f"f{number % 6}" for number, kind in enumerate(kinds)}
    parts = []
    for box in boxes:
        x, y, wide = 8 + box.begin * (width - 16), top + row * box.depth, box.width * (width - 16)
        parts.append(f"<g><title>{escape(box.name)}, {100 * box.width:.1f} %</title>")
        size = f'width="{max(wide - 0.5, 0.3):.1f}" height="{row - 1}"'
        parts.append(f'<rect x="{x:.1f}" y="{y}" {size} class="{colours[box.kind]}"/>')
        if letters := int((wide - 4) / 5.6):
            name = box.name if len(box.name) <= letters else box.name[: letters - 1] + "…"
            parts.append(f'<text x="{x + 2:.1f}" y="{y + 11}" class="in">{escape(name)}</text>' if letters > 3 else "")
        parts.append("</g>")
    return _picture(title, height, [*parts, *_legend(colours, 40, 8), _text(10, 18, title, "start")], width)


def short(value: float) -> str:
    """A number on an axis: 64, 0.5, 10k, 1M."""
    for size, unit in ((1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:g}{unit}"
    return f"{value:.4g}"


def _legend(names: Mapping[str, str], y: float, x: float = LEFT) -> list[str]:
    parts = []
    for name, colour in names.items():
        parts.append(f'<rect x="{x:.0f}" y="{y - 9:.0f}" width="10" height="10" class="{colour}"/>')
        parts.append(_text(x + 15, y, name, "start"))
        x += 32 + 6.4 * len(name)
    return parts


def _rule(begin: Point, end: Point) -> str:
    return f'<path d="M{begin[0]:.1f} {begin[1]:.1f}L{end[0]:.1f} {end[1]:.1f}" class="grid"/>'


def _text(x: float, y: float, text: str, anchor: str = "middle") -> str:
    return f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}">{escape(text)}</text>'


def _picture(title: str, height: float, parts: Sequence[str], width: int = WIDTH) -> str:
    def colours(found: Sequence[str]) -> str:
        return "".join(f".f{n}{{fill:{colour}}}.s{n}{{stroke:{colour}}}" for n, colour in enumerate(found))

    # Words in the boxes of a flame are light on the strong colours of day, dark on the pale ones of night.
    style = f"{_PLAIN}{colours(_LIGHT)}.l{{fill:none;stroke-width:2}}.in{{font-size:10px;fill:#fff}}"
    night = f"@media(prefers-color-scheme:dark){{{_NIGHT}{colours(_DARK)}.in{{fill:#1e2129}}}}"
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height:.0f}" role="img" aria-label="{escape(title)}">'
    panel = f'<rect width="{width}" height="{height:.0f}" rx="4" class="panel"/>'
    return f"{head}<style>{style}{night}</style>{panel}\n" + "\n".join([part for part in parts if part]) + "\n</svg>\n"
