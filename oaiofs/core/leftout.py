"""What had to be left out of something from outside, told one by one as long as anybody would read it.

Pure. Must not know what it was left out of.
"""

from __future__ import annotations

from .model import Skipped

#: Things that are told one by one; a hostile list may hold millions.
MOST_TOLD = 1000


class LeftOut:
    """Collects what is left out, bounded in memory; *kind* is the plural of what these things are."""

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._told: list[Skipped] = []
        self._more = 0

    def add(self, what: str, why: str) -> None:
        if len(self._told) < MOST_TOLD:
            self._told.append(Skipped(what, why))
        else:
            self._more += 1

    @property
    def all(self) -> tuple[Skipped, ...]:
        """What was added; of very much, the last one says only how much more there is."""
        more = Skipped(f"{self._more} more {self._kind}", "can't be used either")
        return (*self._told, more) if self._more else tuple(self._told)
