"""Settings of tokens: what is refused, and that secrets stay secret."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from lockwatch.errors import ConfigurationError
from lockwatch.tokens.config import JWTConfig
from tests.tokens import forge


@pytest.mark.parametrize(
    ("options", "shown"),
    [
        ({"access_token_ttl_seconds": 0}, "access_token_ttl_seconds=0 is not a number of seconds from 1"),
        ({"access_token_ttl": -5}, "access_token_ttl_seconds=-5"),
        ({"access_token_ttl": "900"}, "access_token_ttl_seconds='900'"),
        ({"access_token_ttl_seconds": True}, "access_token_ttl_seconds=True"),
        ({"access_token_ttl_seconds": float("nan")}, "access_token_ttl_seconds=nan"),
        ({"access_token_ttl_seconds": float("inf")}, "access_token_ttl_seconds=inf"),
        ({"access_token_ttl_seconds": 10**9}, "access_token_ttl_seconds=1000000000"),
        ({"refresh_token_ttl_seconds": 0}, "refresh_token_ttl_seconds=0"),
        ({"session_ttl_seconds": None}, "session_ttl_seconds=None"),
        ({"refresh_grace_seconds": 61}, "from 0 to 60"),
        ({"refresh_grace_seconds": -1}, "from 0 to 60"),
        ({"leeway_seconds": 301}, "from 0 to 300"),
        ({"refresh_format": "JWT"}, "'opaque', 'jwt'"),
        ({"engine": "authlib"}, "'python-jose', 'pyjwt'"),
        ({"algorithm": "none"}, "'RS256', 'ES256', 'HS256'"),
        ({"algorithm": ["RS256"]}, "'RS256', 'ES256', 'HS256'"),
        ({"algorithm": "PS256"}, "'RS256', 'ES256', 'HS256'"),
        ({"issuer": ""}, "issuer=''"),
        ({"issuer": "a\n"}, "issuer="),
        ({"issuer": " a"}, "issuer=' a'"),
        ({"audience": ["a"]}, "audience=['a']"),
        ({"audience": "a" * 256}, "audience="),
        ({"jwt_secret": "x" * 31}, "at least 32 bytes"),
        ({"jwt_secret": ""}, "jwt_secret is empty|at least 32 bytes"),
        ({"jwt_secret": ()}, "jwt_secret is empty"),
        ({"jwt_secret": ["x" * 40, "x" * 31]}, "at least 32 bytes"),
        ({"jwt_secret": 42}, "at least 32 bytes"),
        ({"jwt_secret": "-----BEGIN PRIVATE KEY-----" + "x" * 40}, "rsa_private_key_pem"),
        ({"rsa_private_key_pem": ""}, "rsa_private_key_pem is empty"),
        ({"rsa_private_key_path": ""}, "rsa_private_key_path is empty"),
        ({"jwt_secret": "x" * 40, "rsa_private_key_pem": "x"}, "rsa_private_key_pem and jwt_secret are given"),
        ({"jwt_secret": "x" * 40, "algorithm": "RS256"}, "cannot use jwt_secret; set rsa_private_key_pem"),
        ({"rsa_private_key_pem": "x", "algorithm": "HS256"}, "cannot use rsa_private_key_pem; set jwt_secret"),
        ({"algorithm": "HS256"}, "needs a jwt_secret"),
    ],
    ids=lambda value: repr(value)[:50],
)
def test_a_setting_that_cannot_work_is_refused(options: dict[str, Any], shown: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        JWTConfig(**options)
    assert any(part in str(caught.value) for part in shown.split("|"))
    assert "xxxx" not in str(caught.value)


def test_the_defaults() -> None:
    config = JWTConfig()
    assert (config.issuer, config.audience, config.refresh_format) == ("lockwatch", "lockwatch-api", "opaque")
    assert (config.access_token_ttl_seconds, config.refresh_token_ttl_seconds) == (900, 604_800)
    assert (config.session_ttl_seconds, config.refresh_grace_seconds, config.leeway_seconds) == (2_592_000, 10, 30)


def test_the_short_name_of_the_life_time_is_an_alias() -> None:
    config = JWTConfig(access_token_ttl=60)
    assert config.access_token_ttl_seconds == 60
    assert replace(config, leeway_seconds=0).access_token_ttl_seconds == 60
    assert replace(config, access_token_ttl_seconds=90).access_token_ttl_seconds == 90


def test_secrets_do_not_show() -> None:
    shown = repr(JWTConfig(jwt_secret="correct-horse-battery-staple-correct")) + repr(JWTConfig(rsa_private_key_pem=forge.pem()))
    assert "horse" not in shown
    assert "PRIVATE" not in shown


def test_several_secrets_are_kept_in_order() -> None:
    config = JWTConfig(jwt_secret=["a" * 32, "b" * 32])
    assert config.secrets == ("a" * 32, "b" * 32)
    assert JWTConfig(jwt_secret="a" * 32).secrets == ("a" * 32,)
    assert JWTConfig().secrets == ()
    hash(config)
