"""`lockwatch demo`: a real server, real requests, and claims that are checked, not stated.

    demo.py     the application: what a newcomer would write
    server.py   runs it under uvicorn, and notes how much of each body it read
    traffic.py  sends requests and keeps what was answered
    claims.py   decides what answers prove; pure
    story.py    a story is a list of steps; tells it
    limits.py   the steps about rate limits
    sessions.py the step about a stolen token
    summary.py  the last step: everything that was sent
    screen.py   prints
    command.py  all of it in order

Needs the extra ``lockwatch[demo]``.
"""
