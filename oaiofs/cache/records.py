"""The rows of the state file as typed, immutable records, and the queries over them.

Must not know the working copies on the disk, nor why a row changes. Each function is one statement or a few; grouping
them into a transaction is the caller's (``store``, ``apply``, ``recover``).
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import json
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ..core.model import FileFact, FileSet, OaioId, Right, Stamp, Values, Version

_ANCESTORS = 16

#: parent of a node that a remote version took the name from while it was open.
DISPLACED = 0


class Kind(enum.IntEnum):
    FILE = 0
    DIRECTORY = 1
    LINK = 2


@dataclass(frozen=True, slots=True)
class Node:
    """One name below an object's directory. See ``schema.sql`` for each field."""

    ino: int
    object: int
    parent: int
    name: str
    kind: Kind
    mode: int
    local: bool
    dirty: bool
    size: int
    md5: str
    mtime_ns: int
    origin: str = ""

    @property
    def fact(self) -> FileFact:
        """What is known of the content; only true of the bytes when not dirty."""
        return FileFact(self.size, self.md5, self.mtime_ns)


@dataclass(frozen=True, slots=True)
class ObjectRecord:
    """One object as this machine knows it. See ``schema.sql`` for each field."""

    key: int
    oaio_id: OaioId | None
    name: str
    folder: str
    ino: int
    sidecar: str
    right: Right
    csh_id: str
    username: str
    device_id: str
    app_id: str
    dialect: str
    values: Values
    shown_values: Values
    base_stamp: Stamp | None
    base_values: Values
    prior: Version | None
    prior_until: Stamp | None
    pending: Version | None
    local_seq: int
    settled_seq: int
    pending_since: float | None
    removed_at: float | None
    draft: dict[str, Any] | None
    orphan: bool
    rebuilt: bool = False
    restored: Version | None = None

    @property
    def dirty(self) -> bool:
        return self.local_seq > self.settled_seq

    @property
    def differs(self) -> bool:
        """Whether something here is not as agreed, as far as is known: changes, or a draft."""
        return self.dirty or self.draft is not None

    @property
    def removed(self) -> bool:
        return self.removed_at is not None


_NODE = "ino, object, parent, name, kind, mode, local, dirty, size, md5, mtime_ns, origin"
_OBJECT = (
    "key, oaio_id, name, folder, ino, sidecar, rights, csh_id, username, device_id, app_id, dialect, local_values, "
    "shown_values, base_stamp, base_values, prior, prior_until, pending, local_seq, settled_seq, pending_since, "
    "removed_at, draft, orphan, rebuilt, restored"
)
_CONFLICT = "object, kind, path, copy, base, mine, theirs, stamp, at"
#: As in the index ``node_conflict`` of the schema, word for word: so the search for copies looks at nothing else.
_MAY_BE_COPY = "instr(name, ' (conflict ') > 0"
_COLUMN_OF = {"right": "rights", "values": "local_values"}
_OBJECT_FIELDS = tuple(field.name for field in dataclasses.fields(ObjectRecord))


def dump(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _node(row: tuple[Any, ...]) -> Node:
    ino, obj, parent, name, kind, mode, local, dirty, size, md5, mtime_ns, origin = row
    return Node(ino, obj, parent, name, Kind(kind), mode, bool(local), bool(dirty), size, md5, mtime_ns, origin)


def _object(row: tuple[Any, ...]) -> ObjectRecord:
    fields = dict(zip(_OBJECT_FIELDS, row, strict=True))
    for name in ("values", "shown_values", "base_values"):
        fields[name] = json.loads(fields[name])
    draft = fields["draft"]
    for name in ("prior", "pending", "restored"):
        fields[name] = None if fields[name] is None else load_version(fields[name])
    fields |= {"right": Right(fields["right"]), "orphan": bool(fields["orphan"])}
    fields["rebuilt"] = bool(fields["rebuilt"])
    fields["draft"] = None if draft is None else json.loads(draft)
    return ObjectRecord(**fields)


def dump_version(version: Version) -> str:
    files = {path: [fact.size, fact.md5, fact.mtime_ns] for path, fact in version.files.items()}
    return dump({"stamp": version.stamp, "values": version.values, "files": files})


@functools.lru_cache(maxsize=2)  # one on its way is looked at over and over, and may have thousands of files
def load_version(text: str) -> Version:
    raw = json.loads(text)
    return Version(raw["stamp"], raw["values"], {path: FileFact(*fact) for path, fact in raw["files"].items()})


# -- nodes ---------------------------------------------------------------------------------------------------


def node(db: sqlite3.Connection, ino: int) -> Node | None:
    row = db.execute(f"SELECT {_NODE} FROM node WHERE ino = ?", (ino,)).fetchone()
    return None if row is None else _node(row)


def child(db: sqlite3.Connection, parent: int, name: str) -> Node | None:
    query = f"SELECT {_NODE} FROM node WHERE parent = ? AND name = ? AND parent > 0"
    row = db.execute(query, (parent, name)).fetchone()
    return None if row is None else _node(row)


def children(db: sqlite3.Connection, parent: int) -> list[Node]:
    return [_node(row) for row in db.execute(f"SELECT {_NODE} FROM node WHERE parent = ? AND parent > 0", (parent,))]


def has_children(db: sqlite3.Connection, parent: int, *, besides: str = "") -> bool:
    query = "SELECT 1 FROM node WHERE parent = ? AND parent > 0 AND name != ? LIMIT 1"
    return db.execute(query, (parent, besides)).fetchone() is not None


def nodes_of(db: sqlite3.Connection, key: int, *, after: int = 0, most: int = -1, dirty: bool = False) -> list[Node]:
    """All nodes of one object, displaced ones too, by inode; or at *most* so many *after* one, or the *dirty* ones."""
    query = f"SELECT {_NODE} FROM node WHERE object = ? AND ino > ? AND dirty >= ? ORDER BY ino LIMIT ?"
    return [_node(row) for row in db.execute(query, (key, after, dirty, most))]


def directories(db: sqlite3.Connection) -> set[int]:
    """Inodes of all folders below objects."""
    return {row[0] for row in db.execute("SELECT ino FROM node WHERE kind = ?", (int(Kind.DIRECTORY),))}


def displaced(db: sqlite3.Connection) -> list[Node]:
    return [_node(row) for row in db.execute(f"SELECT {_NODE} FROM node WHERE parent = 0")]


def highest_ino(db: sqlite3.Connection) -> int:
    """The highest inode number of all objects and nodes; 0 where there are none."""
    query = "SELECT max(coalesce((SELECT max(ino) FROM node), 0), coalesce((SELECT max(ino) FROM object), 0))"
    return int(db.execute(query).fetchone()[0])


def add_node(db: sqlite3.Connection, new: Node) -> None:
    db.execute(
        f"INSERT INTO node ({_NODE}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (new.ino, new.object, new.parent, new.name, int(new.kind), new.mode, int(new.local), int(new.dirty), new.size,
         new.md5, new.mtime_ns, new.origin),
    )  # fmt: skip


def update_node(db: sqlite3.Connection, ino: int, **fields: object) -> None:
    assignments = ", ".join(f"{name} = ?" for name in fields)
    db.execute(f"UPDATE node SET {assignments} WHERE ino = ?", (*fields.values(), ino))


def renumber(db: sqlite3.Connection, old: int, new: int) -> None:
    """Give a node, which is no directory, another inode."""
    db.execute("UPDATE node SET ino = ? WHERE ino = ?", (new, old))


def delete_node(db: sqlite3.Connection, ino: int) -> None:
    db.execute("DELETE FROM node WHERE ino = ?", (ino,))


def has_origins(db: sqlite3.Connection, key: int) -> bool:
    query = "SELECT 1 FROM node WHERE object = ? AND origin != '' LIMIT 1"
    return db.execute(query, (key,)).fetchone() is not None


# -- objects -------------------------------------------------------------------------------------------------


def object_by(db: sqlite3.Connection, column: str, value: object) -> ObjectRecord | None:
    """The object whose *column* (key, ino or oaio_id) is *value*."""
    row = db.execute(f"SELECT {_OBJECT} FROM object WHERE {column} = ?", (value,)).fetchone()
    return None if row is None else _object(row)


def objects(db: sqlite3.Connection, where: str = "1") -> Iterator[ObjectRecord]:
    """All objects, or those that meet a condition of ours, as a stream."""
    for row in db.execute(f"SELECT {_OBJECT} FROM object WHERE {where} ORDER BY key"):
        yield _object(row)


def folders(db: sqlite3.Connection) -> set[str]:
    """The working copies' names of all objects, removed ones too."""
    return {str(row[0]) for row in db.execute("SELECT folder FROM object")}


#: Rows with something that the servers do not know, and those with something to be done, as the index has it.
_UNSENT = "(local_seq > settled_seq OR removed_at IS NOT NULL)"
_OPEN = "local_seq > settled_seq OR removed_at IS NOT NULL OR pending IS NOT NULL"


def unsent(db: sqlite3.Connection) -> tuple[int, float | None]:
    """How many objects have something that the servers do not know, and since when (wall clock, seconds)."""
    count, since = db.execute(f"SELECT count(*), min(pending_since) FROM object WHERE {_UNSENT}").fetchone()
    return int(count), None if since is None else float(since)


def open_keys(db: sqlite3.Connection) -> list[int]:
    """Numbers of the objects with something to be done about them."""
    return [row[0] for row in db.execute(f"SELECT key FROM object WHERE {_OPEN}")]


def drafts(db: sqlite3.Connection) -> int:
    """How many objects have a sidecar whose text is no values."""
    return int(db.execute("SELECT count(*) FROM object WHERE draft IS NOT NULL").fetchone()[0])


def visible_names(db: sqlite3.Connection) -> list[tuple[int, str]]:
    """(inode, display name) of every object in the mount, in name order."""
    return list(db.execute("SELECT ino, name FROM object WHERE removed_at IS NULL ORDER BY name"))


def add_object(db: sqlite3.Connection, new: ObjectRecord) -> None:
    marks = ", ".join("?" * len(_OBJECT_FIELDS))
    row = tuple(_stored(getattr(new, name)) for name in _OBJECT_FIELDS)
    db.execute(f"INSERT INTO object ({_OBJECT}) VALUES ({marks})", row)


def update_object(db: sqlite3.Connection, key: int, **fields: object) -> None:
    """Set fields by their names in ObjectRecord; values dicts, versions and rights are stored as they need."""
    columns = {_COLUMN_OF.get(name, name): _stored(value) for name, value in fields.items()}
    assignments = ", ".join(f"{name} = ?" for name in columns)
    db.execute(f"UPDATE object SET {assignments} WHERE key = ?", (*columns.values(), key))


def _stored(value: object) -> object:
    if isinstance(value, Version):
        return dump_version(value)
    if isinstance(value, Right):
        return value.value
    return dump(value) if isinstance(value, dict) else value


def bump(db: sqlite3.Connection, key: int, now: float) -> None:
    """Note one more local change of the object at wall-clock time *now*."""
    query = "UPDATE object SET local_seq = local_seq + 1, pending_since = coalesce(pending_since, ?) WHERE key = ?"
    db.execute(query, (now, key))


def delete_object(db: sqlite3.Connection, key: int) -> None:
    db.execute("DELETE FROM object WHERE key = ?", (key,))


# -- the agreed version's files ------------------------------------------------------------------------------


def base_files(db: sqlite3.Connection, key: int, *, after: str = "", most: int = -1) -> dict[str, FileFact]:
    """All of them by path, in order; or at *most* so many *after* a path."""
    query = "SELECT path, size, md5, mtime_ns FROM base_file WHERE object = ? AND path > ? ORDER BY path LIMIT ?"
    return {path: FileFact(*fact) for path, *fact in db.execute(query, (key, after, most))}


def base_file(db: sqlite3.Connection, key: int, path: str) -> FileFact | None:
    query = "SELECT size, md5, mtime_ns FROM base_file WHERE object = ? AND path = ?"
    row = db.execute(query, (key, path)).fetchone()
    return None if row is None else FileFact(*row)


def has_base_file(db: sqlite3.Connection, key: int, path: str) -> bool:
    return db.execute("SELECT 1 FROM base_file WHERE object = ? AND path = ?", (key, path)).fetchone() is not None


def base_place(db: sqlite3.Connection, key: int) -> str:
    """Where storage hosts have the agreed version: ``csh_id/oaio_id/stamp``."""
    row = db.execute("SELECT csh_id, oaio_id, base_stamp FROM object WHERE key = ?", (key,)).fetchone()
    return "/".join(map(str, row))


def set_base_files(db: sqlite3.Connection, key: int, files: FileSet, before: FileSet | None = None) -> None:
    """*before* is what they are until now, where the caller knows: then only what differs is written."""
    if before is None:
        db.execute("DELETE FROM base_file WHERE object = ?", (key,))
        before = {}
    gone = ((key, path) for path in before.keys() - files.keys())
    db.executemany("DELETE FROM base_file WHERE object = ? AND path = ?", gone)
    rows = ((key, p, f.size, f.md5, f.mtime_ns) for p, f in files.items() if before.get(p) != f)
    db.executemany("INSERT OR REPLACE INTO base_file VALUES (?, ?, ?, ?, ?)", rows)


# -- versions agreed before it ---------------------------------------------------------------------------------


def keep_ancestor(db: sqlite3.Connection, key: int, stamp: Stamp, values: Values) -> None:
    """Remember the version that stops being the base; of those remembered only the newest few stay."""
    files = "(SELECT count(*) FROM base_file WHERE object = ?)"
    db.execute(f"INSERT OR REPLACE INTO ancestor VALUES (?, ?, ?, {files})", (key, stamp, dump(values), key))
    oldest = "SELECT stamp FROM ancestor WHERE object = ? ORDER BY stamp DESC LIMIT -1 OFFSET ?"
    db.execute(f"DELETE FROM ancestor WHERE object = ? AND stamp IN ({oldest})", (key, key, _ANCESTORS))


def ancestors(db: sqlite3.Connection, key: int) -> dict[Stamp, tuple[Values, int]]:
    """Values and number of files of the remembered versions, by their stamps."""
    rows = db.execute("SELECT stamp, agreed_values, files FROM ancestor WHERE object = ?", (key,))
    return {stamp: (json.loads(values), files) for stamp, values, files in rows}


# -- intents -------------------------------------------------------------------------------------------------


def add_intent(db: sqlite3.Connection, source: str, target: str, inode: int) -> None:
    db.execute("INSERT INTO intent (source, target, inode) VALUES (?, ?, ?)", (source, target, inode))


def intents(db: sqlite3.Connection) -> list[tuple[int, str, str, int]]:
    return list(db.execute("SELECT id, source, target, inode FROM intent ORDER BY id"))


def drop_intents_to(db: sqlite3.Connection, target: str) -> None:
    """What was to be renamed to *target* is removed instead."""
    db.execute("UPDATE intent SET target = '' WHERE target = ?", (target,))


def clear_intent(db: sqlite3.Connection, number: int) -> None:
    db.execute("DELETE FROM intent WHERE id = ?", (number,))


# -- conflicts -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ConflictRecord:
    """The losing side of a real conflict, or what a conflict copy's name can't tell. See ``schema.sql``."""

    object: int
    kind: str
    path: str
    copy: str
    base: str
    mine: str
    theirs: str
    stamp: str
    at: float
    id: int = 0


def add_conflict(db: sqlite3.Connection, new: ConflictRecord) -> None:
    db.execute(
        f"INSERT INTO conflict ({_CONFLICT}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (new.object, new.kind, new.path, new.copy, new.base, new.mine, new.theirs, new.stamp, new.at),
    )


def conflicts(db: sqlite3.Connection, key: int | None = None) -> list[ConflictRecord]:
    """In the order in which they were noted."""
    query = f"SELECT {_CONFLICT}, id FROM conflict"
    where, arguments = ("", ()) if key is None else (" WHERE object = ?", (key,))
    return [ConflictRecord(*row) for row in db.execute(f"{query}{where} ORDER BY id", arguments)]


def update_conflict(db: sqlite3.Connection, number: int, theirs: str, stamp: str) -> None:
    """Another value won over the losing one by now."""
    db.execute("UPDATE conflict SET theirs = ?, stamp = ? WHERE id = ?", (theirs, stamp, number))


def delete_conflict(db: sqlite3.Connection, number: int) -> None:
    db.execute("DELETE FROM conflict WHERE id = ?", (number,))


def perhaps_copies(db: sqlite3.Connection, key: int | None = None) -> list[Node]:
    """The nodes, of one object or of all, whose names may be conflict copies'."""
    query = f"SELECT {_NODE} FROM node WHERE {_MAY_BE_COPY}"
    where, arguments = ("", ()) if key is None else (" AND object = ?", (key,))
    return [found for row in db.execute(query + where, arguments) if (found := _node(row)).parent != DISPLACED]
