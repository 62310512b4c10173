"""Keys: checked when loaded, called by their thumbprint, published without their private half."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat
from jose import jwk as jose_jwk

from lockwatch.errors import ConfigurationError, IssuerError
from lockwatch.tokens.config import JWTConfig
from lockwatch.tokens.encoding import encode
from lockwatch.tokens.engine import engine_named
from lockwatch.tokens.jwks import MAX_SET_BYTES, publish, read_keys
from lockwatch.tokens.keys import Key, key_of_pem, key_of_secret, thumbprint
from lockwatch.tokens.ring import KeyRing, ring_of_secrets
from tests.tokens import forge
from tests.tokens.forge import ENGINES

RFC7638_N = (
    "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W"
    "-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08q"
    "NLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw"
)
PRIVATE = {"d", "p", "q", "dp", "dq", "qi", "oth", "k"}
JOSE = engine_named("python-jose")


# ------------------------------------------------------------------ thumbprint
def test_the_thumbprint_is_that_of_the_rfc() -> None:
    jwk = {"kty": "RSA", "n": RFC7638_N, "e": "AQAB", "alg": "RS256", "kid": "2011-04-29"}
    assert thumbprint(jwk) == "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "HS256"])
def test_a_key_signs_and_verifies_and_both_engines_agree(algorithm: str, engine: str) -> None:
    key, other = (forge.ring(algorithm, name).current for name in (engine, "pyjwt" if engine == "python-jose" else "python-jose"))
    signature = key.sign(b"a.b")
    assert key.kid == other.kid
    assert key.verify(b"a.b", signature)
    assert other.verify(b"a.b", signature)
    assert not key.verify(b"a.c", signature)
    assert not key.verify(b"a.b", signature[:-1])
    assert not key.verify(b"a.b", b"")
    assert len(signature) == key.signature_size


def test_a_key_and_a_ring_do_not_show_what_they_hold() -> None:
    ring = forge.ring("HS256")
    shown = repr(ring.current) + repr(ring)
    assert ring.current.kid in shown
    assert forge.SECRET not in shown


# ------------------------------------------------------------------- refusals
def pem_of(key: Any, encryption: Any = None) -> str:
    text: bytes = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption or NoEncryption())
    return text.decode()


REFUSED: dict[str, tuple[Any, str]] = {
    "1,024 bits": (lambda: forge.pem("weak", "RS256", 1024), "an RSA key of 1024 bits"),
    "P-384": (lambda: forge.ec_pem("P-384"), "secp384r1; ES256 needs P-256"),
    "P-521": (lambda: forge.ec_pem("P-521"), "secp521r1; ES256 needs P-256"),
    "secp256k1": (lambda: forge.ec_pem("secp256k1"), "secp256k1; ES256 needs P-256"),
    "Ed25519": (lambda: pem_of(ed25519.Ed25519PrivateKey.generate()), "neither RSA nor EC"),
    "a public key": (lambda: forge.public_bytes(forge.pem()).decode(), "not a private key in PEM"),
    "no PEM": (lambda: "hunter2-hunter2", "not a private key in PEM"),
    "empty": (lambda: "", "not a private key in PEM"),
    "cut off": (lambda: forge.pem()[:400] + "\n-----END PRIVATE KEY-----\n", "cannot be read"),
    "bytes that are no UTF-8": (lambda: b"-----BEGIN PRIVATE KEY-----\xff", "cannot be read"),
    "half a surrogate pair": (lambda: "-----BEGIN PRIVATE KEY-----\ud800", "cannot be read"),
    "encrypted": (lambda: pem_of(forge.private(forge.pem()), BestAvailableEncryption(b"hunter2")), "encrypted"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_private_key_that_is_weak_or_none_is_refused(name: str) -> None:
    make, message = REFUSED[name]
    with pytest.raises(ConfigurationError, match=message) as caught:
        key_of_pem(make(), JOSE)
    assert "hunter2" not in str(caught.value)
    assert "MII" not in str(caught.value)


def test_a_point_off_the_curve_is_refused() -> None:
    point = forge.private(forge.pem("a", "ES256")).public_key().public_numbers()
    with pytest.raises(ValueError, match="curve"):
        ec.EllipticCurvePublicNumbers(point.x, point.y + 1, ec.SECP256R1()).public_key()
    jwk = {
        "kty": "EC",
        "crv": "P-256",
        "kid": "k",
        "x": encode(point.x.to_bytes(32)).decode(),
        "y": encode((point.y + 1).to_bytes(32)).decode(),
    }
    with pytest.raises(IssuerError):
        read_keys(json.dumps({"keys": [jwk]}).encode(), ["ES256"], JOSE)


@pytest.mark.parametrize("algorithm", ["RS256", "ES256"])
def test_an_algorithm_that_does_not_fit_the_key_is_refused(algorithm: str) -> None:
    other = "ES256" if algorithm == "RS256" else "RS256"
    with pytest.raises(ConfigurationError, match=f"algorithm='{other}' cannot use this private key, which is for {algorithm}"):
        key_of_pem(forge.pem("a", algorithm), JOSE, other)


@pytest.mark.parametrize("secret", ["", "short", "x" * 31, b"x" * 31, "é" * 15])
def test_a_short_secret_is_refused(secret: str | bytes) -> None:
    with pytest.raises(ConfigurationError, match="at least 32 bytes"):
        key_of_secret(secret, JOSE)


def test_a_pem_is_no_secret() -> None:
    for text in (forge.pem(), forge.public_bytes(forge.pem()).decode(), "ssh-rsa " + "A" * 40):
        with pytest.raises(ConfigurationError, match="rsa_private_key_pem"):
            key_of_secret(text, JOSE)


def test_older_private_key_forms_are_read() -> None:
    for text in (forge.pem(), forge.pem("a", "ES256")):
        old = forge.private(text).private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
        assert key_of_pem(old, JOSE).kid == key_of_pem(text, JOSE).kid == key_of_pem(text.encode(), JOSE).kid


# -------------------------------------------------------------------- publishing
def ring_of(*keys: Key) -> KeyRing:
    return KeyRing(keys)


def test_the_published_set_holds_public_members_only_in_a_fixed_order() -> None:
    keys = [forge.ring("ES256").current, forge.ring("RS256").current, forge.ring("HS256").current]
    document = publish(keys)
    published = json.loads(document.body)["keys"]
    assert [jwk["kid"] for jwk in published] == [keys[0].kid, keys[1].kid]
    assert {"kid", "use", "alg", "kty", "crv", "x", "y"} == published[0].keys()
    assert {"kid", "use", "alg", "kty", "n", "e"} == published[1].keys()
    assert not any(PRIVATE & jwk.keys() for jwk in published)
    assert forge.SECRET.encode() not in document.body
    assert all(thumbprint(jwk) == jwk["kid"] for jwk in published)
    assert publish(keys) == document
    assert publish(keys[:1]).etag != document.etag


def test_what_is_published_cannot_sign() -> None:
    for jwk in json.loads(publish([forge.ring("ES256").current, forge.ring("RS256").current]).body)["keys"]:
        with pytest.raises(Exception, match=r"sign|private"):
            jose_jwk.construct(jwk).sign(b"a.b")


def test_the_set_is_answered_with_a_tag_and_304_for_who_has_it() -> None:
    document = forge.ring().jwks
    status, headers, body = document.answer()
    assert (status, body) == (200, document.body)
    assert dict(headers) == {
        b"content-type": b"application/jwk-set+json",
        b"content-length": str(len(body)).encode(),
        b"etag": document.etag.encode(),
        b"cache-control": b"public, max-age=300",
    }
    for tag in (document.etag, f"W/{document.etag}", f'"other", {document.etag}', "*"):
        status, headers, body = document.answer(tag)
        assert (status, body) == (304, b"")
        assert dict(headers)[b"etag"] == document.etag.encode()
    assert document.answer('"other"')[0] == document.answer("")[0] == 200


def test_a_ring_needs_a_key_and_signs_with_the_first() -> None:
    with pytest.raises(ConfigurationError, match="without a key"):
        ring_of()
    ring = ring_of_secrets(["a" * 32, "b" * 32], JOSE)
    assert next(iter(ring.keys)) == ring.current.kid
    assert len(ring.keys) == 2
    assert json.loads(ring.jwks.body) == {"keys": []}


# ---------------------------------------------------------------- sets of others
def published(*, keep: tuple[str, ...] = (), **changes: Any) -> dict[str, Any]:
    """The JWK of the test key, changed; ... takes a member away."""
    jwk = json.loads(publish([forge.ring().current]).body)["keys"][0] | changes
    return {name: value for name, value in jwk.items() if value is not ...}


def kids(*jwks: Any, algorithms: tuple[str, ...] = ("RS256",), engine: str = "python-jose") -> dict[str, str]:
    found = read_keys(json.dumps({"keys": list(jwks)}).encode(), algorithms, engine_named(engine))
    return {kid: key.algorithm for kid, key in found.items()}


GOOD = published(kid="good")
NUMBERS = forge.private(forge.pem()).private_numbers()
USELESS = [
    published(kty="OKP", crv="Ed25519", x="AAAA"),
    {"kty": "oct", "kid": "a", "k": encode(b"x" * 32).decode()},
    published(use="enc"),
    published(use=None),
    published(key_ops=["sign"]),
    published(key_ops="verify"),
    published(alg="RS512"),
    published(alg="none"),
    published(alg=["RS256"]),
    published(kid=...),
    published(kid=7),
    published(kid=""),
    published(kid="k" * 129),
    published(kid="a\0"),
    published(n=...),
    published(n=7),
    published(n=""),
    published(n="A" * 20),
    published(n="=="),
    published(n="A" * 5000),
    published(e="AA"),
    published(e="AQ"),
    published(e="AQAC"),
    published(e="_" * 80),
    published(d=encode(NUMBERS.d.to_bytes(256)).decode()),
    published(p="AAAA"),
    json.loads(publish([forge.ring("ES256").current]).body)["keys"][0],
    "text",
    7,
    None,
    [],
    {},
]


@pytest.mark.parametrize("jwk", USELESS, ids=range(len(USELESS)))
def test_a_key_of_no_use_is_passed_over(jwk: Any) -> None:
    assert kids(jwk, GOOD) == {"good": "RS256"}
    with pytest.raises(IssuerError, match="no key of the 1 in the set"):
        kids(jwk)


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"{}", b'{"keys":{}}', b'{"keys":1}', b'{"keys":[]}', b"<html>", b"\xff", b'{"keys":[],"keys":[]}', b"[" * 5000],
)
def test_what_is_no_set_is_refused(body: bytes) -> None:
    with pytest.raises(IssuerError):
        read_keys(body, ["RS256"], JOSE)


def test_a_set_is_bounded() -> None:
    with pytest.raises(IssuerError, match="at most"):
        read_keys(b" " * (MAX_SET_BYTES + 1), ["RS256"], JOSE)
    many = [published(kid=f"k{n}") for n in range(150)]
    assert len(kids(*many)) == 100


def test_the_first_of_two_keys_with_one_kid_counts() -> None:
    other = json.loads(publish([key_of_pem(forge.pem("b"), JOSE)]).body)["keys"][0] | {"kid": "good"}
    found = read_keys(json.dumps({"keys": [GOOD, other]}).encode(), ["RS256"], JOSE)
    signature = forge.ring().current.sign(b"a.b")
    assert found["good"].verify(b"a.b", signature)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_key_without_an_algorithm_takes_the_first_that_fits(engine: str) -> None:
    plain = published(alg=..., use=..., kid="plain", x5t="abc", unknown={"a": 1})
    assert kids(plain, algorithms=("ES256", "RS512", "RS256"), engine=engine) == {"plain": "RS512"}
    assert kids(published(alg="RS256", kid="told"), algorithms=("RS512", "RS256"), engine=engine) == {"told": "RS256"}


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("curve", "algorithm"), [("P-384", "ES384"), ("P-521", "ES512")])
def test_larger_curves_of_others_are_read(curve: str, algorithm: str, engine: str) -> None:
    private = forge.private(forge.ec_pem(curve))
    point, size = private.public_key().public_numbers(), (private.key_size + 7) // 8
    jwk = {
        "kty": "EC",
        "crv": curve,
        "kid": "k",
        "x": encode(point.x.to_bytes(size)).decode(),
        "y": encode(point.y.to_bytes(size)).decode(),
    }
    found = read_keys(json.dumps({"keys": [jwk]}).encode(), ("RS256", algorithm), engine_named(engine))["k"]
    signer = engine_named(engine)
    signature = signer.sign(signer.load(algorithm, private), b"a.b")
    assert (found.algorithm, found.signature_size, found.verify(b"a.b", signature)) == (algorithm, 2 * size, True)


def test_a_modulus_with_a_leading_zero_is_read() -> None:
    padded = encode(b"\0" + forge.private(forge.pem()).public_key().public_numbers().n.to_bytes(256)).decode()
    assert kids(published(n=padded, kid="k")) == {"k": "RS256"}


# ------------------------------------------------------------------------ engines
def test_an_engine_is_chosen_by_name() -> None:
    assert type(engine_named("pyjwt")).__name__ == "PyJWTEngine"
    assert type(engine_named("python-jose")).__name__ == "JoseEngine"


def test_a_missing_library_is_said_with_what_to_install() -> None:
    code = "import sys; sys.modules['jwt'] = None; from lockwatch.tokens.engine import engine_named; engine_named('pyjwt')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "ConfigurationError: engine='pyjwt' needs PyJWT: pip install 'lockwatch[pyjwt]'" in done.stderr


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "HS256"])
def test_no_signature_makes_an_engine_raise(algorithm: str, engine: str) -> None:
    key = forge.ring(algorithm, engine).current
    for byte in (b"\0", b"\1", b"\x7f", b"\xff"):
        for size in (key.signature_size, 0, 1, key.signature_size + 1, 4096):
            assert key.engine.verify(key.verifying, b"a.b", byte * size) is False


class Gullible:
    """An engine that finds every signature right."""

    def load(self, algorithm: str, key: Any) -> Any:
        return key

    def sign(self, key: Any, signing_input: bytes) -> bytes:
        return b""

    def verify(self, key: Any, signing_input: bytes, signature: bytes) -> bool:
        return True


def test_a_signature_of_another_length_never_reaches_an_engine() -> None:
    for key, size in ((key_of_pem(forge.pem(), Gullible()), 256), (key_of_pem(forge.pem("a", "ES256"), Gullible()), 64)):
        assert [key.verify(b"a.b", bytes(n)) for n in (0, 1, size - 1, size, size + 1)] == [False, False, False, True, False]


def test_a_large_rsa_key_is_used() -> None:
    key = key_of_pem(pem_of(rsa.generate_private_key(65_537, 3072)), JOSE, JWTConfig().algorithm)
    assert (key.signature_size, key.verify(b"a.b", key.sign(b"a.b"))) == (384, True)
