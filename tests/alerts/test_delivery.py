"""One delivery: what arrives, what counts as arrived, and what no receiver can make us do."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Sequence
from email.utils import formatdate
from pathlib import Path

import pytest

from lockwatch import verify_webhook
from lockwatch.alerts.channels import Endpoint, WebhookChannel
from lockwatch.alerts.delivery import Courier
from lockwatch.alerts.resolver import Resolver
from lockwatch.alerts.schedule import MAX_RETRY_AFTER, Answer
from tests.alerts import receivers
from tests.alerts.receivers import answers, receiver
from tests.alerts.test_signing import NEW, OLD

BODY = b'{"type":"lockwatch.test","timestamp":"2026-11-24T10:00:00Z","data":{}}'


def leads_to(*addresses: str) -> Resolver:
    return Resolver(lambda host, port: addresses)


def courier(*addresses: str, timeout: float = 10.0, trust: ssl.SSLContext | None = None) -> Courier:
    return Courier(leads_to(*addresses or ("127.0.0.1",)), trust=trust or ssl.create_default_context(), timeout=timeout)


def inside(url: str, *secrets: str) -> Endpoint:
    return Endpoint(WebhookChannel(url, secrets or (OLD,), allow_private=True), "alerts")


async def test_a_signed_webhook_arrives() -> None:
    async with receiver() as hook:
        answer = await courier().send(inside(hook.url("hooks.test"), OLD, NEW), "msg_1", BODY)
    assert answer == Answer(204)
    (request,) = hook.received
    assert request.path == "/hook"
    assert request.body == BODY
    assert request.headers["host"] == f"hooks.test:{hook.port}"
    assert request.headers["user-agent"].startswith("lockwatch/")
    for secret in (OLD, NEW):
        assert verify_webhook(secret, request.headers, request.body)["type"] == "lockwatch.test"


async def test_the_name_of_the_receiver_is_checked_in_tls_though_its_address_is_pinned(tmp_path: Path) -> None:
    server, trust = receivers.certificate(tmp_path, "hooks.test")
    async with receiver(tls=server) as hook:
        sender = courier(trust=trust)
        assert await sender.send(inside(hook.url("hooks.test", "https")), "msg_1", BODY) == Answer(204)
        assert (
            await sender.send(inside(hook.url("other.test", "https")), "msg_2", BODY)
        ).error == "its certificate is not believed"
        assert (
            await courier().send(inside(hook.url("hooks.test", "https")), "msg_3", BODY)
        ).error == "its certificate is not believed"
    assert hook.ids == ["msg_1"]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_a_failure_and_is_not_followed(status: int) -> None:
    async with receiver() as metadata, receiver(answers(status, f"location: {metadata.url()}")) as hook:
        answer = await courier().send(inside(hook.url("hooks.test")), "msg_1", BODY)
    assert answer == Answer(status)
    assert not answer.delivered
    assert metadata.connections == 0


async def test_a_redirect_to_a_link_local_address_is_not_followed() -> None:
    async with receiver(answers(307, "location: http://169.254.169.254/latest/meta-data")) as hook:
        assert await courier().send(inside(hook.url()), "msg_1", BODY) == Answer(307)
    assert hook.connections == 1


async def test_an_address_is_checked_at_every_delivery_and_connected_to_as_checked() -> None:
    turns: list[Sequence[str]] = [("127.0.0.1",), ("169.254.169.254",), ("127.0.0.1",)]
    asked: list[str] = []

    def rebinding(host: str, port: int) -> Sequence[str]:
        asked.append(host)
        return turns[len(asked) - 1]

    async with receiver() as hook:
        sender, endpoint = Courier(Resolver(rebinding), ssl.create_default_context()), inside(hook.url("hooks.test"))
        found = [await sender.send(endpoint, f"msg_{n}", BODY) for n in range(3)]
    assert [answer.delivered for answer in found] == [True, False, True]
    assert found[1].error == "its name leads to an address that no webhook is at"
    assert asked == ["hooks.test"] * 3
    assert hook.ids == ["msg_0", "msg_2"]


@pytest.mark.parametrize("address", ["127.0.0.1", "::ffff:127.0.0.1", "::1", "10.0.0.1", "64:ff9b::7f00:1"])
async def test_a_public_name_that_leads_inside_is_not_connected_to(address: str) -> None:
    async with receiver() as hook:
        endpoint = Endpoint(WebhookChannel("https://hooks.example.com/x"), "alerts")
        answer = await courier("8.8.8.8", address).send(endpoint, "msg_1", BODY)
    assert answer.error == "its name leads to a private address"
    assert hook.connections == 0


async def test_the_next_address_is_tried_when_the_first_does_not_connect() -> None:
    async with receiver() as hook:
        answer = await courier("127.0.0.2", "::1", "127.0.0.1").send(inside(hook.url("hooks.test")), "msg_1", BODY)
    assert answer == Answer(204)


async def test_a_proxy_of_the_environment_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    async with receiver() as proxy, receiver() as hook:
        for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        assert await courier().send(inside(hook.url("hooks.test")), "msg_1", BODY) == Answer(204)
    assert proxy.connections == 0


@pytest.mark.parametrize("behaviour", [receivers.hangs, receivers.informs_without_end, receivers.trickles])
async def test_whoever_does_not_answer_is_left(behaviour: receivers.Behaviour) -> None:
    async with receiver(behaviour) as hook:
        answer = await courier(timeout=0.3).send(inside(hook.url()), "msg_1", BODY)
    assert answer == Answer(0, "no answer within 0.3 seconds")


async def test_an_answer_without_end_is_not_read() -> None:
    async with receiver(receivers.sends_without_end) as hook:
        assert await courier().send(inside(hook.url()), "msg_1", BODY) == Answer(200)
    assert hook.sent < 32 * 1024 * 1024  # what buffers of the operating system hold


async def test_headers_without_end_are_a_failure() -> None:
    async with receiver(receivers.sends_headers_without_end) as hook:
        answer = await courier().send(inside(hook.url()), "msg_1", BODY)
    assert not answer.delivered
    assert "broke" in answer.error


async def test_a_connection_that_breaks_is_a_failure() -> None:
    async with receiver(receivers.breaks) as hook:
        answer = await courier().send(inside(hook.url()), "msg_1", BODY)
    assert answer.error.startswith("the connection broke")


async def test_nobody_there_is_a_failure() -> None:
    async with receiver() as hook:
        url = hook.url()
    assert (await courier().send(inside(url), "msg_1", BODY)).error == "it refuses connections"
    assert (await courier().send(inside(url), "msg_1", BODY)).status == 0


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("17", 17.0), ("99999999999", MAX_RETRY_AFTER), ("never", 0.0), (formatdate(1_795_500_060, usegmt=True), 60.0)],
)
async def test_what_it_asks_for_is_heard(header: str, seconds: float) -> None:
    async with receiver(answers(429, f"retry-after: {header}")) as hook:
        sender = Courier(leads_to("127.0.0.1"), ssl.create_default_context(), clock=lambda: 1_795_500_000.0)
        assert await sender.send(inside(hook.url()), "msg_1", BODY) == Answer(429, retry_after=seconds)


async def test_a_secret_that_cannot_be_had_is_a_failure() -> None:
    def missing() -> str:
        raise OSError("/run/secrets/hunter2")

    endpoint = Endpoint(WebhookChannel("https://hooks.example.com/x", [missing]), "alerts")
    answer = await courier().send(endpoint, "msg_1", BODY)
    assert answer.error == "its secret cannot be had: OSError"


async def test_neither_url_nor_answer_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with receiver(answers(500, "x-secret: hunter3", body=b"hunter4")) as hook:
        url = f"http://hooks.test:{hook.port}/T0/hunter2?token=hunter2"
        await courier().send(Endpoint(WebhookChannel(url, allow_private=True), "alerts"), "msg_1", BODY)
    assert hook.received[0].path == "/T0/hunter2?token=hunter2"
    assert "hunter" not in caplog.text
    assert not [record for record in caplog.records if record.name.startswith(("httpx", "httpcore"))]


async def test_others_who_use_the_http_client_are_logged_as_before(caplog: pytest.LogCaptureFixture) -> None:
    import httpx

    caplog.set_level(logging.DEBUG)
    async with receiver() as hook, httpx.AsyncClient() as client:
        await client.post(hook.url(), content=b"")
    assert {record.name for record in caplog.records} >= {"httpx", "httpcore.connection"}


async def test_a_name_server_that_hangs_holds_up_one_attempt_and_one_thread() -> None:
    asked: list[str] = []
    release = asyncio.Event()
    loop = asyncio.get_running_loop()

    def hanging(host: str, port: int) -> Sequence[str]:
        asked.append(host)
        asyncio.run_coroutine_threadsafe(release.wait(), loop).result()
        return ("127.0.0.1",)

    async with receiver() as hook:
        slow = Courier(Resolver(hanging), ssl.create_default_context(), timeout=0.2)
        endpoint = inside(hook.url("hooks.test"))
        assert [(await slow.send(endpoint, "msg_1", BODY)).status for _ in range(3)] == [0, 0, 0]
        assert asked == ["hooks.test"]
        release.set()
    assert hook.connections == 0
