"""How to learn of changes cheaply: when to look at the server next, and for how long to have it hold a request.

A server that holds answers a listing when there is something new to tell, so that no look is in vain; others are looked
at now and then, less often while nothing happens. Must not know what a look is, nor read a clock: times are seconds.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

#: Proxies on the way end a connection without a word after 60 s, many of them.
LONGEST_WAIT: Final = 50.0
_SHORTEST_WAIT: Final = 10.0  # plain looks cost hardly more than holds that are shorter
_FORGIVEN_CUTS: Final = 1  # a server that was restarted is none that can't hold
_PLAIN_LOOKS: Final = 60  # so many until a network that let no hold be is tried again
#: When one listing brings news after the other they should not fill the time: seconds for each object that is listed,
#: some times of what it costs server and device together (0.1 to 0.3 ms, measured), but never less than ...
_BREATH_OF_ONE: Final = 0.001
_BREATH: Final = 0.3
#: After a listing that can't be obeyed yet, or a hold that was none, the next look is this soon whatever the interval:
#: where holds are what tells of changes that may be a long one.
_SOON: Final = 15.0

_CALM_LOOKS: Final = 20  # looks without anything new that are made at the usual pace
_STRETCH: Final = 1.5
_LONGEST_STRETCH: Final = 4.0
_ON_BATTERY: Final = 2.0


@dataclass(frozen=True, slots=True)
class Holding:
    """What this network lets through: *wait* is for how long a request may be held, 0.0 for not at all just now.

    *cuts* counts the holds in a row that were cut, *plain* the looks since holding was given up.
    """

    wait: float = LONGEST_WAIT
    cuts: int = 0
    plain: int = 0

    def kept(self) -> Holding:
        """A hold was answered."""
        return replace(self, cuts=0)

    def cut(self) -> Holding:
        """A hold ended without an answer: nothing is wrong, but the next ones are shorter if that goes on."""
        if self.cuts < _FORGIVEN_CUTS:
            return replace(self, cuts=self.cuts + 1)
        half = self.wait / 2
        return Holding(half if half >= _SHORTEST_WAIT else 0.0)

    def looked(self) -> Holding:
        """The server was looked at without a hold: networks change."""
        if self.wait:
            return self
        return Holding() if self.plain + 1 >= _PLAIN_LOOKS else replace(self, plain=self.plain + 1)


def was_held(lasted: float, wait: float) -> bool:
    """Whether an answer without news, after *lasted* seconds, was held; one that was not is no reason to ask again."""
    return lasted >= wait / 2


def breath(objects: int, interval: float) -> float:
    """Seconds between a listing of so many *objects* with something new and the next hold: bursts are to be one.

    At most *interval*, after which it would be time for a look anyway.
    """
    return min(interval, max(_BREATH, objects * _BREATH_OF_ONE))


def soon(interval: float) -> float:
    """Seconds until a server that holds is looked at again because its last answer can't be the last word."""
    return min(interval, _SOON)


def next_look(interval: float, unchanged: int, *, on_battery: bool) -> float:
    """Seconds until the next look, where *unchanged* ones in a row found nothing new, and nothing was done here.

    *interval* is the usual pace: kept for a while, then stretched more and more, up to four times; twice that on
    battery.
    """
    stretch = _STRETCH ** min(max(0, unchanged - _CALM_LOOKS), 16)  # no overflow after a month
    return interval * min(stretch, _LONGEST_STRETCH) * (_ON_BATTERY if on_battery else 1.0)


def is_stretched(unchanged: int) -> bool:
    """Whether looks are made less often after so many without news."""
    return unchanged > _CALM_LOOKS
