"""An engine's link to its store: opens it late, names what is kept in it, notes how it does."""

from __future__ import annotations

import logging
import secrets
import threading
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeVar

from lockwatch.config import LockWatchConfig
from lockwatch.errors import ConfigurationError, StoreError
from lockwatch.flow import AsyncStore, Call, Flow, Store, run_async
from lockwatch.limits.buckets import SCHEMA, Buckets
from lockwatch.stores.memory import MemoryStore

if TYPE_CHECKING:
    from lockwatch.stores.connect import Address

T = TypeVar("T")
logger = logging.getLogger("lockwatch")
_SECRET_LIFETIME_MS: Final = 400 * 86_400_000


class Link:
    """The stores of one engine: the one its buckets live in, in either colour, and this process's memory.

    Args:
        config: validated settings.
        warn: told of set-up problems.

    Attributes:
        memory: buckets of this process, for local decisions or for all of them.
        at_hand: the same memory for event loops; `store` is this very object when buckets live nowhere else.
        store: the store for event loops, None until it was opened.
        named: names of store keys, None until the namespace's secret is known.
        error: what the last failure of the store was, empty when there is none.
    """

    def __init__(self, config: LockWatchConfig, warn: Callable[[str], None]) -> None:
        self.memory = MemoryStore(config.max_buckets)
        self.at_hand = Immediate(self.memory)
        self.store: AsyncStore | None = None
        self.named = _buckets(config)
        self.error = ""
        self._config = config
        self._warn = warn
        self._address = None if config.in_memory else _address(config)
        self._blocking: Store | None = None
        # Names for this process only, while the shared secret is out of reach.
        self._stray = Buckets(config.namespace, secrets.token_bytes(32))
        self._lock = threading.Lock()

    @property
    def workers(self) -> int:
        """How many processes share a quota while the store is down."""
        return self._config.processes

    def every(self, seconds: float, job: Callable[[], Awaitable[None]]) -> None:
        """Run `job` now and then."""

    @property
    def name(self) -> str:
        """Where buckets live, without credentials."""
        return "memory" if self._address is None else str(self._address)

    @property
    def split(self) -> bool:
        """Whether the buckets of one call may live on several servers, which no script can charge together."""
        return bool(getattr(self.store, "split", False))

    async def ready(self) -> tuple[Buckets, AsyncStore]:
        """Names and a store to go on with, whatever happens: a store that fails, when even the secret cannot be had."""
        store = self.async_store()
        try:
            return await self.buckets(), store
        except StoreError as error:
            return self._stray, Failing(error)

    async def buckets(self) -> Buckets:
        """Names store keys. Raises: StoreError, when the namespace's secret has to be fetched and cannot be."""
        return self.named or self._keep_secret(await self.drive(_shared_secret(self._config.namespace)))

    async def drive(self, flow: Flow[T]) -> T:
        """Run a flow on this link."""
        return await run_async(flow, self.async_store(), self.memory)

    def async_store(self) -> AsyncStore:
        """The store for event loops, opened when it is needed first."""
        if self.store is None:
            with self._lock:
                self.store = self.store or (self.at_hand if self._address is None else self._open_async(self._address))
        return self.store

    def sync_store(self) -> Store:
        """The store for blocking code, opened when it is needed first."""
        if self._blocking is None:
            with self._lock:
                self._blocking = self._blocking or (self.memory if self._address is None else self._open_sync(self._address))
        return self._blocking

    async def aclose(self) -> None:
        """Close the connections of the running event loop, and those of blocking code that are idle."""
        if isinstance(self._blocking, Noted):
            self._blocking.close()
        close = getattr(self.store, "aclose", None)
        if close is not None:
            await close()

    def note(self, failure: StoreError | None) -> None:
        """Note how the store does: one log line per transition."""
        if failure is None and not self.error:
            return
        with self._lock:
            before, self.error = self.error, "" if failure is None else str(failure)
        if failure is None and before:
            logger.warning("lockwatch: the store at %s answers again", self.name)
        elif failure is not None and not before:
            logger.error("lockwatch: the store at %s fails: %s", self.name, failure)

    def _open_async(self, address: Address) -> AsyncStore:
        from lockwatch.stores.redis_async import AsyncRedisStore

        config = self._config
        return AsyncRedisStore(address, config.store_timeout, lanes=min(4, config.store_connections), report=self.note)

    def _open_sync(self, address: Address) -> Store:
        from lockwatch.stores.redis_sync import RedisStore

        return Noted(RedisStore(address, self._config.store_timeout, self._config.store_connections), self.note)

    def _keep_secret(self, numbers: Sequence[int]) -> Buckets:
        self.named = Buckets(self._config.namespace, b"".join(n.to_bytes(4, "big") for n in numbers))
        self._warn(
            "no secret_key is set: subjects in the store are hashed with a key kept in the same store, "
            "which hides them from nobody who reads it"
        )
        return self.named


class Immediate:
    """A blocking store that does not block, on an event loop."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def call(self, call: Call) -> Sequence[int]:
        """Run one script at once."""
        return self._store.call(call)


class Failing:
    """A store that fails as the real one just did."""

    def __init__(self, error: StoreError) -> None:
        self._error = error

    async def call(self, call: Call) -> Sequence[int]:
        """Raises: StoreError, always."""
        raise self._error


class Noted:
    """A blocking store whose successes and failures are noted."""

    def __init__(self, store: Any, note: Callable[[StoreError | None], None]) -> None:
        self._store = store
        self._note = note

    def call(self, call: Call) -> Sequence[int]:
        """Run one script. Raises: StoreError."""
        try:
            reply: Sequence[int] = self._store.call(call)
        except StoreError as failure:
            self._note(failure)
            raise
        self._note(None)
        return reply

    def close(self) -> None:
        """Close the idle connections."""
        self._store.close()


def _shared_secret(namespace: str) -> Flow[Sequence[int]]:
    offered = tuple([secrets.randbits(32) for _ in range(8)])
    return (yield Call("secret", (f"{namespace}:{SCHEMA}:secret",), (_SECRET_LIFETIME_MS, *offered)))


def _buckets(config: LockWatchConfig) -> Buckets | None:
    if config.secrets:
        return Buckets(config.namespace, config.secrets[0].encode())
    return Buckets(config.namespace, secrets.token_bytes(32)) if config.in_memory else None


def _address(config: LockWatchConfig) -> Address:
    from lockwatch.stores.connect import address_of

    if config.redis is not None and config.redis_url:
        raise ConfigurationError("both redis and redis_url are set; keep one")
    return address_of(config.redis or config.redis_url)
