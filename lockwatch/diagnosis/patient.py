"""What is looked at: an application with its settings, and what is around it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from lockwatch.config import LockWatchConfig
from lockwatch.diagnosis.finding import Area

if TYPE_CHECKING:
    from lockwatch.engine import Engine
    from lockwatch.overview import Overview


@dataclass(frozen=True, slots=True)
class Patient:
    """A set-up.

    Attributes:
        name: how the application was named; empty where only the environment is looked at.
        config: its settings.
        environ: the environment it would be started in.
        place: the directory it would be started in.
        application: the object; None where there is none.
        lockwatch: its `LockWatch`; None likewise.
        engine: what protects it.
        overview: its routes.
        problem: why it has none, empty where it has.
    """

    name: str
    config: LockWatchConfig
    environ: Mapping[str, str] = field(repr=False)
    place: Path
    application: Any = None
    lockwatch: Any = None
    engine: Engine | None = None
    overview: Overview | None = None
    problem: str = ""

    @property
    def tokens(self) -> bool:
        """Whether it issues tokens of its own."""
        return self.config.jwt is not None or self.config.jwt_secret is not None

    @property
    def spools(self) -> bool:
        """Whether it has something to keep on disk."""
        config = self.config
        return config.has_audit or self.tokens or bool(config.webhook_urls or config.slack_urls or config.alerts)


Look: TypeAlias = Callable[[Patient], Area]
"""A look at one area."""
