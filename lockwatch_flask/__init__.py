"""Flask-LockWatch: the door to lockwatch for Flask applications. Nothing here decides.

Names are resolved when they are first used, so that this can be imported without Flask.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from lockwatch import __version__

if TYPE_CHECKING:
    from lockwatch_flask.current import current_claims
    from lockwatch_flask.extension import LockWatch

__all__ = ["LockWatch", "__version__", "current_claims"]

_HOMES = {"LockWatch": "lockwatch_flask.extension", "current_claims": "lockwatch_flask.current"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'lockwatch_flask' has no attribute {name!r}")
    try:
        value = getattr(import_module(_HOMES[name]), name)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("flask", "werkzeug"):
            raise
        raise ImportError(f"lockwatch_flask.{name} needs Flask: install 'lockwatch[flask]'") from error
    globals()[name] = value
    return value
