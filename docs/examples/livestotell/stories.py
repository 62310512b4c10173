"""Stories: everybody reads, who is signed in writes, authors and administrators remove."""

from uuid import UUID

from flask import Blueprint, abort, current_app
from flask.typing import ResponseReturnValue

from lockwatch_flask import current_claims

from .body import text
from .comments import comments
from .library import Library
from .protection import lockwatch, signed_in, writing

stories = Blueprint("stories", __name__, url_prefix="/stories")
stories.register_blueprint(comments, url_prefix="/<uuid:story>/comments")


@stories.get("")
def newest() -> ResponseReturnValue:
    """The newest stories."""
    return _library().stories()


@stories.post("")
@signed_in
@writing
def write() -> ResponseReturnValue:
    """Tell a story."""
    return _library().add_story(current_claims.subject, text("title", 200), text("text", 20_000)), 201


@stories.get("/<uuid:story>")
def read(story: UUID) -> ResponseReturnValue:
    """A story."""
    return _library().story(story) or abort(404, "no such story")


@stories.delete("/<uuid:story>")
@signed_in
def remove(story: UUID) -> ResponseReturnValue:
    """Remove a story."""
    found = _library().story(story) or abort(404, "no such story")
    if found["author"] != current_claims.subject and "admin" not in current_claims.roles:
        abort(403, "this is the story of somebody else")
    _library().remove(story)
    lockwatch.audit.record_sync(action="story.removed", actor=current_claims.subject, target=f"story:{story}")
    return "", 204


def _library() -> Library:
    library: Library = current_app.extensions["library"]
    return library
