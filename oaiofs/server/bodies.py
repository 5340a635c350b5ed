"""An object as it arrives on the wire: checked, and its values kept as the exact text that was sent.

Pure: no clock, no database, no Django. The values go to other clients spelled as they came (key order, 30-digit
integers, ``1.10``), so a value is never parsed and printed again. What a client could not read is refused here, for one
hostile object would spoil every listing that it is in: NaN and infinities, lone surrogates, bottomless nesting.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NoReturn

from ..core import dialect, stamps
from ..core.model import Right
from ..errors import Protocol

LONGEST_ID = 2000
#: Containers in containers; Python's and msgspec's own decoders give up at some hundreds.
DEEPEST = 100
LONGEST_NAME = 2000

_SPACE = re.compile(r"[ \t\n\r]*")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


class BadBody(ValueError):
    """The body is not what it must be; the text is a sentence for the user."""


@dataclass(frozen=True, slots=True)
class Announcement:
    """The part of a wire object that a server goes by: *values_text* is the JSON text of ``client_values``.

    *base* is the version that this one was made from, '' where nothing usable is said of it.
    """

    oaio_id: str
    stamp: str
    base: str
    values_text: str
    csh_id: str
    device_id: str
    app_id: str


def parse_json(body: bytes) -> Any:
    """*body* as JSON, strictly. Raises BadBody."""
    text = _text(body)
    value, end = _decode(text, _skip(text, 0))
    if _skip(text, end) != len(text):
        raise BadBody("There is something after the end of the JSON text.")
    _check_tree(value)
    return value


def parse_announcement(body: bytes) -> Announcement:
    """The object of a register or upload. Keys beyond the ten of the wire are ignored. Raises BadBody."""
    members = {name: (value, text) for name, value, text in _members(_text(body))}
    values, values_text = members.get("client_values", (None, ""))
    if not isinstance(values, dict):
        raise BadBody("client_values must be a JSON object.")
    _check_tree(values)
    stamp = stamps.parse(members.get("client_stamp", (None, ""))[0])
    if stamp is None:
        raise BadBody("client_stamp must be a stamp: the UTC time in 20 digits.")
    return Announcement(
        oaio_id=checked_id(members.get("oaio_id", (None, ""))[0]),
        stamp=stamp,
        base=stamps.parse(members.get("server_stamp", (None, ""))[0]) or "",
        values_text=values_text,
        **{key: _optional_name(key, members.get(key, (None, ""))[0]) for key in ("csh_id", "device_id", "app_id")},
    )


def checked_id(value: object) -> str:
    """*value* as an oaio id. Raises BadBody."""
    if not isinstance(value, str) or not value or len(value) > LONGEST_ID:
        raise BadBody(f"oaio_id must be a text of 1 to {LONGEST_ID} characters.")
    if _CONTROL.search(value):
        raise BadBody("oaio_id must not contain control characters.")
    _check_tree(value)
    return value


def checked_right(value: object) -> Right:
    """*value* as a right, in either spelling of the wire (``C`` or ``CaR``). Raises BadBody."""
    try:
        return dialect.read_right(value)
    except Protocol:
        raise BadBody("access_right must be one of C, D, U, r and x.") from None


def same_values(left: str, right: str) -> bool:
    """Whether two JSON texts say the same, order of keys and white space aside."""
    return left == right or _canonical(left) == _canonical(right)


def _canonical(text: str) -> str:
    return json.dumps(json.loads(text), sort_keys=True)


def _text(body: bytes) -> str:
    try:
        return body.decode()
    except UnicodeDecodeError:
        raise BadBody("The body must be JSON in UTF-8.") from None


def _members(text: str) -> Iterator[tuple[str, Any, str]]:
    """Name, value and exact text of each member of the JSON object *text*; of a repeated name the last one counts."""
    position = _skip(text, 0)
    separator = "{"
    while text[position : position + 1] == separator:
        position = _skip(text, position + 1)
        if separator == "{" and text[position : position + 1] == "}":
            break
        name, position = _decode(text, position)
        position = _skip(text, position)
        if not isinstance(name, str) or text[position : position + 1] != ":":
            raise BadBody("The body must be a JSON object.")
        start = _skip(text, position + 1)
        value, end = _decode(text, start)
        yield name, value, text[start:end]
        position = _skip(text, end)
        separator = ","
    if text[position : position + 1] != "}" or _skip(text, position + 1) != len(text):
        raise BadBody("The body must be a JSON object, whole and with nothing after it.")


def _skip(text: str, position: int) -> int:
    match = _SPACE.match(text, position)
    return match.end() if match else position


def _decode(text: str, position: int) -> tuple[Any, int]:
    try:
        return _DECODER.raw_decode(text, position)
    except RecursionError:
        raise BadBody("The JSON text is nested too deep.") from None
    except BadBody:
        raise
    except ValueError:  # JSONDecodeError, and integers of more than 4300 digits
        raise BadBody("The body is not valid JSON.") from None


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise BadBody("A number is too large.")
    return number


def _no_constant(name: str) -> NoReturn:
    raise BadBody(f"{name} is not JSON.")


_DECODER = json.JSONDecoder(parse_float=_finite, parse_constant=_no_constant)


def _check_tree(value: Any) -> None:
    """Raises BadBody where *value* is nested too deep or holds text that is no Unicode."""
    level = [value]
    for _ in range(DEEPEST + 1):
        below: list[Any] = []
        for item in level:
            if isinstance(item, str):
                _check_unicode(item)
            elif isinstance(item, list):
                below += item
            elif isinstance(item, dict):
                below += item.keys()
                below += item.values()
        if not below:
            return
        level = below
    raise BadBody(f"The JSON text is nested more than {DEEPEST} levels deep.")


def _check_unicode(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise BadBody("A text holds half a character (a lone surrogate).") from None


def _optional_name(key: str, value: object) -> str:
    if value is None:
        return ""
    if not isinstance(value, str) or len(value) > LONGEST_NAME:
        raise BadBody(f"{key} must be a text of at most {LONGEST_NAME} characters.")
    _check_unicode(value)
    return value
