"""When to act and when not to: quiet time, retries, and the brakes before anything is removed in masses.

Must not know what is pushed, retried or removed, nor read a clock: times are arguments, in seconds, of any one clock.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

    from .model import OaioId

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
        "Check that server and account are the right ones; if those objects are really gone, "
        "confirm with `oaiofs sync --yes`."
    )


def removal_brake(tombstones: int, known: int) -> str | None:
    """Why objects removed here must not yet be removed on the server, as a sentence for the user, or None.

    *known* counts all objects agreed with the server, the *tombstones* among them.
    """
    if tombstones <= _allowed(known):
        return None
    return (
        f"{tombstones} of {known} objects were removed here, more than a handful. They are still on the server. "
        "Run `oaiofs sync --yes` to remove them there too."
    )


def is_handful(missing: Collection[OaioId]) -> bool:
    """Few enough to be believed when a server says it twice."""
    return len(missing) <= _HANDFUL


def _allowed(known: int) -> int:
    return max(_HANDFUL, min(known // _SHARE, _MOST))
