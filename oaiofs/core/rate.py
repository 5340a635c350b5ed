"""How fast something has gone lately, and how long the rest takes.

Must not know what is counted, nor read a clock: times are arguments, in seconds, of any one clock.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

#: Seconds after which something counts about a third. Shorter shows each hiccup, longer hides that a line is dead.
_MEMORY = 5.0
#: Seconds of counting before a rate is told at all: what buffers swallow at once is no rate.
_WARM_UP = 1.0
#: Times further away than this tell nothing.
_LONGEST = 30 * 86_400.0


@dataclass(frozen=True, slots=True)
class Rate:
    """An average that forgets: *recent* is what was counted up to *at*, each amount the less the longer ago."""

    begun: float
    at: float
    recent: float = 0.0

    def after(self, amount: float, now: float) -> Rate:
        """With *amount* more, counted at the time *now*."""
        now = max(now, self.at)
        return replace(self, at=now, recent=self._faded(now) + amount)

    def per_second(self, now: float) -> float | None:
        """The rate at the time *now*; None where it is too early to tell."""
        now = max(now, self.at)
        elapsed = now - self.begun
        if elapsed < _WARM_UP:
            return None
        # What a steady flow of 1 a second would have come to since the beginning.
        return self._faded(now) / (_MEMORY * -math.expm1(-elapsed / _MEMORY))

    def _faded(self, now: float) -> float:
        return self.recent * math.exp((self.at - now) / _MEMORY)


def begin(now: float) -> Rate:
    """Nothing counted yet."""
    return Rate(now, now)


def remaining(done: int, total: int | None, per_second: float | None) -> float | None:
    """Seconds until *done* is *total*; None where nobody can tell: no total, no rate yet, or as good as standing."""
    if total is None or per_second is None:
        return None
    left = max(0, total - done)
    if not left:
        return 0.0
    seconds = left / per_second if per_second > 0 else math.inf
    return seconds if seconds <= _LONGEST else None
