"""Tokens for tests are what the application itself would issue, or differ in what was asked for."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi import Depends, FastAPI
from starlette.testclient import TestClient

from lockwatch import ConfigurationError, Issuer, JWTAuth, JWTConfig, LockWatch
from lockwatch.testing import clock, isolated, token_for
from lockwatch.tokens.keyfile import new_pem
from tests.testing.shops import SECRET, Shop, fastapi_shop

THEIRS = "https://login.example.com/"


def status(shop: Shop, token: str, method: str = "GET", path: str = "/admin") -> int:
    found: int = getattr(shop.client, method.lower())(path, headers={"Authorization": f"Bearer {token}"}).status_code
    return found


def test_a_token_is_let_in_until_its_session_is_revoked(shop: Shop) -> None:
    token = token_for(shop.app, "alice", roles=["admin"])
    claims = shop.lockwatch.tokens.read(token)
    assert (claims.subject, claims["roles"]) == ("alice", ["admin"])
    assert status(shop, token) == 200
    shop.lockwatch.tokens.revoke_subject_sync("alice")
    assert status(shop, token) == 401


def test_scopes_roles_and_claims_are_said(plain: Shop) -> None:
    said = plain.lockwatch.tokens.read(token_for(plain.app, 42, scopes=["a", "b"], roles="admin", claims={"plan": "pro"}))
    assert {name: said[name] for name in ("sub", "scope", "roles", "plan")} == {
        "sub": "42",
        "scope": "a b",
        "roles": ["admin"],
        "plan": "pro",
    }


@pytest.mark.parametrize(
    "wrong", [{"claims": {"aud": "another"}}, {"claims": {"iss": "another"}}, {"claims": {"exp": None}}, {"expired": True}], ids=str
)
def test_what_is_asked_to_be_wrong_is_refused(plain: Shop, wrong: dict[str, Any]) -> None:
    token = token_for(plain.app, "alice", roles="admin", **wrong)
    assert status(plain, token) == 401


def test_an_expired_token_has_only_expired(plain: Shop) -> None:
    token = token_for(plain.app, "alice", expired=True)
    answer = plain.client.get("/admin", headers={"Authorization": f"Bearer {token}"})
    assert "expired" in answer.headers["www-authenticate"]
    with clock(plain.app) as held:
        held.advance(10**6)
        assert status(plain, token_for(plain.app, "alice", roles="admin")) == 200
        assert (
            "expired"
            in plain.client.get(
                "/admin", headers={"Authorization": f"Bearer {token_for(plain.app, 'alice', expired=True)}"}
            ).headers["www-authenticate"]
        )


def test_a_login_can_be_long_ago(plain: Shop) -> None:
    assert status(plain, token_for(plain.app, "alice", roles="admin", login_age=200)) == 200
    assert status(plain, token_for(plain.app, "alice", roles="admin", login_age=400)) == 401


@pytest.mark.parametrize("algorithm", ["RS256", "ES256"])
def test_it_is_signed_with_the_keys_of_the_application(algorithm: str) -> None:
    shop = fastapi_shop(jwt_secret=None, jwt=JWTConfig(rsa_private_key_pem=new_pem(algorithm)))
    assert status(shop, token_for(shop.client, "alice", roles="admin", claims={"aud": ["x", "lockwatch-api"]})) == 200


@pytest.mark.parametrize("options", [{}, {"preset": "auth0"}, {"algorithms": ["ES256"]}, {"algorithms": ["RS512"]}], ids=str)
def test_a_third_party_can_be_played(options: dict[str, Any]) -> None:
    app = FastAPI()
    config = isolated(issuers=[Issuer(THEIRS, audience="shop", jwks_url="http://127.0.0.1:9/keys", **options)])
    LockWatch(app, config=config)

    @app.get("/admin", dependencies=[Depends(JWTAuth(scopes=["a"]))])
    async def admin() -> None: ...

    shop = Shop(app, None, TestClient(app))
    assert status(shop, token_for(app, "auth0|1", scopes="a b", issuer=THEIRS)) == 200
    assert status(shop, token_for(app, "auth0|1", scopes="b", issuer=THEIRS)) == 403
    assert status(shop, token_for(app, "auth0|1", scopes="a", issuer=THEIRS, expired=True)) == 401
    assert status(shop, token_for(app, "auth0|1", scopes="a", issuer=THEIRS, claims={"aud": "another"})) == 401
    with pytest.raises(TypeError, match="issues no tokens; set jwt"):
        token_for(app, "alice")
    with pytest.raises(ConfigurationError, match=r"is no issuer of this application; it has https://login.example.com/"):
        token_for(app, "alice", issuer="https://another.example.com")


def test_an_application_without_tokens_says_so() -> None:
    app = FastAPI()
    LockWatch(app, config=isolated())
    with pytest.raises(TypeError, match="issues no tokens"):
        token_for(app, "alice")
    with pytest.raises(ConfigurationError, match="it has none"):
        token_for(app, "alice", issuer=THEIRS)
    assert SECRET not in repr(isolated(jwt_secret=SECRET))
