"""Flask-Limiter with its defaults: a fixed window, one limit on the route."""

from flask import Flask
from flask_limiter import Limiter
from flask_limiter.util import get_remote_address
from settings import LIMIT, REDIS

app = Flask(__name__)
limiter = Limiter(get_remote_address, app=app, storage_uri=REDIS or "memory://")


@app.get("/ping")
@limiter.limit(LIMIT)
def ping() -> dict[str, bool]:
    """The smallest answer."""
    return {"pong": True}
