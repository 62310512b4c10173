"""From the template of a route to paths that may lead to it."""

from __future__ import annotations

import re
from collections.abc import Iterator

_STARLETTE = re.compile(r"\{(?P<name>\w+)(?::\w+)?\}")
_WERKZEUG = re.compile(r"<(?:(?P<kind>\w+)(?:\((?P<args>[^)]*)\))?:)?(?P<name>\w+)>")
_CHOICE = re.compile(r"""['"]?([^'",\s=]+)['"]?\s*(?:,|$)""")
_SAMPLES = ("1", "00000000-0000-4000-8000-000000000000", "a", "1.5", "2024-02-29")


def concrete(template: str) -> Iterator[str]:
    """Paths of a template, one for each kind of value that its parameters may want."""
    template = template[template.find("/") :] if "/" in template else "/"
    for sample in _SAMPLES:
        path = _WERKZEUG.sub(lambda found, s=sample: _value(found, s), _STARLETTE.sub(sample, template))  # type: ignore[misc]
        yield path
        if path == template:
            return


def _value(found: re.Match[str], sample: str) -> str:
    """What stands for a parameter of Flask: its own choice where it has one, digits in their number."""
    kind, args = found["kind"], found["args"] or ""
    if kind == "any":
        choice = _CHOICE.match(args)
        return choice[1] if choice is not None else sample
    digits = re.search(r"fixed_digits\s*=\s*(\d+)", args)
    if kind == "int" and digits is not None:
        return "1".zfill(int(digits[1]))
    return {"int": "1", "float": "1.5", "uuid": _SAMPLES[1]}.get(kind or "", sample)
