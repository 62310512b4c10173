"""Livestotell: a platform for stories, protected by lockwatch."""

from .app import create_app

__all__ = ["create_app"]
