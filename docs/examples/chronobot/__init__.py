"""Chronobot: a chat API about dates and times, protected by lockwatch."""

from .app import create_app

__all__ = ["create_app"]
