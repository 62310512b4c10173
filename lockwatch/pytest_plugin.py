"""The pytest plugin: fixtures for the tests of an application, and ``--lockwatch-app`` to fire hostile tokens at its routes.

It is loaded in every project of an environment in which lockwatch is installed, so it loads nothing until it is used.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from lockwatch.testing import Attack, Captured, VirtualClock

_EXAMPLE = "shop.main:app"


def pytest_addoption(parser: pytest.Parser) -> None:
    """The option, and the setting for the fixtures."""
    group = parser.getgroup("lockwatch")
    group.addoption(
        "--lockwatch-app",
        metavar="MODULE:ATTRIBUTE",
        help=f"Fire hostile tokens at every route of this application that requires a token, one test per route, like {_EXAMPLE}.",
    )
    parser.addini("lockwatch_app", f"The application of the lockwatch_* fixtures, like {_EXAMPLE}.")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(session: pytest.Session, config: pytest.Config, items: list[pytest.Item]) -> None:
    """Add a test for each protected route, where that was asked for."""
    place = config.getoption("--lockwatch-app")
    if place is not None:
        from lockwatch.testing.items import items_of

        items += items_of(session, place)


@pytest.fixture
def lockwatch_app(request: pytest.FixtureRequest) -> Any:
    """The application under test. Override it in your ``conftest.py``, or name it: ``lockwatch_app = "shop.main:app"``."""
    place = request.config.getoption("--lockwatch-app") or request.config.getini("lockwatch_app")
    if not place:
        raise pytest.UsageError(
            "no application is named; write a fixture lockwatch_app that returns yours, or set it in the configuration of pytest, "
            f'like lockwatch_app = "{_EXAMPLE}"'
        )
    from lockwatch.commands.application import application_at

    return application_at(place)


@pytest.fixture
def lockwatch_clock(lockwatch_app: Any) -> Iterator[VirtualClock]:
    """The time of the application, which stands still until ``lockwatch_clock.advance(60)``. Nothing is counted before the test."""
    from lockwatch.testing import clock, reset

    reset(lockwatch_app)
    with clock(lockwatch_app) as held:
        yield held


@pytest.fixture
def lockwatch_events(lockwatch_app: Any) -> Iterator[Captured]:
    """What the application reports during the test."""
    from lockwatch.testing import captured_events

    with captured_events(lockwatch_app) as captured:
        yield captured


@pytest.fixture
def hostile_tokens(lockwatch_app: Any) -> list[Attack]:
    """Tokens that no route may believe, made with the application's own keys."""
    from lockwatch.testing import hostile_tokens as tokens_of

    return tokens_of(lockwatch_app)
