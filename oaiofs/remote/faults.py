"""What can go wrong outside, as data: the faults that the in-memory twins show when told to.

Knows no server and no storage: a twin asks before and after each call.
"""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Literal

import trio

from .. import errors

#: The call of a Fault that stands for all calls.
ANY = "*"


@dataclass(slots=True)
class Fault:
    """The next *times* calls of the method *call* fail with *error*.

    With *after* the call takes effect first and only its answer is lost, as when a connection is cut. With a *chance*
    below 1 only so many of the calls fail.
    """

    call: str
    error: errors.OaiofsError
    times: float = 1
    after: bool = False
    chance: float = 1.0


@dataclass(slots=True)
class Faults:
    """How one twin behaves from now on; may be changed at any time, nothing of it by the twin but *scripted*' counts.

    *latency* is seconds before each call takes effect, *late* those from then to its answer (slept by trio, so a test's
    clock can jump over them). *listing* is what listings hold: all, nothing, every second entry only, or each entry
    twice. *cut_after* ends file contents after so many bytes, *flipped* delivers their first byte wrong. *hashes* is
    what the host tells: right ones, none, or wrong ones, *sizes* likewise. *half_sent* ends the connection of the next
    so many puts in the middle of the body. *cut_holds* ends the connection of a request that is held for so many
    seconds. *copies* is what the host can copy, *half_copied* ends the next so many copies of folders in the middle.
    *session_over* makes the next call log in again. *clock_skew* is how far the server's clock is ahead. *calls* counts
    all calls by method, *raised* all that failed by a scripted fault. *dice* decides about chances.
    """

    offline: bool = False
    latency: float = 0.0
    late: float = 0.0
    scripted: list[Fault] = field(default_factory=list)
    listing: Literal["complete", "empty", "partial", "duplicated"] = "complete"
    cut_after: int | None = None
    flipped: bool = False
    hashes: Literal["right", "none", "wrong"] = "right"
    sizes: Literal["right", "wrong"] = "right"
    half_sent: int = 0
    cut_holds: float = float("inf")
    copies: Literal["folders", "files", "nothing"] = "folders"
    half_copied: int = 0
    session_over: bool = False
    clock_skew: timedelta = timedelta(0)
    calls: Counter[str] = field(default_factory=Counter)
    raised: Counter[str] = field(default_factory=Counter)
    dice: random.Random = field(default_factory=lambda: random.Random(0))

    def fail(self, call: str, error: errors.OaiofsError, *, times: int = 1, after: bool = False) -> None:
        """Script a fault; those for one call come in the order in which they were scripted."""
        self.scripted.append(Fault(call, error, times, after))

    def flaky(self, call: str, error: errors.OaiofsError, chance: float, *, after: bool = False) -> None:
        """From now on so many of the calls fail, until the fault is taken out of *scripted*."""
        self.scripted.append(Fault(call, error, float("inf"), after, chance))

    def drop_answer(self, call: str, *, times: int = 1) -> None:
        """The next *times* calls take effect, but the caller sees the connection cut."""
        self.fail(call, errors.Unreachable("The connection was cut before the answer came."), times=times, after=True)

    async def before(self, call: str) -> None:
        """What happens before *call* takes effect; raises the fault that keeps it from doing so."""
        self.calls[call] += 1
        await trio.sleep(self.latency)
        if self.offline:
            raise errors.Unreachable("There is no network.")
        self._raise(call, after=False)

    async def after(self, call: str) -> None:
        """What happens between the effect of *call* and its answer."""
        await trio.sleep(self.late)
        self._raise(call, after=True)

    def _raise(self, call: str, *, after: bool) -> None:
        for fault in self.scripted:
            if fault.after is not after or fault.call not in (call, ANY) or fault.times <= 0:
                continue
            if fault.chance >= 1 or self.dice.random() < fault.chance:
                fault.times -= 1
                self.raised[call] += 1
                raise fault.error

    def shown(self, entries: list[str]) -> list[str]:
        """Those of the *entries* of a listing that it shows."""
        if self.listing == "empty":
            return []
        if self.listing == "duplicated":
            return [*entries, *entries]
        return entries if self.listing == "complete" else sorted(entries)[::2]
