"""The secrets that refresh tokens are signed with and sessions sealed with. Reads key files."""

from __future__ import annotations

from lockwatch.errors import ConfigurationError
from lockwatch.tokens import rotation
from lockwatch.tokens.config import JWTConfig, Secret, secret_bytes
from lockwatch.tokens.keyfile import file_at
from lockwatch.tokens.keys import private_bytes


def roots(config: JWTConfig, secret_key: str | tuple[str, ...] | None, stray: bytes) -> tuple[bytes, ...]:
    """Newest first: `secret_key`, or else the signing keys of `config`, or `stray` where there is none.

    Raises: ConfigurationError.
    """
    if secret_key is not None:
        return _given((secret_key,) if isinstance(secret_key, str) else tuple(secret_key))
    if config.secrets:
        return tuple([secret_bytes(_value(secret)) for secret in config.secrets])
    if config.rsa_private_key_path is not None:
        text = file_at(config.rsa_private_key_path).read_text("utf-8")
        pems = [entry.pem for entry in rotation.read(text).entries] if text[:1] == "{" else [text]
        return tuple([private_bytes(pem) for pem in pems])
    return (stray,) if config.rsa_private_key_pem is None else (private_bytes(_value(config.rsa_private_key_pem)),)


def _given(secrets: tuple[str, ...]) -> tuple[bytes, ...]:
    if not secrets or any(not isinstance(secret, str) or len(secret) < 16 for secret in secrets):
        raise ConfigurationError(
            "secret_key is not text of at least 16 characters; make one with: "
            'python -c "import secrets; print(secrets.token_urlsafe(32))"'
        )
    return tuple([secret.encode("utf-8", "surrogatepass") for secret in secrets])


def _value(secret: Secret) -> str | bytes:
    return secret() if callable(secret) else secret
