"""Tables of figures, with bootstrap confidence intervals of 95 %."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from itertools import pairwise
from math import exp, sqrt
from random import Random
from statistics import fmean, median
from typing import Any

from lockwatch.anomaly.rules import RULES, Rule
from tests.simulation.attacks import RATES

Record = dict[str, Any]
_COMPARED = ("A1", "A2", "A3", "A4-30", "A4-60", "A4-1000", "A5-tool", "A6", "A7", "A8", "A12")


def interval(values: Sequence[float], of: Callable[[Sequence[float]], float] = fmean, rounds: int = 1000) -> tuple[float, float]:
    """The bootstrap interval of a statistic (percentiles, seeded)."""
    rng = Random(0)
    found = sorted(of(rng.choices(values, k=len(values))) for _ in range(rounds))
    return found[int(0.025 * rounds)], found[int(0.975 * rounds) - 1]


def share(hits: int, count: int, z: float = 1.96) -> tuple[float, float, float]:
    """A share and its interval of 95 % (Wilson 1927)."""
    if not count:
        return 0.0, 0.0, 1.0
    rate, square = hits / count, z * z / count
    middle = (rate + square / 2) / (1 + square)
    half = z * sqrt(rate * (1 - rate) / count + square / (4 * count)) / (1 + square)
    return rate, max(0.0, middle - half), min(1.0, middle + half)


def rate(events: int, span: float) -> tuple[float, float, float]:
    """A rate of events that come by chance, and its exact interval of 95 % (Garwood 1936)."""
    return events / span, _mean_for(events - 1, 0.975) / span if events else 0.0, _mean_for(events, 0.025) / span


def _mean_for(most: int, chance: float) -> float:
    """The mean of which so many events or fewer have that chance."""
    low, high = 0.0, most + 10 * sqrt(most + 1) + 10
    for _ in range(60):
        mean = (low + high) / 2
        term = total = exp(-mean)
        for n in range(1, most + 1):
            term *= mean / n
            total += term
        low, high = (mean, high) if total > chance else (low, mean)
    return low


def rules(rows: Sequence[Rule] = RULES) -> str:
    """The table of rules, as the documentation prints it."""
    lines = [
        "| rule | signal | threshold | window | told again after | severity | proposes | false alarms |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for rule in rows:
        proposes = "nothing (on trial)" if rule.dry_run else f"challenge for {_span(rule.challenge)}" if rule.challenge else "alert"
        cells = [
            f"`{rule.name}`",
            rule.signal,
            f"{rule.threshold:g}",
            _span(rule.window),
            _span(rule.cooldown),
            rule.severity,
            proposes,
        ]
        lines.append(f"| {' | '.join([*cells, f'{rule.false_alarms:.2f}'])} |")
    return "\n".join(lines)


def _span(seconds: float) -> str:
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:g} {unit}"
    return f"{seconds:g} s"


def published(text: str, name: str, figures: str) -> str:
    """A page with the figures of that name in the place that is marked for them. Raises: ValueError, where there is none."""
    begin, end = f"<!-- figures: {name} -->\n", f"<!-- end of figures: {name} -->"
    before, mark, rest = text.partition(begin)
    _, other, after = rest.partition(end)
    if not mark or not other:
        raise ValueError(f"the page has no place {begin.strip()} for figures")
    return f"{before}{begin}{figures}\n{end}{after}"


def table(records: list[Record]) -> str:
    """Attacks, ordinary trouble and the policies of others, as Markdown."""
    groups: defaultdict[tuple[int, float, str, str], list[Record]] = defaultdict(list)
    for record in records:
        groups[record["users"], record["phi"], record["ablated"], record["scenario"]].append(record)
    attacks = {key: found for key, found in groups.items() if key[3][0] not in "Bw"}
    benign = {key: found for key, found in groups.items() if key[3][0] in "Bw"}
    parts = []
    if attacks:
        parts.append(_attacks(attacks))
    lines = [line for line in _frontiers(attacks) if line]
    if lines:
        parts.append("\n".join(lines))
    if benign:
        parts.append(_benign(benign))
    if any(record["peers"] for record in records):
        parts.append(_peers([record for record in records if record["peers"]]))
    return "\n\n".join(parts)


def stories(records: list[Record]) -> str:
    """How many campaigns an attack makes, how often people are told of it, and how many rules see it, as Markdown."""
    groups: defaultdict[str, list[Record]] = defaultdict(list)
    for record in records:
        if record["scenario"] != "warm-up":
            groups[record["scenario"]].append(record)
    lines = ["| scenario | runs | campaigns | alerts | rules |", "|---|---|---|---|---|"]
    for name, found in groups.items():
        counts = [[len(r["opened"]), r["alerts"], len(r["rules"])] for r in found]
        cells = [f"{fmean(each):.1f} ({min(each)} to {max(each)})" for each in zip(*counts, strict=True)]
        lines.append(f"| {' | '.join([name, str(len(found)), *cells])} |")
    return "\n".join(lines)


def _frontiers(groups: dict[tuple[int, float, str, str], list[Record]]) -> list[str]:
    """The evasion frontier: the attempts a day of which half of the attacks are found within a day."""
    rates: defaultdict[tuple[int, float, str], list[tuple[float, float]]] = defaultdict(list)
    for (users, phi, off, name), found in groups.items():
        if name == "A5" or name.removeprefix("A4-").isdigit():
            seen = fmean([float(r["detected"] and r["minutes"] <= 24 * 60) for r in found])
            rates[users, phi, off].append((RATES[name], seen))
    return [_frontier(key, sorted(points)) for key, points in rates.items()]


def _frontier(key: tuple[int, float, str], points: list[tuple[float, float]]) -> str:
    users, phi, off = key
    for (low, before), (high, after) in pairwise(points):
        if before < 0.5 <= after:
            part = (0.5 - before) / (after - before)
            half = low * (high / low) ** part
            return f"Frontier, {users:,} users, dispersion {phi:g}{', without ' + off if off else ''}: {half:.0f} attempts a day"
    return ""


def _attacks(groups: dict[tuple[int, float, str, str], list[Record]]) -> str:
    lines = [
        "| users | phi | off | scenario | seeds | found | in 24 h | minutes | attempts | taken | precision | recall | challenged |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for (users, phi, off, name), found in groups.items():
        hit = [r for r in found if r["detected"]]
        day = [float(r["detected"] and r["minutes"] <= 24 * 60) for r in found]
        cells = [
            f"{users:,}",
            f"{phi:g}",
            off or "",
            name,
            str(len(found)),
            _share([float(r["detected"]) for r in found]),
            _share(day),
            _middle([r["minutes"] for r in hit]),
            _middle([r["attempts"] for r in hit]),
            f"{fmean([r['compromised'] for r in found]):.1f}",
            _mean([r["precision"] for r in hit if r["precision"] is not None]),
            _mean([r["recall"] for r in hit if r["recall"] is not None]),
            f"{100 * fmean([r['challenged'] for r in found]):.1f} %",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _benign(groups: dict[tuple[int, float, str, str], list[Record]]) -> str:
    lines = [
        "| users | phi | off | scenario | days | campaigns in 30 days | rules | challenged | us/event | bytes/key |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for (users, phi, off, name), found in groups.items():
        days = sum(r["days"] for r in found)
        middle, low, high = rate(sum(len(r["opened"]) for r in found), days / 30)
        rules = sorted({rule for r in found for rule, _ in r["opened"]})
        cells = [
            f"{users:,}",
            f"{phi:g}",
            off or "",
            name,
            f"{days:,.0f}",
            f"{middle:.2f} ({low:.2f} to {high:.2f})",
            ", ".join(rules),
            f"{100 * fmean([r['challenged'] for r in found]):.2f} %",
            f"{fmean([r['cost_us'] for r in found]):.0f}",
            f"{sum(r['state'] for r in found) / keys:.0f}" if (keys := sum(r.get("keys", 0) for r in found)) else "",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _peers(records: list[Record]) -> str:
    """What each policy does about some attacks, and how often it acts on people; the last row is lockwatch."""
    found = {r["scenario"] for r in records}
    attacks = [name for name in _COMPARED if name in found]
    names = list(dict.fromkeys([name for r in records for name in r["peers"]]))
    lines = [f"| policy | {' | '.join(attacks)} | acts on people, in 30 ordinary days |", f"|---|{'---|' * len(attacks)}---|"]
    for name in names:
        cells = [_acted([r["peers"].get(name, [None])[0] for r in records if r["scenario"] == attack]) for attack in attacks]
        false = "" if name == "oracle" else _often([(r["peers"][name][1], r["days"]) for r in records if r["scenario"] == "B1"])
        lines.append(f"| {name} | {' | '.join(cells)} | {false} |")
    own = [_acted([r["minutes"] for r in records if r["scenario"] == attack]) for attack in attacks]
    false = _often([(len(r["opened"]), r["days"]) for r in records if r["scenario"] == "B1"])
    return "\n".join([*lines, f"| lockwatch | {' | '.join(own)} | {false} |"])


def _acted(minutes: list[float | None]) -> str:
    acted = [m for m in minutes if m is not None]
    return f"{len(acted)}/{len(minutes)}" + (f", {median(acted):,.0f} min" if acted else "")


def _often(counts: list[tuple[int, float]]) -> str:
    return f"{30 * sum(n for n, _ in counts) / sum(days for _, days in counts):,.1f}" if counts else ""


def _share(values: list[float]) -> str:
    middle, low, high = share(round(sum(values)), len(values))
    return f"{100 * middle:.0f} % ({100 * low:.0f} to {100 * high:.0f})"


def _middle(values: list[float]) -> str:
    if not values:
        return "-"
    low, high = interval(values, median)
    return f"{median(values):,.0f} ({low:,.0f} to {high:,.0f})"


def _mean(values: list[float]) -> str:
    return f"{fmean(values):.2f}" if values else "-"
