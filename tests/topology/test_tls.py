"""TLS and mutual TLS. The server of the tests speaks neither: a proxy in front of it does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import TypeAlias
from urllib.parse import quote, urlencode

import pytest
import redis
import redis.asyncio
import redis.sentinel

from lockwatch.errors import StoreError
from lockwatch.stores.connect import address_of
from lockwatch.stores.redis_async import AsyncRedisStore
from lockwatch.stores.redis_sync import RedisStore
from tests import servers
from tests.contract.bench import SECOND, Ask, admit
from tests.topology import sites
from tests.topology.certificates import Authority
from tests.topology.proxy import secured

CALL = admit(0, Ask("k", 50, 3600 * SECOND))
PATIENT = 2.0
PASSWORD = "s3cret@/:"
Ends: TypeAlias = Callable[[object], Awaitable[int]]


@pytest.fixture(scope="module")
def server() -> Iterator[int]:
    process = servers.start_redis()
    yield process.port
    process.stop()


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls"), "authority")


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls"), "other")


@pytest.fixture(scope="module")
def plain(server: int, authority: Authority) -> Iterator[int]:
    """A port that speaks TLS."""
    with secured(server, authority.server(authority.sign("server"))) as port:
        yield port


@pytest.fixture(scope="module")
def mutual(server: int, authority: Authority) -> Iterator[int]:
    """A port that wants a certificate of its clients too."""
    with secured(server, authority.server(authority.sign("mutual"), mutual=True)) as port:
        yield port


@pytest.fixture(params=["redis", "redis-async"])
async def remaining(request: pytest.FixtureRequest, server: int) -> AsyncIterator[Ends]:
    """What one call through a new store leaves of its quota."""
    sites.ask(server, "FLUSHALL")
    stores: list[AsyncRedisStore] = []

    async def ask(source: object) -> int:
        if request.param == "redis":
            store = RedisStore(address_of(source), PATIENT)
            try:
                return store.call(CALL)[1]
            finally:
                store.close()
        stores.append(AsyncRedisStore(address_of(source), PATIENT))
        return (await stores[-1].call(CALL))[1]

    yield ask
    for store in stores:
        await store.aclose()
    await asyncio.sleep(0)  # what was cancelled in a handshake closes in the next turn of the loop


def url(port: int, scheme: str = "rediss", host: str = "127.0.0.1", **options: object) -> str:
    return f"{scheme}://{host}:{port}?{urlencode(options)}"


async def test_a_server_with_a_certificate_of_the_named_authority_is_used(
    plain: int, authority: Authority, remaining: Ends
) -> None:
    assert await remaining(url(plain, ssl_ca_certs=authority.path)) == 49
    assert await remaining(url(plain, "valkeys", ssl_ca_certs=authority.path, ssl_cert_reqs="required")) == 48
    assert await remaining(redis.Redis(port=plain, host="127.0.0.1", ssl=True, ssl_ca_certs=str(authority.path))) == 47
    client = redis.asyncio.Redis(port=plain, host="127.0.0.1", ssl=True, ssl_ca_certs=str(authority.path))
    assert await remaining(client) == 46


async def test_a_client_with_a_certificate_is_let_in(mutual: int, authority: Authority, remaining: Ends) -> None:
    certificate, key = authority.sign("client")
    assert await remaining(url(mutual, ssl_ca_certs=authority.path, ssl_certfile=certificate, ssl_keyfile=key)) == 49
    options = {"ssl": True, "ssl_ca_certs": str(authority.path), "ssl_certfile": certificate, "ssl_keyfile": key}
    assert await remaining(redis.Redis("127.0.0.1", mutual, **options)) == 48


async def test_the_host_name_is_checked_unless_told_otherwise(server: int, authority: Authority, remaining: Ends) -> None:
    context = authority.server(authority.sign("elsewhere", host="redis.example.com"))
    with secured(server, context) as port:
        with pytest.raises(StoreError, match=r"not valid for '127\.0\.0\.1'"):
            await remaining(url(port, ssl_ca_certs=authority.path, ssl_check_hostname="true"))
        assert await remaining(url(port, ssl_ca_certs=authority.path, ssl_check_hostname="false")) == 49
        assert await remaining(url(port, ssl_cert_reqs="none", ssl_check_hostname="false")) == 48


# --------------------------------------------------------------------------- refused
async def refused(remaining: Ends, source: str) -> str:
    with pytest.raises(StoreError) as caught:
        await remaining(source)
    assert "s3cret" not in str(caught.value)
    return str(caught.value)


def with_password(source: str) -> str:
    return source.replace("://", f"://:{quote(PASSWORD, safe='')}@")


async def test_a_certificate_of_another_authority_is_refused(plain: int, other: Authority, remaining: Ends) -> None:
    said = await refused(remaining, with_password(url(plain, ssl_ca_certs=other.path)))
    assert "certificate verify failed: unable to get local issuer certificate" in said


async def test_a_certificate_that_has_expired_is_refused(server: int, authority: Authority, remaining: Ends) -> None:
    with secured(server, authority.server(authority.sign("expired", days=-1))) as port:
        said = await refused(remaining, with_password(url(port, ssl_ca_certs=authority.path)))
    assert "certificate verify failed: certificate has expired" in said


async def test_a_client_without_a_certificate_is_refused(mutual: int, authority: Authority, remaining: Ends) -> None:
    said = await refused(remaining, with_password(url(mutual, ssl_ca_certs=authority.path)))
    assert "certificate required" in said.lower().replace("_", " ")


async def test_a_client_with_a_certificate_of_another_authority_is_refused(
    mutual: int, authority: Authority, other: Authority, remaining: Ends
) -> None:
    certificate, key = other.sign("stranger")
    said = await refused(
        remaining, with_password(url(mutual, ssl_ca_certs=authority.path, ssl_certfile=certificate, ssl_keyfile=key))
    )
    assert "unknown ca" in said.lower().replace("_", " ")


async def test_a_file_that_is_not_there_is_a_store_error(plain: int, remaining: Ends, tmp_path: Path) -> None:
    said = await refused(remaining, with_password(url(plain, ssl_ca_certs=tmp_path / "nothing.pem")))
    assert "No such file" in said


async def test_a_server_without_tls_is_a_store_error(server: int, authority: Authority, remaining: Ends) -> None:
    said = await refused(remaining, with_password(url(server, ssl_ca_certs=authority.path)))
    assert "no answer" in said or "Timeout" in said  # it waits for more of what it takes for a command


# ------------------------------------------------------------------ several servers
async def test_sentinels_and_their_master_speak_tls(server: int, authority: Authority, remaining: Ends) -> None:
    context = authority.server(authority.sign("both"), mutual=True)
    certificate, key = authority.sign("client")
    options = urlencode({"ssl_ca_certs": authority.path, "ssl_certfile": certificate, "ssl_keyfile": key})
    with secured(server, context) as front:
        watching = sites.start_sentinel(front, 1)  # it cannot speak TLS itself, so it thinks its master dead
        with secured(watching.port, context) as port:
            assert await remaining(f"rediss+sentinel://127.0.0.1:{port}/{sites.SERVICE}?{options}") == 49
            tls = {"ssl": True, "ssl_ca_certs": str(authority.path), "ssl_certfile": certificate, "ssl_keyfile": key}
            manager = redis.sentinel.Sentinel([("127.0.0.1", port)], sentinel_kwargs=tls)
            assert await remaining(manager.master_for(sites.SERVICE, **tls)) == 48
        watching.stop()


async def test_the_nodes_of_a_cluster_speak_tls(authority: Authority, remaining: Ends) -> None:
    node = servers.start_redis("--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf")
    context = authority.server(authority.sign("node"))
    try:
        with secured(node.port, context) as port:
            sites.ask(node.port, "CONFIG", "SET", "cluster-announce-port", port)
            sites.ask(node.port, "CONFIG", "SET", "cluster-announce-ip", "127.0.0.1")
            sites.ask(node.port, "CLUSTER", "ADDSLOTS", *range(16384))
            sites.until(lambda: "ok" in sites.fields(sites.ask(node.port, "CLUSTER", "INFO"))["cluster_state"], "a cluster")
            assert await remaining(f"rediss+cluster://127.0.0.1:{port}?ssl_ca_certs={authority.path}") == 49
    finally:
        node.stop()
