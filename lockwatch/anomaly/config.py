"""The settings of what watches for attacks. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Final

from lockwatch.anomaly.rules import Settings, ruled
from lockwatch.config import LockWatchConfig
from lockwatch.errors import ConfigurationError

RESPONSES: Final = ("log", "alert", "challenge", "ban")
"""What may be done about an attack, each including those before it."""
BANNING: Final = ("failures.address", "stuffing.address", "enumeration.address", "scan.address")
"""Rules that say which addresses are behind an attack."""
BURST: Final = "burst.address"
_RANGES: Final[dict[str, tuple[float, float]]] = {
    "burst_threshold": (0, 10_000),
    "burst_window_seconds": (0.1, 86_400),
    "alert_cooldown_seconds": (1, 86_400),
    "ban_seconds": (1, 360 * 86_400),
    "ban_max_seconds": (1, 360 * 86_400),
    "ban_growth": (1, 100),
    "max_bans": (1, 1_000_000),
}
_WHOLE: Final = ("burst_threshold", "max_bans")


@dataclass(frozen=True, slots=True)
class AnomalyConfig:
    """How attacks are noticed, and what is done about them.

    Attributes:
        burst_threshold: requests of one address within the window that make a burst; 0 looks for none.
        burst_window_seconds: the window. It slides, and is exact.
        webhook_urls: who is alerted.
        webhook_secrets: with which alerts are signed, newest first.
        allow_private_webhooks: alert addresses that are not public, too.
        alert_cooldown_seconds: at most one alert about the bursts of an address in that time.
        respond: ``log``, ``alert``, ``challenge`` (a step-up for log-ins from new networks while they are under attack) or ``ban``;
            each includes those before it.
        login_routes: routes that log in, like ``POST /login``: a 401, 403 or 422 of theirs is a failed login, unless the
            application tells by `login_failed` and `login_succeeded` itself.
        step_up: asked for a login that has to be challenged: a function of the request and the `Challenge`, sync or async; true
            lets the login go on. Without one it is refused with 403.
        ban_seconds: how long a first ban lasts.
        ban_growth: by how much the next ban of the same subject is longer.
        ban_max_seconds: how long a ban lasts at most.
        never_ban: networks that are never banned, beside trusted proxies and private peers.
        has_session: a function of the request that says whether it belongs to a session of the application's own. Such requests,
            like those with a token that verifies, pass a ban of their address.
        ban_rules: whose sources are banned when `respond` is ``ban``; ``burst.address`` may be one, too.
        rules: changes to rules by name, like ``{"scan.address": {"threshold": 30}}``.
        rules_off: names of rules that are not run.
        max_bans: how many bans are kept.
        key_prefix: the namespace of what an `AnomalyDetector` keeps, when it stands alone.
        secret_key: clients are hashed with it in the store, likewise.

    Raises: ConfigurationError.
    """

    burst_threshold: int = 50
    burst_window_seconds: float = 10
    webhook_urls: str | Iterable[str] = ()
    webhook_secrets: Any = field(default=(), repr=False)
    allow_private_webhooks: bool = False
    alert_cooldown_seconds: float = 60
    respond: str = "alert"
    login_routes: str | Iterable[str] = ()
    step_up: Any = None
    ban_seconds: float = 4 * 3600
    ban_growth: float = 2
    ban_max_seconds: float = 7 * 86_400
    never_ban: str | Iterable[str] = ()
    has_session: Any = None
    ban_rules: str | Iterable[str] = BANNING
    rules: Mapping[str, Mapping[str, object]] = field(default_factory=lambda: MappingProxyType({}))
    rules_off: str | Iterable[str] = ()
    max_bans: int = 10_000
    key_prefix: str = "lockwatch"
    secret_key: str | tuple[str, ...] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        for name, (low, high) in _RANGES.items():
            value, kinds = getattr(self, name), (int,) if name in _WHOLE else (int, float)
            if not isinstance(value, kinds) or isinstance(value, bool) or not low <= value <= high:
                number = "a whole number" if name in _WHOLE else "a number"
                raise ConfigurationError(f"{name}={value!r} is not {number} from {low:g} to {high:g}")
        if self.respond not in RESPONSES:
            raise ConfigurationError(f"respond={self.respond!r} is not one of {', '.join(map(repr, RESPONSES))}")
        for name in ("webhook_urls", "never_ban", "login_routes", "ban_rules", "rules_off"):
            object.__setattr__(self, name, _listed(getattr(self, name)))
        for route in self.login_routes:
            method, _, path = route.partition(" ")
            if not method.isupper() or not path.startswith("/"):
                raise ConfigurationError(f"login_routes: {route!r} is not method and template; a correct one is 'POST /login'")
        for name in ("step_up", "has_session"):
            if getattr(self, name) is not None and not callable(getattr(self, name)):
                raise ConfigurationError(f"{name}={getattr(self, name)!r} is not callable; it takes the request")

        known = {*self.detection.rules, BURST}
        for name in ("ban_rules", "rules_off"):
            for rule in getattr(self, name):
                if rule not in known:
                    raise ConfigurationError(f"{name}: there is no rule {rule!r}; the rules are {', '.join(sorted(known))}")

    @property
    def detection(self) -> Settings:
        """The settings of the detector. Bursts of an address are counted exactly, and not there."""
        rules = ruled(self.rules)
        if self.respond == "ban":  # the detector then speaks of every source that joins a campaign
            banning = {name: replace(rules[name], ban=int(self.ban_seconds) or 1) for name in self.ban_rules if name in rules}
            rules = MappingProxyType({**rules, **banning})
        return Settings(rules=rules, off=frozenset({*self.rules_off, BURST}))

    def allows(self, response: str) -> bool:
        """Whether `respond` reaches that far."""
        return RESPONSES.index(response) <= RESPONSES.index(self.respond)


def _listed(value: str | Iterable[str]) -> tuple[str, ...]:
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else tuple(value)


def settings_of(config: LockWatchConfig) -> AnomalyConfig | None:
    """The settings in `anomaly` and its shortcuts; None where nothing asks for anything to be noticed.

    Raises: ConfigurationError.
    """
    settings, threshold = config.anomaly, config.burst_threshold
    if settings is not None and not isinstance(settings, AnomalyConfig):
        raise ConfigurationError(
            f"anomaly is no AnomalyConfig but {type(settings).__name__}; a correct one is AnomalyConfig(burst_threshold=50)"
        )
    window = config.anomaly_window if config.burst_window_seconds is None else config.burst_window_seconds
    if config.anomaly_window is not None and window != config.anomaly_window:
        raise ConfigurationError(
            f"anomaly_window={config.anomaly_window!r} is another name for burst_window_seconds={window!r}; keep one"
        )
    if settings is None and not threshold:
        if window is not None and threshold is None:
            raise ConfigurationError("burst_window_seconds is set, but no burst_threshold; set that too, like burst_threshold=50")
        return None
    changes: dict[str, Any] = {"burst_threshold": threshold, "burst_window_seconds": window}
    return replace(settings or AnomalyConfig(), **{name: value for name, value in changes.items() if value is not None})


def alerting(config: LockWatchConfig, settings: AnomalyConfig | None) -> LockWatchConfig:
    """The settings of an application, with the receivers of alerts that `settings` names. Raises: ConfigurationError."""
    if settings is None or not settings.webhook_urls:
        return config
    if config.webhook_urls and tuple(config.webhook_urls) != settings.webhook_urls:
        raise ConfigurationError("webhook_urls is set twice, as an option and in anomaly; keep one")
    private = config.allow_private_webhooks or settings.allow_private_webhooks
    return replace(
        config,
        webhook_urls=tuple(settings.webhook_urls),
        webhook_secrets=settings.webhook_secrets or config.webhook_secrets,
        allow_private_webhooks=private,
    )
