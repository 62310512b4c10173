"""Plots of the figures as SVG, a few kilobytes each."""

from __future__ import annotations

from collections import defaultdict
from html import escape
from math import log10
from pathlib import Path
from statistics import fmean, median
from typing import Any

Point = tuple[float, float]
WIDTH, HEIGHT, LEFT, BOTTOM = 560, 300, 60, 45
COLOURS = ("#3f51b5", "#e65100", "#2e7d32", "#6a1b9a")


def plot(records: list[dict[str, Any]], folder: Path) -> None:
    """Write all plots that the figures are for."""
    folder.mkdir(parents=True, exist_ok=True)
    slow = [r for r in records if r["scenario"].startswith("A4-") or r["scenario"] == "A5"]
    slow = [r for r in slow if _rate(r) and not r["ablated"]]
    for name, picture in (("detection-rate.svg", _found(slow)), ("detection-time.svg", _time(slow))):
        (folder / name).write_text(picture, encoding="utf-8")


def _rate(record: dict[str, Any]) -> float:
    name = record["scenario"]
    tail = name.removeprefix("A4-")
    return 10.0 if name == "A5" else float(tail) if tail.isdigit() else 0.0


def _found(records: list[dict[str, Any]]) -> str:
    lines: defaultdict[str, defaultdict[float, list[float]]] = defaultdict(lambda: defaultdict(list))
    for record in records:
        within = record["detected"] and record["minutes"] <= 24 * 60
        lines[_label(record)][_rate(record)].append(100.0 * within)
    series = {name: [(rate, fmean(values)) for rate, values in sorted(found.items())] for name, found in lines.items()}
    return _chart(series, "attempts in a day", "found within 24 hours, %", (0, 100), [0, 25, 50, 75, 100])


def _time(records: list[dict[str, Any]]) -> str:
    lines: defaultdict[str, defaultdict[float, list[float]]] = defaultdict(lambda: defaultdict(list))
    for record in records:
        if record["detected"]:
            lines[_label(record)][_rate(record)].append(record["minutes"] / 60)
    series = {name: [(rate, median(values)) for rate, values in sorted(found.items())] for name, found in lines.items()}
    top = max((y for points in series.values() for _, y in points), default=1)
    ticks = [tick for tick in (0, 6, 12, 24, 48, 72, 96, 120, 168) if tick <= top * 1.1]
    return _chart(series, "attempts in a day", "hours to detection, median of the found", (0, top * 1.1), ticks)


def _label(record: dict[str, Any]) -> str:
    return f"{record['users']:,} users, dispersion {record['phi']:g}"


def _chart(series: dict[str, list[Point]], across: str, up: str, span: tuple[float, float], ticks: list[int]) -> str:
    marks = [10, 20, 30, 60, 120, 250, 1000]

    def x(value: float) -> float:
        return LEFT + (log10(value) - 1) / 2 * (WIDTH - LEFT - 20)

    def y(value: float) -> float:
        return HEIGHT - BOTTOM - (value - span[0]) / (span[1] - span[0]) * (HEIGHT - BOTTOM - 20)

    parts = [
        f'<line x1="{x(m):.0f}" y1="20" x2="{x(m):.0f}" y2="{HEIGHT - BOTTOM}" class="grid"/>{_text(x(m), HEIGHT - 28, m)}'
        for m in marks
    ]
    parts += [
        f'<line x1="{LEFT}" y1="{y(t):.0f}" x2="{WIDTH - 20}" y2="{y(t):.0f}" class="grid"/>{_text(LEFT - 8, y(t) + 4, t, "end")}'
        for t in ticks
    ]
    for number, (name, points) in enumerate(series.items()):
        colour = COLOURS[number % len(COLOURS)]
        path = " ".join(f"{x(a):.1f},{y(b):.1f}" for a, b in points)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{x(a):.1f}" cy="{y(b):.1f}" r="3" fill="{colour}"/>' for a, b in points]
        below = HEIGHT - BOTTOM - 12 - 16 * number
        parts.append(f'<text x="{WIDTH - 24}" y="{below}" text-anchor="end" fill="{colour}">{escape(name)}</text>')
    parts += [_text(WIDTH / 2, HEIGHT - 8, across), f'<text x="{LEFT}" y="13">{escape(up)}</text>']
    style = "text{font:12px sans-serif;fill:#555}.grid{stroke:#ccc;stroke-width:.5}"
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(up)}">'
    return f"{head}<style>{style}</style>\n" + "\n".join(parts) + "\n</svg>\n"


def _text(x: float, y: float, text: object, anchor: str = "middle") -> str:
    return f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}">{escape(str(text))}</text>'
