"""What a request says in its JSON body."""

from flask import abort, request


def text(name: str, most: int) -> str:
    """A text in the body, of 1 to `most` characters; 422 without it."""
    body = request.get_json(silent=True)
    value = body.get(name) if isinstance(body, dict) else None
    if not isinstance(value, str) or not 0 < len(value) <= most or not _is_unicode(value):
        abort(422, f"send a JSON object in which {name!r} is a text of 1 to {most} characters")
    return value


def _is_unicode(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:  # JSON can spell half a surrogate pair
        return False
    return True
