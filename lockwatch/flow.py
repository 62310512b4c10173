"""Flows: decisions written once, run in either colour. Standard library only.

A *flow* is a generator that yields `Call`s to the store and returns its result. It may decide, it may not wait: no await, no
clock, no randomness here or in any flow. A driver sends each reply back in, or throws the `StoreError` the store raised, so
that the flow itself says what an outage means. This is the only module that knows that there are two colours.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Generator, Iterable, Sequence
from typing import Any, NamedTuple, Protocol, TypeAlias, TypeVar

from lockwatch.errors import StoreError

T = TypeVar("T")

Reply: TypeAlias = Sequence[int]
"""What a script answers: whole numbers; their meaning is documented at the top of the script."""


class Call(NamedTuple):
    """One script call: its name, the keys it may touch, its whole-number arguments, its words.

    A word is text of the base64url alphabet, `-` for none. `local` sends the call to this process's own memory instead of the
    store (failure policy `local`). `wait` is for how many milliseconds, less than a store's deadline, a replica may confirm
    that it has the write too; the numbers of the reply then end with how many did.
    """

    script: str
    keys: tuple[str, ...]
    args: tuple[int, ...]
    local: bool = False
    words: tuple[str, ...] = ()
    wait: int = 0


class Worded(list[int]):
    """A reply that has words beside its numbers."""

    __slots__ = ("words",)

    def __init__(self, numbers: Iterable[int], words: Sequence[str] = ()) -> None:
        super().__init__(numbers)
        self.words = tuple(words)


def words_of(reply: Reply) -> tuple[str, ...]:
    """The words of a reply, in order."""
    return reply.words if isinstance(reply, Worded) else ()


class Place(Protocol):
    """A store in either colour."""

    def waiting(self) -> AsyncStore:
        """For event loops."""

    def blocking(self) -> Store:
        """For blocking code."""


class Elsewhere(Call):
    """A call for another store than the others of its flow."""

    place: Place

    @classmethod
    def at(cls, place: Place, call: Call) -> Elsewhere:
        """`call`, for the store at `place`."""
        made = cls(*call)
        made.place = place
        return made


Flow: TypeAlias = Generator[Call, Reply, T]
Steps: TypeAlias = "Generator[Call | Awaitable[Any], Any, T]"
"""A flow that also yields what functions of the application return, where that has to be awaited."""


class Store(Protocol):
    """A store for blocking code."""

    def call(self, call: Call) -> Reply:
        """Run one script atomically. Raises: StoreError."""


class AsyncStore(Protocol):
    """A store for an event loop."""

    def call(self, call: Call) -> Awaitable[Reply]:
        """Run one script atomically. The awaitable raises: StoreError."""


class Following(Call):
    """A call with others that go ahead of it, in order; what they answer is of no interest."""

    ahead: tuple[Call, ...] = ()

    @classmethod
    def of(cls, ahead: Iterable[Call], call: Call) -> Following:
        """`call` behind others."""
        following = cls(*call)
        following.ahead = tuple(ahead)
        return following


def refuse(awaitable: Awaitable[Any]) -> Any:
    """What blocking code does with what has to be awaited. Raises: TypeError."""
    if isinstance(awaitable, Coroutine):
        awaitable.close()
    raise TypeError("a function is async, and blocking code cannot wait for it; give a plain one")


def run(flow: Generator[Any, Any, T], store: Store, local: Store, wait: Callable[[Awaitable[Any]], Any] = refuse) -> T:
    """Drive `flow` with blocking stores and return its result. `wait` waits for what is awaitable."""
    try:
        call = next(flow)
        while True:
            if not isinstance(call, Call):
                call = flow.send(wait(call))
                continue
            try:
                chosen = call.place.blocking() if type(call) is Elsewhere else local if call.local else store
                reply = chosen.call(call)
            except StoreError as error:
                call = flow.throw(error)
            else:
                call = flow.send(reply)
    except StopIteration as stop:
        result: T = stop.value
        return result


async def run_async(flow: Generator[Any, Any, T], store: AsyncStore, local: Store) -> T:
    """Drive `flow` on an event loop and return its result."""
    try:
        call = next(flow)
        while True:
            if not isinstance(call, Call):
                call = flow.send(await call)
                continue
            try:
                if type(call) is Elsewhere:
                    reply = await call.place.waiting().call(call)
                else:
                    reply = local.call(call) if call.local else await store.call(call)
            except StoreError as error:
                call = flow.throw(error)
            else:
                call = flow.send(reply)
    except StopIteration as stop:
        result: T = stop.value
        return result
