"""The state file: one SQLite database per client root, opened by one process at a time.

Must not know what the rows mean. Commits are not synced to the disk one by one (WAL, ``synchronous=NORMAL``): they
survive a killed process at once, and a power cut after ``sync_to_disk``, which callers run in a thread.

A state file that is damaged, or gone from a client root that had one, is set aside in ``damaged/STAMP/`` and replaced
by an empty one; ``rebuild`` says what it was, for ``cache.rebuild`` to fill it. What must outlive that for the client
root as a whole is repeated in ``root.json``.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from ..errors import Busy, NoSpace, OaiofsError, StateError
from .database import Connection, Damaged, connect, has_bytes, look_through, meta
from .room import Reserve, Room, is_full
from .workdir import sync_folder

log = logging.getLogger(__name__)

_FILE = "state.db"
STATE_FILES = (_FILE, _FILE + "-wal", _FILE + "-shm")
DAMAGED = "damaged"
_ROOT_LABEL = "root.json"
#: Nobody but their owner may read these.
PRIVATE = (*STATE_FILES, _ROOT_LABEL, "lock")
#: What belongs to the client root whatever becomes of its state file.
_OF_THE_ROOT = ("account", "login", "device_id", "app_id", "csh_id", "local_only", "next_ino")


class State:
    """The open database of one client root, locked against a second process. Not thread-safe: trio thread only."""

    def __init__(self, root: Path, *, condemned: str = "") -> None:
        """Make the client root (0700) where missing, lock it, open or create the database.

        A damaged database is set aside; it is looked through after an end that was not ordered. *condemned* tells why
        one that opens is of no use all the same. Raises Busy when another process has the client root, StateError when
        the database can't be opened or is too new, NoSpace where the disk is so full that it can't even be opened.
        """
        self.root = root
        os.makedirs(root, mode=0o700, exist_ok=True)
        os.chmod(root, 0o700)
        self.room = Room(root)
        self._lock = _lock(root)
        self._depth = 0
        self.rolled_back = False  # files may have been changed for rows that were not
        self.on_rollback: Callable[[], None] = lambda: None
        try:
            self.db = self._open_sound(condemned)
        except BaseException:
            os.close(self._lock)
            raise
        self._reserve = Reserve(os.fspath(root / _FILE))
        self._undo: list[Callable[[], None]] = []
        self._settled: list[Callable[[], None]] = []
        try:
            self.clean = self.meta("clean") in (None, "1") and not self.rebuild  # a new one is
            self.set_meta("clean", "0")
            self.sync_to_disk()
            for folder in (root, root.parent):  # SQLite makes its log anew at each start, and syncs its name much later
                sync_folder(os.fspath(folder))
            self._checkpoint_if_room()  # a log that gets lost takes the mark of a running process not with it
            self._keep_numbers_apart()
            self._label_root()
        except BaseException:
            self.db.close()
            self._reserve.close()
            os.close(self._lock)
            raise
        self.room.look()

    def _checkpoint_if_room(self) -> None:
        try:
            self.checkpoint()
        except NoSpace as error:
            log.info("no checkpoint on the full disk: %s", error)

    def _open_sound(self, condemned: str) -> Connection:
        path = self.root / _FILE
        try:
            if condemned:
                raise Damaged(condemned)
            if root_label(self.root) and not has_bytes(path):
                raise Damaged("it is gone, or empty")
            db = self._connect(path)
            try:
                look_through(db, root_label(self.root))
            except BaseException:
                db.close()
                raise
            return db
        except Damaged as error:
            return self._start_anew(error.reason)

    def _connect(self, path: Path) -> Connection:
        """Connect; on a full disk with the room that was kept back for it."""
        try:
            return connect(path, self.room, known=bool(root_label(self.root)))
        except NoSpace:
            if not self.room.give_up():
                raise
            return connect(path, self.room, known=bool(root_label(self.root)))

    def _start_anew(self, why: str) -> Connection:
        """Set the state files aside and begin with an empty one, which says that it is to be filled."""
        stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
        names = (f"{DAMAGED}/{stamp}{tail}" for tail in ("", *(f"-{n}" for n in range(2, 1000))))
        place = next(name for name in names if not (self.root / name).exists())
        os.makedirs(self.root / place, mode=0o700)
        for name in STATE_FILES:
            with suppress(FileNotFoundError):
                os.rename(self.root / name, self.root / place / name)
        sentence = (
            f"The state file {self.root / _FILE} was damaged ({why}). It is kept in {self.root / place}, and a new one "
            "was made from the working copies: every edit in them is kept and is merged with the server. Removals "
            "that the server had not been told of yet are not known any more: what they removed comes back."
        )
        log.warning("%s", sentence)
        db = self._connect(self.root / _FILE)
        kept = {**root_label(self.root), "damaged": sentence, "rebuild": place, "clean": "0"}
        db.execute("BEGIN IMMEDIATE")
        db.executemany("INSERT INTO meta VALUES (?, ?)", list(kept.items()))
        db.execute("COMMIT")
        return db

    @property
    def rebuild(self) -> bool:
        """Whether this database is empty in place of one that was set aside."""
        return self.meta("rebuild") is not None

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All or nothing; may be nested (the outermost commits). Never await inside.

        Who catches an error of an inner one goes on with what was before it. What is changed on the disk meanwhile
        belongs to it by ``on_undo``.
        """
        if self._depth:
            with self._savepoint():
                yield self.db
            return
        self._make_ready()
        self.db.execute("BEGIN IMMEDIATE")
        self._depth = 1
        self._undo, self._settled = [], []
        try:
            yield self.db
            self.db.execute("COMMIT")
        except BaseException:
            if self.db.in_transaction:  # SQLite itself rolls back when the disk is full
                self.db.execute("ROLLBACK")
            self._depth = 0
            self.rolled_back = True
            _run_all(reversed(self._undo))
            self.on_rollback()
            raise
        finally:
            self._depth = 0
        _run_all(self._settled)

    def on_undo(self, step: Callable[[], None]) -> None:
        """Have *step* done if the running transaction, if any, comes to nothing; the last given one first."""
        if self._depth:
            self._undo.append(step)

    def on_commit(self, step: Callable[[], None]) -> None:
        """Have *step* done once the running transaction, if any, is committed."""
        if self._depth:
            self._settled.append(step)
        else:
            step()

    def _make_ready(self) -> None:
        """Have room in the write-ahead log: on a full disk by using it anew from its beginning. Cheap else."""
        if self._reserve.is_low() and not self._reserve.restore():
            try:
                self.db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
            except OaiofsError as error:
                log.debug("no checkpoint on the full disk: %s", error)

    def find_room(self) -> bool:
        """Fill up what is kept back for a full disk; True when the disk has room. A few system calls."""
        return self._reserve.restore() & self.room.look()

    @contextmanager
    def _savepoint(self) -> Iterator[None]:
        undo, settled = len(self._undo), len(self._settled)
        self.db.execute("SAVEPOINT nested")
        try:
            yield
        except BaseException:
            if self.db.in_transaction:
                self.db.execute("ROLLBACK TO nested")
                self.db.execute("RELEASE nested")
            self.rolled_back = True
            steps = self._undo[undo:]
            del self._undo[undo:], self._settled[settled:]
            _run_all(reversed(steps))
            self.on_rollback()
            raise
        self.db.execute("RELEASE nested")

    def meta(self, key: str) -> str | None:
        return meta(self.db, key)

    def set_meta(self, key: str, value: str) -> None:
        query = "INSERT INTO meta VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value"
        self.db.execute(query, (key, value))
        if key in _OF_THE_ROOT:
            self._label_root(durable=key != "next_ino")  # that one is set while programs wait

    def forget_meta(self, key: str) -> None:
        self.db.execute("DELETE FROM meta WHERE key = ?", (key,))

    def _keep_numbers_apart(self) -> None:
        """Rows that got lost may have been the ones that say which numbers were given out."""
        following = root_label(self.root).get("next_ino", "")
        if following.isdecimal() and int(following) > int(self.meta("next_ino") or 0):
            self.set_meta("next_ino", following)

    def _label_root(self, *, durable: bool = True) -> None:
        known = {key: value for key in _OF_THE_ROOT if (value := self.meta(key)) is not None}
        if known and known != root_label(self.root):
            data = json.dumps(known, ensure_ascii=False, indent=1).encode()
            _replace(self.root / _ROOT_LABEL, data, durable=durable)

    def examine(self) -> list[str]:
        """What SQLite finds wrong with the file, as sentences. Blocks: call it in a thread (own connection)."""
        own = sqlite3.connect(self.root / _FILE, timeout=5, isolation_level=None)
        try:
            wrong = [str(row[0]) for row in own.execute("PRAGMA integrity_check(20)") if row[0] != "ok"]
            keys = own.execute("PRAGMA foreign_key_check").fetchall()
            return wrong + [f"row {row[1]} of {row[0]} refers to a row of {row[2]} that is not there" for row in keys]
        except sqlite3.DatabaseError as error:
            return [str(error)]
        finally:
            own.close()

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A connection of its own, for queries that take long. For threads. Raises StateError."""
        own = sqlite3.connect(self.root / _FILE, timeout=5, isolation_level=None)
        try:
            own.execute("PRAGMA query_only = ON")
            yield own
        except sqlite3.Error as error:
            raise StateError(f"the state file can't be read: {error}") from error
        finally:
            own.close()

    def sync_to_disk(self) -> None:
        """Make every commit so far durable. Blocks on the disk: call it in a thread (touches no connection)."""
        descriptor = os.open(self.root / (_FILE + "-wal"), os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def checkpoint(self) -> None:
        """Move the write-ahead log into the database. Blocks on the disk: call it in a thread (own connection)."""
        own = sqlite3.connect(self.root / _FILE, timeout=1, isolation_level=None)
        try:
            own.execute("PRAGMA wal_checkpoint(PASSIVE)")
        finally:
            own.close()

    def wal_bytes(self) -> int:
        """Size of the write-ahead log, to decide when a checkpoint is worth it."""
        try:
            return os.stat(self.root / (_FILE + "-wal")).st_size
        except FileNotFoundError:
            return 0

    def close(self, *, clean: bool) -> None:
        """End the use of the client root.

        *clean* says that working copies and rows agree, so that the next start need not compare them.
        """
        try:
            if not self.db.corrupt:
                self.set_meta("clean", "1" if clean else "0")
                self.db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except NoSpace as error:
            log.info("the log of the state file stays for the next start: %s", error)
        finally:
            self.db.close()
            self._reserve.close()
            self.room.look()
            os.close(self._lock)


def _run_all(steps: Iterable[Callable[[], None]]) -> None:
    """Each step, whatever became of the others."""
    for step in steps:
        try:
            step()
        except OSError as error:
            log.error("the working copy could not follow the rows, the next start looks again: %s", error)


def _lock(root: Path) -> int:
    descriptor = os.open(root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
        os.close(descriptor)
        raise Busy(
            f"{root} is in use by a running oaiofs{f' (process {holder})' if holder else ''}: one mount or one program "
            "has a client root at a time, so end that one first, or give this one another (--client-root, client_root=)"
        ) from None
    try:
        os.pwrite(descriptor, f"{os.getpid():<10}".encode(), 0)
    except OSError as error:  # only for people: a full disk does not keep the mount from beginning
        if not is_full(error):
            os.close(descriptor)
            raise
    return descriptor


def root_label(root: Path) -> dict[str, str]:
    """What ``root.json`` says; {} where there is none, or none that can be read."""
    try:
        found = json.loads((root / _ROOT_LABEL).read_bytes())
    except (OSError, ValueError):
        return {}
    if not isinstance(found, dict):
        return {}
    return {key: value for key in _OF_THE_ROOT if isinstance(value := found.get(key), str)}


def _replace(path: Path, data: bytes, *, durable: bool) -> None:
    """Put *data* at *path* by temporary and rename; if *durable*, its bytes are on the disk then, which blocks."""
    temporary = path.with_name(path.name + ".new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        os.write(descriptor, data)
        if durable:
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
    os.rename(temporary, path)
