"""JSON text off the wire to Python values, and back. Pure; knows neither HTTP nor what the values mean.

Deliberately lenient where Python's parser is (NaN, lone surrogates): those make *one* object unusable, which
``core.dialect`` finds and reports, and not the whole answer.
"""

from __future__ import annotations

import itertools
import json
import re
from typing import TYPE_CHECKING, Any

from .. import errors

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Strings whole (with their escapes; one without end up to the end, or each quote in it would be looked at anew), and
#: each bracket and comma outside of them.
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*+(?:"|\Z)|[\[\]{},]', re.DOTALL)
_TOKEN_BYTES = re.compile(_TOKEN.pattern.encode(), re.DOTALL)

#: Values in one document: parsed, a value of two bytes takes up to seventy.
MAX_VALUES = 8_000_000

#: A few objects may be spoiled by their makers; a server that sends this many bad ones is not worth the time.
_MAX_BAD = 1000


def dumped(value: object) -> bytes:
    """*value* as compact JSON in UTF-8. Raises Protocol."""
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    except ValueError:
        raise errors.Protocol("These values can't be sent: they hold what JSON has no form for.") from None


def parse(body: bytes) -> Any:
    """The value of a JSON document in UTF-8. Raises Protocol, also for one that would fill the memory."""
    _check_values(body, MAX_VALUES)
    return _parsed(body)


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body.decode("utf-8-sig"))
    except RecursionError:
        raise errors.Protocol("the answer is nested too deep") from None
    except ValueError as error:
        # Without the parser's text: it may quote the document, and the document may hold a secret.
        raise errors.Protocol(f"the answer is not JSON ({type(error).__name__})") from None


def parse_array(body: bytes) -> list[Any | errors.Protocol]:
    """The elements of a JSON array; one that can't be parsed is the error instead of a value.

    One object that is nested too deep or holds a number of too many digits fails the parser for the whole document:
    then the elements are cut apart and parsed one by one. Raises Protocol where there is no array at all, or more than
    a thousand bad elements, or of values that would fill the memory.
    """
    _check_values(body, MAX_VALUES)
    try:
        elements = _parsed(body)
    except errors.Protocol:
        return _saved(_split_array(body))
    if not isinstance(elements, list):
        raise errors.Protocol("the answer is not a list")
    return elements


def _check_values(body: bytes, most: int) -> None:
    """Raises Protocol where the parser would make more than *most*, or little less."""
    if body.count(b",") + body.count(b"[") + body.count(b"{") <= most:
        return
    # Some may be in strings, where they make no values: so look closer, which takes seconds.
    marks = (token for token in _TOKEN_BYTES.finditer(body) if token[0] in b",[{")
    if next(itertools.islice(marks, most, None), None) is not None:
        raise errors.Protocol(f"the answer holds more than {most} values")


def _saved(texts: Iterator[str]) -> list[Any | errors.Protocol]:
    elements: list[Any | errors.Protocol] = []
    bad = 0
    for text in texts:
        elements.append(_parse_element(text))
        bad += isinstance(elements[-1], errors.Protocol)
        if bad > _MAX_BAD:
            raise errors.Protocol(f"the answer is not JSON, in more than {_MAX_BAD} places")
    return elements


def _parse_element(text: str) -> Any | errors.Protocol:
    try:
        return _parsed(text.encode())
    except errors.Protocol as error:
        return error


def _split_array(body: bytes) -> Iterator[str]:
    """The text of each element of a JSON array, found by its brackets alone."""
    try:
        text = body.decode("utf-8-sig").strip()
    except ValueError:
        raise errors.Protocol("the answer is not UTF-8") from None
    if not (text.startswith("[") and text.endswith("]")):
        raise errors.Protocol("the answer is not a list")
    depth, begin = 0, 1
    for token in _TOKEN.finditer(text):
        if token[0] in "[{":
            depth += 1
        elif token[0] in "]}":
            depth -= 1
        elif token[0] == "," and depth == 1:
            yield text[begin : token.start()]
            begin = token.end()
    if depth != 0:
        raise errors.Protocol("the answer ends in the middle of a list")
    if text[begin:-1].strip():
        yield text[begin:-1]
