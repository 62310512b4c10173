"""The attack table: tokens that must not be believed, as RFC 8725 and the history of libraries have them. Nothing here is secret.

Each row makes its token from a `Forge`, so that the table can be turned against any application, and says which `TokenError.code`
lockwatch refuses it with.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from lockwatch.testing.forging import Forge, stranger
from lockwatch.testing.spellings import spellings

_URL: Final = "https://attacker.example/keys"
_ORDER: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
"""Of P-256."""
CONTROL: Final = tuple(map(chr, (0, 1, 9, 10, 13, 27, 127, 0x85, 0x2028, 0x202E, 0xFEFF)))
_LATER: Final = 3600
"""Seconds until a token is good that is not yet: who fires it takes a while."""
_KIDS: Final = (
    "../../dev/null",
    "../../../../etc/passwd",
    "file:///dev/null",
    _URL,
    "x' UNION SELECT 'secret",
    "| sleep 10",
    "$(id)",
    "\0",
    "",
    "k" * 700,
    " ",
)
Make = Callable[[Forge], str]


class Attack(NamedTuple):
    """A token that must not be believed.

    Attributes:
        name: what is wrong with it.
        token: as it would be sent; it may be no token at all, and not even text that can be encoded.
        code: the `TokenError.code` of lockwatch for it.
    """

    name: str
    token: str
    code: str


class Row(NamedTuple):
    """An attack on any application whose key is of one of `families`."""

    name: str
    code: str
    make: Make
    families: tuple[str, ...] = ("RS", "ES", "HS")
    private: bool = False


def attacks(forge: Forge) -> Iterator[Attack]:
    """Every row of the table that can be made with what a forge has."""
    for row in TABLE:
        if forge.family in row.families and (forge.private is not None or not row.private):
            yield Attack(row.name, row.make(forge), row.code)


def _headers(code: str, prefix: str, *members: dict[str, Any]) -> Iterator[Row]:
    for changes in members:
        yield Row(f"{prefix} {_short(changes)}", code, lambda f, c=changes: f.token(f.header(**c)))  # type: ignore[misc]


def _short(changes: dict[str, Any]) -> str:
    text = ", ".join(f"{name} missing" if value is ... else f"{name}={value!a}" for name, value in changes.items())
    return text if len(text) <= 60 else f"{text[:45]}... ({len(text)} characters)"


def _algorithms() -> Iterator[Row]:
    wrong, both = "wrong_algorithm", ("RS", "ES")
    yield from _headers(wrong, "algorithm:", *[{"alg": alg} for alg in ("none", "None", "nOnE", "", "S25", ...)])
    yield Row("algorithm: none, empty signature", "malformed", lambda f: f.token(f.header(alg="none")).rpartition(".")[0] + ".")
    yield Row("algorithm: a list", wrong, lambda f: f.token(f.header(alg=[f.key.algorithm])))
    yield Row("algorithm: lower case", wrong, lambda f: f.token(f.header(alg=f.key.algorithm.lower())))
    yield Row("algorithm: with a space", wrong, lambda f: f.token(f.header(alg=f"{f.key.algorithm} ")))
    yield Row("algorithm: of another key family", wrong, lambda f: f.token(f.header(alg="ES256" if f.family == "RS" else "RS256")))
    yield Row("confusion: HS256 with the public PEM", wrong, _confused(lambda f: f.public()), both)
    yield Row("confusion: HS256 with the public DER", wrong, _confused(lambda f: f.public(Encoding.DER)), both)
    yield Row("confusion: HS256 with the JWK", wrong, _confused(lambda f: json.dumps(dict(f.key.jwk or {})).encode()), both)
    yield Row("confusion: HS256 with nothing", wrong, _confused(lambda f: b""), both)
    yield Row("signature: RS512 named, SHA-256 signed", wrong, lambda f: f.token(f.header(alg="RS512")), ("RS",))
    yield Row("signature: RS512", wrong, lambda f: f.token(f.header(alg="RS512"), sign=f.sign_with(hashes.SHA512())), ("RS",), True)
    for digest in (hashes.SHA512(), hashes.SHA1()):  # noqa: S303  # to be refused
        name = f"signature: {digest.name} under RS256"
        yield Row(name, "bad_signature", lambda f, d=digest: f.token(sign=f.sign_with(d)), ("RS",), True)  # type: ignore[misc]
    yield Row("signature: PSS", "bad_signature", lambda f: f.token(sign=f.sign_with(hashes.SHA256(), pss=True)), ("RS",), True)
    yield Row("signature: of another key", "bad_signature", lambda f: f.token(sign=stranger(f.key.algorithm)))
    yield Row("signature: one zero byte", "bad_signature", lambda f: f.token(sign=lambda _: b"\0"))
    yield Row("signature: of other claims", "bad_signature", _swapped)


def _confused(secret: Callable[[Forge], bytes]) -> Make:
    return lambda f: f.token(f.header(alg="HS256"), sign=f.mac(secret(f)))


def _swapped(forge: Forge) -> str:
    head, _, signature = forge.token().split(".")
    return ".".join([head, forge.token(body=forge.said(sub="admin")).split(".")[1], signature])


def _signatures() -> Iterator[Row]:
    def number(r: int, s: int) -> Make:
        return lambda f: f.token(sign=lambda _: r.to_bytes(32) + s.to_bytes(32))

    def longer(f: Forge, data: bytes) -> bytes:
        r, s = f.numbers(data)
        return r.to_bytes(33) + s.to_bytes(33)

    def swapped(f: Forge, data: bytes) -> bytes:
        r, s = f.numbers(data)
        return s.to_bytes(32) + r.to_bytes(32)

    cases: dict[str, Make] = {
        "r=s=0": number(0, 0),
        "r=s=n": number(_ORDER, _ORDER),
        "r=0": number(0, 1),
        "s=0": number(1, 0),
        "largest": number(2**256 - 1, 2**256 - 1),
        "in DER": lambda f: f.token(sign=f.der),
        "r and s swapped": lambda f: f.token(sign=lambda data: swapped(f, data)),
        "padded": lambda f: f.token(sign=lambda data: longer(f, data)),
    }
    for name, make in cases.items():
        yield Row(f"signature: ECDSA, {name}", "bad_signature", make, ("ES",))
    for length in (1, 16, 31, 33, 64):
        yield Row(
            f"signature: a MAC of {length} bytes",
            "bad_signature",
            lambda f, n=length: f.token(sign=lambda data: (f.key.sign(data) * 2)[:n]),  # type: ignore[misc]
            ("HS",),
        )


def _members() -> Iterator[Row]:
    key, asks = {"kty": "oct", "k": "AAAA"}, "malformed"
    yield from _headers(asks, "header brings a key:", {"jwk": key}, {"jku": _URL}, {"x5u": _URL}, {"x5c": ["MIIB"]})
    yield Row("header brings its own key", asks, lambda f: f.token(f.header(jwk=dict(f.key.jwk or {}))))
    yield Row("header brings a key, signed by it", asks, lambda f: f.token(f.header(jwk=key), sign=f.mac(b"\0\0\0")))
    yield from _headers(asks, "header asks for more:", *[{"crit": value} for value in (["exp"], [], "exp", None)])
    yield from _headers(
        asks, "header asks for more:", {"crit": ["b64"], "b64": False}, {"b64": False}, {"b64": True}, {"zip": "DEF"}
    )
    yield from _headers(asks, "header asks for more:", {"cty": "JWT"}, {"enc": "A256GCM"}, {"p2c": 10**9}, {"unknown": 1})
    yield from _headers("unknown_key", "kid:", *[{"kid": kid} for kid in (*_KIDS, 1, 1.5, None, True, ["a"], {"a": 1}, ...)])
    yield Row("kid: white space after it", "unknown_key", lambda f: f.token(f.header(kid=f"{f.key.kid} ")))
    yield from _headers("too_large", "kid:", {"kid": "k" * 10_240}, {"kid": "k" * 1100})
    types = ("JWT", "jwt", "rt+jwt", "", "at+jwt2", "at", "application/jwt", "at+JWT ", "text/at+jwt", ...)
    yield from _headers("wrong_type", "type:", *[{"typ": kind} for kind in types])
    yield from _headers(asks, "type:", *[{"typ": kind} for kind in (None, 1, ["at+jwt"])])


def _json() -> Iterator[Row]:
    def body(change: Callable[[bytes], bytes]) -> Make:
        return lambda f: f.token(body=change(json.dumps(f.said()).encode()))

    subject: Callable[[bytes], Callable[[bytes], bytes]] = lambda s: lambda good: good[:-1] + b',"x":"' + s + b'"}'  # noqa: E731
    added: Callable[[bytes], Callable[[bytes], bytes]] = lambda s: lambda good: good[:-1] + s + b"}"  # noqa: E731
    cases: dict[str, Callable[[bytes], bytes]] = {
        "a claim twice, the other last": added(b',"sub":"admin"'),
        "a claim twice, the other first": lambda good: b'{"sub":"admin",' + good[1:],
        "a name twice inside": added(b',"a":{"b":1,"b":2}'),
        "a byte order mark": lambda good: b"\xef\xbb\xbf" + good,
        "something after it": lambda good: good + b"x",
        "twice": lambda good: good + good,
        "cut off": lambda good: good[:-1],
        "a list": lambda good: b"[" + good + b"]",
        "a text": lambda good: b'"text"',
        "null": lambda good: b"null",
        "a number": lambda good: b"1",
        "one brace": lambda good: b"{",
        "bytes that are no UTF-8": subject(b"\xff"),
        "an overlong slash": subject(b"\xc0\xaf"),
        "a surrogate in UTF-8": subject(b"\xed\xa0\x80"),
        "half a pair of surrogates": subject(b"\\ud800"),
        "surrogates the wrong way round": subject(b"\\udc00\\ud800"),
        "half a pair in a name": added(b',"\\ud800":1'),
        "NaN": added(b',"n":NaN'),
        "infinity": added(b',"n":-Infinity'),
        "a number without an end": added(b',"n":1e999'),
        "a number of 5000 digits": added(b',"n":' + b"9" * 5000),
        "a comma too many": added(b","),
        "single quotes": lambda good: good.replace(b'"', b"'"),
        "a control character": subject(b"\x01"),
        "a comment": added(b"/**/"),
        "UTF-16": lambda good: good.decode().encode("utf-16"),
        "UTF-16, no mark": lambda good: good.decode().encode("utf-16-le"),
        "33 levels": added(b',"deep":' + b"[" * 32 + b"]" * 32),
        "1000 levels": lambda good: b'{"a":' * 900 + b"1" + b"}" * 900,
        "1000 levels left open": lambda good: b'{"a":' * 1000,
    }
    for name, change in cases.items():
        yield Row(f"claims as JSON: {name}", "malformed", body(change))
    for extra in (',"alg":"none"', ',"kid":"x"', ',"typ":"at+jwt"', f',"n":{"9" * 900}', ',"n":1e999', "}"):
        name = f"header as JSON: {extra[:20]} added"
        yield Row(name, "malformed", lambda f, e=extra: f.token(_text(f.header())[:-1] + e.encode() + b"}"))  # type: ignore[misc]
    yield Row("header as JSON: a byte order mark", "malformed", lambda f: f.token(b"\xef\xbb\xbf" + _text(f.header())))
    yield Row("header as JSON: 160 levels", "malformed", lambda f: f.token(b'{"a":' * 160 + b"1" + b"}" * 160))


def _claims() -> Iterator[Row]:
    cases: list[tuple[str, Callable[[Forge], dict[str, Any]]]] = [
        ("expired", lambda f: {"exp": f.now - f.leeway, "iat": f.now - f.leeway - 870}),
        ("expired", lambda f: {"exp": f.now - f.leeway - 0.5, "iat": f.now - f.leeway - 870}),
        ("expired", lambda f: {"exp": 0, "iat": 0}),
        ("not_yet_valid", lambda f: {"iat": f.now + f.leeway + _LATER, "exp": f.now + f.leeway + _LATER + 600}),
        ("not_yet_valid", lambda f: {"nbf": f.now + f.leeway + _LATER, "exp": f.now + f.leeway + _LATER + 600}),
        ("invalid_claim", lambda f: {"iat": f.now + 10, "exp": f.now + 9}),
        ("invalid_claim", lambda f: {"exp": f.now + f.lifetime + 1, "iat": f.now}),
        ("invalid_claim", lambda f: {"exp": f.now + 10**9}),
    ]
    for number, (code, changes) in enumerate(cases):
        yield Row(f"times: {code}, {number}", code, lambda f, c=changes: f.token(body=f.said(**c(f))))  # type: ignore[misc]
    for name, code, values in _VALUES:
        for value in values:
            title = f"claim: {_short({name: value})}"
            yield Row(title, code, lambda f, n=name, v=value: f.token(body=f.said(**{n: v})))  # type: ignore[misc]
    yield Row("claim: iss with a slash", "wrong_issuer", lambda f: f.token(body=f.said(iss=f"{f.claims['iss']}/")))
    yield Row("claim: iss in a list", "wrong_issuer", lambda f: f.token(body=f.said(iss=[f.claims["iss"]])))
    yield Row("claim: iss in other letters", "wrong_issuer", lambda f: f.token(body=f.said(iss=_otherwise(str(f.claims["iss"])))))
    for name, change in _AUDIENCES.items():
        yield Row(f"claim: aud {name}", "wrong_audience", lambda f, c=change: f.token(body=f.said(aud=c(f.claims["aud"]))))  # type: ignore[misc]


def _otherwise(text: str) -> str:
    """A text in the other case; with one letter more where it has no case."""
    return text.swapcase() if text.swapcase() != text else f"{text}x"


_AUDIENCES: Final[dict[str, Callable[[str], Any]]] = {
    "and more": lambda own: f"{own}2",
    "without its end": lambda own: own[:-1],
    "in other letters": _otherwise,
    "with a number": lambda own: [own, 1],
    "in a list in a list": lambda own: [[own]],
    "as a name": lambda own: {own: 1},
    "and another in one text": lambda own: f"{own} other",
    "of refresh tokens": lambda own: "lockwatch/refresh",
}
_VALUES: Final[tuple[tuple[str, str, tuple[Any, ...]], ...]] = (
    ("exp", "invalid_claim", (..., None, [], {}, "9999999999", True, -1, 2**53 + 1, 10**30, "")),
    ("iat", "invalid_claim", (..., None, "1", [], True, -1)),
    ("nbf", "invalid_claim", (None, [], "1", True, {}, -1)),
    ("auth_time", "invalid_claim", (None, "1", True, [])),
    ("iss", "wrong_issuer", (..., None, "", {"a": 1}, 1)),
    ("aud", "wrong_audience", (..., None, "", [], True, "another")),
    ("sub", "invalid_claim", (..., None, "", 42, ["user:42"], {}, True, "u" * 256, "é" * 128, *[f"user{c}" for c in CONTROL])),
    ("jti", "invalid_claim", (..., None, "", 1, ["a"], "j" * 256, "a\0b", "a\r\nb")),
    ("sid", "invalid_claim", (None, "", 1, "a\nb")),
    ("cnf", "wrong_type", ({"jkt": "x"},)),
)


def _sizes() -> Iterator[Row]:
    yield Row("size: claims of a megabyte", "too_large", lambda f: f.token(body=f.said(filler="x" * 2**20)))
    yield Row("size: claims of 8000 bytes", "too_large", lambda f: f.token(body=f.said(filler="x" * 8000)))
    yield Row("size: a megabyte of dots", "too_large", lambda f: "." * 2**20)
    yield Row("size: a megabyte of letters", "too_large", lambda f: "a" * 2**20)
    yield Row("size: a header of a megabyte", "too_large", lambda f: f"{'a' * 2**20}.b.c")
    yield Row("size: 2000 levels in the header", "too_large", lambda f: f.token(b'{"a":' * 2000 + b"}" * 2000))


def _spelled() -> Iterator[Row]:
    for name, spell in spellings().items():
        yield Row(f"spelling: {name}", "malformed", lambda f, s=spell: s(f.token()))  # type: ignore[misc]


def _text(value: Any) -> bytes:
    return json.dumps(value).encode()


TABLE: Final[tuple[Row, ...]] = (*_algorithms(), *_signatures(), *_members(), *_json(), *_claims(), *_sizes(), *_spelled())
