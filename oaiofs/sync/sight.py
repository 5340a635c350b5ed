"""What the server was last seen to have, held against what was agreed with it.

Must not know what is done about a difference, nor ask the server itself.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ..cache.records import ObjectRecord
from ..core import lineage, plan
from ..core.model import Listing, OaioId, RemoteObject, Right, Stamp


@dataclass(frozen=True, slots=True)
class Seen:
    """What the last listing said of one object."""

    stamp: Stamp
    right: Right


class Sight:
    """What the last listing said, compared with what was agreed.

    Listings are answers to questions asked some time ago: what was announced or buried from here since the question
    (the *epoch*) is known better here, so the answer does not count for it.
    """

    def __init__(self) -> None:
        self.keys: dict[OaioId, int] = {}
        self.moved: dict[OaioId, RemoteObject] = {}  # versions to take over, whole
        self.unknown: set[OaioId] = set()  # of these: objects never seen here
        self.differing: set[int] = set()  # objects to ask the planner about
        self._seen: dict[OaioId, Seen] = {}
        self._complete = False
        self._epoch = 0
        self._newer: dict[OaioId, int] = {}

    def begin(self) -> None:
        """A listing is being asked for."""
        self._epoch += 1
        self._newer = {oaio_id: epoch for oaio_id, epoch in self._newer.items() if epoch >= self._epoch - 1}

    def take(self, listing: Listing, rows: list[tuple[OaioId, int, Stamp | None]], *, complete: bool) -> None:
        """The answer; *rows* are (id, number, agreed stamp) of all objects here."""
        mine = self.better_known()
        self.keys = {oaio_id: key for oaio_id, key, _ in rows}
        agreed = {oaio_id: stamp for oaio_id, _, stamp in rows}
        kept = {oaio_id: seen for oaio_id, seen in self._seen.items() if oaio_id in mine}
        listed = [one for one in listing.objects if one.oaio_id not in mine]
        self._seen = {one.oaio_id: Seen(one.stamp, one.right) for one in listed} | kept
        self._complete = complete
        self.moved = {one.oaio_id: one for one in listed if agreed.get(one.oaio_id) != one.stamp}
        self.unknown = {i for i, one in self.moved.items() if i not in self.keys and one.right.may_read}
        self.differing = {self.keys[oaio_id] for oaio_id in self.moved if oaio_id in self.keys}
        if complete:
            self.differing |= {key for oaio_id, key in self.keys.items() if oaio_id not in self._seen}

    def better_known(self) -> set[OaioId]:
        """Objects of which the answer that is coming knows less than this device."""
        return {oaio_id for oaio_id, epoch in self._newer.items() if epoch >= self._epoch}

    def of(self, record: ObjectRecord) -> plan.Remote:
        """The observation of one object."""
        if record.oaio_id is None or (record.base_stamp is None and record.oaio_id not in self._seen):
            return plan.ABSENT  # nobody else can have what was never registered
        if record.oaio_id in self._newer and self._newer[record.oaio_id] >= self._epoch:
            return self._seen.get(record.oaio_id, plan.UNKNOWN)
        return plan.observation(record.oaio_id, self._seen, complete=self._complete)

    def pending(self, record: ObjectRecord) -> Stamp | None:
        """The stamp that is pending, unless the server has something else under it: two clocks may agree."""
        pending = record.pending
        listed = None if record.oaio_id is None else self.moved.get(record.oaio_id)
        if pending is None or listed is None or listed.stamp != pending.stamp:
            return None if pending is None else pending.stamp
        return pending.stamp if lineage.is_announced(pending, listed) else None

    def sending(self, oaio_ids: Iterable[OaioId]) -> None:
        """These are being registered just now: the answer that is coming may be of before that, or of after."""
        self._newer |= dict.fromkeys(oaio_ids, self._epoch)

    def announced(self, oaio_id: OaioId, key: int, seen: Seen) -> None:
        self._newer[oaio_id] = self._epoch
        self._seen[oaio_id] = seen
        self.keys[oaio_id] = key
        self.done(oaio_id)

    def adopted(self, oaio_id: OaioId, key: int, stamp: Stamp) -> None:
        """The object is known here now, as number *key*; a version listed since then is the planner's next."""
        self.keys[oaio_id] = key
        listed = self.moved.get(oaio_id)
        if listed is not None:  # one that came back after it was removed here had been forgotten
            self._seen[oaio_id] = Seen(listed.stamp, listed.right)
        self.done(oaio_id, stamp)
        if oaio_id in self.moved:
            self.differing.add(key)

    def done(self, oaio_id: OaioId, stamp: Stamp | None = None) -> None:
        """The listed version, if it still is the one of *stamp*, is the agreed one now."""
        self.unknown.discard(oaio_id)
        if stamp is None or (oaio_id in self.moved and self.moved[oaio_id].stamp == stamp):
            self.moved.pop(oaio_id, None)
            self.differing.discard(self.keys.get(oaio_id, 0))

    def forget(self, record: ObjectRecord) -> None:
        """The object has left: a listing asked for before does not bring it back."""
        self.differing.discard(record.key)
        if record.oaio_id is not None:
            self._newer[record.oaio_id] = self._epoch
            self._seen.pop(record.oaio_id, None)
            self.keys.pop(record.oaio_id, None)
