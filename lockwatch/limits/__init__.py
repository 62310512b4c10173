"""Rate limiting, the pure half: text to limits, limits to policies, flows from charges to decisions.

Nothing here may import asyncio, threading, a driver or a framework, or read a clock.
"""

from lockwatch.limits.decision import Decision
from lockwatch.limits.grammar import Limit, parse
from lockwatch.limits.policy import Policy

__all__ = ["Decision", "Limit", "Policy", "parse"]
