"""Options, secrets and variables. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import fields
from difflib import get_close_matches
from typing import Any, Final

from lockwatch.config import LockWatchConfig
from lockwatch.diagnosis.finding import Area, Finding
from lockwatch.diagnosis.patient import Patient
from lockwatch.options import CODE_ONLY

_OTHERS: Final = frozenset({"LOCKWATCH_DATABASE_URL", "LOCKWATCH_DATABASE_URL_FILE"})
_BARE: Final = {"REDIS_URL": "redis_url", "JWT_SECRET": "jwt_secret"}
_WORDS: Final = re.compile("change|secret|passwor|exampl|insecur|defaul|random|thirty|0123456789|abcdefg|qwerty", re.IGNORECASE)
_FEWEST: Final = 6
"""Different characters below which a secret is a pattern."""
_MAKE: Final = "export LOCKWATCH_{}=$(python -c 'import secrets; print(secrets.token_urlsafe(48))')"


def settings(patient: Patient) -> Area:
    """What the options say."""
    config = patient.config
    sources = sorted({source for source in config.sources.values() if source != "argument"})
    told = f"mode {config.mode}, namespace {config.namespace}{'; from the environment: ' if sources else ''}{', '.join(sources)}"
    found = (*_modes(patient), *_debug(patient), *_secrets(config), *_variables(patient.environ, config))
    return Area("configuration", told, found)


def is_weak(secret: str | bytes) -> bool:
    """Whether a secret is a pattern, or has words that stand in examples."""
    text = secret.decode("utf-8", "replace") if isinstance(secret, bytes) else secret
    repeats = any(text == (text[:n] * len(text))[: len(text)] for n in range(1, len(text) // 2 + 1))
    return repeats or len(set(text)) < _FEWEST or _WORDS.search(text) is not None


def _modes(patient: Patient) -> Iterator[Finding]:
    where = _origin(patient.config, "mode")
    if patient.config.mode == "off":
        yield Finding("configuration.off", "mode is off: no limit, token or ban is decided", where, 'mode="enforce"')
    if patient.config.mode == "observe":
        yield Finding("configuration.observe", "mode is observe: refusals are reported, nobody is refused", where, 'mode="enforce"')


def _debug(patient: Patient) -> Iterator[Finding]:
    made = type(patient.application).__name__
    told = made == "Flask" and patient.environ.get("FLASK_DEBUG", "0").lower() not in ("", "0", "false", "no")
    if told or getattr(patient.application, "debug", False):
        change = "FLASK_DEBUG=0" if made == "Flask" else f"{made}(debug=False)"
        what = "debug is on: errors show source and settings to whoever causes them"
        yield Finding("configuration.debug", what, f"{patient.name or made}.debug", change)


def _secrets(config: LockWatchConfig) -> Iterator[Finding]:
    for name, secret in _given(config):
        if is_weak(secret):
            what = f"{name} is a pattern, or has words of an example in it: it can be guessed"
            yield Finding("secret.weak", what, _origin(config, name), _MAKE.format(name.upper()))
    if not config.in_memory and not config.secrets:
        what = "no secret_key is set: the key that subjects are hashed with is kept in the same store"
        yield Finding("secret.missing", what, "secret_key", _MAKE.format("SECRET_KEY"))


def _given(config: LockWatchConfig) -> Iterator[tuple[str, str | bytes]]:
    """The secrets that are texts. What a function returns is not asked for."""
    listed: list[tuple[str, Any]] = [("secret_key", secret) for secret in config.secrets]
    listed += [("jwt_secret", config.jwt_secret)]
    listed += [("jwt_secret", secret) for secret in getattr(config.jwt, "secrets", ())]
    for name, secret in listed:
        for one in secret if isinstance(secret, tuple | list) else (secret,):
            if isinstance(one, str | bytes):
                yield name, one


def _origin(config: LockWatchConfig, name: str) -> str:
    """An option, and where its value came from."""
    return f"{name} ({config.sources.get(name, 'jwt' if name == 'jwt_secret' else 'default')})"


def _variables(environ: Mapping[str, str], config: LockWatchConfig) -> Iterator[Finding]:
    known = {f"LOCKWATCH_{f.name.upper()}" for f in fields(LockWatchConfig) if f.name not in CODE_ONLY} | _OTHERS
    for name in sorted(environ):
        plain = name.removesuffix("_FILE")
        if name.startswith("LOCKWATCH_") and plain not in known and not name.startswith("LOCKWATCH_TEST_"):
            near = get_close_matches(plain, sorted(known), n=1, cutoff=0.6)
            change = f"{near[0]}=..." if near else f"unset {name}"
            yield Finding("configuration.unknown", f"{name} is set, and nothing reads it", f"environment: {name}", change)
    for name, option in _BARE.items():
        if environ.get(name) and option not in config.sources and getattr(config, option) is None and config.redis is None:
            what = f"{name} is set, and LockWatch(app) does not read it: another program's variable must not say where it counts"
            yield Finding("configuration.unread", what, f"environment: {name}", f"LOCKWATCH_{option.upper()}=${name}")
