"""Every known attack on a token, over every engine: a `TokenError` with the expected code, and nothing else, ever.

The table is `lockwatch.testing.attacks`, which users of lockwatch turn against their own routes.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from lockwatch.errors import TOKEN_FAULTS, TokenError
from lockwatch.testing.attacks import TABLE, Row, attacks
from tests.tokens import forge
from tests.tokens.forge import ALGORITHMS, ENGINES, NOW, claims, forge_of, header, token


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


def refused(algorithm: str, engine: str, text: Any, code: str) -> None:
    verifier = forge.verifier(algorithm, engine)
    good = token(forge.ring(algorithm, engine).current)
    for _ in range(2):  # also with the header of a good token remembered
        with pytest.raises(TokenError) as caught:
            verifier.verify(text, NOW)
        assert caught.value.code == code
        assert str(caught.value) == TOKEN_FAULTS[code]
        assert caught.value.__context__ is None
        assert verifier.verify(good, NOW)["sub"] == "user:42"


@contextmanager
def offline(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Where a connection is a failure."""

    def connect(*_: Any) -> None:
        raise AssertionError("a token caused a connection")

    with monkeypatch.context() as patched:
        patched.setattr(socket.socket, "connect", connect)
        yield


# ------------------------------------------------------------------ the table
@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name)
def test_a_hostile_token_is_refused(row: Row, engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for algorithm in ALGORITHMS:
        forged = forge_of(algorithm, engine)
        if forged.family in row.families and (forged.private is not None or not row.private):
            text = row.make(forged)
            assert text != token(forged.key)
            with offline(monkeypatch):
                refused(algorithm, engine, text, row.code)


def test_the_table_is_whole_and_its_names_are_stable() -> None:
    found = {algorithm: list(attacks(forge_of(algorithm))) for algorithm in ALGORITHMS}
    assert all(len(rows) > 200 for rows in found.values())
    assert {one.name for rows in found.values() for one in rows} == {row.name for row in TABLE}
    assert len({row.name for row in TABLE}) == len(TABLE)
    assert [one.name for one in attacks(forge_of("ES256"))] == [one.name for one in found["ES256"]]
    assert {row.code for row in TABLE} > {"malformed", "wrong_algorithm", "bad_signature", "unknown_key", "expired", "too_large"}


def test_a_ring_of_both_families_binds_each_key_to_its_algorithm(engine: str) -> None:
    from lockwatch.tokens.access import access_rules
    from lockwatch.tokens.config import JWTConfig
    from lockwatch.tokens.ring import KeyRing
    from lockwatch.tokens.verify import Verifier

    asymmetric, symmetric = forge.ring("RS256", engine).current, forge.ring("HS256", engine).current
    both = KeyRing([asymmetric, symmetric])
    verifier = Verifier(both.keys, access_rules(JWTConfig(), both))
    assert verifier.rules.algorithms == {"RS256", "HS256"}
    for encoding in (Encoding.PEM, Encoding.DER):
        forged = token(
            asymmetric, header(asymmetric, alg="HS256"), sign=forge_of("RS256").mac(forge.public_bytes(forge.pem(), encoding))
        )
        with pytest.raises(TokenError) as caught:
            verifier.verify(forged, NOW)
        assert caught.value.code == "wrong_algorithm"


# ------------------------------------------------------------- around the table
@pytest.mark.parametrize("kind", ["at+jwt", "AT+JWT", "application/at+jwt", "Application/At+Jwt"])
def test_a_type_is_compared_as_a_media_type(kind: str, engine: str) -> None:
    key = forge.ring("RS256", engine).current
    assert forge.verifier("RS256", engine).verify(token(key, header(key, typ=kind)), NOW).subject == "user:42"


@pytest.mark.parametrize(
    "value", [None, 0, 1.5, True, b"a.b.c", bytearray(b"a.b.c"), ["a"], {"a": 1}, object()], ids=lambda v: type(v).__name__
)
def test_what_is_no_text_is_no_token(value: Any, engine: str) -> None:
    refused("RS256", engine, value, "malformed")


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"exp": NOW - 30, "iat": NOW - 900}, "expired"),
        ({"iat": NOW + 31}, "not_yet_valid"),
        ({"nbf": NOW + 31}, "not_yet_valid"),
        ({"iat": NOW + 901}, "invalid_claim"),
        ({"exp": NOW + 86_401}, "invalid_claim"),
    ],
    ids=str,
)
def test_a_second_beyond_a_bound_is_beyond_it(changes: dict[str, Any], code: str, engine: str) -> None:
    refused("RS256", engine, token(forge.ring("RS256", engine).current, body=claims(**changes)), code)


def test_33_levels_are_refused_and_32_are_not(engine: str) -> None:
    key = forge.ring("RS256", engine).current
    nested = lambda levels: claims(deep=json.loads("[" * levels + "]" * levels))  # noqa: E731
    refused("RS256", engine, token(key, body=nested(32)), "malformed")
    assert "deep" in forge.verifier("RS256", engine).verify(token(key, body=nested(31)), NOW)


def test_brackets_in_texts_are_no_nesting(engine: str) -> None:
    key = forge.ring("RS256", engine).current
    body = claims(motto="[{" * 200 + '"\\', names=[{"a": 1}] * 60)
    assert forge.verifier("RS256", engine).verify(token(key, body=body), NOW)["motto"].startswith("[{")


GOOD = json.dumps(claims()).encode()


def test_a_number_too_large_for_a_float_is_refused_as_any_other(engine: str) -> None:
    key = forge.ring("RS256", engine).current
    refused("RS256", engine, token(key, body=GOOD.replace(str(NOW + 900).encode(), b"1e999")), "malformed")
    refused("RS256", engine, token(key, body=GOOD.replace(str(NOW + 900).encode(), b"9" * 400)), "invalid_claim")


@pytest.mark.parametrize(
    "changes",
    [
        {"aud": ["other", "lockwatch-api"]},
        {"exp": NOW + 900.5},
        {"exp": NOW - 29, "iat": NOW - 900},
        {"iat": NOW + 30},
        {"nbf": NOW + 30},
        {"nbf": NOW - 10**6},
        {"sub": "ünï-çödé 日本"},
        {"sub": "u" * 255},
        {"auth_time": NOW - 10**6, "sid": "s"},
    ],
    ids=str,
)
def test_what_is_allowed_passes(changes: dict[str, Any], engine: str) -> None:
    key = forge.ring("RS256", engine).current
    assert forge.verifier("RS256", engine).verify(token(key, body=claims(**changes)), NOW).expires_at > 0


# ------------------------------------------------------------------ whole runs
def test_the_encrypting_half_of_python_jose_is_never_loaded() -> None:
    code = (
        "import sys, pkgutil, importlib, lockwatch.tokens\n"
        "for m in pkgutil.iter_modules(lockwatch.tokens.__path__): importlib.import_module(f'lockwatch.tokens.{m.name}')\n"
        "print([m for m in sys.modules if m in ('jose.jwe', 'jose.jws', 'jose.jwt', 'jwt.api_jwt') and m.startswith('jose')])"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
