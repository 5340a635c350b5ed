"""What went wrong with which object, and when it is tried again: the bookkeeping of ``Sync``.

Nothing here is stored: after a restart everything is tried at once. Must not know what a step does. Times are seconds
of trio's clock.
"""

from __future__ import annotations

import random
from collections.abc import ItemsView
from dataclasses import dataclass, replace
from typing import TypeAlias

import trio

from ..core import patience
from ..core.model import OaioId
from ..errors import OaiofsError, StorageFull

#: What a step is about: an object's number, or the id of one that is not known here yet.
Subject: TypeAlias = "int | OaioId"

_SOON = 10.0  # seconds after a failure in which a change of a parked object does not begin another try


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why an object's last step failed, how often in a row, and when it is tried again.

    *parked* ones wait long, unless something changes. Without *failures* nothing is to be tried at all. *step* is the
    one that failed.
    """

    kind: type[OaiofsError]
    message: str
    failures: int
    since: float
    not_before: float
    parked: bool = False
    step: object = None

    @property
    def rests(self) -> bool:
        """Whether nothing can be tried until something changes."""
        return self.parked and not self.failures

    def error(self, called: str) -> OaiofsError:
        """To be raised to who waits for this object, which the user knows as *called*."""
        return self.kind(f"{called}: {self.message}")


class Troubles:
    """The objects that can't go on for now."""

    def __init__(self) -> None:
        self._of: dict[Subject, Trouble] = {}
        self._overtaken: dict[Subject, float] = {}  # steps that a change here has overtaken

    def get(self, subject: Subject) -> Trouble | None:
        return self._of.get(subject)

    def items(self) -> ItemsView[Subject, Trouble]:
        return self._of.items()

    def failed(self, subject: Subject, error: Exception, message: str, step: object = None) -> None:
        """A *step* failed: *message* says so to the user."""
        before = self._of.get(subject)
        failures = 1 + (before.failures if before else 0)
        wait = patience.after_failure(error, failures)
        kind = type(error) if isinstance(error, OaiofsError) else OaiofsError
        now = trio.current_time()
        text = f"{message} {wait.advice}".rstrip()
        self._of[subject] = Trouble(kind, text, failures, now, now + jittered(wait), wait.parked, step)

    def resting(self, subject: Subject, error: OaiofsError) -> None:
        """Nothing can be tried until something changes: *error* says what for."""
        now = trio.current_time()
        self._of[subject] = Trouble(type(error), str(error), 0, now, now, True)

    def overtaken(self, subject: Subject, seconds: float) -> None:
        """Nothing is wrong: the step is to be made again, in so many *seconds*."""
        self._overtaken[subject] = trio.current_time() + seconds

    def over(self, subject: Subject) -> None:
        """A step went well, or there is none any more."""
        self._of.pop(subject, None)
        self._overtaken.pop(subject, None)

    def changed(self, key: int) -> None:
        """Something of the object changed: what it was parked for may be gone."""
        trouble = self._of.get(key)
        if trouble is None or not trouble.parked:
            return
        if trouble.failures:
            self._of[key] = replace(trouble, not_before=min(trouble.not_before, trouble.since + _SOON))
        else:
            del self._of[key]

    def waiting_for_room(self) -> bool:
        return any(issubclass(trouble.kind, StorageFull) for trouble in self._of.values())

    def room_was_made(self) -> None:
        """Those that a full storage has parked are tried at once."""
        now = trio.current_time()
        for subject, trouble in self._of.items():
            if issubclass(trouble.kind, StorageFull):
                self._of[subject] = replace(trouble, not_before=now)

    def reset(self) -> None:
        """The user asks for everything to be tried now, as if it were for the first time."""
        self._of.clear()

    def left(self, subject: Subject) -> float:
        """Seconds until the next try, at most 0 where it may be now."""
        now = trio.current_time()
        trouble = self._of.get(subject)
        return max(self._overtaken.get(subject, now), now if trouble is None else trouble.not_before) - now


def jittered(wait: patience.Wait) -> float:
    """Seconds to wait, so that many devices do not come back at the same moment."""
    return max(wait.least, wait.seconds * random.uniform(0.8, 1.2))
