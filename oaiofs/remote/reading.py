"""Lists in an oaio server's answers: what of them can be used, and what has to be left out. Pure.

Must not know how they came.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from .. import errors
from ..core import dialect
from ..core.leftout import LeftOut
from ..core.model import Listing

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..core.model import OaioId, RemoteObject, Right, Stamp

log = logging.getLogger(__name__)


def read_listing(elements: Iterable[object]) -> Listing:
    """All objects that can be used, each once in its newest version, and what was left out of the answer."""
    objects: dict[OaioId, RemoteObject] = {}
    skipped = LeftOut("objects of the server's list")
    for number, element in enumerate(elements, start=1):
        try:
            if isinstance(element, errors.Protocol):
                raise element
            listed = dialect.read_object(element)
        except errors.Protocol as error:
            skipped.add(f"object {number} of the server's list", str(error))
            continue
        known = objects.get(listed.oaio_id)
        if known is not None:
            skipped.add(f"object {number} of the server's list", f"{listed.oaio_id} is listed twice")
        if known is None or known.stamp < listed.stamp:
            objects[listed.oaio_id] = listed
    return Listing(tuple(objects.values()), skipped.all)


def read_versions(oaio_id: OaioId, elements: Iterable[object]) -> tuple[RemoteObject, ...]:
    """The usable versions of one object, each stamp once, the newest first."""
    versions: dict[Stamp, RemoteObject] = {}
    unusable = 0
    for element in elements:
        try:
            if isinstance(element, errors.Protocol):
                raise element
            one = dialect.read_object(element)
        except errors.Protocol:
            unusable += 1
            continue
        if one.oaio_id == oaio_id:
            versions.setdefault(one.stamp, one)
    if unusable:
        log.warning("%d logged versions of %.200s are left out: they can't be read", unusable, oaio_id)
    return tuple(versions[stamp] for stamp in sorted(versions, reverse=True))


def read_subscriber(entry: object) -> dict[str, Right]:
    """One user's name and right. Raises Protocol."""
    if isinstance(entry, errors.Protocol):
        raise entry
    name = entry.get("username") if isinstance(entry, dict) else None
    if not isinstance(entry, dict) or not isinstance(name, str) or not name:
        raise errors.Protocol("it has no user name")
    return {name: dialect.read_right(entry.get("access_right"))}
