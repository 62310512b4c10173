"""Settings: one frozen object, validated once. Standard library only.

Order: argument, `LOCKWATCH_X`, the file named by `LOCKWATCH_X_FILE`, default. The bare names of lockwatch 0.1 (`REDIS_URL`) count
in `LockWatchConfig.from_env()` only: another program's variable must not change where this one counts.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from lockwatch.environment import convert, file, listed, number, read, workers_in
from lockwatch.errors import ConfigurationError
from lockwatch.options import AUDITED, BARE, CODE_ONLY, TUPLES, check, nearest


@dataclass(frozen=True, slots=True, kw_only=True)
class LockWatchConfig:
    """Every setting. Secrets do not show in its repr.

    Attributes:
        redis_url: where buckets live; None or ``memory://`` keeps them in this process.
        redis: a redis-py client (or a function returning one) instead of a URL.
        namespace: separates applications that share one store; no braces and spaces, no colon at either end.
        secret_key: one or several (newest first) of at least 16 characters; subjects in store keys are hashed with it.
        default_limits: limits of routes that declare none: one bucket per subject, route and method.
        application_limits: limits of the whole application: one bucket per subject.
        rate_limit_requests: with `rate_limit_window_seconds`, the same as an application limit.
        rate_limit_window_seconds: the window of `rate_limit_requests`, in seconds.
        auth_failures: limits charged to the address by every 401 and 403; requests from an address that used it up are refused.
        meta_limits: limits charged to the address by every 429; requests from an address that used it up are refused.
        exempt_paths: exact paths, or prefixes ending in ``*``, that default and application limits pass over.
        exempt_networks: addresses and networks that nothing is limited for; ``private`` stands for private ones.
        trusted_proxies: ``"none"``, ``"private"``, a number of hops, or networks.
        forwarded_header: ``x-forwarded-for`` or ``forwarded``.
        ipv6_prefix: how many bits of an IPv6 address are one client.
        on_redis_failure: ``allow``, ``deny`` or ``local`` for limits that do not say it themselves; None is ``local`` for those
            with `count`, ``allow`` for the others.
        store_timeout: seconds a request waits for the store at most, connecting included.
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
        audit_database_url: where the audit log goes, as a URL: ``postgresql+asyncpg://...`` or ``sqlite+aiosqlite:///audit.db``.
        audit_sinks: where the audit log goes besides: URLs, ``stdout:``, functions that take a list of entries.
        audit_migrate: make or change the tables of the audit log when they are missing or old.
        audit_redact: more words that name secrets in query strings and details, besides ``password``, ``token``, ``key`` and so on.
        audit_headers: names of request headers that are kept in the details of a row.
        audit_pii: ``keep``, or ``hash``: users, actors, sessions, targets and addresses are stored as keyed hashes.
        audit_exempt_paths: exact paths, or prefixes ending in ``*``, whose requests leave no row.
        audit_synchronous: ``normal``, or ``full``: what is in the spool survives a power cut too.
        audit_spool_megabytes: how much of what no sink has taken yet is kept on the disk, for each process.
        audit_checkpoints: a file that signed checkpoints of the audit log are added to, on a schedule and at the end.
        audit_checkpoint_key: the file of the key that signs them, an Ed25519 private key in PEM.
        audit_checkpoint_origin: name of the log, in every checkpoint.
        audit_checkpoint_seconds: how long between two checkpoints of one process.
        on_audit_failure: ``allow``, or ``deny``: requests are refused with 503 while events cannot be kept.
        token_redis_url: where sessions live, when they need a store of their own; like `redis_url`.
        token_namespace: what `namespace` is to buckets, for sessions; the same, unless applications share their sessions.
        trusted_origins: further origins whose pages may send the access cookie, like ``https://app.example.com``.
        anomaly: an `AnomalyConfig`: how attacks are noticed, and that they are.
        bans: whether anybody may be banned; on with `anomaly`.
        burst_threshold: the same as `AnomalyConfig(burst_threshold=...)`; 0 is off.
        burst_window_seconds: the same as `AnomalyConfig(burst_window_seconds=...)`.
        anomaly_window: another name for `burst_window_seconds`.
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
    audit_checkpoints: str | os.PathLike[str] | None = None
    audit_checkpoint_key: str | os.PathLike[str] | None = None
    audit_checkpoint_origin: str = "lockwatch/audit"
    audit_checkpoint_seconds: float = 300
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
        for name in (*TUPLES, "trusted_proxies", *AUDITED):
            if isinstance(value := getattr(self, name), list | set):
                object.__setattr__(self, name, tuple(value))
        for name in ("exempt_paths", "trusted_origins", *AUDITED):
            if isinstance(value := getattr(self, name), str):
                object.__setattr__(self, name, listed(value))
        if self.spool_dir == "none":
            object.__setattr__(self, "spool_dir", None)
        check(self)

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
        return self.workers or max(number(os.environ.get("WEB_CONCURRENCY", "")), workers_in(sys.argv))

    @classmethod
    def from_mapping(
        cls, options: Mapping[str, Any], environ: Mapping[str, str] | None = None, bare: Collection[str] = ()
    ) -> LockWatchConfig:
        """Settings from keyword options, the rest from the environment; options in `bare` also by their names of lockwatch 0.1.

        Raises: ConfigurationError, for an unknown option with the nearest name.
        """
        known = _check_names(options)
        found, sources = read(os.environ if environ is None else environ, known - CODE_ONLY - set(options), bare)
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
                found.setdefault(plain, convert(plain, file(str(value), key), key))
            else:
                found[name] = convert(name, value, key) if isinstance(value, str) else value
        return cls.from_mapping({**found, **options})

    def replaced(self, options: Mapping[str, Any]) -> LockWatchConfig:
        """These settings with some options changed. Raises: ConfigurationError."""
        _check_names(options)
        return replace(self, **options, sources={**self.sources, **dict.fromkeys(options, "argument")})

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> LockWatchConfig:
        """Settings from the environment alone, the bare names of lockwatch 0.1 (`REDIS_URL`) included."""
        known = {f.name for f in fields(cls)} - CODE_ONLY
        found, sources = read(os.environ if environ is None else environ, known, BARE)
        return cls(**found, sources=sources)


def _check_names(options: Mapping[str, Any]) -> frozenset[str]:
    """The names of all options. Raises: ConfigurationError when one of `options` is not among them."""
    known = _known()
    for name in options:
        if name not in known:
            raise ConfigurationError(f"unknown option {name!r}{nearest(name, known)}")
    return known


def _known() -> frozenset[str]:
    return frozenset(f.name for f in fields(LockWatchConfig)) - {"sources"}
