"""Other ways to write a good token: there is one spelling, and these are none."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Final

Spell = Callable[[str], str]
_LAST: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


def spellings() -> dict[str, Spell]:
    """What is made of a good token, by name."""
    return {**_DECORATED, **_CUT, **_INSIDE}


def _parts(change: Callable[[str, str, str], str]) -> Spell:
    return lambda good: change(*good.split("."))


def _stray_bits(good: str) -> str:
    """The same bytes: only bits that do not count differ."""
    return good[:-1] + _LAST[(_LAST.index(good[-1]) + 1) % 64]


_DECORATED: Final[dict[str, Spell]] = {
    "stray bits": _stray_bits,
    "=": lambda good: f"{good}=",
    "==": lambda good: f"{good}==",
    "junk after it": lambda good: f"{good}!!!!",
    "newlines after it": lambda good: f"{good}\n\n\n\n",
    "a space before it": lambda good: f" {good}",
    "NUL after it": lambda good: f"{good}\0",
    "full-width dots": lambda good: good.replace(".", "\uff0e"),
    "a letter outside ASCII": lambda good: f"{good}é",
    "half a pair of surrogates": lambda good: f"{good}\ud800",
    "percent": lambda good: good.replace(".", "%2e"),
    "with its scheme": lambda good: f"Bearer {good}",
    "twice": lambda good: good + good,
}
_CUT: Final[dict[str, Spell]] = {
    "two parts": _parts(lambda h, b, s: f"{h}.{b}"),
    "two parts and a dot": _parts(lambda h, b, s: f"{h}.{b}."),
    "no header": _parts(lambda h, b, s: f".{b}.{s}"),
    "no payload": _parts(lambda h, b, s: f"{h}..{s}"),
    "four parts": _parts(lambda h, b, s: f"{h}.{b}.{s}.{s}"),
    "five parts, a JWE": _parts(lambda h, b, s: f"{h}.{b}.{s}.{s}.{s}"),
    "seven parts": _parts(lambda h, b, s: ".".join([h, b[:4], b[4:8], b[8:], b, s, s])),
    "dots": lambda good: "...",
    "one dot": lambda good: ".",
    "empty": lambda good: "",
    "a word": lambda good: "token",
    "JSON serialization": _parts(lambda h, b, s: json.dumps({"protected": h, "payload": b, "signature": s})),
    "one character short": _parts(lambda h, b, s: f"{h}.{b}.{s[: len(s) // 4 * 4 + 1 - 4]}"),
}
_INSIDE: Final[dict[str, Spell]] = {
    "junk inside": _parts(lambda h, b, s: f"{h}.{b}.{s[:40]}!!!!{s[40:]}"),
    "newlines inside": _parts(lambda h, b, s: f"{h}.{b}.{s[:40]}\n\n\n\n{s[40:]}"),
    "padding inside": _parts(lambda h, b, s: f"{h}.{b}.{s[:40]}===={s[40:]}"),
    "junk in the header": _parts(lambda h, b, s: f"{h[:8]}!!!!{h[8:]}.{b}.{s}"),
    "a plus": _parts(lambda h, b, s: f"{h}.{b}.{s[:40]}+{s[41:]}"),
    "a slash": _parts(lambda h, b, s: f"{h}.{b}.{s[:40]}/{s[41:]}"),
    "a space inside": _parts(lambda h, b, s: f"{h} .{b}.{s}"),
}
