"""What the audit log must not hold: passwords, tokens and keys in query strings, headers and details, and who people are where
that is asked for. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from hashlib import blake2b
from typing import Any, Final

REDACTED: Final = "[redacted]"
SECRET_WORDS: Final = (
    "password",
    "passwd",
    "passphrase",
    "pwd",
    "secret",
    "token",
    "jwt",
    "auth",
    "authorization",
    "cookie",
    "session",
    "sid",
    "key",
    "apikey",
    "credential",
    "credentials",
    "signature",
    "sig",
    "otp",
    "totp",
    "mfa",
    "pin",
    "code",
    "cvv",
    "card",
    "iban",
    "ssn",
)
"""A name that has one of these among its words is a secret's: ``access_token``, ``X-Api-Key``, ``newPassword``."""
_WORDS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
_RUN = re.compile(r"[A-Za-z0-9_.-]{22,}+")
_CREDENTIALS = re.compile(r"(?:Bearer|Basic)(?: |\+|%20)[A-Za-z0-9._~+/=-]{8,}+", re.IGNORECASE)
_ESCAPED = re.compile(r"%([0-9A-Fa-f]{2})")
_REMEMBERED: Final = 4096
MOST_QUERY: Final = 8192
"""Characters of a query string that are looked at; fewer are kept."""
CUT: Final = "[cut]"


class Redactor:
    """The rules of one application.

    Args:
        words: more words that name a secret.
        hashing: a key: users, actors, sessions, targets and addresses are stored as keyed hashes. None stores them as they are.
    """

    def __init__(self, words: Iterable[str] = (), hashing: bytes | None = None) -> None:
        self._words = frozenset(word.lower() for word in (*SECRET_WORDS, *words))
        self._hashing = hashing
        self._known: dict[str, bool] = {}

    def is_secret(self, name: str) -> bool:
        """Whether a parameter, a header or a member of this name holds a secret."""
        found = self._known.get(name)
        if found is None:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            found = name.lower() in self._words or any(word.lower() in self._words for word in _WORDS.findall(name[:128]))
            if len(name) <= 128:
                self._known[name] = found
        return found

    @property
    def hashes(self) -> bool:
        """Whether people are stored as hashes."""
        return self._hashing is not None

    def query(self, text: str) -> str:
        """A query string with the values of secrets, and what looks like a token, taken out."""
        looked = text[:MOST_QUERY]
        harmless = _is_harmless(looked)
        found = "&".join([self._pair(pair, harmless) for pair in looked.split("&")])
        return found if len(text) <= MOST_QUERY else found + CUT

    def value(self, text: str) -> str:
        """A text with what looks like a token taken out."""
        if _is_harmless(text):
            return text
        if "eyJ" in text:
            text = _RUN.sub(_without_token, text)
        return _CREDENTIALS.sub(REDACTED, text) if len(text) >= 12 else text

    def headers(self, headers: Iterable[tuple[bytes, bytes]], kept: frozenset[bytes]) -> dict[str, str]:
        """The headers that are kept, those that hold secrets without their values."""
        found: dict[str, str] = {}
        for name, value in headers:
            if name in kept:
                text = name.decode("latin-1")
                found.setdefault(text, REDACTED if self.is_secret(text) else self.value(value.decode("latin-1")))
        return found

    def details(self, value: Any, depth: int = 0) -> Any:
        """JSON values without secrets."""
        if isinstance(value, Mapping) and depth < 8:
            return {k: REDACTED if self.is_secret(str(k)) else self.details(v, depth + 1) for k, v in value.items()}
        if isinstance(value, list | tuple) and depth < 8:
            return [self.details(item, depth + 1) for item in value]
        return self.value(value) if isinstance(value, str) else value

    def person(self, text: str | None) -> str | None:
        """Who somebody is: as it is, or as ``h:`` and 128 bits of a keyed hash, the same for the same person."""
        if self._hashing is None or not text:
            return text
        return "h:" + blake2b(text.encode("utf-8", "surrogatepass"), key=self._hashing, digest_size=16).hexdigest()

    def _pair(self, pair: str, harmless: bool) -> str:
        name, equals, value = pair.partition("=")
        if equals and self.is_secret(_ESCAPED.sub(_unescaped, name) if "%" in name else name):
            return f"{name}={REDACTED}"
        return pair if harmless else name + equals + self.value(value)


def _is_harmless(text: str) -> bool:
    """Whether there is certainly no token in a text: the expressions take ten times as long to find none."""
    if "eyJ" in text or not text.isascii():
        return False
    low = text.lower()
    return "bearer" not in low and "basic" not in low


def _without_token(run: re.Match[str]) -> str:
    """A run of letters and dots without what begins as a JWT does. Linear, whatever somebody sends."""
    parts = run[0].split(".")
    for number, part in enumerate(parts[:-2]):
        at = part.find("eyJ")
        if at >= 0 and len(part) - at >= 11 and len(parts[number + 1]) >= 8:
            return ".".join([*parts[:number], part[:at] + REDACTED])
    return run[0]


def _unescaped(found: re.Match[str]) -> str:
    return chr(int(found[1], 16))
