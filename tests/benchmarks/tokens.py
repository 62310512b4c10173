"""``tokens``: what it costs to verify and to sign an access token, beside the signature alone and the JOSE libraries."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import jwt as pyjwt
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, utils
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from jose import jwk
from jose import jwt as python_jose

from lockwatch.tokens.access import access_token, access_verifier
from lockwatch.tokens.config import JWTConfig
from lockwatch.tokens.encoding import decode
from lockwatch.tokens.engine import engine_named
from lockwatch.tokens.keyfile import new_pem
from lockwatch.tokens.keys import key_of_pem
from lockwatch.tokens.ring import ring_of_pem
from lockwatch.tokens.verified import VerifiedTokens
from lockwatch.tokens.verify import Verifier, split
from tests.benchmarks import environments
from tests.benchmarks.machine import cores, description, pin
from tests.benchmarks.rounds import Check, Scenario, compared, interleaved
from tests.benchmarks.table import Report, Table

CLAIMS: Final = {"scope": "profile reports", "roles": ["admin"], "plan": "pro"}
REFERENCE: Final = "cryptography, the signature alone"
DIFFERENT: Final = 200
"""Tokens that take turns."""


def run(rounds: int, checks: int) -> Report:
    """Measure in this process."""
    pin(0, cores().server)
    tables: list[Table] = []
    for algorithm in ("RS256", "ES256"):
        pem = new_pem(algorithm)
        tokens = _tokens(pem)
        turns = Scenario(f"{DIFFERENT} tokens in turn", lambda _, tokens=tokens: [tokens[n % DIFFERENT] for n in range(checks)])
        costs = interleaved(verifying(pem, algorithm, tokens), turns, rounds)
        tables.append(compared(f"Verify an access token, {algorithm}", costs, REFERENCE))
        costs = interleaved(signing(pem, algorithm), Scenario("", lambda _: ["user:42"] * (checks // 4)), rounds)
        tables.append(compared(f"Sign an access token, {algorithm}", costs, REFERENCE))
    return Report(_facts(rounds, checks), tuple(tables))


def verifying(pem: str, algorithm: str, tokens: list[str]) -> dict[str, Check]:
    """Every way to verify a token; each checks signature, expiry, issuer and audience, but for the reference."""
    private = load_pem_private_key(pem.encode(), None)
    public, expected = private.public_key(), {"audience": "lockwatch-api", "issuer": "lockwatch"}
    built = jwk.construct(public, algorithm)
    found: dict[str, Check] = {REFERENCE: _bare(public, algorithm, tokens)}
    for engine in ("python-jose", "pyjwt"):
        found[f"lockwatch, {engine}"] = _ours(pem, engine)
    memory = VerifiedTokens(_verifier(pem, "python-jose").verify, 30)
    found["lockwatch, remembered"] = lambda token: memory.verify(token, time.time())
    found["PyJWT, key object"] = lambda token: pyjwt.decode(token, public, [algorithm], **expected)
    found["python-jose, key object"] = lambda token: python_jose.decode(token, built, [algorithm], **expected)
    text = built.to_pem().decode()
    found["python-jose, PEM"] = lambda token: python_jose.decode(token, text, [algorithm], **expected)
    return found


def signing(pem: str, algorithm: str) -> dict[str, Check]:
    """The signature alone, and a whole token."""
    key, private = key_of_pem(pem, engine_named("python-jose")), load_pem_private_key(pem.encode(), None)
    config, data = JWTConfig(), b"x" * 400
    made = access_token(config, key, "user:42", CLAIMS, jti="t", now=time.time())
    values = pyjwt.decode(made.token, options={"verify_signature": False})
    return {
        REFERENCE: lambda _: _sign(private, algorithm, data),
        "lockwatch": lambda subject: access_token(config, key, subject, CLAIMS, jti="t", now=time.time()),
        "PyJWT": lambda _: pyjwt.encode(values, private, algorithm),
    }


def _tokens(pem: str) -> list[str]:
    key, now = key_of_pem(pem, engine_named("python-jose")), time.time()
    jtis = [f"0190f2c8-2f5e-7cc3-98c4-dc0c0c{n:06d}" for n in range(DIFFERENT)]
    return [access_token(JWTConfig(access_token_ttl=86_400), key, "user:42", CLAIMS, jti=j, now=now, family=j).token for j in jtis]


def _verifier(pem: str, engine: str) -> Verifier:
    config = JWTConfig()
    return access_verifier(config, ring_of_pem(pem, config, engine_named(engine)))


def _ours(pem: str, engine: str) -> Check:
    verifier = _verifier(pem, engine)
    return lambda token: verifier.verify(token, time.time())


def _bare(public: Any, algorithm: str, tokens: list[str]) -> Check:
    """The signature checked by the cryptography package, everything else done before."""
    ready: dict[str, tuple[bytes, bytes]] = {}
    for token in tokens:
        parts = split(token)
        signature = decode(parts.signature)
        if algorithm == "ES256":
            signature = utils.encode_dss_signature(int.from_bytes(signature[:32]), int.from_bytes(signature[32:]))
        ready[token] = (signature, parts.signing_input)
    how: Callable[[], tuple[Any, ...]] = (
        (lambda: (ec.ECDSA(hashes.SHA256()),)) if algorithm == "ES256" else (lambda: (padding.PKCS1v15(), hashes.SHA256()))
    )

    def check(token: str) -> None:
        signature, signing_input = ready[token]
        public.verify(signature, signing_input, *how())

    return check


def _sign(private: Any, algorithm: str, data: bytes) -> bytes:
    how = (ec.ECDSA(hashes.SHA256()),) if algorithm == "ES256" else (padding.PKCS1v15(), hashes.SHA256())
    signature: bytes = private.sign(data, *how)
    return signature


def _facts(rounds: int, checks: int) -> tuple[str, ...]:
    held = environments.versions(Path(sys.executable))
    named = [f"{name} {held[name]}" for name in ("cryptography", "python-jose", "pyjwt") if name in held]
    version = ".".join(map(str, sys.version_info[:3]))
    return (
        *description(Path.cwd()),
        f"python: {version}; {', '.join(named)}",
        f"{rounds} interleaved rounds of {checks:,} tokens",
    )
