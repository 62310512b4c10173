"""Third parties: their access tokens are accepted as they really look, their ID tokens never."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lockwatch.errors import ConfigurationError, IssuerError, KeysUnavailable, TokenError
from lockwatch.tokens.access import access_rules
from lockwatch.tokens.config import JWTConfig
from lockwatch.tokens.engine import engine_named
from lockwatch.tokens.issuers import Issuer, jwks_url_in
from lockwatch.tokens.jwks import read_keys
from lockwatch.tokens.keys import Key
from lockwatch.tokens.trust import Trust
from lockwatch.tokens.verify import Verifier
from tests.tokens import forge
from tests.tokens.forge import NOW, token

TENANT = "11111111-2222-3333-4444-555555555555"
URLS = {
    "auth0": "https://example.eu.auth0.com/",
    "keycloak": "https://sso.example.com/realms/shop",
    "entra": f"https://login.microsoftonline.com/{TENANT}/v2.0",
    "cognito": "https://cognito-idp.eu-central-1.amazonaws.com/eu-central-1_Ab12",
    "okta": "https://example.okta.com/oauth2/default",
}
JWKS = {
    "auth0": "https://example.eu.auth0.com/.well-known/jwks.json",
    "keycloak": "https://sso.example.com/realms/shop/protocol/openid-connect/certs",
    "entra": f"https://login.microsoftonline.com/{TENANT}/discovery/v2.0/keys",
    "cognito": "https://cognito-idp.eu-central-1.amazonaws.com/eu-central-1_Ab12/.well-known/jwks.json",
    "okta": "https://example.okta.com/oauth2/default/v1/keys",
}
TIMES = {"iat": NOW, "exp": NOW + 3600, "sub": "user-1"}
API = "https://api.example.com"
ACCESS: dict[str, tuple[dict[str, Any], dict[str, Any], set[str], set[str]]] = {
    # header, claims, scopes, roles
    "auth0": (
        {"typ": "JWT"},
        {
            "aud": [API, "https://example.eu.auth0.com/userinfo"],
            "azp": "spa",
            "scope": "openid profile",
            "permissions": ["read:reports"],
        },
        {"openid", "profile", "read:reports"},
        set(),
    ),
    "auth0, RFC 9068": (
        {"typ": "at+jwt"},
        {"aud": API, "client_id": "spa", "jti": "j", "scope": "profile"},
        {"profile"},
        set(),
    ),
    "auth0, machine": ({"typ": "JWT"}, {"aud": API, "azp": "m2m", "gty": "client-credentials"}, set(), set()),
    "keycloak": (
        {"typ": "JWT"},
        {
            "jti": "onrtac:1",
            "aud": [API, "account"],
            "typ": "Bearer",
            "azp": "spa",
            "sid": "s-1",
            "realm_access": {"roles": ["admin", "offline_access"]},
            "resource_access": {"account": {"roles": ["manage-account"]}},
            "scope": "email profile",
        },
        {"email", "profile"},
        {"admin", "offline_access", "account:manage-account"},
    ),
    "entra": (
        {"typ": "JWT", "x5t": "abc"},
        {"aud": API, "azp": "app", "scp": "Reports.Read User.Read", "roles": ["Admin"], "ver": "2.0", "tid": TENANT, "nbf": NOW},
        {"Reports.Read", "User.Read"},
        {"Admin"},
    ),
    "entra, v1 application": (
        {"typ": "JWT", "x5t": "abc"},
        {"aud": API, "appid": "app", "roles": ["Reports.All"]},
        set(),
        {"Reports.All"},
    ),
    "cognito": (
        {"typ": ...},
        {
            "client_id": API,
            "token_use": "access",
            "scope": "aws.cognito.signin.user.admin",
            "cognito:groups": ["admins"],
            "jti": "j",
        },
        {"aws.cognito.signin.user.admin"},
        {"admins"},
    ),
    "cognito, resource": ({"typ": ...}, {"client_id": "other", "aud": API, "token_use": "access", "scope": "a/b"}, {"a/b"}, set()),
    "okta": (
        {"typ": ...},
        {"aud": API, "cid": "app", "uid": "u", "scp": ["openid", "profile"], "groups": ["admins"], "ver": 1},
        {"openid", "profile"},
        {"admins"},
    ),
    "none, RFC 9068": ({"typ": "at+jwt"}, {"aud": API, "client_id": "a", "scope": "x", "roles": ["r"]}, {"x"}, {"r"}),
    "none, plain": ({"typ": "JWT"}, {"aud": API, "scope": "x"}, {"x"}, set()),
    "none, untyped": ({"typ": ..., "pi.atm": "1"}, {"aud": [API], "scp": ["x"]}, {"x"}, set()),
}
ID_TOKENS: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "auth0": ({"typ": "JWT"}, {"aud": API, "nonce": "n", "sid": "s", "name": "A"}, "wrong_type"),
    "auth0, scope mixed in": ({"typ": "JWT"}, {"aud": API, "nonce": "n", "scope": "profile"}, "wrong_type"),
    "auth0, without nonce": ({"typ": "JWT"}, {"aud": API, "name": "A"}, "wrong_type"),
    "keycloak": ({"typ": "JWT"}, {"aud": API, "typ": "ID", "azp": API, "at_hash": "x", "sid": "s"}, "wrong_type"),
    "keycloak, refresh": ({"typ": "JWT"}, {"aud": API, "typ": "Refresh", "scope": "a"}, "wrong_type"),
    "keycloak, DPoP": ({"typ": "JWT"}, {"aud": API, "typ": "DPoP", "scope": "a"}, "wrong_type"),
    "entra": ({"typ": "JWT"}, {"aud": API, "roles": ["Admin"], "ver": "2.0", "tid": TENANT}, "wrong_type"),
    "entra, nonce": ({"typ": "JWT"}, {"aud": API, "azp": "a", "nonce": "n"}, "wrong_type"),
    "cognito": ({"typ": ...}, {"aud": API, "token_use": "id", "cognito:groups": ["admins"]}, "wrong_type"),
    "cognito, wrong client": ({"typ": ...}, {"client_id": "other", "token_use": "access"}, "wrong_audience"),
    "cognito, resource of another": ({"typ": ...}, {"client_id": API, "aud": "other", "token_use": "access"}, "wrong_audience"),
    "okta": ({"typ": ...}, {"aud": API, "nonce": "n", "at_hash": "h", "amr": ["pwd"], "ver": 1}, "wrong_type"),
    "okta, without nonce": ({"typ": ...}, {"aud": API, "amr": ["pwd"], "ver": 1}, "wrong_type"),
    "okta, internal": ({"typ": "application/okta-internal-at+jwt"}, {"aud": API, "cid": "a"}, "wrong_type"),
    "none": ({"typ": "JWT"}, {"aud": API, "nonce": "n", "scope": "openid"}, "wrong_type"),
    "none, without a sign of either": ({"typ": "JWT"}, {"aud": API, "email": "a@example.com"}, "wrong_type"),
    "none, at_hash": ({"typ": ...}, {"aud": API, "at_hash": "h", "scope": "a"}, "wrong_type"),
    "none, logout": ({"typ": "JWT"}, {"aud": API, "events": {}, "scope": "a"}, "wrong_type"),
    "none, logout type": ({"typ": "logout+jwt"}, {"aud": API, "events": {}}, "wrong_type"),
    "none, refresh": ({"typ": "rt+jwt"}, {"aud": API, "scope": "a"}, "wrong_type"),
    "none, bound to a key": ({"typ": "at+jwt"}, {"aud": API, "scope": "a", "cnf": {"jkt": "x"}}, "wrong_type"),
}


def party(name: str) -> Issuer:
    preset = name.partition(",")[0]
    return Issuer(URLS.get(preset, "https://login.example.com"), audience=API, preset=None if preset == "none" else preset)


def signing(name: str = "a", kid: str = "k=1") -> Key:
    """The private half of what a third party publishes."""
    key = forge.ring().current if name == "a" else forge.key_of(forge.pem(name))
    return Key(kid, "RS256", None, 256, key.engine, key.verifying, key.signing)


def published(name: str = "a", kid: str = "k=1", engine: str = "python-jose") -> dict[str, Key]:
    """The same as fetched."""
    own = forge.ring().current if name == "a" else forge.key_of(forge.pem(name))
    body = json.dumps({"keys": [{"kid": kid, "use": "sig", **(own.jwk or {})}]}).encode()
    return read_keys(body, ["RS256"], engine_named(engine))


def trusting(*issuers: Issuer, **options: Any) -> Trust:
    trust = Trust(None, issuers, **options)
    for issuer in issuers:
        trust.fetched(issuer.url, published(), NOW)
    return trust


def sent(issuer: Issuer, head: dict[str, Any], body: dict[str, Any], key: Key | None = None) -> str:
    key = key or signing()
    return token(key, forge.header(key, **head), {"iss": issuer.url, **TIMES, **body})


def code_of(trust: Trust, text: Any, now: float = NOW) -> str:
    with pytest.raises(TokenError) as caught:
        trust.verify(text, now)
    return caught.value.code


# ---------------------------------------------------------------------- habits
@pytest.mark.parametrize("name", ACCESS)
def test_access_tokens_are_accepted_as_they_look(name: str) -> None:
    issuer = party(name)
    head, body, scopes, roles = ACCESS[name]
    found = trusting(issuer).verify(sent(issuer, head, body), NOW)
    assert (found.scopes, found.roles, found.subject, found.issuer) == (scopes, roles, "user-1", issuer.url)


@pytest.mark.parametrize("name", ID_TOKENS)
def test_id_tokens_and_others_are_refused(name: str) -> None:
    issuer = party(name)
    head, body, code = ID_TOKENS[name]
    assert code_of(trusting(issuer), sent(issuer, head, body)) == code


@pytest.mark.parametrize("name", ["auth0", "keycloak", "entra", "cognito", "okta", "none, plain"])
def test_what_holds_for_our_tokens_holds_for_theirs(name: str) -> None:
    issuer = party(name)
    head, body, _, _ = ACCESS[name]
    trust = trusting(issuer)
    key = signing()
    changes: list[tuple[dict[str, Any], str]] = [
        ({"exp": NOW - 31, "iat": NOW - 90, "nbf": NOW - 90}, "expired"),
        ({"exp": ...}, "invalid_claim"),
        ({"sub": ...}, "invalid_claim"),
        ({"sub": "a\0"}, "invalid_claim"),
        ({"nbf": NOW + 60}, "not_yet_valid"),
        ({"aud": "other", "client_id": "other"}, "wrong_audience"),
        ({"aud": ..., "client_id": ...}, "wrong_audience"),
    ]
    for change, code in changes:
        values = {k: v for k, v in {"iss": issuer.url, **TIMES, **body, **change}.items() if v is not ...}
        assert code_of(trust, token(key, forge.header(key, **head), values)) == code
    for members in ({"crit": ["exp"]}, {"jku": "https://attacker.example"}, {"jwk": {}}, {"x5c": []}, {"b64": False}):
        assert code_of(trust, sent(issuer, {**head, **members}, body)) == "malformed"
    assert code_of(trust, sent(issuer, {**head, "alg": "HS256"}, body)) == "wrong_algorithm"
    assert code_of(trust, sent(issuer, {**head, "kid": ...}, body)) == "unknown_key"


def test_a_strange_role_claim_grants_nothing() -> None:
    strange: list[tuple[str, dict[str, Any]]] = [
        ("keycloak", {"realm_access": ["admin"], "resource_access": {"a": ["admin"], "b": {"roles": "admin"}, "c": None}}),
        ("keycloak", {"realm_access": {"roles": {"admin": 1}}, "resource_access": []}),
        ("cognito", {"cognito:groups": {"admins": 1}}),
        ("okta", {"groups": 7}),
        ("entra", {"roles": None}),
    ]
    for name, claims in strange:
        issuer = party(name)
        head, body, _, _ = ACCESS[name]
        roles = trusting(issuer).verify(sent(issuer, head, body | claims), NOW).roles
        assert roles <= {"b:admin"}, name


# ------------------------------------------------------------------- addresses
@pytest.mark.parametrize("preset", URLS)
def test_a_preset_knows_where_the_keys_are(preset: str) -> None:
    assert Issuer(URLS[preset], audience=API, preset=preset).jwks_url == JWKS[preset]
    assert (
        Issuer(URLS[preset], audience=API, preset=preset, jwks_url="https://keys.example.com/k").jwks_url
        == "https://keys.example.com/k"
    )


def test_older_tokens_of_entra_have_their_keys_elsewhere() -> None:
    issuer = Issuer(f"https://sts.windows.net/{TENANT}/", audience=API, preset="entra")
    assert issuer.jwks_url == f"https://login.microsoftonline.com/{TENANT}/discovery/keys"


def test_without_a_preset_the_keys_are_found_by_discovery() -> None:
    issuer = Issuer("https://login.example.com/", audience=API)
    assert issuer.jwks_url is None
    assert issuer.discovery_url == "https://login.example.com/.well-known/openid-configuration"
    document = {"issuer": "https://login.example.com/", "jwks_uri": "https://keys.example.com/k"}
    assert jwks_url_in(json.dumps(document).encode(), issuer) == "https://keys.example.com/k"


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"[]",
        b"<html>",
        b'{"issuer":"https://login.example.com"}',
        b'{"issuer":"https://login.example.com","jwks_uri":"http://keys.example.com"}',
        b'{"issuer":"https://login.example.com","jwks_uri":7}',
        b'{"issuer":"https://login.example.com","jwks_uri":"file:///etc/passwd"}',
        b'{"issuer":"https://login.example.com/","jwks_uri":"https://keys.example.com"}',
        b'{"issuer":"https://attacker.example","jwks_uri":"https://keys.example.com"}',
        b'{"jwks_uri":"https://keys.example.com"}',
    ],
)
def test_a_discovery_document_of_another_or_without_an_address_is_refused(document: bytes) -> None:
    with pytest.raises(IssuerError, match="discovery document of https://login"):
        jwks_url_in(document, Issuer("https://login.example.com", audience=API))


@pytest.mark.parametrize(
    ("url", "options", "shown"),
    [
        ("http://login.example.com", {}, "is not https"),
        ("ftp://login.example.com", {}, "is not https"),
        ("login.example.com", {}, "is no URL|is not https"),
        ("https://", {}, "is no URL"),
        ("", {}, "is no URL"),
        (None, {}, "is no URL"),
        ("https://user:hunter2@login.example.com", {}, "is no URL"),
        ("https://login.example.com/?a=b", {}, "is no URL"),
        ("https://login.example.com/#a", {}, "is no URL"),
        ("https://login.example.com:99999", {}, "is no URL"),
        ("https://[::1", {}, "is no URL"),
        ("https://login.example.com/\n", {}, "is no URL"),
        ("http://localhost.example.com", {}, "is not https"),
        ("http://127.0.0.1.example.com", {}, "is not https"),
        ("https://login.example.com", {"jwks_url": "http://keys.example.com"}, "jwks_url="),
        ("https://login.example.com", {"audience": ""}, "names no audience"),
        ("https://login.example.com", {"audience": []}, "names no audience"),
        ("https://login.example.com", {"audience": ["a", ""]}, "names no audience"),
        ("https://login.example.com", {"algorithms": ["HS256"]}, "each has to be one of RS256"),
        ("https://login.example.com", {"algorithms": ["none"]}, "each has to be one of RS256"),
        ("https://login.example.com", {"algorithms": []}, "each has to be one of RS256"),
        ("https://login.example.com", {"preset": "google"}, "preset='google' is not one of 'auth0'"),
        ("https://login.microsoftonline.com/common/v2.0", {"preset": "entra"}, "names no tenant"),
        ("https://example.okta.com", {"preset": "okta"}, "only Okta can verify"),
    ],
    ids=str,
)
def test_an_issuer_that_cannot_work_is_refused(url: Any, options: dict[str, Any], shown: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Issuer(url, **{"audience": API, **options})
    assert any(part in str(caught.value) for part in shown.split("|"))
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("url", ["http://localhost:8080/realms/a", "http://127.0.0.1:1", "http://[::1]:8080/x"])
def test_http_is_for_this_machine(url: str) -> None:
    assert Issuer(url, audience=API).url == url


def test_one_algorithm_may_be_a_text() -> None:
    issuer = Issuer("https://login.example.com", audience=[API, "b"], algorithms="ES256")
    assert (issuer.algorithms, issuer.audiences) == (("ES256",), {API, "b"})
    assert repr(issuer) == "Issuer('https://login.example.com', preset=None)"


# ----------------------------------------------------------------------- trust
def own_verifier() -> Verifier:
    return forge.verifier()


def test_the_issuer_chooses_the_keys() -> None:
    a, b = Issuer("https://a.example.com", audience=API), Issuer("https://b.example.com", audience=API)
    trust = Trust(own_verifier(), [a, b])
    trust.fetched(a.url, published("a"), NOW)
    trust.fetched(b.url, published("b"), NOW)
    body = {"aud": API, "scope": "x"}
    assert trust.verify(sent(a, {}, body, signing("a")), NOW).issuer == a.url
    assert trust.verify(sent(b, {}, body, signing("b")), NOW).issuer == b.url
    assert trust.verify(token(forge.ring().current), NOW).issuer == "lockwatch"
    # The same kid, but the other party's key; and each party speaking for the other.
    assert code_of(trust, sent(b, {}, body, signing("a"))) == "bad_signature"
    assert code_of(trust, sent(a, {}, body, signing("b"))) == "bad_signature"
    # A key of ours does not speak for a third party, and a third party's not for us.
    assert code_of(trust, sent(a, {}, body, forge.ring().current)) == "unknown_key"
    assert code_of(trust, token(signing("b"), body=forge.claims())) == "unknown_key"


@pytest.mark.parametrize(
    "issuer",
    ["https://attacker.example", "https://a.example.com/", "HTTPS://A.EXAMPLE.COM", "", None, 7, ["https://a.example.com"]],
)
def test_an_unknown_issuer_is_refused(issuer: Any) -> None:
    trust = Trust(own_verifier(), [Issuer("https://a.example.com", audience=API)])
    text = token(signing(), None, {"iss": issuer, "aud": API, **TIMES})
    assert code_of(trust, text) == "wrong_issuer"
    assert code_of(trusting(party("auth0")), token(signing(), None, {"aud": API, **TIMES})) == "wrong_issuer"


@pytest.mark.parametrize("text", [None, "", "a.b.c", "a.b", "e30.e30.e30", "e30.W10.e30", "." * 9000, 7], ids=repr)
def test_whatever_is_sent_is_answered_with_a_token_error(text: Any) -> None:
    for trust in (
        trusting(party("auth0")),
        trusting(party("auth0"), remember=True),
        Trust(own_verifier(), [party("okta")], remember=True),
        Trust(),
    ):
        assert code_of(trust, text)


def test_our_own_issuer_cannot_be_a_third_party() -> None:
    config = JWTConfig(issuer="https://a.example.com")
    own = Verifier(forge.ring().keys, access_rules(config, forge.ring()))
    with pytest.raises(ConfigurationError, match="the issuer of our own tokens"):
        Trust(own, [Issuer("https://a.example.com", audience=API)])


def test_before_the_first_keys_nothing_is_said_about_a_token() -> None:
    issuer = party("auth0")
    trust = Trust(None, [issuer])
    with pytest.raises(KeysUnavailable) as caught:
        trust.verify(sent(issuer, *ACCESS["auth0"][:2]), NOW)
    assert caught.value.status == 503


def test_a_key_that_was_withdrawn_is_gone_at_once_also_from_memory() -> None:
    issuer = party("auth0")
    head, body, _, _ = ACCESS["auth0"]
    trust = trusting(issuer, remember=True)
    text = sent(issuer, head, body)
    assert trust.verify(text, NOW) is trust.verify(text, NOW)
    trust.fetched(issuer.url, published("a") | published("b", "k2"), NOW)
    assert trust.verify(text, NOW)
    trust.fetched(issuer.url, published("b", "k2"), NOW)
    assert code_of(trust, text) == "unknown_key"


def test_a_retired_key_of_ours_is_gone_at_once_also_from_memory() -> None:
    trust = Trust(own_verifier(), remember=True)
    text = token(forge.ring().current)
    assert trust.verify(text, NOW) is trust.verify(text, NOW)
    trust.renew(forge.verifier("HS256"))
    assert code_of(trust, text) == "wrong_algorithm"
