"""`lockwatch demo`: a real server, real requests, and claims that are checked, not stated.

    demo.py     the application: what a newcomer would write
    server.py   runs it under uvicorn, and notes how much of each body it read
    traffic.py  sends requests and keeps what was answered
    claims.py   decides what the answers prove; pure
    story.py    the steps, each a title and a function of the context
    steps.py    those functions
    screen.py   prints them

Needs the extra ``lockwatch[demo]``.
"""

from lockwatch.demo.story import Options, run

__all__ = ["Options", "run"]
