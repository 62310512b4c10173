"""What an application's settings say of tokens: its own, and those of third parties."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from lockwatch.config import LockWatchConfig
from lockwatch.errors import ConfigurationError
from lockwatch.tokens.config import JWTConfig
from lockwatch.tokens.issuers import Issuer


def read_settings(config: LockWatchConfig) -> JWTConfig | None:
    """The settings of our own tokens, from `jwt` and its shortcuts; None where nothing signs any. Raises: ConfigurationError."""
    settings, secret, ttl = config.jwt, config.jwt_secret, config.access_token_ttl
    if settings is not None and not isinstance(settings, JWTConfig):
        raise ConfigurationError(f"jwt is no JWTConfig but {type(settings).__name__}; a correct one is JWTConfig(jwt_secret=...)")
    if settings is None and secret is None:
        if ttl is not None:
            raise ConfigurationError("access_token_ttl is set, but nothing signs tokens; set jwt=JWTConfig(...) or jwt_secret too")
        return None
    if settings is not None and settings.jwt_secret is not None and secret is not None:
        raise ConfigurationError("jwt_secret is set twice, as an option and in jwt; keep one")
    changes: dict[str, Any] = {} if secret is None else {"jwt_secret": secret}
    if ttl is not None:
        changes["access_token_ttl_seconds"] = ttl
    return replace(settings or JWTConfig(**changes), access_token_ttl=None, **changes)


def read_issuers(issuers: Issuer | Sequence[Issuer]) -> tuple[Issuer, ...]:
    """One or several third parties, each once. Raises: ConfigurationError."""
    found = (issuers,) if isinstance(issuers, Issuer) else tuple(issuers)
    for issuer in found:
        if not isinstance(issuer, Issuer):
            raise ConfigurationError(
                f"issuers: {type(issuer).__name__} is no Issuer; a correct one is "
                "issuers=[Issuer('https://login.example.com', audience='https://api.example.com')]"
            )
    if len({issuer.url for issuer in found}) != len(found):
        raise ConfigurationError("issuers name one issuer twice; give it all its audiences, like audience=['shop', 'admin']")
    return found
