"""One command and the text that answers it, on the socket of a connection of redis-py.

Its parser is made for every answer there is; for the one that we get it costs more than all else between a request and its socket.
"""

from __future__ import annotations

from socket import MSG_PEEK
from typing import Any, Final

from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    ConnectionError,  # noqa: A004  # theirs, as their connections raise it
    InvalidResponse,
    NoScriptError,
    OutOfMemoryError,
    RedisError,
    ResponseError,
)

_CODES: Final[dict[str, type[RedisError]]] = {
    "NOSCRIPT": NoScriptError,
    "OOM": OutOfMemoryError,
    "LOADING": BusyLoadingError,
    "NOAUTH": AuthenticationError,
    "WRONGPASS": AuthenticationError,
}
_FULL: Final = "ERR max number of clients reached"
_PART: Final = 65_536
_MOST: Final = 64 * 2**20


def ask(connection: Any, command: bytes) -> bytes:
    """Send a packed command and read the text it is answered with.

    Raises: RedisError, what the server says in its place; OSError; TimeoutError.
    """
    if connection._sock is None:
        connection.connect()
    sock = connection._sock
    sock.sendall(command)
    answer: bytes = sock.recv(_PART)
    if answer[:1] == b"$" and answer[-2:] == b"\r\n":  # hardly ever in more than one part
        head, _, text = answer.partition(b"\r\n")
        if head[1:].isdigit() and len(text) == int(head[1:]) + 2:
            return text[:-2]
    return _rest(sock, answer)


def hung_up(connection: Any) -> bool:
    """Whether the server closed a connection while nobody used it: there is something to read, and nothing was asked."""
    sock = connection._sock
    if sock is None:
        return False
    within = sock.gettimeout()
    try:
        sock.settimeout(0)
        sock.recv(1, MSG_PEEK)
    except BlockingIOError:
        sock.settimeout(within)
        return False
    except OSError:
        return True
    return True


def _rest(sock: Any, answer: bytes) -> bytes:
    """The text of an answer whose beginning was read. Raises: RedisError, OSError."""
    while b"\r\n" not in answer:
        answer = _more(sock, answer)
    head, _, text = answer.partition(b"\r\n")
    if head[:1] == b"-":
        raise _error(head[1:].decode("utf-8", "replace"))
    if head[:1] != b"$" or not head[1:].isdigit() or int(head[1:]) > _MOST:
        raise InvalidResponse(f"an answer that begins with {head[:20]!r} is no text")
    parts, missing = [text], int(head[1:]) + 2 - len(text)
    while missing > 0:
        parts.append(_more(sock, b""))
        missing -= len(parts[-1])
    return b"".join(parts)[:-2]


def _more(sock: Any, before: bytes) -> bytes:
    part = sock.recv(_PART)
    if not part:
        raise ConnectionError("Connection closed by server.")
    return before + bytes(part)


def _error(message: str) -> RedisError:
    code, _, text = message.partition(" ")
    if message == _FULL:
        return ConnectionError(text)
    kind = _CODES.get(code)
    return ResponseError(message) if kind is None else kind(text)
