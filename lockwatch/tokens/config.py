"""Settings of tokens: one frozen object, validated once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import InitVar, dataclass, field, replace
from os import PathLike
from typing import Final, TypeAlias

from lockwatch.environment import read
from lockwatch.errors import ConfigurationError

Secret: TypeAlias = "str | bytes | Callable[[], str | bytes]"  # noqa: S105
DAY: Final = 86_400
ALGORITHMS: Final = ("RS256", "ES256", "HS256")
"""What lockwatch signs with."""
KEYS: Final = ("rsa_private_key_pem", "rsa_private_key_path", "jwt_secret")
"""Settings that say what with; at most one is given."""
_MAKE_SECRET: Final = 'make one with: python -c "import secrets; print(secrets.token_urlsafe(48))"'  # noqa: S105

_RANGES: Final[dict[str, tuple[float, float]]] = {
    "access_token_ttl_seconds": (1, 30 * DAY),
    "refresh_token_ttl_seconds": (1, 400 * DAY),
    "session_ttl_seconds": (1, 3650 * DAY),
    "refresh_grace_seconds": (0, 60),
    "leeway_seconds": (0, 300),
}
_CHOICES: Final = {
    "algorithm": (*ALGORITHMS, None),
    "refresh_format": ("opaque", "jwt"),
    "engine": ("python-jose", "pyjwt"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class JWTConfig:
    """How tokens are signed and how long they live. Keys and secrets do not show in its repr.

    A secret or PEM is text, bytes, or a function that returns it. Without any key, a new one is made when the process starts, and
    no token outlives the process.

    Attributes:
        rsa_private_key_pem: a private key in PEM; RSA of at least 2,048 bits, or EC on P-256 for ES256.
        rsa_private_key_path: a file with that, or a key file of `lockwatch keys`; it is read again when it changes.
        jwt_secret: at least 32 bytes; tokens are then signed with HS256. Several, newest first, while one is replaced.
        algorithm: ``RS256``, ``ES256`` or ``HS256``; None takes the one of the key.
        issuer: what tokens say in `iss`.
        audience: what tokens say in `aud`.
        access_token_ttl_seconds: how long an access token lives; `access_token_ttl` is the same.
        refresh_token_ttl_seconds: after how long without a refresh a session ends.
        refresh_grace_seconds: how long a refresh may be repeated with the same token, 0 to 60.
        session_ttl_seconds: how long a session lives at most.
        leeway_seconds: how far clocks may differ, 0 to 300.
        refresh_format: ``opaque`` or ``jwt``.
        engine: which library signs and verifies, ``python-jose`` or ``pyjwt`` (install ``lockwatch[pyjwt]``).

    Raises: ConfigurationError.
    """

    rsa_private_key_pem: Secret | None = field(default=None, repr=False)
    rsa_private_key_path: str | PathLike[str] | None = None
    jwt_secret: Secret | tuple[Secret, ...] | list[Secret] | None = field(default=None, repr=False)
    algorithm: str | None = None
    issuer: str = "lockwatch"
    audience: str = "lockwatch-api"
    access_token_ttl_seconds: float = 900
    refresh_token_ttl_seconds: float = 7 * DAY
    refresh_grace_seconds: float = 10
    session_ttl_seconds: float = 30 * DAY
    leeway_seconds: float = 30
    refresh_format: str = "opaque"
    engine: str = "python-jose"
    access_token_ttl: InitVar[float | None] = None

    def __post_init__(self, access_token_ttl: float | None) -> None:
        if access_token_ttl is not None:
            object.__setattr__(self, "access_token_ttl_seconds", access_token_ttl)
        if isinstance(self.jwt_secret, list):
            object.__setattr__(self, "jwt_secret", tuple(self.jwt_secret))
        for name, choices in _CHOICES.items():
            if (value := getattr(self, name)) not in choices:
                raise ConfigurationError(f"{name}={value!r} is not one of {', '.join(repr(c) for c in choices if c)}")
        for name, (low, high) in _RANGES.items():
            _check_number(name, getattr(self, name), low, high)
        for name in ("issuer", "audience"):
            _check_text(name, getattr(self, name))
        self._check_keys()

    @property
    def secrets(self) -> tuple[Secret, ...]:
        """The HMAC secrets, newest first."""
        if self.jwt_secret is None:
            return ()
        return tuple(self.jwt_secret) if isinstance(self.jwt_secret, tuple | list) else (self.jwt_secret,)

    def or_environment(self, environ: Mapping[str, str]) -> JWTConfig:
        """These settings; without a key, with the secret of the environment, if there is one. Raises: ConfigurationError."""
        if self._given or self.algorithm not in (None, "HS256"):
            return self
        found, _ = read(environ, ("jwt_secret",), ("jwt_secret",))
        return replace(self, **found)

    @property
    def _given(self) -> list[str]:
        return [name for name in KEYS if getattr(self, name) is not None]

    def _check_keys(self) -> None:
        given = self._given
        if len(given) > 1:
            raise ConfigurationError(
                f"{' and '.join(given)} are given, but tokens are signed with one of them; leave the others out"
            )
        symmetric = self.algorithm == "HS256"
        if self.algorithm is not None and given and symmetric != (given == ["jwt_secret"]):
            hint = "set jwt_secret" if symmetric else "set rsa_private_key_pem or rsa_private_key_path"
            raise ConfigurationError(f"algorithm={self.algorithm!r} cannot use {given[0]}; {hint}, or leave algorithm out")
        if symmetric and not given:
            raise ConfigurationError("algorithm='HS256' needs a jwt_secret of at least 32 bytes")
        if self.jwt_secret == () or self.rsa_private_key_pem in ("", b"") or self.rsa_private_key_path == "":
            raise ConfigurationError(f"{given[0]} is empty; set it, or leave it out")
        for secret in self.secrets:
            if not callable(secret):
                secret_bytes(secret)


def secret_bytes(secret: object) -> bytes:
    """An HMAC secret as bytes (RFC 7518, section 3.2). Raises: ConfigurationError, which never quotes it."""
    key = secret.encode("utf-8", "surrogatepass") if isinstance(secret, str) else secret
    if not isinstance(key, bytes) or len(key) < 32:
        raise ConfigurationError(f"jwt_secret is not text of at least 32 bytes; {_MAKE_SECRET}")
    if b"-----BEGIN " in key or key.startswith((b"ssh-", b"ecdsa-")):
        raise ConfigurationError("jwt_secret is a key in PEM or SSH form; give a private key as rsa_private_key_pem")
    return key


def _check_number(name: str, value: object, low: float, high: float) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise ConfigurationError(f"{name}={value!r} is not a number of seconds from {low:g} to {high:g}")


def _check_text(name: str, value: object) -> None:
    if not isinstance(value, str) or not 0 < len(value) <= 255 or not value.isprintable() or value != value.strip():
        raise ConfigurationError(f"{name}={value!r} is not a text of 1 to 255 printable characters; a correct one is 'shop-api'")
