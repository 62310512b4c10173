"""Flask alone: what everything else is compared with."""

from flask import Flask

app = Flask(__name__)


@app.get("/ping")
def ping() -> dict[str, bool]:
    """The smallest answer."""
    return {"pong": True}
