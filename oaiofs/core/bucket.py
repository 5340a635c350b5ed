"""How fast bytes may go: a token bucket, and how much goes at a time.

Must not know what the bytes are, nor read a clock: times are arguments, in seconds, of any one clock.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

#: Bytes a second. A line that carries less between some transfers at once is taken for a dead one by many servers.
SLOWEST = 4096
_LARGEST_PIECE = 64 * 1024
_SMALLEST_PIECE = 512
_PIECES_A_SECOND = 8
_BURST_SECONDS = 0.5  # what a machine that was busy elsewhere may catch up on


@dataclass(frozen=True, slots=True)
class Bucket:
    """A bucket of *burst* bytes into which *rate* bytes a second flow; *level* is what was in it at the time *at*.

    A level below 0 is owed: it is what those wait for who took without it being there yet, each for his own.
    """

    rate: float
    burst: float
    level: float
    at: float

    def take(self, amount: int, now: float) -> tuple[Bucket, float]:
        """The bucket after *amount* bytes were taken, and how many seconds to wait before they may go.

        Whoever waits so long each time sends never more than rate × time + burst, in any time, as long as no amount
        is larger than the burst; and is served in turn. A clock that went back lets nothing flow.
        """
        now = max(now, self.at)
        level = min(self.burst, self.level + (now - self.at) * self.rate) - amount
        return replace(self, level=level, at=now), max(0.0, -level) / self.rate

    def give_back(self, amount: int) -> Bucket:
        """The bucket after *amount* bytes that were taken did not go after all."""
        return replace(self, level=min(self.burst, self.level + amount))


def full(rate: float, now: float) -> Bucket:
    """A full bucket for *rate* bytes a second."""
    burst = max(rate * _BURST_SECONDS, piece(rate))
    return Bucket(rate, burst, burst, now)


def piece(rate: float) -> int:
    """How many bytes are best taken at once: the smaller, the fairer; the larger, the cheaper."""
    return int(min(_LARGEST_PIECE, max(_SMALLEST_PIECE, rate / _PIECES_A_SECOND)))
