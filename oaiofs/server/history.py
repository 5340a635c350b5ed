"""The versions of one object that were announced, as the log has them.

Must not know HTTP requests. Whoever subscribes the object may read them, with any right; to all others it is one that
does not exist.
"""

from __future__ import annotations

from typing import Final

from ..core.model import Right
from .answers import Refusal
from .models import LogEntry, Subscription
from .objects import Caller, wire_text

#: Versions in one answer: the newest.
MOST_VERSIONS: Final = 1000
#: Characters of values in one answer; the newest version is in it whatever its size.
MOST_TEXT: Final = 16 << 20
_COLUMNS = ("oaio_id", "stamp", "lineage", "values_text", "csh_id", "username", "device_id", "app_id")


def announced_versions(caller: Caller, oaio_id: str) -> str:
    """The JSON text of the newest announced versions, newest first; each is spelled as an object of the listing is.

    Only those since the object's last registration: an id that was deleted and is registered anew is another object,
    whose users have no right on the old one. Raises Refusal 404.
    """
    right = Subscription.objects.filter(oaio__oaio_id=oaio_id, user=caller.user).values_list("right", flat=True).first()
    if right is None:
        raise Refusal(404, "NotFound", "You have no object with this oaio_id.")
    return "[" + ",".join(_entries(oaio_id, Right(right))) + "]"


def _entries(oaio_id: str, right: Right) -> list[str]:
    log = LogEntry.objects.filter(oaio_id=oaio_id)
    began = log.filter(action="register").order_by("-pk").values_list("pk", flat=True).first()
    entries = log.filter(pk__gte=began or 0).exclude(action__in=("delete", "wiped")).order_by("-pk")
    texts: list[str] = []
    size = 0
    for row in entries.values_list(*_COLUMNS)[:MOST_VERSIONS].iterator(chunk_size=50):
        text = wire_text([*row, right.value], lineage=True)
        size += len(text)
        if texts and size > MOST_TEXT:
            break
        texts.append(text)
    return texts
