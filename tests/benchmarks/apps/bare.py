"""FastAPI alone: what everything else is compared with."""

from fastapi import FastAPI

app = FastAPI()


@app.get("/ping")
async def ping() -> dict[str, bool]:
    """The smallest answer."""
    return {"pong": True}


@app.get("/items/{number}")
async def item(number: int) -> dict[str, int]:
    """A parameter to convert."""
    return {"item": number}
