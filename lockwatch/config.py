"""Settings: one frozen object, validated once. Standard library only.

Order: argument, `LOCKWATCH_X`, the file named by `LOCKWATCH_X_FILE`, default. The bare names of lockwatch 0.1 (`REDIS_URL`) count
in `LockWatchConfig.from_env()` only: another program's variable must not change where this one counts.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from difflib import get_close_matches
from inspect import iscoroutinefunction
from pathlib import Path
from typing import Any, Final

from lockwatch.errors import ConfigurationError

_BARE: Final = {"redis_url": "REDIS_URL", "jwt_secret": "JWT_SECRET"}
_ALSO: Final = {"audit_database_url": ("LOCKWATCH_DATABASE_URL", "LOCKWATCH_DATABASE_URL_FILE")}
_BURSTS: Final = ("burst_threshold", "burst_window_seconds", "anomaly_window")
_OPTIONAL: Final = frozenset({"on_redis_failure", "workers", "rate_limit_requests", "access_token_ttl", *_BURSTS})
_FLOATS: Final = frozenset({"store_timeout", "rate_limit_window_seconds", "access_token_ttl", *_BURSTS[1:]})
_CODE_ONLY: Final = frozenset(
    {"redis", "user", "tenant", "jwt", "issuers", "load_claims", "anomaly", "bans", "alerts", "audit", "sources"}
)
_FLAGS: Final = {"true": True, "1": True, "yes": True, "on": True, "false": False, "0": False, "no": False, "off": False}
_BOOLEANS: Final = frozenset({"allow_private_webhooks", "audit_migrate"})
_AUDITED: Final = ("audit_redact", "audit_headers", "audit_exempt_paths")
_TUPLES: Final = (
    "exempt_paths",
    "exempt_networks",
    "secret_key",
    "webhook_urls",
    "webhook_secrets",
    "slack_urls",
    "trusted_origins",
)
_LISTS: Final = frozenset({*_TUPLES, *_AUDITED, "audit_sinks"})
_CHOICES: Final = {
    "mode": ("enforce", "observe", "off"),
    "headers": ("both", "draft-11", "x", "off"),
    "on_redis_failure": ("allow", "deny", "local"),
    "forwarded_header": ("x-forwarded-for", "forwarded"),
    "on_audit_failure": ("allow", "deny"),
    "audit_pii": ("keep", "hash"),
    "audit_synchronous": ("normal", "full"),
}
_RANGES: Final[dict[str, tuple[float, float]]] = {
    "ipv6_prefix": (32, 128),
    "store_timeout": (0.001, 10),
    "store_connections": (1, 1024),
    "max_buckets": (1, 10**9),
    "workers": (1, 4096),
    "rate_limit_requests": (0, 2**40),
    "rate_limit_window_seconds": (0.001, 10 * 360 * 86_400),
    "access_token_ttl": (1, 30 * 86_400),
    "audit_spool_megabytes": (1, 2**20),
    "burst_threshold": (0, 10_000),
    "burst_window_seconds": (0.1, 86_400),
    "anomaly_window": (0.1, 86_400),
    "alerts_per_hour": (1, 10_000),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class LockWatchConfig:
    """Every setting. Secrets do not show in its repr.

    Attributes:
        redis_url: where buckets live; None or ``memory://`` keeps them in this process.
        redis: a redis-py client (or a function returning one) instead of a URL.
        namespace: separates applications that share one store.
        secret_key: one or several (newest first) of at least 16 characters; subjects in store keys are hashed with it.
        default_limits: for routes that declare none: one bucket per subject and route.
        application_limits: one bucket per subject for the whole application.
        rate_limit_requests: with `rate_limit_window_seconds`, the same as an application limit.
        rate_limit_window_seconds: seconds, 60 by default.
        auth_failures: charged to the address by every 401 and 403; requests from an address that used it up are refused.
        meta_limits: charged to the address by every 429; requests from an address that used it up are refused.
        exempt_paths: exact paths, or prefixes ending in ``*``, that default and application limits pass over.
        exempt_networks: addresses and networks that nothing is limited for.
        trusted_proxies: ``"none"``, ``"private"``, a number of hops, or networks.
        forwarded_header: ``x-forwarded-for`` or ``forwarded``.
        ipv6_prefix: how many bits of an IPv6 address are one client.
        on_redis_failure: ``allow``, ``deny`` or ``local``; None leaves it to each policy.
        store_timeout: seconds a request waits for the store at most.
        store_connections: connections to the store: at once in blocking code, per event loop at most four.
        max_buckets: buckets the memory store keeps apart.
        workers: processes that share a quota when the store is down; None counts those that are alive, WEB_CONCURRENCY at least.
        mode: ``enforce``, ``observe`` (decides and reports, refuses nothing) or ``off``.
        headers: ``both``, ``draft-11``, ``x`` or ``off``.
        user: a function of the request that says who the user is.
        tenant: a function of the request that says whose buckets it fills; the same subject of two tenants is two subjects.
        jwt: a `JWTConfig`: how tokens are signed, and that they are.
        jwt_secret: at least 32 bytes; the same as `JWTConfig(jwt_secret=...)`.
        access_token_ttl: seconds that an access token lives; the same as `JWTConfig(access_token_ttl=...)`.
        issuers: third parties whose access tokens are believed, each an `Issuer`.
        load_claims: a function of the subject, asked at every refresh: its claims now, or None if it may not log in any more.
        audit: an `AsyncEngine` of SQLAlchemy: the audit log goes into its database.
        audit_database_url: the same, as a URL: ``postgresql+asyncpg://...`` or ``sqlite+aiosqlite:///audit.db``.
        audit_sinks: where the audit log goes besides: URLs, ``stdout:``, functions that take a list of entries.
        audit_migrate: make or change the tables of the audit log when they are missing or old.
        audit_redact: more words that name secrets in query strings and details, besides ``password``, ``token``, ``key`` and so on.
        audit_headers: names of request headers that are kept in the details of a row.
        audit_pii: ``keep``, or ``hash``: users, actors, sessions, targets and addresses are stored as keyed hashes.
        audit_exempt_paths: exact paths, or prefixes ending in ``*``, whose requests leave no row.
        audit_synchronous: ``normal``, or ``full``: what is in the spool survives a power cut too.
        audit_spool_megabytes: how much of what no sink has taken yet is kept on the disk, for each process.
        on_audit_failure: ``allow``, or ``deny``: requests are refused with 503 while events cannot be kept.
        token_redis_url: where sessions live, when they need a store of their own; like `redis_url`.
        token_namespace: what `namespace` is to buckets, for sessions; the same, unless applications share their sessions.
        trusted_origins: further origins whose pages may send the access cookie, like ``https://app.example.com``.
        anomaly: an `AnomalyConfig`: how attacks are noticed, and that they are.
        bans: whether anybody may be banned; on with `anomaly`.
        burst_threshold: the same as `AnomalyConfig(burst_threshold=...)`; 0 is off.
        burst_window_seconds: the same as `AnomalyConfig(burst_window_seconds=...)`.
        anomaly_window: another name for it.
        webhook_urls: who is alerted: URLs that signed webhooks are sent to.
        webhook_secrets: what they are signed with, ``whsec_...``; each signs, so that they can be replaced one by one.
        slack_urls: incoming webhooks of Slack, which are alerted too.
        alerts: receivers with settings of their own: `WebhookChannel` and `SlackChannel`.
        allow_private_webhooks: whether `webhook_urls` and `slack_urls` may be at private addresses, and use http.
        alerts_per_hour: how many alerts one process sends one by one; more are told in a digest.
        spool_dir: where that is kept which has to outlive the process: a directory on a local disk; ``auto`` is one of the user's
            own; None (``none`` in the environment) keeps nothing on disk.
        sources: where each value came from (filled in; not a setting).
    """

    redis_url: str | None = field(default=None, repr=False)
    redis: Any = field(default=None, repr=False)
    namespace: str = "lockwatch"
    secret_key: str | tuple[str, ...] | None = field(default=None, repr=False)
    default_limits: str | Iterable[Any] | None = None
    application_limits: str | Iterable[Any] | None = None
    rate_limit_requests: int | None = None
    rate_limit_window_seconds: float = 60
    auth_failures: str | Iterable[Any] | None = None
    meta_limits: str | Iterable[Any] | None = None
    exempt_paths: str | tuple[str, ...] = ()
    exempt_networks: str | tuple[str, ...] = ()
    trusted_proxies: str | int | tuple[str, ...] = "none"
    forwarded_header: str = "x-forwarded-for"
    ipv6_prefix: int = 64
    on_redis_failure: str | None = None
    store_timeout: float = 0.05
    store_connections: int = 32
    max_buckets: int = 200_000
    workers: int | None = None
    mode: str = "enforce"
    headers: str = "both"
    user: Callable[[Any], Any] | None = None
    tenant: Callable[[Any], Any] | None = None
    jwt: Any = None
    jwt_secret: Any = field(default=None, repr=False)
    access_token_ttl: float | None = None
    issuers: Any = ()
    load_claims: Callable[[str], Any] | None = None
    audit: Any = field(default=None, repr=False)
    audit_database_url: str | None = field(default=None, repr=False)
    audit_sinks: Any = field(default=(), repr=False)
    audit_migrate: bool = True
    audit_redact: str | tuple[str, ...] = ()
    audit_headers: str | tuple[str, ...] = ()
    audit_pii: str = "keep"
    audit_exempt_paths: str | tuple[str, ...] = ()
    audit_synchronous: str = "normal"
    audit_spool_megabytes: int = 256
    on_audit_failure: str = "allow"
    anomaly: Any = None
    bans: bool = False
    burst_threshold: int | None = None
    burst_window_seconds: float | None = None
    anomaly_window: float | None = None
    webhook_urls: str | tuple[str, ...] = field(default=(), repr=False)
    webhook_secrets: Any = field(default=(), repr=False)
    slack_urls: str | tuple[str, ...] = field(default=(), repr=False)
    alerts: Any = field(default=(), repr=False)
    allow_private_webhooks: bool = False
    alerts_per_hour: int = 60
    spool_dir: str | os.PathLike[str] | None = "auto"
    token_redis_url: str | None = field(default=None, repr=False)
    token_namespace: str | None = None
    trusted_origins: str | tuple[str, ...] = ()
    sources: Mapping[str, str] = field(default_factory=dict, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name in (*_TUPLES, "trusted_proxies", *_AUDITED):
            if isinstance(value := getattr(self, name), list | set):
                object.__setattr__(self, name, tuple(value))
        for name in ("exempt_paths", "trusted_origins", *_AUDITED):
            if isinstance(value := getattr(self, name), str):
                object.__setattr__(self, name, _listed(value))
        if self.spool_dir == "none":
            object.__setattr__(self, "spool_dir", None)
        _check_choices(self)
        _check_texts(self)
        for name in ("user", "tenant"):
            if iscoroutinefunction(getattr(self, name)):
                raise ConfigurationError(
                    f"{name} is an async function; it has to be a plain one, like lambda request: request.state.{name}_id"
                )

    @property
    def secrets(self) -> tuple[str, ...]:
        """The secret keys, newest first."""
        if self.secret_key is None:
            return ()
        return self.secret_key if isinstance(self.secret_key, tuple) else (self.secret_key,)

    @property
    def has_tokens(self) -> bool:
        """Whether any option speaks of tokens."""
        return any(option is not None for option in (self.jwt, self.jwt_secret, self.access_token_ttl)) or bool(self.issuers)

    @property
    def has_audit(self) -> bool:
        """Whether there is an audit log."""
        return self.audit is not None or self.audit_database_url is not None or bool(self.audit_sinks)

    @property
    def in_memory(self) -> bool:
        """Whether buckets live in this process only."""
        return self.redis is None and (self.redis_url or "memory://").startswith("memory://")

    @property
    def processes(self) -> int:
        """How many processes are said to serve this application."""
        concurrency = os.environ.get("WEB_CONCURRENCY", "")
        told = int(concurrency) if concurrency.isascii() and concurrency.isdigit() else 1
        return self.workers or max(1, told)

    @classmethod
    def from_mapping(cls, options: Mapping[str, Any], environ: Mapping[str, str] | None = None) -> LockWatchConfig:
        """Settings from keyword options, the rest from the environment.

        Raises: ConfigurationError, for an unknown option with the nearest name.
        """
        known = _check_names(options)
        found, sources = _read(os.environ if environ is None else environ, known - _CODE_ONLY - set(options), bare=False)
        sources.update(dict.fromkeys(options, "argument"))
        return cls(**{**found, **options}, sources=sources)

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any], options: Mapping[str, Any]) -> LockWatchConfig:
        """Settings from keyword options, then from the ``LOCKWATCH_*`` of a Flask application, the rest from the environment.

        Raises: ConfigurationError, for an unknown name with the nearest one.
        """
        found: dict[str, Any] = {}
        for key, value in settings.items():
            name = key.removeprefix("LOCKWATCH_").lower()
            if not key.startswith("LOCKWATCH_") or name in options:
                continue
            plain = name.removesuffix("_file")
            if plain != name and plain in _known():
                found.setdefault(plain, _convert(plain, _file(str(value), key), key))
            else:
                found[name] = _convert(name, value, key) if isinstance(value, str) else value
        return cls.from_mapping({**found, **options})

    def replaced(self, options: Mapping[str, Any]) -> LockWatchConfig:
        """These settings with some options changed. Raises: ConfigurationError."""
        _check_names(options)
        return replace(self, **options, sources={**self.sources, **dict.fromkeys(options, "argument")})

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> LockWatchConfig:
        """Settings from the environment alone, the bare names of lockwatch 0.1 (`REDIS_URL`) included."""
        known = {f.name for f in fields(cls)} - _CODE_ONLY
        found, sources = _read(os.environ if environ is None else environ, known, bare=True)
        return cls(**found, sources=sources)


def _check_choices(config: LockWatchConfig) -> None:
    for name, choices in _CHOICES.items():
        value = getattr(config, name)
        if value not in choices and not (value is None and name in _OPTIONAL):
            raise ConfigurationError(f"{name}={value!r} is not one of {', '.join(map(repr, choices))}")
    for name, (low, high) in _RANGES.items():
        value = getattr(config, name)
        kinds = (int, float) if name in _FLOATS else (int,)
        fits = isinstance(value, kinds) and not isinstance(value, bool) and low <= value <= high
        if not fits and not (value is None and name in _OPTIONAL):
            number = "a number" if name in _FLOATS else "a whole number"
            raise ConfigurationError(f"{name}={value!r} is not {number} from {low:g} to {high:g}")


def _check_texts(config: LockWatchConfig) -> None:
    for option in ("redis_url", "token_redis_url"):
        url = getattr(config, option)
        if url is not None and not (isinstance(url, str) and url.strip()):
            raise ConfigurationError(f"{option} is empty or no text; leave it out, or set it like 'redis://localhost:6379/0'")
    for option in ("namespace", "token_namespace"):
        name = getattr(config, option)
        if name is None and option == "token_namespace":
            continue
        if not isinstance(name, str) or not name or name.strip(":") != name or any(c in name for c in "{} \n"):
            raise ConfigurationError(
                f"{option}={name!r} is not text without '{{', '}}' and space, and without ':' at its ends; "
                "a correct one is 'shop-api'"
            )
    if not isinstance(config.allow_private_webhooks, bool):
        raise ConfigurationError(f"allow_private_webhooks={config.allow_private_webhooks!r} is neither True nor False")
    for name, path in [(n, p) for n in ("exempt_paths", "audit_exempt_paths") for p in getattr(config, n)]:
        if not isinstance(path, str) or not path.startswith("/") or "*" in path[:-1]:
            raise ConfigurationError(f"{name}: {path!r} is not a path like '/healthz' or a prefix like '/static/*'")
    if any(not isinstance(secret, str) or len(secret) < 16 for secret in config.secrets):
        raise ConfigurationError(
            "secret_key is not text of at least 16 characters; make one with: "
            'python -c "import secrets; print(secrets.token_urlsafe(32))"'
        )


def _check_names(options: Mapping[str, Any]) -> frozenset[str]:
    """The names of all options. Raises: ConfigurationError when one of `options` is not among them."""
    known = _known()
    for name in options:
        if name not in known:
            raise ConfigurationError(f"unknown option {name!r}{_nearest(name, known)}")
    return known


def _known() -> frozenset[str]:
    return frozenset(f.name for f in fields(LockWatchConfig)) - {"sources"}


def _read(environ: Mapping[str, str], names: Iterable[str], bare: bool) -> tuple[dict[str, Any], dict[str, str]]:
    values: dict[str, Any] = {}
    sources: dict[str, str] = {}
    for name in sorted(names):
        variable = f"LOCKWATCH_{name.upper()}"
        for candidate in (variable, f"{variable}_FILE", *_ALSO.get(name, ()), _BARE.get(name, "") if bare else ""):
            if candidate and environ.get(candidate):
                text = _file(environ[candidate], candidate) if candidate.endswith("_FILE") else environ[candidate]
                values[name], sources[name] = _convert(name, text, candidate), candidate
                break
    return values, sources


def _convert(name: str, text: str, variable: str) -> Any:
    if name in _LISTS:
        return _listed(text)
    if name in _BOOLEANS:
        return _flag(text, variable)
    if name not in _RANGES:
        return text
    try:
        return float(text) if name in _FLOATS else int(text)
    except ValueError:
        raise ConfigurationError(f"{variable}={text[:40]!r} is not a number") from None


def _flag(text: str, variable: str) -> bool:
    try:
        return _FLAGS[text.strip().lower()]
    except KeyError:
        raise ConfigurationError(f"{variable}={text[:40]!r} is neither true nor false") from None


def _listed(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _file(path: str, variable: str) -> str:
    try:
        return Path(path).read_text("utf-8").strip()
    except OSError as error:
        raise ConfigurationError(f"{variable} names a file that cannot be read: {path!r} ({error.strerror})") from None
    except UnicodeDecodeError:
        raise ConfigurationError(f"{variable} names a file that is no UTF-8 text: {path!r}") from None


def _nearest(name: str, known: Iterable[str]) -> str:
    close = get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else f"; options are {', '.join(sorted(known))}"
