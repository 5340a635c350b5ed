"""Python literals from outside: texts, bytes, numbers, truth values, None, and lists, tuples and dicts of them.

The existing client writes objects as ``repr`` and context headers as bytes literals. They are read token by token and
never evaluated: there are no names, calls or operators, and nesting is bounded, whatever a stranger wrote. Pure.
"""

from __future__ import annotations

import ast
import re
from typing import Any, Final

#: What an object's values may be nested (``sidecar.MAX_DEPTH``), the object around them, and one to spare.
MOST_DEPTH: Final = 102

_TOKEN = re.compile(
    r"""\s*(?:
    (?P<text>b?'(?:[^'\\\n]|\\.)*'|b?"(?:[^"\\\n]|\\.)*")
    | (?P<float>[-+]?(?:\d+\.\d*(?:e[-+]?\d+)?|\d+e[-+]?\d+|inf(?!\w)|nan(?!\w)))
    | (?P<integer>[-+]?\d+)
    | (?P<word>None|True|False)(?!\w)
    | (?P<mark>[][(){},:])
    )\s*""",
    re.VERBOSE | re.DOTALL | re.ASCII,
)
_WORDS = {"None": None, "True": True, "False": False}
_CLOSES = {"[": "]", "(": ")", "{": "}"}
_END = ("mark", "")


def parse(text: str, most_chars: int) -> Any:
    """The value that *text* is a literal of. Raises ValueError where it is none, or longer than *most_chars*."""
    if len(text) > most_chars:
        raise ValueError(f"is longer than {most_chars} characters")
    reader = _Reader(text)
    value = reader.value(reader.take(), 1)
    if reader.take() != _END:
        raise ValueError("goes on after its end")
    return value


class _Reader:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def take(self) -> tuple[str, str]:
        """The next token: its kind and its text, '' at the end."""
        if self._at == len(self._text):
            return _END
        match = _TOKEN.match(self._text, self._at)
        if match is None:
            raise ValueError(f"is no literal at character {self._at + 1}")
        self._at = match.end()
        kind = match.lastgroup or ""
        return kind, match[kind]

    def value(self, token: tuple[str, str], depth: int) -> Any:
        kind, text = token
        if kind == "text":
            return _unquoted(text)
        if kind == "float":
            return float(text)
        if kind == "integer":
            return int(text)  # a ValueError by itself where it has thousands of digits
        if kind == "word":
            return _WORDS[text]
        if depth > MOST_DEPTH:
            raise ValueError(f"is nested deeper than {MOST_DEPTH} levels")
        if text == "{":
            return self._mapping(depth)
        if text in ("[", "("):
            return self._sequence(text, depth)
        raise ValueError(f"has {text!r} where a value is missing" if text else "ends too early")

    def _sequence(self, opening: str, depth: int) -> list[Any] | tuple[Any, ...]:
        found: list[Any] = []
        token, comma = self.take(), True
        while token[1] != _CLOSES[opening] or token[0] != "mark":
            if not comma:
                raise ValueError("lacks a comma")
            found.append(self.value(token, depth + 1))
            token = self.take()
            comma = token == ("mark", ",")
            token = self.take() if comma else token
        return found if opening == "[" else tuple(found)

    def _mapping(self, depth: int) -> dict[Any, Any]:
        found: dict[Any, Any] = {}
        token, comma = self.take(), True
        while token != ("mark", "}"):
            if not comma:
                raise ValueError("lacks a comma")
            key = self.value(token, depth + 1)
            if isinstance(key, list | dict | tuple) or self.take() != ("mark", ":"):
                raise ValueError("has a key that is none, or lacks a colon")
            found[key] = self.value(self.take(), depth + 1)
            token = self.take()
            comma = token == ("mark", ",")
            token = self.take() if comma else token
        return found


def _unquoted(token: str) -> str | bytes:
    """The one text or bytes literal that *token* is: the only thing that Python's own reader is given."""
    try:
        value = ast.literal_eval(token)
    except (SyntaxError, MemoryError) as error:
        raise ValueError(f"has a text that can't be read: {error}") from None
    if not isinstance(value, str | bytes):
        raise ValueError("has a text that is none")
    return value
