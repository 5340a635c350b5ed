"""How long a guesser of passwords has to wait: decided purely, from counted failures and a clock that is handed in.

Must not know HTTP, Django or what the keys stand for.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable

#: Failures that cost nothing: people mistype.
FREE_FAILURES = 5
#: Seconds to wait after the last free failure; doubles with every further one.
FIRST_WAIT = 30.0
LONGEST_WAIT = 3600.0
#: Keys remembered at most; the longest unused is forgotten first.
MOST_KEYS = 10_000


class Throttle:
    """Counts failures by key. Safe to use from several threads."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._failures: OrderedDict[Hashable, tuple[int, float]] = OrderedDict()

    def wait(self, key: Hashable) -> float:
        """Seconds until *key* may try again, 0.0 for now."""
        with self._lock:
            _, until = self._failures.get(key, (0, 0.0))
        return max(0.0, until - self._clock())

    def failed(self, key: Hashable) -> None:
        """One more failure; from FREE_FAILURES on the key is shut out, each time for twice as long."""
        with self._lock:
            count, until = self._failures.pop(key, (0, 0.0))
            if count and self._clock() - until > LONGEST_WAIT:
                count = 0
            count += 1
            # 2.0 ** n would overflow for a very patient guesser
            doublings = min(count - FREE_FAILURES, 16)
            pause = 0.0 if doublings < 0 else min(FIRST_WAIT * 2.0**doublings, LONGEST_WAIT)
            self._failures[key] = (count, self._clock() + pause)
            while len(self._failures) > MOST_KEYS:
                self._failures.popitem(last=False)

    def passed(self, key: Hashable) -> None:
        """A success wipes the slate."""
        with self._lock:
            self._failures.pop(key, None)
