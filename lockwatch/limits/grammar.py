"""The limit grammar: text such as ``"100/minute; 1000/day"`` becomes `Limit`s.

Everything `limits` 5.8 parses means the same here (a month is 30 days and a year 360, as there), and more: short units,
``ms``, ``500/10s``, weeks, ``burst``, ``concurrent``, ``unlimited`` and names (``login=5/min``).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import lru_cache
from math import ceil
from typing import Final, NoReturn

from lockwatch.errors import ConfigurationError

MICROSECOND: Final = 1_000_000
MAX_AMOUNT: Final = 2**40
MAX_WINDOW: Final = 10 * 360 * 86_400
_DAY = 86_400
_UNITS: Final[dict[str, float]] = {
    unit: seconds
    for names, seconds in (
        ("ms millisecond milliseconds", 0.001),
        ("s sec secs second seconds", 1),
        ("m min mins minute minutes", 60),
        ("h hr hrs hour hours", 3600),
        ("d day days", _DAY),
        ("w wk wks week weeks", 7 * _DAY),
        ("mo month months", 30 * _DAY),
        ("y yr yrs year years", 360 * _DAY),
    )
    for unit in names.split()
}
_SPELLED: Final = (
    (360 * _DAY, "year"),
    (30 * _DAY, "month"),
    (7 * _DAY, "week"),
    (_DAY, "day"),
    (3600, "hour"),
    (60, "minute"),
)
_SEPARATOR = re.compile(r":?[,;|]")
_NAME = re.compile(r"\s*([A-Za-z][A-Za-z0-9_.-]*)\s*=")
_AMOUNT = re.compile(r"\s*([0-9]+)")
_PER = re.compile(r"\s*(?:/|per)\s*", re.IGNORECASE)
_WINDOW = re.compile(r"([0-9]+)?\s*([A-Za-z]+)")
_BURST = re.compile(r"\s*burst\s+([0-9]+)", re.IGNORECASE)
_CONCURRENT = re.compile(r"\s*concurrent", re.IGNORECASE)
_UNLIMITED = re.compile(r"\s*unlimited\s*$", re.IGNORECASE)
_NAME_ONLY = re.compile(r"[A-Za-z][A-Za-z0-9_.-]*\Z")
EXAMPLE: Final = "100/minute"


@dataclass(frozen=True, slots=True)
class Limit:
    """A quota over a window.

    Attributes:
        amount: how much a subject may use, >= 0 (0 refuses everything).
        window: over how many seconds, > 0 (0 only for `concurrent`, which has none).
        burst: capacity of a token bucket; selects `gcra`.
        name: what the policy is called in headers and keys.
        concurrent: the amount counts requests in flight instead of requests per window.

    Raises: ConfigurationError.
    """

    amount: int
    window: float
    burst: int | None = None
    name: str | None = None
    concurrent: bool = False
    window_us: int = field(init=False, repr=False, compare=False)
    """The window in whole microseconds, the unit of every store."""
    parameters: bytes = field(init=False, repr=False, compare=False)
    """Quota and window as parameters of a RateLimit-Policy item."""
    digits: bytes = field(init=False, repr=False, compare=False)
    """The amount as headers say it."""

    def __post_init__(self) -> None:
        _require(
            type(self.amount) is int and 0 <= self.amount <= MAX_AMOUNT,
            f"amount={self.amount!r} is not a whole number from 0 to {MAX_AMOUNT}",
        )
        if self.concurrent:
            _require(self.window == 0 and self.burst is None, "a concurrent limit has no window and no burst")
        else:
            _require(
                type(self.window) in (int, float) and 0.001 <= self.window <= MAX_WINDOW,
                f"window={self.window!r} is not between 0.001 and {MAX_WINDOW} seconds",
            )
        _require(
            self.burst is None or (type(self.burst) is int and self.burst >= 1),
            f"burst={self.burst!r} is not a whole number of at least 1",
        )
        _require(
            self.name is None or (isinstance(self.name, str) and _NAME_ONLY.match(self.name) is not None),
            f"name={self.name!r} is not letters, digits, '_', '.' or '-' after a letter",
        )
        object.__setattr__(self, "window_us", round(self.window * MICROSECOND))
        window = ';qu="concurrent-requests"' if self.concurrent else f";w={ceil(self.window)}"
        object.__setattr__(self, "parameters", f";q={self.amount}{window}".encode())
        object.__setattr__(self, "digits", b"%d" % self.amount)

    @property
    def spelled_window(self) -> str:
        """The window as a header-safe word: ``minute``, ``10-seconds``, ``500-ms``."""
        if self.window % 1:
            return f"{round(self.window * 1000)}-ms"
        for seconds, word in _SPELLED:
            if self.window % seconds == 0:
                return word if self.window == seconds else f"{round(self.window / seconds)}-{word}s"
        return "second" if self.window == 1 else f"{round(self.window)}-seconds"

    @property
    def slug(self) -> str:
        """What a policy without a name is called: ``100-per-minute``."""
        if self.concurrent:
            return f"{self.amount}-concurrent"
        burst = f"-burst-{self.burst}" if self.burst is not None else ""
        return f"{self.amount}-per-{self.spelled_window}{burst}"

    def __str__(self) -> str:
        return f"{self.name}={self.slug}" if self.name else self.slug


def _require(holds: bool, message: str) -> None:
    if not holds:
        raise ConfigurationError(f"Limit: {message}; a correct one is Limit(amount=100, window=60)")


@lru_cache(maxsize=1024)
def parse(text: str) -> tuple[Limit, ...]:
    """Parse a limit text into its limits, in written order. ``unlimited`` adds none.

    Raises: ConfigurationError, quoting the text and pointing at the character that is wrong.
    """
    if not isinstance(text, str) or not text.strip():
        raise ConfigurationError(f"a limit cannot be empty (got {text!r}); a correct one is {EXAMPLE!r}")
    limits: list[Limit] = []
    start = 0
    for part in [*_SEPARATOR.finditer(text), None]:
        end = part.start() if part else len(text)
        limits.extend(_rule(text, start, end))
        start = part.end() if part else end
    return tuple(limits)


def _rule(text: str, start: int, end: int) -> list[Limit]:
    if not text[start:end].strip():
        _fail(text, start, "a limit is missing here")
    named = _NAME.match(text, start, end)
    position = named.end() if named else start
    if _UNLIMITED.match(text[position:end]):
        return []
    return [_amount(text, position, end, named.group(1) if named else None)]


def _amount(text: str, start: int, end: int, name: str | None) -> Limit:
    amount = _AMOUNT.match(text, start, end)
    if amount is None:
        _fail(text, _ink(text, start), "expected a whole number, 0 or more")
    number = _number(amount.group(1))
    if number > MAX_AMOUNT:
        _fail(text, amount.start(1), f"an amount is at most {MAX_AMOUNT}")
    concurrent = _CONCURRENT.match(text, amount.end(), end)
    if concurrent is not None:
        _finish(text, concurrent.end(), end)
        return Limit(number, 0, name=name, concurrent=True)
    return _window(text, amount.end(), end, number, name)


def _window(text: str, start: int, end: int, amount: int, name: str | None) -> Limit:
    per = _PER.match(text, start, end)
    if per is None:
        _fail(text, _ink(text, start), "expected '/' or 'per' after the amount")
    window = _WINDOW.match(text, per.end(), end)
    if window is None:
        _fail(text, per.end(), "expected a unit of time")
    seconds = _UNITS.get(window.group(2).lower())
    if seconds is None:
        _fail(text, window.start(2), f"unknown unit {window.group(2)!r}; units are ms s m h d w mo y and their long names")
    # `limits` reads a multiple of 0 as 1; so do we, so that no text changes its meaning.
    length = seconds * (_number(window.group(1) or "1") or 1)
    if not 0.001 <= length <= MAX_WINDOW:
        _fail(text, window.start(), f"a window is at most {MAX_WINDOW} seconds")
    burst = _BURST.match(text, window.end(), end)
    _finish(text, burst.end() if burst else window.end(), end)
    return Limit(amount, length, burst=_capacity(text, burst), name=name)


def _capacity(text: str, burst: re.Match[str] | None) -> int | None:
    if burst is None:
        return None
    if not 1 <= _number(burst.group(1)) <= MAX_AMOUNT:
        _fail(text, burst.start(1), "a burst is at least 1")
    return _number(burst.group(1))


def _number(digits: str) -> int:
    """The number in `digits`; past any bound, however long the text is."""
    digits = digits.lstrip("0") or "0"
    return int(digits) if len(digits) < 20 else 10**20


def _finish(text: str, position: int, end: int) -> None:
    if text[position:end].strip():
        _fail(text, _ink(text, position), "expected the end of the limit, or ';' before another")


def _ink(text: str, position: int) -> int:
    """The first character at or after `position` that is not white space."""
    return position + len(text[position:]) - len(text[position:].lstrip())


def _fail(text: str, position: int, problem: str) -> NoReturn:
    shown = text if len(text) <= 80 else text[max(0, position - 40) : position + 40]
    column = position if len(text) <= 80 else position - max(0, position - 40)
    pointer = " " * len(repr(shown[:column])[:-1]) + "^"
    raise ConfigurationError(
        f"cannot read this limit: {problem}\n  {shown!r}\n  {pointer}\na correct one is {EXAMPLE!r} or '5 per 10 seconds; 100/hour'"
    )
