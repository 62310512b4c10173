"""The store: whether it answers, keeps what it is given, and keeps time."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from lockwatch.config import LockWatchConfig
from lockwatch.diagnosis.finding import Area, Finding
from lockwatch.diagnosis.patient import Patient
from lockwatch.errors import ConfigurationError, StoreError
from lockwatch.limits.buckets import Buckets
from lockwatch.limits.flows import PLAIN, peek
from lockwatch.limits.grammar import Limit
from lockwatch.limits.policy import Charge, Policy
from lockwatch.link import Link

if TYPE_CHECKING:
    from lockwatch.stores.address import Address
    from lockwatch.stores.probe import Probe

PATIENCE: Final = 5.0
"""Seconds that are waited for a server."""
_OLDEST: Final = (6, 2)
_SKEW: Final = 1.0
"""Seconds that clocks may be apart."""
_NEARLY: Final = 0.9
_URL: Final = "LOCKWATCH_REDIS_URL=redis://localhost:6379/0"
_RIGHTS: Final = "ACL SETUSER lockwatch ~{}:* +evalsha +eval, and what else docs/topologies.md lists"
_KEEPS: Final = frozenset({"noeviction", "volatile-lru", "volatile-lfu", "volatile-ttl", "volatile-random"})


def store(patient: Patient) -> Area:
    """Where buckets live."""
    config = patient.config
    return _looked("store", config, sessions=patient.tokens and config.token_redis_url is None)


def sessions(patient: Patient) -> Area:
    """Where sessions live, where they have a store of their own."""
    config = patient.config
    return _looked("sessions", replace(config, redis=None, redis_url=config.token_redis_url), sessions=True)


def _looked(name: str, config: LockWatchConfig, sessions: bool) -> Area:
    from lockwatch.stores.connect import address_of
    from lockwatch.stores.probe import probe

    if config.in_memory:
        return Area(name, "in the memory of each process", tuple(_in_memory(sessions)))
    try:
        address = address_of(config.redis or config.redis_url)
    except ConfigurationError as error:
        return Area(name, "no URL", (Finding("configuration.invalid", str(error), "redis_url", _URL),))
    if address.kind == "fake":
        return Area(name, "fakeredis, for tests", tuple(_in_memory(sessions)))
    try:
        probes = probe(address, PATIENCE)
    except StoreError as error:
        return Area(name, f"{address} does not answer", (Finding("store.down", str(error), str(address), _URL),))
    found = [finding for one in probes for finding in findings(one, config, sessions, address.split)]
    return Area(name, "; ".join(map(summary, probes)), (*found, *_refusals(config, address)))


def summary(probe: Probe) -> str:
    """A server in one line."""
    policy = probe.policy or "eviction policy unknown"
    return (
        f"{probe.product} {probe.version} at {probe.where}, {policy}, PING p50 {probe.ping(0.5) * 1000:.2f} ms "
        f"p99 {probe.ping(0.99) * 1000:.2f} ms, clock {probe.skew * 1000:+.0f} ms"
    )


def findings(probe: Probe, config: LockWatchConfig, sessions: bool, split: bool) -> Iterator[Finding]:
    """What is wrong with a server. Pure.

    Args:
        sessions: sessions live there, not only counts.
        split: the URL is that of a cluster.
    """
    yield from _identity(probe, split)
    yield from _memory(probe, sessions)
    yield from _durability(probe, sessions)
    yield from _time(probe, config.store_timeout)


def _identity(probe: Probe, split: bool) -> Iterator[Finding]:
    numbers = tuple(map(int, re.findall(r"\d+", probe.version)[:2]))
    if numbers and numbers < _OLDEST and probe.product == "Redis":
        what = f"Redis {probe.version} is older than 6.2"
        yield Finding("store.version", what, probe.where, "install Redis 6.2 or newer, or Valkey")
    if probe.clustered and not split:
        what = "the server is a node of a cluster, and the URL names a single server: keys of other nodes are refused"
        yield Finding("store.cluster", what, probe.where, f"LOCKWATCH_REDIS_URL=redis+cluster://{probe.where}")
    elif probe.clustered and probe.cluster not in ("ok", "?"):
        what = f"cluster_state is {probe.cluster}: some slots have no node"
        yield Finding("store.cluster-down", what, probe.where, "redis-cli --cluster fix " + probe.where)
    if probe.role == "slave" and not probe.clustered:
        what = "the server is a replica, which may not be written to"
        yield Finding("store.replica", what, probe.where, "LOCKWATCH_REDIS_URL=redis+sentinel://sentinel1:26379/mymaster/0")


def _memory(probe: Probe, sessions: bool) -> Iterator[Finding]:
    change = "CONFIG SET maxmemory-policy noeviction, and the same in its file"
    if probe.policy is not None and sessions and probe.policy != "noeviction":
        what = f"maxmemory-policy is {probe.policy}: when memory is full, sessions and revocations are forgotten"
        yield Finding("sessions.eviction", what, probe.where, change)
    elif probe.policy is not None and probe.policy not in _KEEPS:
        what = f"maxmemory-policy is {probe.policy}: when memory is full, any key may go, and its quota is free again"
        yield Finding("store.eviction", what, probe.where, change)
    if probe.maxmemory and probe.used > _NEARLY * probe.maxmemory:
        what = f"{probe.used * 100 // probe.maxmemory} % of maxmemory is used"
        yield Finding("store.full", what, probe.where, f"CONFIG SET maxmemory {probe.maxmemory * 2}")


def _durability(probe: Probe, sessions: bool) -> Iterator[Finding]:
    if not probe.snapshots:
        what = "the last snapshot failed: by default the server refuses to write from then on"
        yield Finding("store.snapshot", what, probe.where, "free its disk, then BGSAVE")
    if sessions and not probe.appends:
        kept = "nothing is kept on disk" if probe.saves == "" else "only snapshots are kept"
        what = f"{kept}: after a restart, sessions are gone and revoked tokens are believed until they expire"
        yield Finding("sessions.persistence", what, probe.where, "CONFIG SET appendonly yes, and the same in its file")


def _time(probe: Probe, timeout: float) -> Iterator[Finding]:
    slow = probe.ping(0.99)
    if slow > timeout / 2:
        what = f"1 of 100 PINGs needs {slow * 1000:.1f} ms or more, and store_timeout is {timeout * 1000:g} ms"
        yield Finding("store.slow", what, probe.where, f"store_timeout={min(10.0, max(0.05, round(slow * 4, 2)))}")
    if abs(probe.skew) > _SKEW:
        what = f"its clock is {abs(probe.skew):.1f} s {'ahead of' if probe.skew > 0 else 'behind'} the one here"
        yield Finding("store.clock", what, probe.where, "timedatectl set-ntp true, on both")


def _in_memory(sessions: bool) -> Iterator[Finding]:
    if sessions:
        what = "sessions and revocations are in the memory of the process: a restart logs everybody out"
        yield Finding("sessions.memory", what, "redis_url", _URL)


def _refusals(config: LockWatchConfig, address: Address) -> Iterator[Finding]:
    """Whether the server does what a limit asks for: a look at a bucket that nobody fills."""
    link = Link(config.replaced({"store_timeout": PATIENCE}), lambda _: None, works=False)
    policy = Policy(Limit(1, 1), "doctor", "doctor")
    bucket = Buckets(config.namespace, b"doctor").key(policy, "custom:doctor")
    try:
        link.drive_sync(peek([Charge(policy, bucket, 0)], PLAIN))
    except StoreError as error:
        what = f"it refuses the script that limits are decided by: {error}"
        yield Finding("store.refuses", what, str(address), _RIGHTS.format(config.namespace))
    finally:
        link.close()
