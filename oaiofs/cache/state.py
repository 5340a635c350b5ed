"""The state file: one SQLite database per client root, opened by one process at a time.

Must not know what the rows mean. Commits are not synced to the disk one by one (WAL, ``synchronous=NORMAL``): they
survive a killed process at once, and a power cut after ``sync_to_disk``, which callers run in a thread.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from typing import Any

from ..errors import Busy, NoSpace, OaiofsError, StateError

SCHEMA_VERSION = 1
_FILE = "state.db"


class State:
    """The open database of one client root, locked against a second process. Not thread-safe: trio thread only."""

    def __init__(self, root: Path) -> None:
        """Make the client root (0700) where missing, lock it, open or create the database.

        Raises Busy when another process has it, StateError when the database is damaged or too new.
        """
        self.root = root
        os.makedirs(root, mode=0o700, exist_ok=True)
        os.chmod(root, 0o700)
        self._lock = _lock(root)
        try:
            self.db = _connect(root / _FILE)
        except BaseException:
            os.close(self._lock)
            raise
        self.clean = self.meta("clean") != "0"  # a new one is
        self.rolled_back = False  # files may have been changed for rows that were not
        self.on_rollback: Callable[[], None] = lambda: None
        self.set_meta("clean", "0")
        self.sync_to_disk()
        self._depth = 0

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All or nothing; may be nested (the outermost commits). Never await inside."""
        if self._depth:
            yield self.db
            return
        self._depth = 1
        self.db.execute("BEGIN IMMEDIATE")
        try:
            yield self.db
            self.db.execute("COMMIT")
        except BaseException:
            if self.db.in_transaction:  # SQLite itself rolls back when the disk is full
                self.db.execute("ROLLBACK")
            self._depth = 0
            self.rolled_back = True
            self.on_rollback()
            raise
        finally:
            self._depth = 0

    def meta(self, key: str) -> str | None:
        row = self.db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return None if row is None else str(row[0])

    def set_meta(self, key: str, value: str) -> None:
        query = "INSERT INTO meta VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value"
        self.db.execute(query, (key, value))

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
        self.set_meta("clean", "1" if clean else "0")
        self.db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self.db.close()
        os.close(self._lock)


class _Connection(sqlite3.Connection):
    """Says in our words what SQLite could not do: a full disk is the writing program's ENOSPC, not a bug."""

    def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
        try:
            return super().execute(sql, parameters)
        except sqlite3.Error as error:
            raise _translated(error) from error

    def executemany(self, sql: str, parameters: Any, /) -> sqlite3.Cursor:
        try:
            return super().executemany(sql, parameters)
        except sqlite3.Error as error:
            raise _translated(error) from error


def _translated(error: sqlite3.Error) -> OaiofsError:
    if getattr(error, "sqlite_errorcode", None) in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE):
        return NoSpace("the disk with the client root is full: make room there")
    return StateError(f"the state file can't be used: {error}")


def _lock(root: Path) -> int:
    descriptor = os.open(root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
        os.close(descriptor)
        raise Busy(
            f"{root} is in use by a running oaiofs{f' (process {holder})' if holder else ''}: unmount that one first, "
            "or give this mount another --client-root"
        ) from None
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, str(os.getpid()).encode(), 0)
    return descriptor


def _connect(path: Path) -> sqlite3.Connection:
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    db = sqlite3.connect(path, isolation_level=None, timeout=5, cached_statements=256, factory=_Connection)
    try:
        version = _prepare(db)
    except (sqlite3.Error, StateError) as error:
        db.close()
        raise StateError(
            f"the state file {path} is damaged ({error.__cause__ or error}): move it away and mount again; "
            "the working copies next to it stay as they are"
        ) from error
    except BaseException:
        db.close()
        raise
    if version != SCHEMA_VERSION:
        db.close()
        raise StateError(f"{path} was written by a newer oaiofs (format {version}; this one: {SCHEMA_VERSION})")
    return db


def _prepare(db: sqlite3.Connection) -> int:
    """Set the connection up and make the tables of a new file; the number of its format."""
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = NORMAL")
    db.execute("PRAGMA wal_autocheckpoint = 0")  # a checkpoint waits for the disk: done in a thread instead
    db.execute("PRAGMA foreign_keys = ON")
    db.execute("PRAGMA cache_size = -8192")
    version = int(db.execute("PRAGMA user_version").fetchone()[0])
    if version == 0:
        schema = resources.files(__package__).joinpath("schema.sql").read_text()
        db.executescript(f"BEGIN; {schema}; PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;")
        version = SCHEMA_VERSION
    return version
