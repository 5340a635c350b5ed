"""When a failed request is worth another try, and after how long: decisions only, no clock, no random, no network."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Exponential backoff with jitter, bounded in attempts and in time.

    *attempts* counts the first one too, so 1 means: never again. Times are seconds; *total* is how long after the
    first try another one may still begin. The bounds are small because ``sync`` comes back with its own pace, while
    somebody may be waiting for the file that is being opened.
    """

    attempts: int = 4
    first_delay: float = 0.5
    max_delay: float = 20.0
    total: float = 60.0

    def delay(self, failures: int, elapsed: float, chance: float, asked: float | None = None) -> float | None:
        """Seconds to wait after so many *failures*, *elapsed* seconds after the first try; None: give up.

        *chance* is a random number in [0, 1): half of a delay is jitter, so that clients which an outage has brought
        in step don't return in step. *asked* is what the server asked to wait for: it is obeyed or, where that takes
        too long, passed on to the caller by giving up.
        """
        if failures >= self.attempts:
            return None
        planned = min(self.max_delay, self.first_delay * 2.0 ** (failures - 1)) * (0.5 + chance / 2)
        wait = planned if asked is None else max(planned, asked)
        return wait if elapsed + wait <= self.total else None


#: For tests, and for callers that have their own pace: every failure is reported at once.
NO_RETRY = RetryPolicy(attempts=1)


def parse_retry_after(value: str | None, now: datetime) -> float | None:
    """Seconds that a ``Retry-After`` header asks for (RFC 9110, 10.2.3: a number or a date); None if unreadable."""
    if value is None:
        return None
    value = value.strip()
    if value.isascii() and value.isdigit():
        return float(value[:9])
    try:
        when = parsedate_to_datetime(value)
    except ValueError:
        return None
    # A date in "-0000" comes back without a zone; HTTP dates are always UTC.
    when = when if when.tzinfo else when.replace(tzinfo=UTC)
    return max(0.0, (when - now).total_seconds())
