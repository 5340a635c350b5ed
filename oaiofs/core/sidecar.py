"""The sidecar ``values.json``: an object's values as text, and back.

Must not know where the text is kept or who edits it. What is shown is exactly what is stored: key order, integers of
any size and the difference between 1 and 1.0 survive the way there and back. What is read is judged strictly, as a
value that JSON parsers disagree on (a key given twice, NaN) would come back changed from some server or client.
"""

from __future__ import annotations

import json
import math
import re
from typing import TYPE_CHECKING, Any

from ..errors import InvalidSidecar
from .model import FILES_KEY, NAME_KEY, ROOT_PATH_KEY, Values

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Largest sidecar in bytes. Every version carries all values, and the server keeps them in one database row.
MAX_BYTES = 8 * 1024 * 1024
#: Deepest nesting of objects and lists, the outermost counted; far below what JSON parsers' stacks can take.
MAX_DEPTH = 100
#: Most digits of an integer: Python, which the existing clients run on, refuses longer ones.
MAX_DIGITS = 4300

_BOM = b"\xef\xbb\xbf"  # some Windows editors put it there; it says nothing about the values, so it may stay

# One token of JSON. A string without an end takes all the rest, so that the search stays linear.
_TOKEN = re.compile(
    r"""(?P<string>"(?:[^"\\]++|\\.)*+(?:"|\\?\Z))|(?P<open>[\[{])|(?P<close>[\]}])|(?P<scalar>[-+.\w]+)""", re.DOTALL
)
_KEY_END = re.compile(r"[ \t\r\n]*:")
_SURROGATE_ESCAPE = re.compile(r"\\u[dD][89a-fA-F]")
_SURROGATE = re.compile("[\ud800-\udfff]")

# What the standard library's parser says (the beginning) and what it means to the one who edits the file.
_SYNTAX = (
    ("Expecting property name", "a key in double quotes is missing here"),
    ("Expecting ':'", "a colon is missing between key and value"),
    ("Expecting ','", "a comma or a closing bracket is missing here"),
    ("Expecting value", "a value is missing here, or it is not one (text needs double quotes, true and null don't)"),
    ("Extra data", "there is more text after the closing brace"),
    ("Unterminated string", "this text's closing double quote is missing"),
    ("Invalid control character", "text can't go over a line's end or hold control characters: write \\n, \\t or \\u…"),
    ("Invalid \\", 'a backslash must be followed by one of " \\ / b f n r t or by u and four digits'),
    ("Illegal trailing comma", "there is a comma before the closing bracket"),
)


class _Suspect(Exception):
    """The fast parser met something that is JSON to it but not to us; _first_problem names it and its place."""


def render(values: Values) -> bytes:
    """*values* as the sidecar's text, without the list of attached files, which the directory itself shows.

    Raises ValueError for what JSON can't hold (NaN, lone surrogates); values checked on their way in hold none.
    """
    shown = {key: value for key, value in values.items() if key != FILES_KEY}
    return (json.dumps(shown, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()


def check_size(size: int) -> None:
    """Raises InvalidSidecar for more bytes than a sidecar may have."""
    if size > MAX_BYTES:
        raise InvalidSidecar(f"The sidecar is larger than {MAX_BYTES} bytes: keep large data in an attached file.")


def parse(data: bytes) -> dict[str, Any]:
    """The values that a sidecar's text stands for, without a list of attached files.

    Raises InvalidSidecar, with the place, for everything that is not one JSON object in UTF-8, for keys given twice,
    for numbers and text that don't survive the wire, and for reserved keys of a wrong kind.
    """
    check_size(len(data))
    text = _decode(data)
    if not text.strip(" \t\r\n"):
        raise InvalidSidecar("The file is empty: for no values at all write {}.", 1, 1)
    _check_depth(text)
    try:
        values = _DECODER.decode(text)
    except json.JSONDecodeError as error:
        raise _syntax_error(text, error) from None
    except _Suspect:
        raise _suspicion(text) from None
    if not isinstance(values, dict):
        start = len(text) - len(text.lstrip(" \t\r\n"))
        raise _invalid("values are one object, {…}: put what is here under a key of it", text, start)
    if _SURROGATE_ESCAPE.search(text) and (problem := _first_problem(text)):
        raise _invalid(problem[0], text, problem[1])
    _check_reserved(values, text)
    return values


def _decode(data: bytes) -> str:
    data = data.removeprefix(_BOM)
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        before = data[: error.start].decode()
        raise _invalid("this is not UTF-8: save the file in that encoding", before, len(before)) from None


# ------------------------------------------------------------------------------------------------ fast parser


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        raise _Suspect
    return values


def _integer(digits: str) -> int:
    if not _is_integer(digits.lstrip("-")):
        raise _Suspect
    return int(digits)


def _is_integer(digits: str) -> bool:
    if len(digits) > MAX_DIGITS:
        return False
    try:
        int(digits)
    except ValueError:  # PYTHONINTMAXSTRDIGITS sets the limit lower
        return False
    return True


def _float(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise _Suspect
    return number


def _constant(name: str) -> float:
    raise _Suspect(name)


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_int=_integer, parse_float=_float, parse_constant=_constant)


def _check_depth(text: str) -> None:
    """Refuse deep nesting before the parser recurses into it."""
    if text.count("[") + text.count("{") <= MAX_DEPTH:
        return
    depth = 0
    for match in _TOKEN.finditer(text):
        if match.lastgroup == "open":
            depth += 1
            if depth > MAX_DEPTH:
                raise _invalid(f"objects and lists are nested deeper than {MAX_DEPTH}", text, match.start())
        elif match.lastgroup == "close":
            depth -= 1


# -------------------------------------------------------------------------------- what is wrong, and where


def _suspicion(text: str) -> InvalidSidecar:
    message, position = _first_problem(text) or ("it has a value that can't be kept", 0)
    return _invalid(message, text, position)


def _first_problem(text: str) -> tuple[str, int] | None:
    """The first thing in *text*, valid JSON up to there, that can't be kept as it is: a sentence and its position."""
    keys_of: list[set[str]] = []
    for match in _TOKEN.finditer(text):
        token, problem = match[0], None
        if match.lastgroup == "open":
            keys_of.append(set())
        elif match.lastgroup == "close":
            if keys_of:
                keys_of.pop()
        elif match.lastgroup == "scalar":
            problem = _scalar_problem(token)
        else:
            problem = _string_problem(token, keys_of[-1] if keys_of and _is_key(text, match) else None)
        if problem:
            return problem, match.start()
    return None


def _scalar_problem(token: str) -> str | None:
    if token in ("NaN", "Infinity", "-Infinity"):
        return f"{token} is no JSON number: use null or a text"
    digits = token.lstrip("-")
    if digits.isdigit():
        return None if _is_integer(digits) else f"this number has more than {MAX_DIGITS} digits: make it a text"
    if digits[:1].isdigit() and math.isinf(float(digits)):
        return "this number is too large for a floating-point number: make it a text"
    return None


def _string_problem(token: str, taken: set[str] | None) -> str | None:
    """*taken* holds the keys so far of the object that the text *token* is a key of, and is None for a value."""
    string = json.loads(token)
    if _SURROGATE.search(string):
        return "this text has half a character (a lone surrogate): write both \\u… of it, or the character itself"
    if taken is not None:
        if string in taken:
            return f"the key {token[:60]} is here twice: keep one of them"
        taken.add(string)
    return None


def _check_reserved(values: dict[str, Any], text: str) -> None:
    if FILES_KEY in values:
        raise _invalid(
            f"{FILES_KEY} can't be set here: attach files by putting them into this directory",
            text,
            _position_of(FILES_KEY, text),
        )
    for key in (NAME_KEY, ROOT_PATH_KEY):
        if not isinstance(values.get(key, ""), str):
            raise _invalid(f"{key} must be a text", text, _position_of(key, text))


def _position_of(wanted: str, text: str) -> int:
    """Where the key *wanted* of the outermost object is."""
    return next((match.start() for match in _outer_keys(text) if json.loads(match[0]) == wanted), 0)


def _outer_keys(text: str) -> Iterator[re.Match[str]]:
    depth = 0
    for match in _TOKEN.finditer(text):
        if match.lastgroup == "open":
            depth += 1
        elif match.lastgroup == "close":
            depth -= 1
        elif depth == 1 and match.lastgroup == "string" and _is_key(text, match):
            yield match


def _is_key(text: str, match: re.Match[str]) -> bool:
    return _KEY_END.match(text, match.end()) is not None


def _syntax_error(text: str, error: json.JSONDecodeError) -> InvalidSidecar:
    before = text[: error.pos].rstrip()
    if before.endswith(",") and text[error.pos :].lstrip()[:1] in ("}", "]"):
        return _invalid("there is a comma before the closing bracket", text, len(before) - 1)
    message = next((words for start, words in _SYNTAX if error.msg.startswith(start)), error.msg)
    return _invalid(message, text, error.pos)


def _invalid(message: str, text: str, position: int) -> InvalidSidecar:
    line = text.count("\n", 0, position) + 1
    column = position - text.rfind("\n", 0, position)
    return InvalidSidecar(f"Line {line}, column {column}: {message}.", line, column)
