"""One command and the text that answers it, on the socket of a connection of redis-py.

Its parser is made for every answer there is; for the one that we get it costs more than all else between a request and its socket.
"""

from __future__ import annotations

import _socket
import sys
from socket import MSG_PEEK
from struct import pack
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
_CAPABLE: Final = sys.platform == "linux" and sys.maxsize > 2**32
"""Whether the timeouts of the system are two long numbers."""
_LOOK: Final = MSG_PEEK | getattr(_socket, "MSG_DONTWAIT", 0)


def ask(connection: Any, command: bytes) -> bytes:
    """Send a packed command and read the text it is answered with.

    Raises: RedisError, what the server says in its place; OSError; TimeoutError.
    """
    sock = connection._sock
    if sock is None:
        connection.connect()
        sock = connection._sock
    if sock.gettimeout() is not None:
        _leave_waiting_to_the_system(sock)
    try:
        sock.sendall(command)
        answer: bytes = sock.recv(_PART)
        head, _, text = answer.partition(b"\r\n")
        if head == b"$%d" % (len(text) - 2):  # hardly ever in more than one part
            return text[:-2]
        return _rest(sock, answer)
    except BlockingIOError as error:
        raise TimeoutError("the system has waited long enough") from error


def _leave_waiting_to_the_system(sock: Any) -> None:
    """Have the system end what takes longer than the timeout of a socket.

    Python asks the system twice for each step of a socket that has a timeout, whether it is ready and then for the step itself,
    and hands the interpreter to another thread both times.
    """
    if _CAPABLE and isinstance(sock, _socket.socket):  # gevent and eventlet put something else in its place
        seconds = sock.gettimeout() or 0.0
        patience = pack("ll", int(seconds), max(1, int(seconds % 1 * 1_000_000)))
        sock.setsockopt(_socket.SOL_SOCKET, _socket.SO_RCVTIMEO, patience)
        sock.setsockopt(_socket.SOL_SOCKET, _socket.SO_SNDTIMEO, patience)
        sock.settimeout(None)


def within(connection: Any, seconds: float | None) -> None:
    """Leave a connection to redis-py, which knows timeouts of Python alone."""
    if connection._sock is not None:
        connection._sock.settimeout(seconds)


def hung_up(connection: Any) -> bool:
    """Whether the server closed a connection while nobody used it: there is something to read, and nothing was asked."""
    sock = connection._sock
    if sock is None:
        return False
    timeout = sock.gettimeout()
    try:
        if timeout is None:
            sock.recv(1, _LOOK)
        else:
            sock.settimeout(0)
            sock.recv(1, MSG_PEEK)
    except BlockingIOError:
        if timeout is not None:
            sock.settimeout(timeout)
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
