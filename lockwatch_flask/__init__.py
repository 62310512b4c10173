"""Flask-LockWatch: the door to lockwatch for Flask applications. Its extension arrives in a later release."""

from lockwatch import __version__

__all__ = ["__version__"]
