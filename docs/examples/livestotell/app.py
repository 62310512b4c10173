"""The application: blueprints behind one LockWatch."""

import json
from pathlib import Path

from flask import Flask
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import HTTPException

from .accounts import Accounts
from .admin import admin
from .library import Library
from .protection import lockwatch, refresh_cookie
from .sessions import sessions
from .settings import data_directory, kept_secret, settings
from .stories import stories


def create_app() -> Flask:
    """An application, configured by the environment."""
    place = data_directory()
    accounts = Accounts(place / "accounts.db")
    app = Flask(__name__)
    app.extensions.update(accounts=accounts, library=Library(place / "library.db"))
    app.config.update(settings(place), LOCKWATCH_LOAD_CLAIMS=accounts.claims, MAX_CONTENT_LENGTH=100_000)
    lockwatch.init_app(app)
    sign_outs = lockwatch.auth_blueprint(cookie=refresh_cookie, access_cookies=True)
    for blueprint in (sessions, sign_outs, stories, admin):
        app.register_blueprint(blueprint)
    app.register_error_handler(HTTPException, as_json)

    @app.get("/health")
    @lockwatch.exempt
    def health() -> ResponseReturnValue:
        """For probes: whether protection is whole."""
        return {"status": lockwatch.health().status}

    _first_administrator(accounts, place)
    return app


def as_json(error: HTTPException) -> ResponseReturnValue:
    """Errors as JSON. What lockwatch refuses has a response, which is JSON already."""
    response = error.get_response()
    if error.response is None:
        response.set_data(json.dumps({"error": error.name, "detail": error.description}))
        response.content_type = "application/json"
    return response


def _first_administrator(accounts: Accounts, place: Path) -> None:
    if accounts.claims("admin") is None:
        accounts.add("admin", kept_secret(place / "admin-password"), role="admin")
