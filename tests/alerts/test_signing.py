"""Signatures: with ourselves, with the reference library in both directions, and against those who forge them."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from typing import Any

import pytest
import standardwebhooks
from hypothesis import given
from hypothesis import strategies as st

from lockwatch import ConfigurationError, InvalidWebhook, verify_webhook
from lockwatch.alerts.channels import Endpoint, WebhookChannel
from lockwatch.alerts.signing import read_key, signature

NOW = 1_795_500_000
BODY = b'{"type":"lockwatch.test","timestamp":"2026-11-24T10:00:00Z","data":{"a":"\xc3\xa9"}}'


def secret(number: int, size: int = 32) -> str:
    return "whsec_" + base64.b64encode(bytes([number]) * size).decode()


OLD, NEW, OTHER = secret(1), secret(2), secret(3)
SEED = bytes(range(32))


def public_of(seed: bytes) -> str:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    return "whpk_" + base64.b64encode(Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()).decode()


PRIVATE, PUBLIC = "whsk_" + base64.b64encode(SEED).decode(), public_of(SEED)


def sent(*secrets: Any, body: bytes = BODY, now: float = NOW, name: str = "msg_1") -> dict[str, str]:
    endpoint = Endpoint(WebhookChannel("https://hooks.example.com/x", secrets), "alerts")
    return dict(endpoint.message(name, body, now).headers)


def test_the_vector_of_the_specification_holds() -> None:
    key = read_key("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", signs=True)
    assert signature([key], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}') == (
        "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    )


@pytest.mark.parametrize("given_secret", [OLD, OLD.removeprefix("whsec_")])
def test_the_reference_library_verifies_what_we_sign(given_secret: str) -> None:
    now = datetime.now(UTC).timestamp()
    headers = sent(given_secret, NEW, now=now)
    for theirs in (OLD, NEW):
        assert standardwebhooks.Webhook(theirs).verify(BODY, headers) == json.loads(BODY)
    with pytest.raises(standardwebhooks.WebhookVerificationError):
        standardwebhooks.Webhook(OTHER).verify(BODY, headers)


def test_we_verify_what_the_reference_library_signs() -> None:
    at = datetime.fromtimestamp(NOW, UTC)
    headers = {
        "Webhook-Id": "msg_2",
        "Webhook-Timestamp": str(NOW),
        "Webhook-Signature": standardwebhooks.Webhook(OLD).sign("msg_2", at, BODY.decode()),
    }
    assert verify_webhook([NEW, OLD], headers, BODY, now=NOW) == json.loads(BODY)
    with pytest.raises(InvalidWebhook):
        verify_webhook(NEW, headers, BODY, now=NOW)


def test_ed25519_signs_and_its_public_half_verifies() -> None:
    headers = sent(PRIVATE)
    assert headers["webhook-signature"].startswith("v1a,")
    assert verify_webhook(PUBLIC, headers, BODY, now=NOW) == json.loads(BODY)
    with pytest.raises(InvalidWebhook):
        verify_webhook(public_of(bytes(32)), headers, BODY, now=NOW)


def test_a_key_of_libsodium_is_taken_too() -> None:
    both = "whsk_" + base64.b64encode(SEED + base64.b64decode(PUBLIC.removeprefix("whpk_"))).decode()
    assert sent(both) == sent(PRIVATE)


def test_secrets_are_replaced_without_a_gap() -> None:
    for senders in ((OLD,), (OLD, NEW), (NEW,)):
        verify_webhook([OLD, NEW], sent(*senders), BODY, now=NOW)
    mixed = sent(OLD, PRIVATE)
    verify_webhook(OLD, mixed, BODY, now=NOW)
    verify_webhook(PUBLIC, mixed, BODY, now=NOW)


def test_a_secret_may_be_a_function_that_is_asked_at_every_delivery() -> None:
    current = [OLD]
    endpoint = Endpoint(WebhookChannel("https://hooks.example.com/x", lambda: current[0]), "alerts")
    verify_webhook(OLD, endpoint.message("msg_1", BODY, NOW).headers, BODY, now=NOW)
    current[0] = NEW
    verify_webhook(NEW, endpoint.message("msg_1", BODY, NOW).headers, BODY, now=NOW)


@pytest.mark.parametrize("off", [-301, 301])
def test_what_was_signed_long_ago_or_ahead_is_refused(off: int) -> None:
    with pytest.raises(InvalidWebhook, match="300 seconds"):
        verify_webhook(OLD, sent(OLD), BODY, now=NOW + off)
    verify_webhook(OLD, sent(OLD), BODY, now=NOW + off // 2)


@pytest.mark.parametrize(
    "change",
    [
        {"webhook-id": "msg_2"},
        {"webhook-id": ""},
        {"webhook-timestamp": str(NOW + 1)},
        {"webhook-timestamp": "1e9"},
        {"webhook-timestamp": "\u0661"},
        {"webhook-timestamp": "9" * 5000},
        {"webhook-signature": ""},
        {"webhook-signature": "v1"},
        {"webhook-signature": "v1,"},
        {"webhook-signature": "v1,\u00e9"},
        {"webhook-signature": "v1,A"},
        {"webhook-signature": " ".join(["v1,AAAA"] * 100_000)},
    ],
)
def test_what_is_changed_or_malformed_is_refused(change: dict[str, str]) -> None:
    with pytest.raises(InvalidWebhook):
        verify_webhook(OLD, {**sent(OLD), **change}, BODY, now=NOW)


def test_a_signature_is_not_taken_for_one_of_another_scheme() -> None:
    headers = sent(OLD)
    headers["webhook-signature"] = headers["webhook-signature"].replace("v1,", "v1a,")
    with pytest.raises(InvalidWebhook):
        verify_webhook(OLD, headers, BODY, now=NOW)


def test_a_changed_body_is_refused() -> None:
    with pytest.raises(InvalidWebhook):
        verify_webhook(OLD, sent(OLD), BODY + b" ", now=NOW)


@pytest.mark.parametrize("body", [b"no json", b"[1]", b"\xff"])
def test_a_signed_body_that_is_no_object_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidWebhook, match="JSON"):
        verify_webhook(OLD, sent(OLD, body=body), body, now=NOW)


@pytest.mark.parametrize(
    "bad", ["", "whsec_", "whsec_c2hvcnQ=", "hunter2-hunter2-hunter2-hunter2!", "whsk_AAAA", PUBLIC, b"\xff" * 40]
)
def test_a_secret_that_is_none_is_refused_and_not_quoted(bad: str | bytes) -> None:
    with pytest.raises(ConfigurationError, match="webhook_secrets") as caught:
        Endpoint(WebhookChannel("https://hooks.example.com/x", [bad]), "alerts")
    quoted = bad.decode("latin-1") if isinstance(bad, bytes) else bad
    assert not quoted or quoted.removeprefix("whsec_") == "" or quoted not in str(caught.value)


@given(st.binary(max_size=200), st.dictionaries(st.text(max_size=20), st.text(max_size=80), max_size=5))
def test_whatever_comes_is_refused_and_nothing_else(body: bytes, headers: dict[str, str]) -> None:
    with pytest.raises(InvalidWebhook):
        verify_webhook([OLD, PUBLIC], {"webhook-id": "a", "webhook-timestamp": str(NOW), **headers}, body, now=NOW)
