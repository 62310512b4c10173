"""``python -m tests.reference`` writes `docs/configuration-reference.md` from the code; `test_reference` holds it to that."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import MISSING, fields
from pathlib import Path
from textwrap import dedent
from typing import Any, Final, NamedTuple

from lockwatch import options
from lockwatch.alerts.channels import SlackChannel, WebhookChannel
from lockwatch.anomaly import config as anomaly
from lockwatch.anomaly.config import AnomalyConfig
from lockwatch.config import LockWatchConfig
from lockwatch.limits.declaration import Declaration
from lockwatch.tokens import config as tokens
from lockwatch.tokens.config import JWTConfig
from lockwatch.tokens.requirement import Requirement

PAGE: Final = Path(__file__).resolve().parents[1] / "docs" / "configuration-reference.md"
GROUPS: Final[dict[str, tuple[str, ...]]] = {
    "The store": (
        "redis_url",
        "redis",
        "namespace",
        "secret_key",
        "store_timeout",
        "store_connections",
        "on_redis_failure",
        "max_buckets",
        "workers",
    ),
    "Limits": (
        "default_limits",
        "application_limits",
        "rate_limit_requests",
        "rate_limit_window_seconds",
        "auth_failures",
        "meta_limits",
        "exempt_paths",
        "exempt_networks",
        "headers",
        "mode",
    ),
    "Who is counted": ("trusted_proxies", "forwarded_header", "ipv6_prefix", "user", "tenant"),
    "Tokens": (
        "jwt",
        "jwt_secret",
        "access_token_ttl",
        "issuers",
        "load_claims",
        "token_redis_url",
        "token_namespace",
        "trusted_origins",
    ),
    "Detection and bans": ("anomaly", "bans", "burst_threshold", "burst_window_seconds", "anomaly_window"),
    "Alerts": ("webhook_urls", "webhook_secrets", "slack_urls", "alerts", "allow_private_webhooks", "alerts_per_hour"),
    "The audit log": (
        "audit",
        "audit_database_url",
        "audit_sinks",
        "audit_migrate",
        "audit_redact",
        "audit_headers",
        "audit_pii",
        "audit_exempt_paths",
        "audit_synchronous",
        "audit_spool_megabytes",
        "audit_checkpoints",
        "audit_checkpoint_key",
        "audit_checkpoint_origin",
        "audit_checkpoint_seconds",
        "on_audit_failure",
        "spool_dir",
    ),
}
"""The options of `LockWatchConfig` by subject."""
SEE: Final = {
    "redis_url": "configuration.md#store-urls",
    "on_redis_failure": "outages.md",
    "workers": "outages.md#how-much-local-admits",
    "auth_failures": "rate-limiting.md#limits-on-refusals-and-on-failed-authentication",
    "headers": "rate-limiting.md#headers",
    "trusted_proxies": "proxies.md",
    "tenant": "rate-limiting.md#tenants",
    "jwt": "tokens.md#settings",
    "token_redis_url": "sessions.md#a-store-for-sessions",
    "trusted_origins": "tokens.md#browsers",
    "anomaly": "detection.md",
    "bans": "bans.md",
    "webhook_urls": "alerts.md",
    "audit_database_url": "audit.md",
    "audit_checkpoints": "audit-evidence.md#in-the-application",
    "audit_redact": "audit.md#what-is-not-recorded",
}
"""Where more is said about an option."""
UNTYPED: Final = {
    "redis": "client or function",
    "jwt": "JWTConfig",
    "jwt_secret": "text, bytes, function, or several",
    "issuers": "Issuer, several",
    "audit": "AsyncEngine",
    "audit_sinks": "texts and functions",
    "anomaly": "AnomalyConfig",
    "webhook_secrets": "texts and functions",
    "alerts": "channels",
    "step_up": "function",
    "has_session": "function",
    "secrets": "texts and functions",
    "key": "function",
    "limits": "text, Limit, function, or several",
}
"""What an option is whose annotation does not say it to a reader."""
_WORDS: Final = (
    (r"\bos\.PathLike\[str\]|PathLike\[str\]", "path"),
    (r"Callable\[.*", "function"),
    (r"Mapping\[.*", "mapping"),
    (r"\b(Secret|Key|Counts)\b", {"Secret": "text, bytes or function", "Key": "function", "Counts": "function"}),
    (r"(?:tuple|list|Iterable|Sequence)\[(?:str|text|Any|Secret)(?:, \.\.\.)?\]", "several"),
    (r"\bstr\b", "text"),
    (r"\bbool\b", "flag"),
    (r"\bint\b", "whole number"),
    (r"\bfloat\b", "number"),
)


class Option(NamedTuple):
    """One option, in words."""

    name: str
    kind: str
    default: str
    says: str


def page() -> str:
    """The whole page."""
    return "\n".join([_HEAD, *_lockwatch(), *_objects()]).rstrip() + "\n"


def described(kind: type) -> dict[str, str]:
    """What the docstring of a class says of each option: its ``Attributes`` or ``Args``. Raises: KeyError."""
    text = inspect.getdoc(kind) or ""
    section = re.search(r"^(?:Attributes|Args):\n((?:[ ]+.*\n?|\n)+)", text, re.MULTILINE)
    if section is None:
        raise KeyError(f"{kind.__name__} describes no options")
    found = re.findall(r"^(\w+): (.*(?:\n +.*)*)", dedent(section[1]), re.MULTILINE)
    return {name: re.sub(r"\s+", " ", says) for name, says in found}


def option(name: str, annotation: str, default: object, says: str, ranges: Mapping[str, Any], choices: Mapping[str, Any]) -> Option:
    """An option in words. Raises: KeyError, when its annotation says nothing and `UNTYPED` neither."""
    if name in choices:
        kind = ", ".join([f"`{choice}`" for choice in choices[name] if choice is not None])
    else:
        kind = UNTYPED.get(name) or kind_of(name, annotation)
    if name in ranges:
        kind += " from {} to {}".format(*map(_number, ranges[name]))
    return Option(name, kind, "" if default is inspect.Parameter.empty else f"`{_default(default)}`", _sentence(says))


def kind_of(name: str, annotation: str) -> str:
    """A type in words. Raises: KeyError."""
    for pattern, word in _WORDS:
        annotation = re.sub(pattern, word if isinstance(word, str) else lambda m, w=word: w[m[0]], annotation)  # type: ignore[misc]
    kinds = [part.strip() for part in annotation.split("|") if part.strip() not in ("None", "")]
    if not kinds or not all(re.fullmatch("[a-z ,]+", kind) for kind in kinds):
        raise KeyError(f"{name} is of type {annotation!r}; say in UNTYPED what that is")
    return " or ".join(dict.fromkeys(kinds))


def options_of(kind: type, ranges: Mapping[str, Any], choices: Mapping[str, Any]) -> Iterator[Option]:
    """The options of a dataclass. Raises: KeyError, for one that its docstring does not describe."""
    says = described(kind)
    for field in fields(kind):
        if field.name != "sources":
            default = field.default_factory() if field.default_factory is not MISSING else field.default
            default = inspect.Parameter.empty if default is MISSING else default
            yield option(field.name, str(field.type), default, says[field.name], ranges, choices)


def parameters_of(kind: type, choices: Mapping[str, Any]) -> Iterator[Option]:
    """The same for a class with an ``__init__``. Raises: KeyError."""
    says = described(kind)
    for parameter in list(inspect.signature(kind).parameters.values()):
        annotation = str(parameter.annotation).strip("\"'")
        yield option(parameter.name, annotation, parameter.default, says[parameter.name], {}, choices)


def _lockwatch() -> Iterator[str]:
    found = {each.name: each for each in options_of(LockWatchConfig, options.RANGES, options.CHOICES)}
    grouped = [name for group in GROUPS.values() for name in group]
    if sorted(grouped) != sorted(found):
        raise KeyError(f"not in one group of GROUPS each: {set(found) ^ set(grouped)}")
    for title, names in GROUPS.items():
        yield f"\n## {title}\n"
        columns = ("Option", "Type", "Default", "In Flask", "Environment", "Meaning")
        yield from _table(columns, [_row(found[name]) for name in names])


def _row(each: Option) -> tuple[str, ...]:
    variable = f"`LOCKWATCH_{each.name.upper()}`"
    also = "".join([f", `{name}`" for name in options.ALSO.get(each.name, ())[:1]])
    environment = "none" if each.name in options.CODE_ONLY else f"the same{also}"
    see = SEE.get(each.name)
    return f"`{each.name}`", each.kind, each.default, variable, environment, each.says + (f". [More]({see})" if see else "")


def _objects() -> Iterator[str]:
    jwt = (tokens._RANGES, tokens._CHOICES)
    watch = (anomaly._RANGES, {"respond": anomaly.RESPONSES})
    failure = {"on_store_error": ("allow", "deny", "local")}
    yield from _of("JWTConfig", "`LockWatch(app, jwt=JWTConfig(...))`", options_of(JWTConfig, *jwt))
    yield from _of("AnomalyConfig", "`LockWatch(app, anomaly=AnomalyConfig(...))`", options_of(AnomalyConfig, *watch))
    yield from _of("WebhookChannel", "`LockWatch(app, alerts=[WebhookChannel(...)])`", options_of(WebhookChannel, {}, {}))
    yield from _of("SlackChannel", "`LockWatch(app, alerts=[SlackChannel(...)])`", options_of(SlackChannel, {}, {}))
    limit = "`RateLimit(...)` and `@lockwatch.limit(...)`"
    yield from _of("A limit", limit, parameters_of(Declaration, failure))
    token = "`JWTAuth(...)` and `@lockwatch.jwt_required(...)`"
    yield from _of("A token", token, parameters_of(Requirement, {"on_store_error": ("deny", "allow")}))


def _of(title: str, where: str, found: Iterator[Option]) -> Iterator[str]:
    yield f"\n## {title}\n\n{where}:\n"
    rows = [(f"`{each.name}`", each.kind, each.default or "needed", each.says) for each in found]
    yield from _table(("Option", "Type", "Default", "Meaning"), rows)


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield "| " + " | ".join(columns) + " |"
    yield "|" + "---|" * len(columns)
    for row in rows:
        yield "| " + " | ".join([cell.replace("|", "\\|") for cell in row]) + " |"


def _default(value: object) -> str:
    if isinstance(value, Callable):  # type: ignore[arg-type]  # a function is shown by its name
        return str(value.__name__)
    if isinstance(value, int) and not isinstance(value, bool) and value >= 10_000:
        return f"{value:_}"
    if isinstance(value, str):
        return f'"{value}"'
    return "{}" if isinstance(value, Mapping) and not value else re.sub("'", '"', repr(value))


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"


def _sentence(says: str) -> str:
    return re.sub(r"``([^`]*)``", r"`\1`", says).rstrip(".")


_HEAD: Final = """# Configuration reference

Every option, from the code of this release. `uv run python -m tests.reference` writes this page; a test compares them.

An option of `LockWatch` is a keyword argument, `LockWatch(app, redis_url=...)`, in both frameworks. *In Flask* is its key in
`app.config`; *Environment* the variable that counts where neither says anything. With `_FILE` appended either names a file that
holds the value. [Configuration](configuration.md) says what goes first. What takes several values takes a tuple, or in text a list
with commas."""


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
    print(f"wrote {PAGE}", file=sys.stderr)
