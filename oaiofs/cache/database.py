"""The database of a client root: opened, looked through, brought to the present format, its errors in our words.

Must not know what the rows mean, nor what is done about one that is damaged.
"""

from __future__ import annotations

import os
import sqlite3
from importlib import resources
from pathlib import Path
from typing import Any

from ..errors import OaiofsError, StateError
from .room import Room

SCHEMA_VERSION = 5
#: What brings a file from one format to the next; ``schema.sql`` is the newest.
_STEPS = {
    1: """
       CREATE TABLE ancestor (
         object        INTEGER NOT NULL REFERENCES object(key) ON DELETE CASCADE,
         stamp         TEXT NOT NULL,
         agreed_values TEXT NOT NULL,
         files         INTEGER NOT NULL,
         PRIMARY KEY (object, stamp)
       ) STRICT, WITHOUT ROWID;
       CREATE INDEX node_conflict ON node(object) WHERE instr(name, ' (conflict ') > 0;
       """,
    2: "ALTER TABLE object ADD COLUMN rebuilt INTEGER NOT NULL DEFAULT 0;",
    3: "ALTER TABLE object ADD COLUMN restored TEXT;",
    4: """
       ALTER TABLE node ADD COLUMN used INTEGER NOT NULL DEFAULT 0;
       CREATE INDEX node_here ON node(used) WHERE local = 1 AND kind = 0;
       CREATE TABLE pin (
         object INTEGER NOT NULL REFERENCES object(key) ON DELETE CASCADE,
         path   TEXT NOT NULL,
         PRIMARY KEY (object, path)
       ) STRICT, WITHOUT ROWID;
       CREATE TABLE xattr (
         ino   INTEGER NOT NULL REFERENCES node(ino) ON DELETE CASCADE ON UPDATE CASCADE,
         name  TEXT NOT NULL,
         value BLOB NOT NULL,
         PRIMARY KEY (ino, name)
       ) STRICT, WITHOUT ROWID;
       """,
}
_TABLES = {"meta", "object", "base_file", "node", "intent", "conflict"}


class Damaged(StateError):
    """What the state file has in it is no database of ours any more; *reason* is what shows that."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"the state file is damaged ({reason}): the next mount makes it again from the working copies")
        self.reason = reason


class Connection(sqlite3.Connection):
    """Says in our words what SQLite could not do: a full disk is the writing program's ENOSPC, not a bug."""

    corrupt = False  # seen to be: the next open looks through it
    room: Room

    def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
        try:
            return super().execute(sql, parameters)
        except sqlite3.Error as error:
            raise self._translated(error) from error

    def executescript(self, sql: str, /) -> sqlite3.Cursor:
        try:
            return super().executescript(sql)
        except sqlite3.Error as error:
            raise self._translated(error) from error

    def executemany(self, sql: str, parameters: Any, /) -> sqlite3.Cursor:
        try:
            return super().executemany(sql, parameters)
        except sqlite3.Error as error:
            raise self._translated(error) from error

    def _translated(self, error: sqlite3.Error) -> OaiofsError:
        translated = _translated(error, self.room)
        self.corrupt |= isinstance(translated, Damaged)
        return translated


def _translated(error: sqlite3.Error, room: Room) -> OaiofsError:
    """SQLite says "full" for ENOSPC of a write only; of a quota, or a file that it can't make longer, "I/O error"."""
    code = getattr(error, "sqlite_errorcode", 0)
    if code & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return Damaged(str(error))
    perhaps = code & 0xFF in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN)
    if code == sqlite3.SQLITE_FULL or (perhaps and room.is_used_up()):
        return room.refused()
    return StateError(f"the state file can't be used: {error}")


def has_bytes(path: Path) -> bool:
    try:
        return path.stat().st_size > 0
    except FileNotFoundError:
        return False


def connect(path: Path, room: Room, *, known: bool) -> Connection:
    """Open or make the database; *known* tells that the client root had one. Raises Damaged, StateError, NoSpace."""
    new = not has_bytes(path)
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    db = sqlite3.connect(path, isolation_level=None, timeout=5, cached_statements=256, factory=Connection)
    db.room = room
    try:
        _prepare(db, path, may_be_empty=new or not known)
    except BaseException:
        db.close()
        raise
    return db


def _prepare(db: Connection, path: Path, *, may_be_empty: bool) -> None:
    """Set the connection up, make the tables of a new file, bring an older one to the present format.

    Raises Damaged, StateError for a newer format.
    """
    version = int(db.execute("PRAGMA user_version").fetchone()[0])
    if version > SCHEMA_VERSION:
        raise StateError(f"{path} was written by a newer oaiofs (format {version}; this one: {SCHEMA_VERSION})")
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = NORMAL")
    db.execute("PRAGMA wal_autocheckpoint = 0")  # a checkpoint waits for the disk: done in a thread instead
    db.execute("PRAGMA foreign_keys = ON")
    db.execute("PRAGMA cache_size = -8192")
    tables = {row[0] for row in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    if version == 0 and not tables:
        if not may_be_empty:
            raise Damaged("its tables are gone")
        schema = resources.files(__package__).joinpath("schema.sql").read_text()
        db.executescript(f"BEGIN; {schema}; PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;")
    elif version == 0 or not tables >= _TABLES:
        raise Damaged(f"tables are missing: {', '.join(sorted(_TABLES - tables)) or 'none'}")
    else:
        for number in range(version, SCHEMA_VERSION):
            db.executescript(f"BEGIN; {_STEPS[number]} PRAGMA user_version = {number + 1}; COMMIT;")


def look_through(db: Connection, label: dict[str, str]) -> None:
    """Raises Damaged for one that SQLite finds fault with, asked only after an end that was not ordered.

    Also for one that lacks what *label* repeats: begun in place of a damaged one, and not even told to be filled.
    """
    if any(meta(db, key) is None for key in ("account", "device_id") if key in label):
        raise Damaged("it has lost what it was of")
    if meta(db, "clean") not in (None, "1"):
        [answer] = db.execute("PRAGMA quick_check(1)").fetchone()
        if answer != "ok":
            raise Damaged(str(answer))


def meta(db: Connection, key: str) -> str | None:
    row = db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
    return None if row is None else str(row[0])
