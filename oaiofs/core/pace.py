"""When to act and when not to: quiet time, retries, and the brakes before anything is removed in masses.

Must not know what is pushed, retried or removed, nor read a clock: times are arguments, in seconds, of any one clock.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

    from .model import OaioId

#: Seconds after which a server that says the same again is believed in masses too: one that was restarted with an empty
#: or an old database is wrong for a while.
REPEATED_AFTER = 60.0
# How many objects may go unasked: a handful always, of many a fifth, but never more than one would miss at a glance.
_HANDFUL = 5
_SHARE = 5
_MOST = 50


def push_due(now: float, first_change: float, last_change: float, *, quiet: float, longest: float) -> float:
    """Seconds until an object with unpushed changes may be pushed, 0 for now.

    That is *quiet* seconds after the last change, but *longest* after the first one, so that something written to
    all day long reaches the servers too. A change in the future, as after a clock was set back, waits for nothing.
    """
    if last_change > now:
        return 0.0
    return max(0.0, min(last_change + quiet, first_change + longest) - now)


def backoff(failures: int, *, base: float = 1.0, cap: float = 300.0) -> float:
    """Seconds to wait after so many failures in a row: *base*, doubled with each more, at most *cap*; no jitter."""
    if failures <= 0:
        return 0.0
    doublings = min(failures - 1, 64)  # enough for any cap, and no overflow after a month offline
    return min(cap, base * 2.0**doublings)


def listing_brake(known: Collection[OaioId], listed: Collection[OaioId], *, confirmed: bool) -> str | None:
    """Why a listing must not be obeyed, as a sentence for the user, or None where it may.

    *known* are the objects agreed with the server that are still here. One that lists none of them, or lacks more than
    a handful, is more likely a server's mistake than a wish; *confirmed* is the user's word that it is right.
    """
    missing = len(set(known) - set(listed))
    if confirmed or not missing or (listed and missing <= _allowed(len(known))):
        return None
    return (
        f"The server no longer lists {missing} of {len(known)} objects. Nothing was removed here. "
        "Check that server and account are the right ones; if those objects are really gone, they go to the trash "
        "here once the server has said the same for a minute, or with `oaiofs sync --yes`."
    )


def removal_brake(tombstones: int, known: int) -> str | None:
    """Why objects removed here must not yet be removed on the server, as a sentence for the user, or None.

    *known* counts all objects agreed with the server; *tombstones* those of them that were removed here and are in the
    trash still: who empties it means it.
    """
    if tombstones <= _allowed(known):
        return None
    return (
        f"{tombstones} of {known} objects were removed here, more than a handful. They are still on the server. "
        "`oaiofs sync --yes` or `oaiofs trash empty` removes them there too, `oaiofs trash restore` takes them back."
    )


def is_meant(missing: int, repeated_for: float | None) -> bool:
    """Whether a server that no longer lists *missing* objects is to be believed.

    *repeated_for* are the seconds since the first of the complete answers that say so, all of them the same since;
    None: there was one only. A handful may go when it is said twice: else the last object could never go. All that goes
    is in the trash then, and what was not sent yet stays, so a wrong answer that lasts loses nothing either.
    """
    return repeated_for is not None and (missing <= _HANDFUL or repeated_for >= REPEATED_AFTER)


def _allowed(known: int) -> int:
    return max(_HANDFUL, min(known // _SHARE, _MOST))
