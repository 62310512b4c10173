"""Comments on a story. They spend what stories spend, see `protection.writing`."""

from uuid import UUID

from flask import Blueprint, abort, current_app
from flask.typing import ResponseReturnValue

from lockwatch_flask import current_claims

from .body import text
from .library import Library
from .protection import signed_in, writing

comments = Blueprint("comments", __name__)


@comments.get("")
def newest(story: UUID) -> ResponseReturnValue:
    """The newest comments."""
    return _library_with(story).comments(story)


@comments.post("")
@signed_in
@writing
def write(story: UUID) -> ResponseReturnValue:
    """Comment on a story."""
    return _library_with(story).add_comment(story, current_claims.subject, text("text", 2000)), 201


def _library_with(story: UUID) -> Library:
    library: Library = current_app.extensions["library"]
    return library if library.story(story) else abort(404, "no such story")
