"""Where an audit database is: a URL, read once, whose password is never shown."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit, urlunsplit

from lockwatch.errors import ConfigurationError

_POSTGRES: Final = frozenset({"postgresql", "postgres", "postgresql+asyncpg"})
_SQLITE: Final = frozenset({"sqlite+aiosqlite", "sqlite"})
_NUMBERS: Final = {"statement_cache_size": "statement_cache_size", "prepared_statement_cache_size": "statement_cache_size"}
EXAMPLES: Final = "postgresql+asyncpg://user:password@localhost/audit or sqlite+aiosqlite:///audit.db"


@dataclass(frozen=True, slots=True)
class Address:
    """An audit database.

    Attributes:
        dialect: ``postgresql`` or ``sqlite``.
        shown: the URL without its password and options, for people.
        dsn: what asyncpg connects to; empty for SQLite.
        path: of the SQLite file; empty for Postgres.
        statement_cache_size: prepared statements asyncpg keeps; 0 behind a PgBouncer that pools transactions. None: its default.
    """

    dialect: str
    shown: str
    dsn: str = field(default="", repr=False)
    path: str = ""
    statement_cache_size: int | None = None

    @classmethod
    def of(cls, url: str) -> Address:
        """Read a URL: ``postgresql+asyncpg://`` (also ``postgresql://``, ``postgres://``) or ``sqlite+aiosqlite://``.

        Raises: ConfigurationError, which does not quote what may be a password.
        """
        scheme, colon, _ = url.partition("://")
        if not colon or scheme not in _POSTGRES | _SQLITE:
            named = f"the scheme {scheme!r}" if colon and re.fullmatch(r"[a-z0-9+.-]{1,30}", scheme) else "no scheme"
            raise ConfigurationError(f"an audit database URL has {named}; correct ones are {EXAMPLES}")
        return _sqlite(url) if scheme in _SQLITE else _postgres(url)


def _postgres(url: str) -> Address:
    parts = urlsplit(url)
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    if "ssl" in options:  # as SQLAlchemy spells it
        options.setdefault("sslmode", options.pop("ssl").replace("true", "require"))
    cache: int | None = None
    for name in _NUMBERS.keys() & options.keys():
        cache = _whole(name, options.pop(name))
    options.setdefault("application_name", "lockwatch audit")
    login, _, place = parts.netloc.rpartition("@")
    shown = f"{login.partition(':')[0]}@{place}" if login else place
    return Address(
        "postgresql",
        f"postgresql://{shown}{parts.path}",
        dsn=urlunsplit(("postgresql", parts.netloc, parts.path, urlencode(options), "")),
        statement_cache_size=cache,
    )


def _sqlite(url: str) -> Address:
    path = unquote(re.sub(r"^[a-z+]+:///?", "", url).partition("?")[0])
    if path in ("", ":memory:"):
        raise ConfigurationError(
            "an audit log in memory cannot be seen by a second connection; name a file, like sqlite+aiosqlite:///audit.db"
        )
    return Address("sqlite", f"sqlite:///{path}", path=path)


def _whole(name: str, text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,6}", text):
        raise ConfigurationError(f"{name} in an audit database URL is not a whole number; a correct one is {name}=0")
    return int(text)
