"""What one login may do at which path: finds out where that is and who has which right there, and refuses in words.

Must not know HTTP requests, nor touch files. The rules are ``core.storedfiles``'s. An account's own login may do
everything; for a user's there is nothing but the root folders, the way there, and in them the objects that are theirs.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import cached_property

from django.contrib.auth.models import User

from ...core.storedfiles import STRANGER, Doing, Level, Verdict, on_the_way, outside, verdict
from .. import holdings
from ..answers import Refusal
from .logins import Login
from .paths import Parts, Place, fold, place_of
from .places import roots_of
from .tree import Entry

_ADDING = (Doing.MAKE_FOLDER, Doing.WRITE)


class Access:
    """One request's view of the account that *login* is for."""

    def __init__(self, login: Login) -> None:
        self._login = login

    def check(self, doing: Doing, path: Parts) -> None:
        """Have the login do that with what is at *path*, or is to be there. Raises Refusal 403, 404.

        Who is the first to add something for an id that is not registered makes it theirs, see ``models.Holding``. A
        name that is not known yet is ''.
        """
        if self._login.user is not None:
            _refuse(self._verdict(self._login.user, doing, path))

    def check_copy(self, source: Parts) -> None:
        """The same for reading all that is at *source*, which no folder is that more than one object is in."""
        if self._login.user is not None:
            _refuse(Verdict.WAY if self._place(source).is_way else Verdict.ALLOWED)
            self.check(Doing.READ, source)

    def shown(self, folder: Parts, entries: Iterable[Entry]) -> list[Entry]:
        """Those of a folder's *entries* that the login may see; the folder itself it may."""
        if self._login.user is None or self._place(folder).depth:
            return list(entries)
        return [self.masked((*folder, one.name), one) for one in entries if self._is_shown((*folder, one.name), one)]

    def masked(self, path: Parts, entry: Entry) -> Entry:
        """*entry*, but without a time that would tell when somebody else makes or removes an object."""
        is_way = self._login.user is not None and self._place(path).is_way
        return replace(entry, modified=0) if is_way else entry

    def _is_shown(self, path: Parts, entry: Entry) -> bool:
        place = self._place(path)
        return entry.is_folder if place.is_way else fold(place.object_name) in self._readable

    def _verdict(self, user: User, doing: Doing, path: Parts) -> Verdict:
        place = self._place(path)
        if place.is_way or not place.depth or not place.object_name:
            return on_the_way(doing) if place.is_way or place.depth else outside(doing)
        version = place.version if place.depth > 1 else None
        standing = holdings.standing(user, place.object_name, version)
        if standing == STRANGER and doing in _ADDING:
            holdings.claim(user, place.object_name)  # where that fails: another request of theirs may just have done so
            standing = holdings.standing(user, place.object_name, version)
        return verdict(doing, Level.of(place.depth), standing)

    def _place(self, path: Parts) -> Place:
        return place_of(path, self._roots)

    @cached_property
    def _roots(self) -> tuple[Parts, ...]:
        return roots_of(self._login.account)

    @cached_property
    def _readable(self) -> set[str]:
        return holdings.shown_to(self._login.user) if self._login.user else set()


def _refuse(refused: Verdict) -> None:
    """Raises Refusal where it is one."""
    if refused is Verdict.HIDDEN:
        raise Refusal(404, "NotFound", refused.value)
    if refused is not Verdict.ALLOWED:
        raise Refusal(403, "Forbidden", refused.value)
