"""Small texts for people: amounts, times, and names that nobody here has chosen. Pure."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


def printable(text: str) -> str:
    """*text* without what could move a terminal's cursor or change its colours."""
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)


def plural(number: int, word: str) -> str:
    """``1 object``, ``2 objects``."""
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


def count(value: object) -> int:
    """How many there are: a number as it is, else how long the list is."""
    if isinstance(value, bool) or value is None:
        return int(bool(value))
    if isinstance(value, int):
        return value
    return len(value) if isinstance(value, list | dict | tuple) else 0


def soon(seconds: object) -> str:
    """When that is, of a number of *seconds* from now; 'now' where it is none."""
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or seconds < 1:
        return "now"
    return f"in {round(seconds)} s" if seconds < 120 else f"in {round(seconds / 60)} min"


def amount(number: int) -> str:
    """Bytes in three digits or so, in powers of 1024: ``1.5 MiB``."""
    size, unit = float(max(0, number)), 0
    while size >= 999.5 and unit < len(_UNITS) - 1:
        size, unit = size / 1024, unit + 1
    return f"{size:.0f} {_UNITS[unit]}" if not unit or size >= 99.95 else f"{size:.1f} {_UNITS[unit]}"


def duration(seconds: float) -> str:
    """About how long: ``40 s``, ``3 min``, ``2 h 5 min``, ``4 days``."""
    whole = max(0, round(seconds))
    if whole < 100:
        return f"{whole} s"
    minutes = round(whole / 60)
    if minutes < 100:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours < 48 else f"{round(whole / 86_400)} days"


def fitted(text: str, width: int) -> str:
    """*text* in at most *width* cells, shortened in its middle: both ends of a path tell something."""
    if cells(text) <= width:
        return text
    if width < 1:
        return ""
    head, tail, left = "", "", width - 1
    begin, end = 0, len(text) - 1
    while begin <= end:
        from_front = cells(head) <= cells(tail)
        char = text[begin] if from_front else text[end]
        left -= cells(char)
        if left < 0:
            break
        if from_front:
            head, begin = head + char, begin + 1
        else:
            tail, end = char + tail, end - 1
    return f"{head}…{tail}"


def cells(text: str) -> int:
    """How many cells of a terminal *text* takes: letters of East Asia two, combining marks none."""
    if text.isascii():
        return len(text)
    return sum(0 if unicodedata.combining(char) else 1 + (unicodedata.east_asian_width(char) in "WF") for char in text)


def folded(text: str, width: int) -> Iterator[str]:
    """*text* in lines of at most *width* cells."""
    line, used = "", 0
    for char in text:
        if line and used + cells(char) > width:
            yield line
            line, used = "", 0
        line, used = line + char, used + cells(char)
    yield line
