"""Access tokens: what goes into one, and signing it (RFC 9068)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from lockwatch.errors import ConfigurationError
from lockwatch.tokens.claims import Rules, is_name
from lockwatch.tokens.config import DAY, JWTConfig
from lockwatch.tokens.encoding import encode, read_object, write_object
from lockwatch.tokens.keys import Key
from lockwatch.tokens.ring import KeyRing
from lockwatch.tokens.verify import MAX_TOKEN, Verifier

ACCESS: Final = "at+jwt"
REGISTERED: Final = frozenset(
    {"iss", "sub", "aud", "exp", "nbf", "iat", "jti", "sid", "auth_time", "cnf", "act", "may_act", "client_id"},
)
"""Claims that are lockwatch's to set."""


@dataclass(frozen=True, slots=True)
class SignedToken:
    """A token that was signed. `expires_at` is in epoch seconds."""

    token: str
    jti: str
    expires_at: int

    def __repr__(self) -> str:
        return f"SignedToken(jti={self.jti!r}, expires_at={self.expires_at})"


def access_rules(config: JWTConfig, ring: KeyRing) -> Rules:
    """What our own access tokens have to say."""
    return Rules(
        issuer=config.issuer,
        audiences=frozenset({config.audience}),
        types=frozenset({ACCESS}),
        algorithms=frozenset({key.algorithm for key in ring.keys.values()}),
        leeway=config.leeway_seconds,
        # A day at least, so that tokens signed before the setting was lowered live on.
        max_lifetime=max(config.access_token_ttl_seconds, DAY),
    )


def access_verifier(config: JWTConfig, ring: KeyRing) -> Verifier:
    """Verifies our own access tokens. Another ring needs another one."""
    return Verifier(ring.keys, access_rules(config, ring))


def access_token(
    config: JWTConfig,
    key: Key,
    subject: object,
    claims: Mapping[str, Any] | None = None,
    *,
    jti: str,
    now: float,
    family: str | None = None,
    auth_time: float | None = None,
    client_id: str | None = None,
) -> SignedToken:
    """Sign an access token for `subject`, a text or whole number.

    `claims` are the application's. Two of them say what the token is good for: `scope`, a list of words or a text with spaces, and
    `roles`, a list of names or one name. Claims are checked by reading them back, so that what is signed is also accepted.

    Raises: ConfigurationError for claims that lockwatch sets, that JSON cannot say, or that make the token longer than 8 KiB.
    """
    issued = int(now)
    expires = issued + max(1, int(config.access_token_ttl_seconds))
    registered: dict[str, Any] = {
        "iss": config.issuer,
        "sub": subject_text(subject),
        "aud": config.audience,
        "exp": expires,
        "iat": issued,
        "jti": jti,
        "sid": family,
        "auth_time": None if auth_time is None else int(auth_time),
        "client_id": client_id,
    }
    own = custom_claims(claims)
    values = {name: value for name, value in registered.items() if value is not None} | own
    return SignedToken(sign(key, ACCESS, values), jti, expires)


def custom_claims(claims: Mapping[str, Any] | None) -> dict[str, Any]:
    """The application's claims as they go into a token. Raises: ConfigurationError; it quotes names, never values."""
    if not claims:
        return {}
    for name in claims:
        if not isinstance(name, str) or name in REGISTERED:
            raise ConfigurationError(f"claims may not set {name!r}: lockwatch does; a correct one is claims={{'roles': ['admin']}}")
    try:
        own = read_object(write_object(claims))
    except (ValueError, TypeError, RecursionError):
        raise ConfigurationError(f"the claims {', '.join(sorted(claims))} cannot be said in JSON of at most 32 levels") from None
    if "scope" in own:
        scope = own["scope"]
        own["scope"] = " ".join(_listed("scope", scope.split() if isinstance(scope, str) else scope, r"\S+"))
    if "roles" in own:
        roles = own["roles"]
        own["roles"] = _listed("roles", [roles] if isinstance(roles, str) else roles, r".+")
    return own


def subject_text(subject: object) -> str:
    """A subject as text (RFC 7519, section 4.1.2). Raises: ConfigurationError, which does not quote it."""
    text = str(subject) if isinstance(subject, int) and not isinstance(subject, bool) else subject
    if not isinstance(text, str) or not is_name(text):
        raise ConfigurationError("subject is not a text of 1 to 255 bytes without control characters; a correct one is 'user:42'")
    return text


def sign(key: Key, kind: str, values: Mapping[str, Any]) -> str:
    """A token of media type `kind` in compact form. Raises: ConfigurationError when it is longer than 8 KiB."""
    header = encode(write_object({"alg": key.algorithm, "kid": key.kid, "typ": kind}))
    signing_input = b"%b.%b" % (header, encode(write_object(values)))
    token = b"%b.%b" % (signing_input, encode(key.sign(signing_input)))
    if len(token) > MAX_TOKEN:
        raise ConfigurationError(f"the token would have {len(token)} characters; at most {MAX_TOKEN} fit: put fewer claims into it")
    return token.decode()


def _listed(name: str, value: object, form: str) -> list[str]:
    found = [one for one in value if is_name(one) and re.fullmatch(form, one)] if isinstance(value, list) else []
    if found != value:
        raise ConfigurationError(f"claims: {name} is no list of texts; a correct one is {{'{name}': ['reports', 'profile']}}")
    return found
