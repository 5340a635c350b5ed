"""Stamps: the UTC time of a version, as 20 digits that sort as text.

Pure: the current time is always an argument. The format is the wire's, ``%Y%m%d%H%M%S%f``.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from .model import OLDEST_STAMP, Stamp

_FORMAT = "%Y%m%d%H%M%S%f"
_DIGITS = 20
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


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
    """Nanoseconds since the epoch of *stamp*, exact to the microsecond it holds."""
    return (to_datetime(stamp) - _EPOCH) // timedelta(microseconds=1) * 1000


def after(stamp: str, when: datetime) -> Stamp:
    """A stamp for a new version made at *when* that also sorts after *stamp* (clocks differ between devices)."""
    candidate = make(when)
    if candidate > stamp:
        return candidate
    return make(to_datetime(Stamp(stamp)) + timedelta(microseconds=1))
