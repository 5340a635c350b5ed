"""Key paths: which value of an object is meant, as text. Pure; must not know who asks.

``two.x`` is the value at the key x of the object at the key two. A key that is no plain word is in quotes, as JSON has
it: ``"a.b".x``. Lists have no paths in them: who wants another item sets the whole list.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from ..errors import UsageError

_PLAIN_KEY = re.compile(r"[^\W\d]\w*")
#: Whatever has no dot and no quote in it needs none, when it is read: ``file-1`` and ``2024`` are clear enough.
_KEY = re.compile(r'"(?:[^"\\]|\\.)*"|[^."]+')


def key_text(keys: Sequence[str]) -> str:
    """A key path as text: ``two.x``, with quotes around each key that is no plain word."""
    return ".".join(key if _PLAIN_KEY.fullmatch(key) else json.dumps(key, ensure_ascii=False) for key in keys)


def parse(text: str) -> tuple[str, ...]:
    """The inverse of ``key_text``; at least one key. Raises UsageError."""
    keys: list[str] = []
    position = 0
    while match := _KEY.match(text, position):
        keys.append(_key(match[0], text))
        position = match.end()
        if position == len(text):
            return tuple(keys)
        if text[position] != ".":
            break
        position += 1
    raise _unreadable(text)


def _key(part: str, text: str) -> str:
    if not part.startswith('"'):
        return part
    try:
        return str(json.loads(part))
    except ValueError:
        raise _unreadable(text) from None


def _unreadable(text: str) -> UsageError:
    return UsageError(
        f"{text!r} is no key path: keys have dots between them, and double quotes around those with a dot or quote in "
        'them, as in two."a.b".x'
    )
