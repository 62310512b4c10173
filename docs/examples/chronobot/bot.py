"""What Chronobot knows: the time in cities, and how far off a date is. A language model would stand here."""

import re
from collections.abc import Iterator
from datetime import date, datetime
from zoneinfo import ZoneInfo, available_timezones

ZONES = {zone.rpartition("/")[2].replace("_", " ").lower(): zone for zone in sorted(available_timezones())}
HELP = "Ask me what time it is in Tokyo, how many days are left until 2030-01-01, or what day 1969-07-20 was."


def answer(question: str, now: datetime) -> str:
    """The answer to a question. `now` has a time zone."""
    if written := re.search(r"\d{4}-\d\d-\d\d", question, re.ASCII):
        return _about(written[0], now.date())
    asked = " ".join(re.findall(r"\w+", question.lower()))
    cities = [city for city in ZONES if re.search(rf"\b{re.escape(city)}\b", asked)]
    if not cities:
        return HELP
    city = max(cities, key=len)
    return f"In {city.title()} it is {now.astimezone(ZoneInfo(ZONES[city])):%H:%M on %A, %d %B %Y}."


def words(text: str) -> Iterator[str]:
    """The answer in pieces, as a model gives it. Each piece is one token."""
    yield from re.findall(r"\S+\s*", text)


def count_tokens(text: str) -> int:
    """How many tokens a text has."""
    return len(text.split())


def _about(written: str, today: date) -> str:
    try:
        day = date.fromisoformat(written)
    except ValueError:
        return f"{written} is no day of the calendar."
    days = (day - today).days
    if days == 0:
        return f"{written} is today, a {day:%A}."
    return f"{written} is a {day:%A}, {days} days from now." if days > 0 else f"{written} was a {day:%A}, {-days} days ago."
