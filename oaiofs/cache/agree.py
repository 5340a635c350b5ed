"""What this device and the server agree on: a version announced from here, a version found to be ours, nothing new.

Each function is one transaction over rows. Must not know how versions travel, nor how one that comes in is merged
(``apply``): only from which version, which is what is remembered here of those agreed before.
"""

from __future__ import annotations

from ..core import lineage
from ..core.model import FileSet, RemoteObject, Stamp, Version
from . import conflicts, labels, records
from .records import ObjectRecord
from .store import Store

_ANCESTOR_CHARS = 1 << 18  # values larger than this are not remembered for each of several versions
NO_PRIOR: dict[str, Version | Stamp | None] = {"prior": None, "prior_until": None}


def agreed(store: Store, record: ObjectRecord) -> Version:
    """The version that this device and the server last agreed on."""
    return Version(record.base_stamp or Stamp(""), record.base_values, store.base_files(record.key))


def merge_base(store: Store, record: ObjectRecord, remote: RemoteObject, files: FileSet) -> Version:
    """What this device and *remote* have in common: the agreed version, or where that is not sure the one before."""
    last, prior = agreed(store, record), record.prior
    if prior is None or last.stamp in remote.lineage or not lineage.may_be_blind(record.base_stamp, remote.stamp):
        return last
    return last if lineage.has_seen(prior, last, remote.values, files) else prior


def settle(
    store: Store,
    key: int,
    seq: int,
    remote: RemoteObject,
    version: Version,
    *,
    before: Version | None = None,
    last_writer_wins: bool = False,
) -> None:
    """The server has *version*, made of the local state numbered *seq*: it is the new base.

    *before* is the base until now, as far as the caller knows, to spare the rows that stay the same.
    *last_writer_wins*: somebody may replace it who never saw it, so what was agreed before is kept for that merge.
    """
    with store.state.transaction():
        record = store.record(key)
        conflicts.forget_lost_copies(store, key)
        store.update_object(key, **(_prior(store, record, version.stamp) if last_writer_wins else NO_PRIOR))
        keep_ancestor(store, record)
        known = before.files if before is not None and before.stamp == record.base_stamp else None
        records.set_base_files(store.db, key, version.files, known)
        store.update_object(
            key, oaio_id=remote.oaio_id, base_stamp=remote.stamp, base_values=dict(version.values), pending=None,
            username=remote.username or record.username, device_id=remote.device_id or record.device_id,
            app_id=remote.app_id or record.app_id, settled_seq=seq, orphan=0, restored=None,
            pending_since=None if record.local_seq == seq else record.pending_since,
        )  # fmt: skip
    if record.local_seq == seq:
        store.settled(key)


def _prior(store: Store, record: ObjectRecord, stamp: Stamp) -> dict[str, Version | Stamp | None]:
    """The version before the one of *stamp*; of several in quick succession the one before them all.

    None before one that restores what a version seemed to have taken back without having seen it: two devices that
    doubt each other's versions would go on for ever.
    """
    if record.prior is None and record.prior_until is not None:
        return NO_PRIOR
    if record.prior is not None and lineage.may_be_blind(record.prior_until, stamp):
        return {"prior": record.prior, "prior_until": record.prior_until}
    if record.base_stamp is None:
        return NO_PRIOR
    return {"prior": agreed(store, record), "prior_until": stamp}


def keep_ancestor(store: Store, record: ObjectRecord) -> None:
    """The version agreed so far stops being the base; somebody may have made another one from it meanwhile."""
    if record.base_stamp is not None and len(records.dump(record.base_values)) <= _ANCESTOR_CHARS:
        records.keep_ancestor(store.db, record.key, record.base_stamp, record.base_values)


def nothing_to_push(store: Store, key: int, seq: int) -> None:
    """The local state numbered *seq* turned out to be the agreed one: a touch, or a save of equal bytes."""
    record = store.record(key)
    store.update_object(key, settled_seq=seq, pending_since=None if record.local_seq == seq else record.pending_since)
    if record.local_seq == seq:
        store.settled(key)


def rebase_on_pending(store: Store, key: int, *, last_writer_wins: bool = False) -> None:
    """The version that was pending is the server's now: only the reply had been lost. See ``settle``."""
    record = store.record(key)
    pending = record.pending
    if pending is None:
        return
    with store.state.transaction():
        store.update_object(key, **(_prior(store, record, pending.stamp) if last_writer_wins else NO_PRIOR))
        keep_ancestor(store, record)
        records.set_base_files(store.db, key, pending.files)
        store.update_object(
            key, base_stamp=pending.stamp, base_values=dict(pending.values), pending=None, restored=None
        )
    labels.write(store, key)
