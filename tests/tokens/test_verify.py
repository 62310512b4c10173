"""The front end, whatever comes: one kind of exception, one spelling, the same answer from both engines."""

from __future__ import annotations

import json
from typing import Any

import jwt as pyjwt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jose import jwt as python_jose

from lockwatch.errors import TOKEN_FAULTS, TokenError
from lockwatch.tokens.access import access_rules, access_token
from lockwatch.tokens.claims import Claims
from lockwatch.tokens.config import JWTConfig
from lockwatch.tokens.encoding import decode, encode, read_object, write_object
from lockwatch.tokens.verify import MAX_REMEMBERED, Verifier, split
from tests.tokens import forge
from tests.tokens.forge import ENGINES, NOW, claims, header, token

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


def outcome(verifier: Verifier, text: Any) -> str:
    """The code of the refusal, or nothing. Anything but a TokenError fails the test."""
    try:
        claims = verifier.verify(text, NOW)
    except TokenError as error:
        return {text: code for code, text in TOKEN_FAULTS.items()}[str(error)]
    assert isinstance(claims, Claims)
    return ""


# ------------------------------------------------------------------ properties
@settings(max_examples=150, deadline=None)
@given(
    st.text() | st.binary().map(lambda b: b.decode("latin-1")) | st.from_regex(r"[A-Za-z0-9_\-]{0,40}(\.[A-Za-z0-9_\-]{0,40}){0,4}")
)
def test_any_text_is_refused_with_a_token_error(text: str) -> None:
    assert outcome(forge.verifier(), text)


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_any_header_and_any_claims_are_refused_or_accepted_alike_by_both_engines(data: st.DataObject) -> None:
    key = forge.ring().current
    names = st.sampled_from(["alg", "kid", "typ", "crit", "jwk"]) | st.text(max_size=5)
    head = data.draw(st.just(header(key)) | st.builds(lambda extra: header(key, **extra), st.dictionaries(names, JSON, max_size=2)))
    registered = st.sampled_from(["iss", "sub", "aud", "exp", "iat", "nbf", "jti", "sid", "auth_time", "scope", "roles", "cnf"])
    body = data.draw(st.builds(lambda extra: claims(**extra), st.dictionaries(registered, JSON, max_size=2)))
    text = token(key, head, body)
    assert len({outcome(forge.verifier("RS256", engine), text) for engine in ENGINES}) == 1


@settings(max_examples=100, deadline=None)
@given(st.integers(min_value=0), st.integers(1, 255))
def test_a_token_changed_by_one_byte_is_refused(place: int, change: int) -> None:
    text = token(forge.ring("HS256").current)
    place %= len(text)
    changed = text[:place] + chr((ord(text[place]) ^ change) or 65) + text[place + 1 :]
    verifier = forge.verifier("HS256")
    assert outcome(verifier, text) == ""
    assert changed == text or outcome(verifier, changed)


@settings(max_examples=100, deadline=None)
@given(st.binary(min_size=1, max_size=64))
def test_base64url_has_one_spelling(data: bytes) -> None:
    spelled = encode(data)
    assert decode(spelled) == data
    alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_+/="
    for last in alphabet:
        other = spelled[:-1] + bytes([last])
        if other != spelled:
            try:
                assert decode(other) != data
            except ValueError:
                pass


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200) | JSON.map(lambda value: json.dumps(value).encode()))
def test_json_is_read_or_refused_with_a_value_error(data: bytes) -> None:
    try:
        value = read_object(data)
    except ValueError:
        return
    assert read_object(write_object(value)) == value


@settings(max_examples=40, deadline=None)
@given(st.dictionaries(st.text(max_size=10), JSON, max_size=5))
def test_claims_come_back_as_they_went_in(own: dict[str, Any]) -> None:
    from lockwatch.errors import ConfigurationError

    config, ring = JWTConfig(), forge.ring("HS256")
    try:
        signed = access_token(config, ring.current, "user:42", own, jti="t", now=NOW)
    except ConfigurationError:
        return
    found = Verifier(ring.keys, access_rules(config, ring)).verify(signed.token, NOW)
    assert {name: found[name] for name in own if name not in ("scope", "roles")} == {
        name: value for name, value in own.items() if name not in ("scope", "roles")
    }


# --------------------------------------------------------------------- memory
def test_only_headers_of_good_tokens_are_remembered_and_only_so_many() -> None:
    key, verifier = forge.ring("HS256").current, forge.verifier("HS256")
    for n in range(3 * MAX_REMEMBERED):
        spelled = json.dumps(header(key)).encode().replace(b": ", b":" + b" " * (n + 1))
        assert outcome(verifier, token(key, spelled, sign=lambda _: bytes(32))) == "bad_signature"
    assert len(verifier._headers) == 0
    for n in range(3 * MAX_REMEMBERED):
        spelled = json.dumps(header(key)).encode().replace(b": ", b":" + b" " * (n + 1))
        assert outcome(verifier, token(key, spelled)) == ""
        assert 0 < len(verifier._headers) <= MAX_REMEMBERED


def test_a_token_is_taken_apart_once() -> None:
    text = token(forge.ring().current)
    parts = split(text)
    assert parts.signing_input.decode() == text.rpartition(".")[0]
    assert parts.header + b"." + parts.payload == parts.signing_input


# -------------------------------------------------------------------- interop
@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "HS256"])
@pytest.mark.parametrize("engine", ENGINES)
def test_other_libraries_accept_our_tokens(algorithm: str, engine: str) -> None:
    ring = forge.ring(algorithm, engine)
    signed = access_token(JWTConfig(), ring.current, 42, {"roles": ["admin"]}, jti="t", now=NOW)
    public: Any = forge.SECRET if algorithm == "HS256" else forge.public_bytes(forge.pem("a", algorithm)).decode()
    options = {"verify_exp": False, "verify_iat": False}
    theirs = pyjwt.decode(
        signed.token, public, algorithms=[algorithm], audience="lockwatch-api", issuer="lockwatch", options=options
    )
    assert theirs == python_jose.decode(
        signed.token, public, algorithms=[algorithm], audience="lockwatch-api", issuer="lockwatch", options=options
    )
    assert (theirs["sub"], theirs["roles"], theirs["exp"] - theirs["iat"]) == ("42", ["admin"], 900)
    assert pyjwt.get_unverified_header(signed.token) == {"alg": algorithm, "kid": ring.current.kid, "typ": "at+jwt"}


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "HS256"])
@pytest.mark.parametrize("engine", ENGINES)
def test_we_accept_tokens_of_other_libraries(algorithm: str, engine: str) -> None:
    ring = forge.ring(algorithm, engine)
    secret = forge.SECRET if algorithm == "HS256" else forge.pem("a", algorithm)
    for library in (pyjwt, python_jose):
        text = library.encode(claims(), secret, algorithm=algorithm, headers={"kid": ring.current.kid, "typ": "at+jwt"})  # type: ignore[attr-defined]
        assert forge.verifier(algorithm, engine).verify(text, NOW)["jti"] == "t-1"


# ---------------------------------------------------------------------- claims
def test_claims_are_a_read_only_mapping() -> None:
    key = forge.ring("HS256").current
    own = {"scope": "profile reports", "roles": ["admin"], "sid": "f-1", "auth_time": NOW - 60, "plan": {"name": "pro"}}
    found = forge.verifier("HS256").verify(token(key, body=claims(**own)), NOW)
    assert (found.subject, found.jti, found.family, found.issuer) == ("user:42", "t-1", "f-1", "lockwatch")
    assert (found.scopes, found.roles) == ({"profile", "reports"}, {"admin"})
    assert (found.issued_at, found.expires_at, found.auth_time) == (NOW, NOW + 900, NOW - 60)
    assert dict(found) == claims(**own)
    assert len(found) == 11
    assert "plan" in found
    found["roles"].append("root")
    found["plan"]["name"] = "free"
    found.get("roles").append("root")
    assert (found["roles"], found["plan"]) == (["admin"], {"name": "pro"})
    with pytest.raises(TypeError):
        found["sub"] = "admin"  # type: ignore[index]
    assert repr(found) == "Claims(iss='lockwatch', jti='t-1')"
    with pytest.raises(KeyError):
        found["missing"]


def test_claims_without_the_optional_ones() -> None:
    found = forge.verifier("HS256").verify(token(forge.ring("HS256").current), NOW)
    assert (found.family, found.auth_time, found.scopes, found.roles) == (None, None, frozenset(), frozenset())


@pytest.mark.parametrize(
    ("scope", "words"),
    [
        ("a b", {"a", "b"}),
        ("a  b ", {"a", "b"}),
        (["a", "b"], {"a", "b"}),
        ("", set()),
        (None, set()),
        (7, set()),
        (["a", 1, ""], {"a"}),
        ({}, set()),
    ],
)
def test_scopes_of_a_strange_form_grant_nothing(scope: Any, words: set[str]) -> None:
    found = forge.verifier("HS256").verify(token(forge.ring("HS256").current, body=claims(scope=scope, roles=scope)), NOW)
    assert found.scopes == words
    assert found.roles == ({scope} - {""} if isinstance(scope, str) else words)


# ------------------------------------------------------------------- issuance
@pytest.mark.parametrize("name", ["iss", "sub", "aud", "exp", "nbf", "iat", "jti", "sid", "auth_time", "cnf", "act", "client_id"])
def test_custom_claims_never_overwrite_registered_ones(name: str) -> None:
    from lockwatch.errors import ConfigurationError

    with pytest.raises(ConfigurationError, match=f"may not set '{name}'"):
        access_token(JWTConfig(), forge.ring("HS256").current, "user:42", {name: "admin"}, jti="t", now=NOW)


@pytest.mark.parametrize(
    "own",
    [
        {"a": object()},
        {"a": {1, 2}},
        {"a": float("nan")},
        {"a": float("inf")},
        {"a": "\ud800"},
        {1: "a"},
        {"scope": 1},
        {"scope": ["a b"]},
        {"scope": ["a", ""]},
        {"roles": ["a", 1]},
        {"roles": ""},
        {"roles": [""]},
        {"roles": ["a\n"]},
        {"roles": {"admin": True}},
        {"a": "x" * 9000},
    ],
    ids=lambda own: repr(own)[:24],
)
def test_claims_that_could_not_be_verified_are_not_signed(own: dict[Any, Any]) -> None:
    from lockwatch.errors import ConfigurationError

    with pytest.raises(ConfigurationError) as caught:
        access_token(JWTConfig(), forge.ring("HS256").current, "user:42", own, jti="t", now=NOW)
    assert "xxxx" not in str(caught.value)


def test_claims_nested_too_deep_are_not_signed() -> None:
    from lockwatch.errors import ConfigurationError

    deep: Any = []
    for _ in range(5000):
        deep = [deep]
    with pytest.raises(ConfigurationError, match="32 levels"):
        access_token(JWTConfig(), forge.ring("HS256").current, "user:42", {"a": deep}, jti="t", now=NOW)


@pytest.mark.parametrize("subject", ["", None, True, 1.5, ["a"], "a\0b", "u" * 256, b"user"], ids=repr)
def test_a_subject_that_could_not_be_verified_is_not_signed(subject: Any) -> None:
    from lockwatch.errors import ConfigurationError

    with pytest.raises(ConfigurationError, match="subject is not a text") as caught:
        access_token(JWTConfig(), forge.ring("HS256").current, subject, jti="t", now=NOW)
    assert "uuuu" not in str(caught.value)


def test_a_signed_token_does_not_show() -> None:
    signed = access_token(JWTConfig(), forge.ring("HS256").current, "user:42", jti="t", now=NOW + 0.9)
    assert repr(signed) == f"SignedToken(jti='t', expires_at={NOW + 900})"
    assert signed.token not in repr(signed)


def test_scopes_and_roles_may_be_texts_or_lists() -> None:
    key, verifier = forge.ring("HS256").current, forge.verifier("HS256")
    cases: list[tuple[dict[str, Any], list[str]]] = [
        ({"scope": "a b", "roles": "site admin"}, ["site admin"]),
        ({"scope": ["a", "b"], "roles": ("c", "site admin")}, ["c", "site admin"]),
    ]
    for own, roles in cases:
        found = verifier.verify(access_token(JWTConfig(), key, 1, own, jti="t", now=NOW).token, NOW)
        assert (found["scope"], found["roles"], found.scopes, found.roles) == ("a b", roles, {"a", "b"}, set(roles))
    assert verifier.verify(access_token(JWTConfig(), key, 1, {"scope": ""}, jti="t", now=NOW).token, NOW).scopes == set()


# -------------------------------------------------------------------- life time
def test_a_token_lives_exactly_as_long_as_it_says_and_the_leeway() -> None:
    key, verifier = forge.ring("HS256").current, forge.verifier("HS256")
    text = access_token(JWTConfig(), key, 1, jti="t", now=NOW).token
    assert verifier.verify(text, NOW + 929.999).expires_at == NOW + 900
    assert verifier.verify(text, NOW - 30)
    for now, code in ((NOW + 930, "expired"), (NOW - 30.001, "not_yet_valid")):
        with pytest.raises(TokenError) as caught:
            verifier.verify(text, now)
        assert caught.value.code == code


def test_a_configured_life_longer_than_a_day_is_allowed() -> None:
    config, ring = JWTConfig(access_token_ttl=30 * 86_400), forge.ring("HS256")
    text = access_token(config, ring.current, 1, jti="t", now=NOW).token
    assert Verifier(ring.keys, access_rules(config, ring)).verify(text, NOW + 29 * 86_400)
