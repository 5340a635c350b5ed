"""How long to wait after a failure, and what the user may do meanwhile. Times are seconds.

Pure: must not know what failed, nor draw the jitter that is added to a wait.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ..errors import (
    AccessDenied,
    Corrupt,
    Forbidden,
    NoSpace,
    OaiofsError,
    Protocol,
    RateLimited,
    ServerFault,
    StorageFull,
    TimedOut,
    Unauthorized,
    Unreachable,
    Unsupported,
)
from . import pace

#: However long a server asks to wait: after this it is asked again.
LONGEST_ASKED: Final = 3600.0
#: Trying these again soon changes nothing; what the user can do about them.
_PERMANENT: Final[dict[type[OaiofsError], str]] = {
    StorageFull: "Make room there or here remove what need not be stored, then it goes out by itself.",
    Forbidden: "Ask the owner of the object, or who runs the host, for the right to change it.",
    AccessDenied: "Ask the owner of the object for the right to change it.",
    Unsupported: "",
}
_PERMANENT_WAIT: Final = 300.0
_PERMANENT_CAP: Final = 3600.0
#: Servers lock accounts out after a few wrong passwords.
_LOGIN_WAIT: Final = 5.0
_LOGIN_CAP: Final = 600.0
_SERVER_CAP: Final = 60.0
_ROOM_CAP: Final = 10.0  # of a full disk here: somebody is about to make room
_PASSING: Final = (Corrupt, Protocol, ServerFault, Unreachable)


@dataclass(frozen=True, slots=True)
class Wait:
    """Try again after about so many *seconds*, but not before *least*, for which the server has asked.

    *parked*: sooner when something changes. Whatever it is, the user may ask for it at once.
    """

    seconds: float
    least: float = 0.0
    parked: bool = False
    advice: str = ""


def after_failure(error: Exception, failures: int) -> Wait:
    """How to go on with an object whose last step failed with *error*, the *failures*-th time in a row."""
    for kind, advice in _PERMANENT.items():
        if isinstance(error, kind):
            wait = pace.backoff(failures, base=_PERMANENT_WAIT, cap=_PERMANENT_CAP)
            return Wait(wait, parked=True, advice=advice)
    if isinstance(error, NoSpace):
        return Wait(pace.backoff(failures, cap=_ROOM_CAP))
    return Wait(pace.backoff(failures), _asked(error))


def after_failed_look(error: OaiofsError | None, failures: int, interval: float) -> Wait:
    """When to look at the server again, which should happen every *interval* seconds."""
    if isinstance(error, Unauthorized):
        return Wait(pace.backoff(failures, base=_LOGIN_WAIT, cap=_LOGIN_CAP))
    return Wait(pace.backoff(failures, cap=max(interval, _SERVER_CAP)), _asked(error))


def is_passing(error: OaiofsError) -> bool:
    """Whether the same call may well succeed a moment later: worth another try before all is begun anew.

    One that timed out has had its time.
    """
    return isinstance(error, _PASSING) and not isinstance(error, TimedOut)


def may_go_on(error: OaiofsError) -> bool:
    """Whether a transfer that this error ended in its middle may be taken up where it was."""
    return isinstance(error, (*_PASSING, RateLimited))


def asked(error: Exception | None) -> float | None:
    """Seconds that a host has asked to wait, within reason; None where it did not."""
    after = error.retry_after if isinstance(error, RateLimited) else None
    return None if after is None else min(after, LONGEST_ASKED)


def _asked(error: Exception | None) -> float:
    return asked(error) or 0.0
