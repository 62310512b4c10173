"""``python -m docs.examples.chronobot``: serve it on this machine."""

import os

import uvicorn

from .app import create_app

uvicorn.run(create_app(), host="127.0.0.1", port=int(os.environ.get("PORT", "8000")))
