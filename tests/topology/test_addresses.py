"""What a store URL or a client says: where, with which TLS and credentials, and what is wrong with it."""

from __future__ import annotations

import pytest
import redis
import redis.asyncio
import redis.asyncio.cluster
import redis.sentinel

from lockwatch.errors import ConfigurationError
from lockwatch.stores.address import ClusterAddress, SentinelAddress
from lockwatch.stores.connect import address_of
from lockwatch.stores.redis_async import AsyncRedisStore
from lockwatch.stores.redis_sync import RedisStore

LOGIN = "us%40er:p%2Fass%3A%40"


@pytest.mark.parametrize("scheme", ["redis", "valkey", "rediss", "valkeys", "REDIS"])
def test_a_cluster_is_named_by_some_of_its_nodes(scheme: str) -> None:
    address = address_of(f"{scheme}+cluster://{LOGIN}@node1:7000,node2,[2001:db8::1]:7002")
    assert isinstance(address, ClusterAddress)
    assert address.nodes == (("node1", 7000), ("node2", 6379), ("2001:db8::1", 7002))
    assert address.kind == ("SSLConnection" if scheme in ("rediss", "valkeys") else "Connection")
    assert (address.arguments["username"], address.arguments["password"]) == ("us@er", "p/ass:@")
    assert str(address) == "the cluster at node1:7000, node2:6379, 2001:db8::1:7002"


@pytest.mark.parametrize("scheme", ["redis", "valkey", "rediss", "valkeys"])
def test_a_master_is_named_after_its_sentinels(scheme: str) -> None:
    address = address_of(f"{scheme}+sentinel://{LOGIN}@s1:1,s2,s3/my%20master/7?sentinel_username=gu%40rd&sentinel_password=x%2Fy")
    assert isinstance(address, SentinelAddress)
    assert (address.service, address.arguments["db"]) == ("my master", 7)
    assert (address.arguments["username"], address.arguments["password"]) == ("us@er", "p/ass:@")
    assert [str(sentinel) for sentinel in address.sentinels] == ["s1:1", "s2:26379", "s3:26379"]
    assert {(s.arguments["username"], s.arguments["password"]) for s in address.sentinels} == {("gu@rd", "x/y")}
    assert {s.kind for s in (address, *address.sentinels)} == {"SSLConnection" if scheme in ("rediss", "valkeys") else "Connection"}


def test_sentinels_get_no_password_that_was_not_meant_for_them() -> None:
    address = address_of("redis+sentinel://:secret@s1/mymaster")
    assert isinstance(address, SentinelAddress)
    assert "secret" not in repr(address.sentinels[0].arguments)
    assert address.arguments["db"] == 0


TLS = "ssl_ca_certs=/ca.pem&ssl_certfile=/c.pem&ssl_keyfile=/k.pem&ssl_cert_reqs=required&ssl_check_hostname=false"


@pytest.mark.parametrize("url", [f"rediss://h?{TLS}", f"valkeys+cluster://h?{TLS}", f"rediss+sentinel://h/mymaster?{TLS}"])
def test_tls_options_follow_a_url(url: str) -> None:
    address = address_of(url)
    secured = address.sentinels[0] if isinstance(address, SentinelAddress) else address
    for arguments in (address.arguments, secured.arguments):
        assert {name: value for name, value in arguments.items() if name.startswith("ssl_")} == {
            "ssl_ca_certs": "/ca.pem",
            "ssl_certfile": "/c.pem",
            "ssl_keyfile": "/k.pem",
            "ssl_cert_reqs": "required",
            "ssl_check_hostname": False,
        }


def test_no_address_shows_a_password() -> None:
    for url in ("redis://u:hunter2@h", "redis+cluster://u:hunter2@h", "redis+sentinel://u:hunter2@h/m?sentinel_password=hunter2"):
        assert "hunter2" not in f"{address_of(url)} {address_of(url)!r}"


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("redis+cluster://u:hunter2@h1,h2/3", "only one"),
        ("redis+cluster://u:hunter2@", "empty host"),
        ("redis+cluster://u:hunter2@h1,,h2", "empty host"),
        ("redis+cluster://u:hunter2@h1:port", "cannot be read"),
        ("redis+cluster://u:hunter2@h1,h2:99999", "cannot be read"),
        ("redis+sentinel://u:hunter2@h1", "does not name a master"),
        ("redis+sentinel://u:hunter2@h1/", "does not name a master"),
        ("redis+sentinel://u:hunter2@h1/mymaster/zero", "cannot be read"),
        ("redis://u:hunter2@h1:1,h2:2", "redis+cluster://"),
        ("redis+kluster://u:hunter2@h1", "unknown scheme 'redis+kluster'"),
        ("rediss://u:hunter2@h?ssl_ca_cert=/x", "unknown option 'ssl_ca_cert'"),
        ("redis://u:hunter2@h?ssl_ca_certs=/x", "without TLS"),
        ("redis+sentinel://u:hunter2@h/m?ssl_ca_certs=/x", "without TLS"),
    ],
)
def test_a_wrong_url_is_one_clear_error(url: str, said: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        address_of(url)
    assert said in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_a_url_with_many_nodes_is_shown_short() -> None:
    assert str(address_of("redis+cluster://a,b,c,d,e")) == "the cluster at a:6379, b:6379, c:6379 and 2 more"


# ---------------------------------------------------------------------------- clients
async def test_a_client_of_one_colour_serves_the_other() -> None:
    """Each colour of redis-py has TLS options of its own; those left at nothing are left out."""
    for client in (redis.Redis(ssl=True, ssl_ca_certs="/ca.pem"), redis.asyncio.Redis(ssl=True, ssl_ca_certs="/ca.pem")):
        address = address_of(client)
        assert (address.kind, address.arguments["ssl_ca_certs"]) == ("SSLConnection", "/ca.pem")
        assert (AsyncRedisStore(address).address, RedisStore(address).address) == (address, address)


def test_a_tls_option_only_one_colour_has_is_not_dropped_in_silence() -> None:
    address = address_of(redis.Redis(ssl=True, ssl_validate_ocsp=True))
    RedisStore(address)
    with pytest.raises(ConfigurationError, match="ssl_validate_ocsp"):
        AsyncRedisStore(address)


async def test_an_async_client_of_a_cluster_lends_before_it_was_used() -> None:
    client = redis.asyncio.cluster.RedisCluster.from_url("rediss://u:p@h:7000?ssl_ca_certs=/ca.pem")
    address = address_of(client)
    assert isinstance(address, ClusterAddress)
    assert (address.nodes, address.kind) == ((("h", 7000),), "SSLConnection")
    assert [address.arguments[name] for name in ("username", "password", "ssl_ca_certs")] == ["u", "p", "/ca.pem"]


def test_sentinels_may_have_tls_of_their_own() -> None:
    manager = redis.sentinel.Sentinel([("s", 1)], sentinel_kwargs={"ssl": True, "ssl_ca_certs": "/s.pem", "password": "x"})
    address = address_of(manager.master_for("mymaster", db=3, username="u", password="p"))
    assert isinstance(address, SentinelAddress)
    assert (address.kind, address.arguments["db"], address.arguments["username"]) == ("Connection", 3, "u")
    assert address.sentinels[0].kind == "SSLConnection"
    assert [address.sentinels[0].arguments[name] for name in ("ssl_ca_certs", "password")] == ["/s.pem", "x"]
    secured = address_of(manager.master_for("mymaster", ssl=True, ssl_ca_certs="/m.pem"))
    assert (secured.kind, secured.arguments["ssl_ca_certs"]) == ("SSLConnection", "/m.pem")


def test_a_client_of_replicas_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="master_for"):
        address_of(redis.sentinel.Sentinel([("s", 1)]).slave_for("mymaster"))
