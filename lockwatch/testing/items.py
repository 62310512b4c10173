"""One test of pytest for each protected route of an application."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lockwatch.commands.application import application_at
from lockwatch.commands.trouble import Unusable
from lockwatch.testing.firing import assert_withstands, protected


def items_of(session: pytest.Session, place: str) -> Iterator[pytest.Item]:
    """The tests of the application at ``module:attribute``. Raises: UsageError."""
    try:
        app = application_at(place)
        routes = protected(app)
    except (Unusable, TypeError) as error:
        raise pytest.UsageError(f"--lockwatch-app: {error}") from None
    if not routes:
        raise pytest.UsageError(f"--lockwatch-app: no route of {place} requires a token; protect one, or leave the option away")
    for route in routes:
        yield HostileRoute.from_parent(session, name=f"{place} {route.name} refuses hostile tokens", app=app, route=route.name)


class HostileRoute(pytest.Item):
    """Fires every hostile token at one route."""

    def __init__(self, *, app: Any, route: str, **given: Any) -> None:
        super().__init__(**given)
        self._app, self._route = app, route

    def runtest(self) -> None:
        """Raises: AssertionError."""
        assert_withstands(self._app, [self._route])

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """What got through, without the frames of whoever found it."""
        return str(excinfo.value) if isinstance(excinfo.value, AssertionError) else super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, None, str]:
        """Where it stands: nowhere, it was generated."""
        return self.session.path, None, self.name
