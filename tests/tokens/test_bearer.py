"""Bearer credentials of a request, and the challenges of RFC 6750 and RFC 9470."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockwatch.errors import ConfigurationError, InsufficientScope, InvalidRequest, KeysUnavailable, StaleLogin, TokenError
from lockwatch.tokens.bearer import bearer_token, challenge
from lockwatch.tokens.claims import Claims
from lockwatch.tokens.demands import demands, seconds
from tests.tokens import forge
from tests.tokens.forge import NOW


# ------------------------------------------------------------------ credentials
@pytest.mark.parametrize(
    ("headers", "token"),
    [
        ([], None),
        ([""], None),
        (["Basic dXNlcjpwYXNz"], None),
        (["Bearertoken"], None),
        (["Bearer abc"], "abc"),
        (["bearer abc"], "abc"),
        (["BEARER   abc  "], "abc"),
        ([" Bearer abc"], "abc"),
        (["Bearer !!!"], "!!!"),
    ],
)
def test_a_token_is_found_whatever_the_case_of_its_scheme(headers: list[str], token: str | None) -> None:
    assert bearer_token(headers) == token


@pytest.mark.parametrize(
    "headers",
    [["Bearer"], ["Bearer "], ["Bearer a b"], ["Bearer a,b"], ["Bearer a\tb"], ["Bearer a", "Bearer a"], ["Basic a", "Bearer b"]],
)
def test_credentials_that_are_ambiguous_are_a_bad_request(headers: list[str]) -> None:
    with pytest.raises(InvalidRequest) as caught:
        bearer_token(headers)
    assert (caught.value.status, caught.value.code) == (400, "invalid_request")


# ------------------------------------------------------------------- challenges
@pytest.mark.parametrize(
    ("error", "options", "expected"),
    [
        (None, {}, 'Bearer realm="api"'),
        (None, {"realm": "shop", "scopes": ["a", "b"]}, 'Bearer realm="shop", scope="a b"'),
        (
            TokenError("expired"),
            {},
            'Bearer realm="api", error="invalid_token", error_description="the token is expired, revoked or not valid here"',
        ),
        (
            TokenError("bad_signature"),
            {"scopes": ["a"]},
            'Bearer realm="api", error="invalid_token", error_description="the token is expired, revoked or not valid here"',
        ),
        (
            InvalidRequest(),
            {},
            'Bearer realm="api", error="invalid_request", error_description="give one token, as Authorization: Bearer TOKEN"',
        ),
        (
            InsufficientScope(["a", "b"]),
            {},
            'Bearer realm="api", error="insufficient_scope", error_description="the token does not reach for this", scope="a b"',
        ),
        (
            InsufficientScope(),
            {},
            'Bearer realm="api", error="insufficient_scope", error_description="the token does not reach for this"',
        ),
        (
            StaleLogin(300),
            {},
            'Bearer realm="api", error="insufficient_user_authentication", error_description="log in again", max_age="300"',
        ),
        (KeysUnavailable(), {}, None),
    ],
    ids=repr,
)
def test_the_challenge(error: TokenError | None, options: dict[str, Any], expected: str | None) -> None:
    assert challenge(error, **options) == expected


@given(st.text(), st.lists(st.text(), max_size=3))
def test_nothing_ends_the_header_or_adds_a_parameter(realm: str, scopes: list[str]) -> None:
    value = challenge(InsufficientScope(scopes), realm)
    assert value is not None
    assert value.isascii()
    assert value.isprintable()
    # What is left without the quoted texts has exactly our parameters.
    bare = re.sub(r'"(?:[^"\\]|\\.)*"', "", value)
    assert re.fullmatch(r"Bearer realm=, error=, error_description=(, scope=)?", bare)


# ---------------------------------------------------------------------- demands
def having(**values: Any) -> Claims:
    return Claims(forge.claims(**values))


@pytest.mark.parametrize(
    ("wanted", "values", "good"),
    [
        ({}, {}, True),
        ({"scopes": ["a"]}, {"scope": "a b"}, True),
        ({"scopes": ["a", "b"]}, {"scope": "a b"}, True),
        ({"scopes": "a b"}, {"scope": ["b", "a"]}, True),
        ({"scopes": ["a", "c"]}, {"scope": "a b"}, False),
        ({"scopes": ["a"]}, {}, False),
        ({"scopes": ["a"]}, {"scope": "ab"}, False),
        ({"roles": ["admin"]}, {"roles": ["admin"]}, True),
        ({"roles": "site admin"}, {"roles": "site admin"}, True),
        ({"roles": ["admin"]}, {"roles": "site admin"}, False),
        ({"roles": "site admin"}, {"roles": ["admin", "site"]}, False),
        ({"roles": ["admin", "owner"]}, {"roles": ["owner"]}, True),
        ({"roles": ["admin"]}, {"roles": ["user"]}, False),
        ({"roles": ["admin"]}, {"scope": "admin"}, False),
        ({"scopes": ["a"], "roles": ["admin"]}, {"scope": "a"}, False),
    ],
)
def test_all_scopes_and_one_role_are_demanded(wanted: dict[str, Any], values: dict[str, Any], good: bool) -> None:
    demanded = demands(**wanted)
    if good:
        demanded.check(having(**values), NOW)
        return
    with pytest.raises(InsufficientScope) as caught:
        demanded.check(having(**values), NOW)
    assert caught.value.scopes == demanded.scopes
    assert caught.value.status == 403


@pytest.mark.parametrize(
    ("wanted", "values", "good"),
    [
        ({"max_age": 300}, {"auth_time": NOW - 300}, True),
        ({"max_age": "5m"}, {"auth_time": NOW - 330}, True),
        ({"max_age": "5m"}, {"auth_time": NOW - 331}, False),
        ({"max_age": "5m"}, {}, False),
        ({"max_age": 0}, {"auth_time": NOW}, True),
        ({"fresh": True}, {"auth_time": NOW}, True),
        ({"fresh": True}, {"auth_time": NOW - 60}, False),
        ({"fresh": True}, {}, False),
        ({"fresh": True}, {"auth_time": NOW, "iat": ...}, False),
        ({"fresh": False}, {"auth_time": NOW - 60}, True),
        ({"fresh": True, "max_age": 60}, {"auth_time": NOW - 100, "iat": NOW - 100}, False),
        ({"fresh": True, "max_age": 60}, {"auth_time": NOW - 30, "iat": NOW - 30}, True),
    ],
)
def test_a_login_has_to_be_recent(wanted: dict[str, Any], values: dict[str, Any], good: bool) -> None:
    demanded = demands(**wanted)
    if good:
        demanded.check(having(**values), NOW)
        return
    with pytest.raises(StaleLogin) as caught:
        demanded.check(having(**values), NOW)
    assert caught.value.status == 401


@pytest.mark.parametrize(("text", "expected"), [("5m", 300), ("1 h", 3600), ("90s", 90), ("1d", 86_400), (0, 0), (2.5, 2.5)])
def test_an_age_is_seconds_or_a_text(text: Any, expected: float) -> None:
    assert seconds(text) == expected


@pytest.mark.parametrize("age", ["", "5", "5 minutes", "-5m", "m", -1, True, float("nan"), float("inf"), "\u0665m"])
def test_another_age_is_refused(age: Any) -> None:
    with pytest.raises(ConfigurationError, match="max_age="):
        demands(max_age=age)


@pytest.mark.parametrize("words", [[""], [1], ["a\n"]])
def test_scopes_are_words_and_roles_are_names(words: Any) -> None:
    with pytest.raises(ConfigurationError, match="scopes="):
        demands(scopes=words)
    with pytest.raises(ConfigurationError, match="roles="):
        demands(roles=words)
    with pytest.raises(ConfigurationError, match="scopes="):
        demands(scopes=["a b"])
