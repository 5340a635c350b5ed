"""Stamps: the UTC time of a version, as 20 digits that sort as text.

Pure: the current time is always an argument. The format is the wire's, ``%Y%m%d%H%M%S%f``.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from ..errors import Unsupported
from .model import OLDEST_STAMP, Stamp

_FORMAT = "%Y%m%d%H%M%S%f"
_DIGITS = 20
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LAST = datetime.max.replace(tzinfo=UTC)
#: What systems and databases hold in 64 bits: the year 2262.
_LATEST_NS = (1 << 63) - 1


def make(when: datetime) -> Stamp:
    """The stamp of *when*, an aware time."""
    return Stamp(when.astimezone(UTC).strftime(_FORMAT))


def parse(text: object) -> Stamp | None:
    """*text* as a stamp, or None where it is none: not 20 ASCII digits, no real date, or older than the oldest."""
    if not isinstance(text, str) or len(text) != _DIGITS or not (text.isascii() and text.isdigit()):
        return None
    try:
        datetime.strptime(text, _FORMAT).replace(tzinfo=UTC)
    except ValueError:
        return None
    return Stamp(text) if text >= OLDEST_STAMP else None


def to_datetime(stamp: Stamp) -> datetime:
    """The aware UTC time of *stamp*."""
    return datetime.strptime(stamp, _FORMAT).replace(tzinfo=UTC)


def to_ns(stamp: Stamp) -> int:
    """Nanoseconds since the epoch of *stamp*, exact to the microsecond it holds; at most what 64 bits can hold."""
    return min((to_datetime(stamp) - _EPOCH) // timedelta(microseconds=1) * 1000, _LATEST_NS)


def after(stamp: str, when: datetime, step: int = 1) -> Stamp:
    """A stamp for a new version made at *when* that also sorts after *stamp* (clocks differ between devices).

    Where *stamp* is ahead of *when* it is the stamp *step* microseconds after it, or as many as there is room for.
    Raises Unsupported after the very last one, in the year 9999: somebody's clock or malice has used them up.
    """
    candidate = make(when)
    if candidate > stamp:
        return candidate
    moment = to_datetime(Stamp(stamp))
    if moment == _LAST:
        raise Unsupported(
            "its version has the last stamp there is, so no newer one can be made: copy what is in it to a new object"
        )
    return make(moment + min(timedelta(microseconds=step), _LAST - moment))
