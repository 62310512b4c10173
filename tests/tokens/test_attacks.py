"""Every known attack on a token, over every engine: a `TokenError` with the expected code, and nothing else, ever.

The cases follow RFC 8725 and what was found in libraries over the years.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import socket
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, utils
from cryptography.hazmat.primitives.serialization import Encoding

from lockwatch.errors import TOKEN_FAULTS, TokenError
from lockwatch.tokens.encoding import encode
from lockwatch.tokens.keys import Key
from tests.tokens import forge
from tests.tokens.forge import ENGINES, NOW, claims, header, token

P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
OTHER_JWK = {"kty": "oct", "k": "AAAA"}


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


def mac(secret: bytes) -> Callable[[bytes], bytes]:
    return lambda data: hmac.digest(secret, data, "sha256")


def rsa_with(hash_: hashes.HashAlgorithm) -> Callable[[bytes], bytes]:
    key = forge.private(forge.pem())
    return lambda data: key.sign(data, padding.PKCS1v15(), hash_)


def nothing(_: bytes) -> bytes:
    return b"\0"


# ---------------------------------------------------------------- algorithms
ALGORITHMS: dict[str, tuple[Callable[[Key], str], str]] = {
    **{
        f"alg {alg!r}": (lambda key, alg=alg: token(key, header(key, alg=alg)), "wrong_algorithm")
        for alg in ("none", "None", "nOnE", "")
    },
    "none, empty signature": (lambda key: token(key, header(key, alg="none")).rpartition(".")[0] + ".", "malformed"),
    "alg missing": (lambda key: token(key, header(key, alg=...)), "wrong_algorithm"),
    "alg is a list": (lambda key: token(key, header(key, alg=["RS256"])), "wrong_algorithm"),
    "alg is a part of the allowed one": (lambda key: token(key, header(key, alg="S25")), "wrong_algorithm"),
    "alg in lower case": (lambda key: token(key, header(key, alg="rs256")), "wrong_algorithm"),
    "alg with space": (lambda key: token(key, header(key, alg="RS256 ")), "wrong_algorithm"),
    "HS256 with the public PEM": (
        lambda key: token(key, header(key, alg="HS256"), sign=mac(forge.public_bytes(forge.pem()))),
        "wrong_algorithm",
    ),
    "HS256 with the public DER": (
        lambda key: token(key, header(key, alg="HS256"), sign=mac(forge.public_bytes(forge.pem(), Encoding.DER))),
        "wrong_algorithm",
    ),
    "HS256 with the JWK": (
        lambda key: token(key, header(key, alg="HS256"), sign=mac(json.dumps(dict(key.jwk or {})).encode())),
        "wrong_algorithm",
    ),
    "HS256 with nothing": (lambda key: token(key, header(key, alg="HS256"), sign=mac(b"")), "wrong_algorithm"),
    "RS512, signed with SHA-256": (lambda key: token(key, header(key, alg="RS512")), "wrong_algorithm"),
    "RS512 truly": (lambda key: token(key, header(key, alg="RS512"), sign=rsa_with(hashes.SHA512())), "wrong_algorithm"),
    "SHA-512 under RS256": (lambda key: token(key, sign=rsa_with(hashes.SHA512())), "bad_signature"),
    "SHA-1 under RS256": (lambda key: token(key, sign=rsa_with(hashes.SHA1())), "bad_signature"),
    "PS256": (
        lambda key: token(
            key,
            sign=lambda data: forge.private(forge.pem()).sign(
                data, padding.PSS(padding.MGF1(hashes.SHA256()), 32), hashes.SHA256()
            ),
        ),
        "bad_signature",
    ),
    "another key": (
        lambda key: token(key, sign=lambda data: forge.private(forge.pem("b")).sign(data, padding.PKCS1v15(), hashes.SHA256())),
        "bad_signature",
    ),
}


@pytest.mark.parametrize("name", ALGORITHMS)
def test_an_algorithm_is_never_the_tokens_choice(name: str, engine: str) -> None:
    make, code = ALGORITHMS[name]
    refused("RS256", engine, make(forge.ring("RS256", engine).current), code)


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
        forged = token(asymmetric, header(asymmetric, alg="HS256"), sign=mac(forge.public_bytes(forge.pem(), encoding)))
        with pytest.raises(TokenError) as caught:
            verifier.verify(forged, NOW)
        assert caught.value.code == "wrong_algorithm"


# ------------------------------------------------------------- header members
def test_a_header_that_brings_or_names_a_key_is_refused_without_a_connection(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def connect(*_: Any) -> None:
        raise AssertionError("a token caused a connection")

    monkeypatch.setattr(socket.socket, "connect", connect)
    key = forge.ring("RS256", engine).current
    attacker = forge.ring("HS256", engine).current
    url = "https://attacker.example/keys"
    for member in ({"jwk": OTHER_JWK}, {"jku": url}, {"x5u": url}, {"x5c": ["MIIB"]}, {"jwk": dict(key.jwk or {})}):
        refused("RS256", engine, token(key, header(key, **member)), "malformed")
        refused("RS256", engine, token(attacker, header(key, **member)), "malformed")


@pytest.mark.parametrize(
    "members",
    [
        {"crit": ["exp"]},
        {"crit": []},
        {"crit": "exp"},
        {"crit": None},
        {"crit": ["b64"], "b64": False},
        {"b64": False},
        {"b64": True},
        {"zip": "DEF"},
        {"cty": "JWT"},
        {"enc": "A256GCM"},
        {"p2c": 10**9},
        {"unknown": 1},
    ],
    ids=str,
)
def test_a_header_that_asks_for_more_is_refused(members: dict[str, Any], engine: str) -> None:
    key = forge.ring("RS256", engine).current
    refused("RS256", engine, token(key, header(key, **members)), "malformed")


KIDS = [
    "../../dev/null",
    "../../../../etc/passwd",
    "file:///dev/null",
    "https://attacker.example/key",
    "x' UNION SELECT 'secret",
    "| sleep 10",
    "$(id)",
    "\0",
    "",
    "k" * 700,
    " ",
]


@pytest.mark.parametrize("kid", [*KIDS, 1, 1.5, None, True, ["a"], {"a": 1}, ...], ids=lambda kid: repr(kid)[:20])
def test_a_kid_only_ever_looks_up(kid: Any, engine: str) -> None:
    key = forge.ring("RS256", engine).current
    refused("RS256", engine, token(key, header(key, kid=kid)), "unknown_key")


def test_a_kid_of_ten_kilobytes_is_too_large(engine: str) -> None:
    key = forge.ring("RS256", engine).current
    refused("RS256", engine, token(key, header(key, kid="k" * 10_240)), "too_large")
    refused("RS256", engine, token(key, header(key, kid="k" * 1100)), "too_large")


def test_white_space_around_a_kid_is_another_kid(engine: str) -> None:
    key = forge.ring("RS256", engine).current
    refused("RS256", engine, token(key, header(key, kid=key.kid + " ")), "unknown_key")


@pytest.mark.parametrize("kind", ["JWT", "jwt", "rt+jwt", "", "at+jwt2", "at", "application/jwt", "at+JWT ", "text/at+jwt"])
def test_another_type_is_refused(kind: str, engine: str) -> None:
    key = forge.ring("RS256", engine).current
    refused("RS256", engine, token(key, header(key, typ=kind)), "wrong_type")


def test_a_missing_type_is_refused_and_one_that_is_no_text_too(engine: str) -> None:
    key = forge.ring("RS256", engine).current
    refused("RS256", engine, token(key, header(key, typ=...)), "wrong_type")
    for kind in (None, 1, ["at+jwt"]):
        refused("RS256", engine, token(key, header(key, typ=kind)), "malformed")


@pytest.mark.parametrize("kind", ["at+jwt", "AT+JWT", "application/at+jwt", "Application/At+Jwt"])
def test_a_type_is_compared_as_a_media_type(kind: str, engine: str) -> None:
    key = forge.ring("RS256", engine).current
    assert forge.verifier("RS256", engine).verify(token(key, header(key, typ=kind)), NOW).subject == "user:42"


# ------------------------------------------------------------- ES256 and HS256
def zeros(_: bytes) -> bytes:
    return bytes(64)


def number(r: int, s: int) -> Callable[[bytes], bytes]:
    return lambda _: r.to_bytes(32) + s.to_bytes(32)


def der(data: bytes) -> bytes:
    signature: bytes = forge.private(forge.pem("a", "ES256")).sign(data, ec.ECDSA(hashes.SHA256()))
    return signature


def swapped(data: bytes) -> bytes:
    r, s = utils.decode_dss_signature(der(data))
    return s.to_bytes(32) + r.to_bytes(32)


def longer(data: bytes) -> bytes:
    r, s = utils.decode_dss_signature(der(data))
    return r.to_bytes(33) + s.to_bytes(33)


@pytest.mark.parametrize(
    "sign",
    [
        zeros,
        number(P256_ORDER, P256_ORDER),
        number(0, 1),
        number(1, 0),
        number(2**256 - 1, 2**256 - 1),
        der,
        swapped,
        longer,
        nothing,
    ],
    ids=["r=s=0", "r=s=n", "r=0", "s=0", "largest", "DER", "swapped", "padded", "one byte"],
)
def test_psychic_and_misformed_ecdsa_signatures_are_wrong(sign: Callable[[bytes], bytes], engine: str) -> None:
    key = forge.ring("ES256", engine).current
    refused("ES256", engine, token(key, sign=sign), "bad_signature")


@pytest.mark.parametrize("length", [1, 16, 31, 33, 64])
def test_a_mac_of_another_length_is_wrong(length: int, engine: str) -> None:
    key = forge.ring("HS256", engine).current
    full = token(key)
    signing_input, _, _ = full.rpartition(".")
    right = hmac.digest(forge.SECRET.encode(), signing_input.encode(), hashlib.sha256)
    made = (right * 2)[:length]
    refused("HS256", engine, f"{signing_input}.{encode(made).decode()}", "bad_signature")


# ----------------------------------------------------------------------- form
def misformed(good: str) -> dict[str, str]:
    head, body, signature = good.split(".")
    following = chr(ord(signature[-1]) + 1)  # the same bytes: only bits that do not count differ
    return {
        "trailing bits": f"{head}.{body}.{signature[:-1]}{following}",
        "=": f"{good}=",
        "==": f"{good}==",
        "standard alphabet": f"{head}.{body}.{signature.replace('-', '+').replace('_', '/')}+",
        "junk": f"{good}!!!!",
        "newlines": f"{good}\n\n\n\n",
        "junk inside": f"{head}.{body}.{signature[:40]}!!!!{signature[40:]}",
        "newlines inside": f"{head}.{body}.{signature[:40]}\n\n\n\n{signature[40:]}",
        "padding inside": f"{head}.{body}.{signature[:40]}===={signature[40:]}",
        "junk in the header": f"{head[:8]}!!!!{head[8:]}.{body}.{signature}",
        "one letter of the standard alphabet": f"{head}.{body}.{signature[:40]}+{signature[41:]}",
        "leading space": f" {good}",
        "space inside": f"{head} .{body}.{signature}",
        "NUL": f"{good}\0",
        "full-width dot": good.replace(".", "\uff0e"),
        "a letter outside ASCII": f"{good}é",
        "half a surrogate pair": f"{good}\ud800",
        "percent": good.replace(".", "%2e"),
        "two parts": f"{head}.{body}",
        "two parts and a dot": f"{head}.{body}.",
        "no header": f".{body}.{signature}",
        "no payload": f"{head}..{signature}",
        "four parts": f"{good}.{signature}",
        "five parts, a JWE": f"{head}.{body}.{signature}.{signature}.{signature}",
        "seven parts": ".".join([head, *body[:40].partition("A"), body, signature, signature]),
        "dots": "...",
        "one dot": ".",
        "empty": "",
        "a word": "token",
        "JSON serialization": json.dumps({"protected": head, "payload": body, "signature": signature}),
        "with its scheme": f"Bearer {good}",
        "twice": good + good,
        "length 1 modulo 4": f"{head}.{body}.{signature[:-1]}",
    }


@pytest.mark.parametrize("name", misformed("a.b.c"))
def test_there_is_one_spelling_of_a_token(name: str, engine: str) -> None:
    good = token(forge.ring("RS256", engine).current)
    text = misformed(good)[name]
    assert text != good
    refused("RS256", engine, text, "malformed")


@pytest.mark.parametrize(
    "value", [None, 0, 1.5, True, b"a.b.c", bytearray(b"a.b.c"), ["a"], {"a": 1}, object()], ids=lambda v: type(v).__name__
)
def test_what_is_no_text_is_no_token(value: Any, engine: str) -> None:
    refused("RS256", engine, value, "malformed")


def test_a_token_of_a_megabyte_is_refused_whether_signed_or_not(engine: str) -> None:
    key = forge.ring("RS256", engine).current
    signed = token(key, body=claims(filler="x" * 2**20))
    for text in (signed, "." * 2**20, "a" * 2**20, f"{'a' * 2**20}.b.c", token(key, body=claims(filler="x" * 8000))):
        refused("RS256", engine, text, "too_large")


DEEP = b'{"a":' * 2000 + b"1" + b"}" * 2000
LISTS = b'{"a":' + b"[" * 2000 + b"]" * 2000 + b"}"


@pytest.mark.parametrize(
    "deep", [DEEP, LISTS, b"[" * 2000, b'{"a":' * 1000], ids=["objects", "lists", "open lists", "open objects"]
)
def test_nesting_is_bounded_in_the_header_and_in_the_claims(deep: bytes, engine: str) -> None:
    key = forge.ring("RS256", engine).current
    refused("RS256", engine, token(key, deep, sign=nothing), "too_large")
    refused("RS256", engine, token(key, deep[:1000], sign=nothing), "malformed")
    refused("RS256", engine, token(key, body=deep if len(deep) < 5000 else deep[:5000]), "malformed")


def test_33_levels_are_refused_and_32_are_not(engine: str) -> None:
    key = forge.ring("RS256", engine).current
    nested = lambda levels: claims(deep=json.loads("[" * levels + "]" * levels))  # noqa: E731
    refused("RS256", engine, token(key, body=nested(32)), "malformed")
    assert "deep" in forge.verifier("RS256", engine).verify(token(key, body=nested(31)), NOW)


def test_brackets_in_texts_are_no_nesting(engine: str) -> None:
    key = forge.ring("RS256", engine).current
    body = claims(motto="[{" * 200 + '"\\', names=[{"a": 1}] * 60)
    assert forge.verifier("RS256", engine).verify(token(key, body=body), NOW)["motto"].startswith("[{")


# ----------------------------------------------------------------------- JSON
GOOD = json.dumps(claims()).encode()


@pytest.mark.parametrize(
    "body",
    [
        GOOD[:-1] + b',"sub":"admin"}',
        b'{"sub":"admin",' + GOOD[1:],
        GOOD[:-1] + b',"a":{"b":1,"b":2}}',
        b"\xef\xbb\xbf" + GOOD,
        GOOD + b"x",
        GOOD + GOOD,
        GOOD[:-1],
        b"[" + GOOD + b"]",
        b'"text"',
        b"null",
        b"1",
        b"{}"[:1],
        GOOD.replace(b'"user:42"', b'"user:\xff"'),
        GOOD.replace(b'"user:42"', b'"user:\xc0\xaf"'),
        GOOD.replace(b'"user:42"', b'"user:\xed\xa0\x80"'),
        GOOD[:-1] + b',"name":"\\ud800"}',
        GOOD[:-1] + b',"name":"\\udc00\\ud800"}',
        GOOD[:-1] + b',"\\ud800":1}',
        GOOD[:-1] + b',"n":NaN}',
        GOOD[:-1] + b',"n":-Infinity}',
        GOOD[:-1] + b',"n":1e999}',
        GOOD[:-1] + b',"n":' + b"9" * 5000 + b"}",
        GOOD[:-1] + b",}",
        GOOD.replace(b'"', b"'"),
        GOOD[:-1] + b',"a":"\x01"}',
        GOOD[:-1] + b"/**/}",
        GOOD.decode().encode("utf-16"),
        GOOD.decode().encode("utf-16-le"),
    ],
    ids=range(28),
)
def test_claims_are_strict_json(body: bytes, engine: str) -> None:
    key = forge.ring("RS256", engine).current
    refused("RS256", engine, token(key, body=body), "malformed")


@pytest.mark.parametrize(
    "extra", [b',"alg":"RS256"}', b',"kid":"x"}', b',"typ":"at+jwt"}', b',"n":' + b"9" * 900 + b"}", b',"n":1e999}', b"}}"]
)
def test_a_header_is_strict_json(extra: bytes, engine: str) -> None:
    key = forge.ring("RS256", engine).current
    head = json.dumps(header(key)).encode()[:-1] + extra
    refused("RS256", engine, token(key, head), "malformed")
    refused("RS256", engine, token(key, b"\xef\xbb\xbf" + json.dumps(header(key)).encode()), "malformed")


# --------------------------------------------------------------------- claims
CONTROL = [chr(c) for c in (0, 1, 9, 10, 13, 27, 127, 0x85, 0x2028, 0x202E, 0xFEFF)]
WRONG_CLAIMS: list[tuple[dict[str, Any], str]] = [
    ({"exp": ...}, "invalid_claim"),
    *[({"exp": value}, "invalid_claim") for value in (None, [], {}, "9999999999", True, -1, 2**53 + 1, 10**30, "")],
    ({"exp": NOW - 30, "iat": NOW - 900}, "expired"),
    ({"exp": NOW - 30.5, "iat": NOW - 900}, "expired"),
    ({"exp": 0, "iat": 0}, "expired"),
    ({"iat": ...}, "invalid_claim"),
    *[({"iat": value}, "invalid_claim") for value in (None, "1", [], True, -1, NOW + 901)],
    ({"iat": NOW + 31}, "not_yet_valid"),
    ({"nbf": NOW + 31}, "not_yet_valid"),
    *[({"nbf": value}, "invalid_claim") for value in (None, [], "1", True, {}, -1)],
    ({"exp": NOW + 86_401}, "invalid_claim"),
    ({"exp": NOW + 10**9}, "invalid_claim"),
    *[({"auth_time": value}, "invalid_claim") for value in (None, "1", True, [])],
    ({"iss": ...}, "wrong_issuer"),
    *[
        ({"iss": value}, "wrong_issuer")
        for value in (None, "", "lockwatc", "lockwatch ", "Lockwatch", "lockwatch/", ["lockwatch"], {"a": 1}, 1)
    ],
    ({"aud": ...}, "wrong_audience"),
    *[
        ({"aud": value}, "wrong_audience")
        for value in (
            None,
            "",
            [],
            "lockwatch",
            "lockwatch-api2",
            "lockwatch-API",
            ["lockwatch-api", 1],
            [["lockwatch-api"]],
            {"lockwatch-api": 1},
            True,
            "lockwatch-api other",
        )
    ],
    ({"sub": ...}, "invalid_claim"),
    *[({"sub": value}, "invalid_claim") for value in (None, "", 42, ["user:42"], {}, True, "u" * 256, "é" * 128)],
    *[({"sub": f"user{c}"}, "invalid_claim") for c in CONTROL],
    ({"jti": ...}, "invalid_claim"),
    *[({"jti": value}, "invalid_claim") for value in (None, "", 1, ["a"], "j" * 256, "a\0b", "a\r\nb")],
    *[({"sid": value}, "invalid_claim") for value in (None, "", 1, "a\nb")],
    ({"cnf": {"jkt": "x"}}, "wrong_type"),
]


@pytest.mark.parametrize(("changes", "code"), WRONG_CLAIMS, ids=lambda value: repr(value)[:40])
def test_a_claim_of_the_wrong_form_is_refused(changes: dict[str, Any], code: str, engine: str) -> None:
    key = forge.ring("RS256", engine).current
    refused("RS256", engine, token(key, body=claims(**changes)), code)


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
