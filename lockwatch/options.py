"""What options there are by kind, and what their values may be. Standard library only."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Final

from lockwatch.errors import ConfigurationError

if TYPE_CHECKING:
    from lockwatch.config import LockWatchConfig

BARE: Final = {"redis_url": "REDIS_URL", "jwt_secret": "JWT_SECRET"}
ALSO: Final = {"audit_database_url": ("LOCKWATCH_DATABASE_URL", "LOCKWATCH_DATABASE_URL_FILE")}
BURSTS: Final = ("burst_threshold", "burst_window_seconds", "anomaly_window")
OPTIONAL: Final = frozenset({"on_redis_failure", "workers", "rate_limit_requests", "access_token_ttl", *BURSTS})
FLOATS: Final = frozenset(
    {"store_timeout", "rate_limit_window_seconds", "access_token_ttl", "audit_checkpoint_seconds", *BURSTS[1:]}
)
CODE_ONLY: Final = frozenset(
    {"redis", "user", "tenant", "jwt", "issuers", "load_claims", "anomaly", "bans", "alerts", "audit", "sources"}
)
FLAGS: Final = {"true": True, "1": True, "yes": True, "on": True, "false": False, "0": False, "no": False, "off": False}
BOOLEANS: Final = frozenset({"allow_private_webhooks", "audit_migrate"})
AUDITED: Final = ("audit_redact", "audit_headers", "audit_exempt_paths")
TUPLES: Final = (
    "exempt_paths",
    "exempt_networks",
    "secret_key",
    "webhook_urls",
    "webhook_secrets",
    "slack_urls",
    "trusted_origins",
)
LISTS: Final = frozenset({*TUPLES, *AUDITED, "audit_sinks"})
CHOICES: Final = {
    "mode": ("enforce", "observe", "off"),
    "headers": ("both", "draft-11", "x", "off"),
    "on_redis_failure": ("allow", "deny", "local"),
    "forwarded_header": ("x-forwarded-for", "forwarded"),
    "on_audit_failure": ("allow", "deny"),
    "audit_pii": ("keep", "hash"),
    "audit_synchronous": ("normal", "full"),
}
RANGES: Final[dict[str, tuple[float, float]]] = {
    "ipv6_prefix": (32, 128),
    "store_timeout": (0.001, 10),
    "store_connections": (1, 1024),
    "max_buckets": (1, 10**9),
    "workers": (1, 4096),
    "rate_limit_requests": (0, 2**40),
    "rate_limit_window_seconds": (0.001, 10 * 360 * 86_400),
    "access_token_ttl": (1, 30 * 86_400),
    "audit_spool_megabytes": (1, 2**20),
    "audit_checkpoint_seconds": (0.05, 86_400),
    "burst_threshold": (0, 10_000),
    "burst_window_seconds": (0.1, 86_400),
    "anomaly_window": (0.1, 86_400),
    "alerts_per_hour": (1, 10_000),
}


def check(config: LockWatchConfig) -> None:
    """Raises: ConfigurationError, for the first value that cannot work."""
    _check_choices(config)
    _check_flags(config)
    _check_numbers(config)
    _check_urls(config)
    _check_names(config)
    _check_paths(config)
    _check_secrets(config)
    _check_functions(config)


def _check_choices(config: LockWatchConfig) -> None:
    for name, choices in CHOICES.items():
        value = getattr(config, name)
        if value not in choices and not (value is None and name in OPTIONAL):
            raise ConfigurationError(f"{name}={value!r} is not one of {', '.join(map(repr, choices))}")


def _check_flags(config: LockWatchConfig) -> None:
    for name in sorted(BOOLEANS):
        if not isinstance(value := getattr(config, name), bool):
            raise ConfigurationError(f"{name}={value!r} is neither True nor False")


def _check_numbers(config: LockWatchConfig) -> None:
    for name, (low, high) in RANGES.items():
        value = getattr(config, name)
        kinds = (int, float) if name in FLOATS else (int,)
        fits = isinstance(value, kinds) and not isinstance(value, bool) and low <= value <= high
        if not fits and not (value is None and name in OPTIONAL):
            number = "a number" if name in FLOATS else "a whole number"
            raise ConfigurationError(f"{name}={value!r} is not {number} from {low:g} to {high:g}")


def _check_urls(config: LockWatchConfig) -> None:
    for option in ("redis_url", "token_redis_url"):
        url = getattr(config, option)
        if url is not None and not (isinstance(url, str) and url.strip()):
            raise ConfigurationError(f"{option} is empty or no text; leave it out, or set it like 'redis://localhost:6379/0'")


def _check_names(config: LockWatchConfig) -> None:
    for option in ("namespace", "token_namespace"):
        name = getattr(config, option)
        if name is None and option == "token_namespace":
            continue
        if not isinstance(name, str) or not name or name.strip(":") != name or any(c in name for c in "{} \n"):
            raise ConfigurationError(
                f"{option}={name!r} is not text without '{{', '}}' and space, and without ':' at its ends; "
                "a correct one is 'shop-api'"
            )


def _check_paths(config: LockWatchConfig) -> None:
    for name, path in [(n, p) for n in ("exempt_paths", "audit_exempt_paths") for p in getattr(config, n)]:
        if not isinstance(path, str) or not path.startswith("/") or "*" in path[:-1]:
            raise ConfigurationError(f"{name}: {path!r} is not a path like '/healthz' or a prefix like '/static/*'")


def _check_secrets(config: LockWatchConfig) -> None:
    if any(not isinstance(secret, str) or len(secret) < 16 for secret in config.secrets):
        raise ConfigurationError(
            "secret_key is not text of at least 16 characters; make one with: "
            'python -c "import secrets; print(secrets.token_urlsafe(32))"'
        )


def _check_functions(config: LockWatchConfig) -> None:
    for name in ("user", "tenant"):
        if iscoroutinefunction(getattr(config, name)):
            raise ConfigurationError(
                f"{name} is an async function; it has to be a plain one, like lambda request: request.state.{name}_id"
            )


def nearest(name: str, known: Iterable[str]) -> str:
    """What to say of a name that is none of the `known`."""
    close = get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else f"; options are {', '.join(sorted(known))}"
