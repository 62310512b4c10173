"""The outside of a WSGI application: begins a visit, puts quota headers on whatever is answered, and settles when it has ended."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, TypeAlias

from lockwatch.guard import Refused
from lockwatch.limits.plan import EXEMPT, UNMATCHED, make_plan
from lockwatch.visit import CURRENT
from lockwatch_flask.refusal import rendered
from lockwatch_flask.visit import Visit, forwarded
from lockwatch_flask.witness import Witness, noted

if TYPE_CHECKING:
    from lockwatch_flask.guard import Guard

Environ: TypeAlias = dict[str, Any]
Headers: TypeAlias = list[tuple[str, str]]
StartResponse: TypeAlias = Callable[..., Callable[[bytes], object]]
Application: TypeAlias = Callable[[Environ, StartResponse], Iterable[bytes]]


class Entrance:
    """A WSGI application behind a guard."""

    def __init__(self, app: Application, guard: Guard) -> None:
        self.app = app
        self.guard = guard

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Serve one request."""
        guard, banned = self.guard, None
        if not guard.placed:
            guard.place()
        if guard.doorkeeper is not None:
            visit = Visit(guard, environ)
            banned = guard.doorkeeper.turned_away(visit)
        if banned is None and guard.admission.denied.known and (known := self._known(environ)) is not None:
            headers, body = known
            start_response(status_line(429), headers)
            return [body]
        if guard.doorkeeper is None:
            visit = Visit(guard, environ)
        if guard.admission.mode == "off" or banned is not None:
            visit.plan, visit.banned = EXEMPT, banned
        stream = guard.engine.stream
        if stream is None:
            return self._serve(environ, Doorman(visit, environ, start_response, None))
        before = CURRENT.set(visit) if guard.engine.identity is not None else None
        try:
            return self._serve(environ, Doorman(visit, environ, start_response, Witness(stream, visit, environ)))
        finally:
            if before is not None:
                CURRENT.reset(before)

    def _serve(self, environ: Environ, doorman: Doorman) -> Iterable[bytes]:
        try:
            return doorman.body(self.app(environ, doorman.start))
        except BaseException as error:
            doorman.end(error)
            raise

    def _known(self, environ: Environ) -> tuple[Headers, bytes] | None:
        """The refusal of a known offender, where nobody has to add anything to it."""
        guard = self.guard
        entry = entry_of(environ)
        if "HTTP_ORIGIN" in environ or guard.own_answer or not guard.shortcut.leads(entry):
            return None
        client = guard.engine.clients.resolve(environ.get("REMOTE_ADDR") or None, forwarded(environ))
        turned = guard.shortcut.refusal(entry, client.subject)
        if turned is None:
            return None
        if guard.engine.stream is not None:
            guard.engine.stream.post(noted(environ, client, turned, guard))
        return texts(turned.headers), b"" if environ["REQUEST_METHOD"] == "HEAD" else turned.body


class Doorman:
    """The way out of one request: what starts before any plan was decided is charged first, and replaced when refused."""

    __slots__ = ("_environ", "_refusal", "_start", "_visit", "length", "witness")

    def __init__(self, visit: Visit, environ: Environ, start: StartResponse, witness: Witness | None) -> None:
        self._visit = visit
        self.witness: Witness | None = witness
        self._environ = environ
        self._start = start
        self._refusal: bytes | None = None
        self.length: int | None = None
        """How many bytes are sent, where no server is named: Flask's test client neither reads nor closes what nobody asks for."""

    def start(self, status: str, headers: Headers, *exc_info: Any) -> Callable[[bytes], object]:
        """`start_response` for the application."""
        visit = self._visit
        if visit.plan is None and visit.guard.engine.application:
            refused = self._charge()
            if refused is not None:
                code, headers, self._refusal = refused
                status = status_line(code)
        visit.started(int(status[:3]))
        if self.witness is not None:
            self.witness.started(int(status[:3]))
        if "SERVER_SOFTWARE" not in self._environ:
            self.length = _length_in(headers)
        write = self._start(status, visit.announce(headers), *exc_info)
        return write if self._refusal is None else _discard

    def body(self, body: Iterable[bytes]) -> Iterable[bytes]:
        """The body of the response, the request settled when it has ended."""
        files = self._environ.get("wsgi.file_wrapper")
        if isinstance(files, type) and isinstance(body, files) and self._refusal is None:
            if self.witness is not None:
                self.witness.sent, self.witness.complete = None, True
            self.end()  # the server sends the file itself, and tells nobody when it has
            return body
        return Ending(body, self)

    def end(self, error: BaseException | None = None) -> None:
        """The request is over."""
        witness, self.witness = self.witness, None
        if witness is not None:
            witness.error = error or self._visit.error
            witness.tell()
        self._visit.end()

    @property
    def idle(self) -> bool:
        """Whether nothing is left to do until the response is closed: nobody counts its parts, and nothing is open."""
        visit = self._visit
        return self.witness is None and self._refusal is None and visit.status is not None and not visit.receipts

    @property
    def refusal(self) -> bytes | None:
        """What is sent instead of the application's body."""
        return b"" if self._refusal and self._environ["REQUEST_METHOD"] == "HEAD" else self._refusal

    def _charge(self) -> tuple[int, Headers, bytes] | None:
        """Charge the application's limits for an answer that no route gave."""
        visit, guard = self._visit, self._visit.guard
        if is_preflight(self._environ):
            return None
        general = () if guard.is_exempt_path(self._environ.get("PATH_INFO") or "/") else guard.engine.application
        plan = make_plan(general, guard.method_of(self._environ), UNMATCHED, guard.engine.config.on_redis_failure)
        refused: Refused | None = guard.check(visit, plan)
        if refused is None:
            return None
        visit.refusal = refused.code
        return rendered(refused, "off")


class Ending:
    """A response's body that tells when it has ended."""

    def __init__(self, body: Iterable[bytes], doorman: Doorman) -> None:
        self._body = body
        self._doorman = doorman

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._body) if self._doorman.idle else self._parts(self._doorman)

    def close(self) -> None:
        """The response has been sent, or the client has gone."""
        try:
            close = getattr(self._body, "close", None)
            if close is not None:
                close()
        finally:
            self._doorman.end()

    def _parts(self, doorman: Doorman) -> Iterator[bytes]:
        """What is sent. An application may start its response only when its first part is asked for."""
        witness, sent = doorman.witness, 0
        try:
            for part in self._body if doorman.refusal is None else ():
                if doorman.refusal is not None:
                    break
                if witness is not None and witness.sent is not None:
                    witness.sent += len(part)
                sent += len(part)
                if sent == doorman.length:
                    _complete(witness, doorman)
                yield part
        except GeneratorExit:
            raise
        except BaseException as error:
            doorman.end(error)
            raise
        if doorman.refusal is not None:
            if witness is not None and witness.sent is not None:
                witness.sent += len(doorman.refusal)
            if doorman.length is not None:
                _complete(witness, doorman)
            yield doorman.refusal
        _complete(witness, doorman)


def _complete(witness: Witness | None, doorman: Doorman) -> None:
    if witness is not None:
        witness.complete = True
    doorman.end()


def _length_in(headers: Headers) -> int | None:
    """What the header says."""
    found = next((value for name, value in headers if name.lower() == "content-length"), "")
    return int(found) if found.isascii() and found.isdigit() else None


def entry_of(environ: Environ) -> tuple[str, str, str]:
    """Method and path as they came in."""
    return environ["REQUEST_METHOD"], environ.get("SCRIPT_NAME", ""), environ.get("PATH_INFO", "")


def is_preflight(environ: Environ) -> bool:
    """Whether the request is a CORS preflight, which is never limited."""
    return environ["REQUEST_METHOD"] == "OPTIONS" and "HTTP_ORIGIN" in environ and "HTTP_ACCESS_CONTROL_REQUEST_METHOD" in environ


def texts(headers: Iterable[tuple[bytes, bytes]]) -> Headers:
    """Headers as WSGI wants them."""
    return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in headers]


def status_line(status: int) -> str:
    """What WSGI calls a status."""
    return f"{status} {HTTPStatus(status).phrase}"


def _discard(data: bytes) -> None:
    """What the application writes of a response that was replaced."""
