"""FastAPI with a dependency that does nothing: what any dependency costs."""

from fastapi import Depends, FastAPI

app = FastAPI()


async def nothing() -> None:
    """Do nothing."""


@app.get("/ping", dependencies=[Depends(nothing)])
async def ping() -> dict[str, bool]:
    """The smallest answer."""
    return {"pong": True}
