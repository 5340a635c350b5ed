-- What this machine remembers, as SQLite STRICT tables. The authoritative description of every column is here.
--
-- Observations only: what was last agreed with the servers and what is here now. What is to be done is a query over
-- them (dirty = local_seq > settled_seq), so there is no queue that a crash could lose.
-- PRAGMA user_version numbers this schema; a change adds a numbered step in state.py and edits this file to match.

CREATE TABLE meta (
  key   TEXT PRIMARY KEY,  -- 'device_id', 'server', 'user', 'next_ino', 'clean' (1 only after an ordered end), ...
  value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- One row per object: subscribed, made here and not yet registered, or removed here and not yet told to the server.
CREATE TABLE object (
  key           INTEGER PRIMARY KEY,         -- this machine's number for it
  oaio_id       TEXT UNIQUE,                 -- NULL until the first push chooses it; never changes after
  name          TEXT NOT NULL,               -- display name: the directory in the mount's root, unique while visible
  folder        TEXT NOT NULL UNIQUE,        -- its working copy: a folder below objects/, never renamed
  ino           INTEGER NOT NULL UNIQUE,     -- inode of its directory
  sidecar       TEXT NOT NULL,               -- name of the file that shows the values
  rights        TEXT NOT NULL,               -- C D U r
  csh_id        TEXT NOT NULL,
  username      TEXT NOT NULL,               -- of the newest agreed version, like the next two
  device_id     TEXT NOT NULL,
  app_id        TEXT NOT NULL,
  dialect       TEXT NOT NULL,
  local_values  TEXT NOT NULL,               -- JSON: the values here and now
  shown_values  TEXT NOT NULL,               -- JSON: the values that the sidecar's text was made from or accepted as
  base_stamp    TEXT,                        -- version last agreed with the server; NULL: never registered
  base_values   TEXT NOT NULL,               -- JSON: its values: the merge base
  prior         TEXT,                        -- JSON version agreed before base, kept while a server that takes the last
                                             -- writer may yet turn out to have a version that was made from it
  prior_until   TEXT,                        -- stamp of the version that followed prior; with prior NULL: of a version
                                             -- that took back what the next one restores
  pending       TEXT,                        -- JSON version being built or announced, its outcome not yet known
  local_seq     INTEGER NOT NULL DEFAULT 0,  -- counts local changes
  settled_seq   INTEGER NOT NULL DEFAULT 0,  -- local_seq of the state last agreed with the server
  pending_since REAL,                        -- wall clock, seconds: the first change that is not settled yet
  removed_at    REAL,                        -- wall clock, seconds: a tombstone; NULL: visible in the mount
  draft         TEXT,                        -- JSON {message,line,column}: the sidecar's text is no values; NULL: it is
  orphan        INTEGER NOT NULL DEFAULT 0,  -- 1: the server has it no more, unpushed edits are kept
  rebuilt       INTEGER NOT NULL DEFAULT 0,  -- 1: made again from its label and working copy after the rows were lost:
                                             -- placeholders are not known and base_file has only what was surely
                                             -- removed here, so nothing goes out before the server's version came in
  restored      TEXT                         -- JSON version: base was made without the one of this stamp, and this is
                                             -- what came of both; a version made from both was made from this
) STRICT;
CREATE INDEX object_open ON object(key) WHERE local_seq > settled_seq OR removed_at IS NOT NULL OR pending IS NOT NULL;
CREATE UNIQUE INDEX object_name ON object(name) WHERE removed_at IS NULL;

-- The attached files of the version last agreed with the server.
CREATE TABLE base_file (
  object   INTEGER NOT NULL REFERENCES object(key) ON DELETE CASCADE,
  path     TEXT NOT NULL,                    -- relative to the object
  size     INTEGER NOT NULL,                 -- bytes
  md5      TEXT NOT NULL,                    -- lower-case hex; '' where the storage host tells none
  mtime_ns INTEGER NOT NULL,
  PRIMARY KEY (object, path)
) STRICT, WITHOUT ROWID;

-- Versions that were agreed before the present base, the newest few of each object: a writer who did not look at the
-- server may have made a version from one of them. Their files are on the storage host.
CREATE TABLE ancestor (
  object        INTEGER NOT NULL REFERENCES object(key) ON DELETE CASCADE,
  stamp         TEXT NOT NULL,
  agreed_values TEXT NOT NULL,               -- JSON: its values
  files         INTEGER NOT NULL,            -- how many files it had
  PRIMARY KEY (object, stamp)
) STRICT, WITHOUT ROWID;

-- The tree below the objects' directories as the mount shows it. Numbers are never used twice.
CREATE TABLE node (
  ino      INTEGER PRIMARY KEY,
  object   INTEGER NOT NULL REFERENCES object(key) ON DELETE CASCADE,
  parent   INTEGER NOT NULL,                 -- inode of its directory; 0: displaced by a remote version while open,
                                             -- its bytes are at detached/<ino>
  name     TEXT NOT NULL,                    -- for a displaced node: the path that it had
  kind     INTEGER NOT NULL,                 -- 0 file, 1 directory, 2 symbolic link
  mode     INTEGER NOT NULL,                 -- permission bits as the user set them
  local    INTEGER NOT NULL,                 -- 1: the bytes are in the working copy; 0: placeholder
  dirty    INTEGER NOT NULL,                 -- 1: the bytes may differ from what size, md5, mtime_ns say
  size     INTEGER NOT NULL,                 -- bytes: of the placeholder, or of the local bytes when they were hashed
  md5      TEXT NOT NULL,                    -- '' unknown
  mtime_ns INTEGER NOT NULL,                 -- likewise
  origin   TEXT NOT NULL DEFAULT '',         -- placeholder that was renamed here: where the storage host has its bytes,
                                             -- csh_id/oaio_id/stamp/path; '': under its own path in the agreed version
  used     INTEGER NOT NULL DEFAULT 0        -- wall clock, seconds: about when a program last had it open; 0 unknown
) STRICT;
CREATE UNIQUE INDEX node_name ON node(parent, name) WHERE parent > 0;
CREATE INDEX node_object ON node(object);
-- What may be a conflict copy: few of many, looked for at every status.
CREATE INDEX node_conflict ON node(object) WHERE instr(name, ' (conflict ') > 0;

-- Local copies by when they were last used: who is evicted first.
CREATE INDEX node_here ON node(used) WHERE local = 1 AND kind = 0;

-- What is to be kept on this machine, with everything below it. It is a name's, whatever stands there.
CREATE TABLE pin (
  object INTEGER NOT NULL REFERENCES object(key) ON DELETE CASCADE,
  path   TEXT NOT NULL,                      -- relative to the object; '': all of it
  PRIMARY KEY (object, path)
) STRICT, WITHOUT ROWID;

-- The user's extended attributes of files that are not here; of one that is, what they were when it last was not.
CREATE TABLE xattr (
  ino   INTEGER NOT NULL REFERENCES node(ino) ON DELETE CASCADE ON UPDATE CASCADE,
  name  TEXT NOT NULL,                       -- user.…
  value BLOB NOT NULL,
  PRIMARY KEY (ino, name)
) STRICT, WITHOUT ROWID;

-- Changes in the client root that belong to a committed transaction and may not have happened yet.
CREATE TABLE intent (
  id     INTEGER PRIMARY KEY,
  source TEXT NOT NULL,                      -- relative to the client root; '' means: make the folder target
  target TEXT NOT NULL,                      -- likewise; '' means: remove
  inode  INTEGER NOT NULL                    -- st_ino of the source: anything else that stands there is left alone
) STRICT;

-- Losing values of real conflicts, kept until resolved. Conflicts of files are what their copies' names say, on every
-- device; a row of theirs only adds what the name can't tell, and means nothing without the copy.
CREATE TABLE conflict (
  id      INTEGER PRIMARY KEY,
  object  INTEGER NOT NULL REFERENCES object(key) ON DELETE CASCADE,
  kind    TEXT NOT NULL,                     -- 'value' or 'file'
  path    TEXT NOT NULL,                     -- key path as JSON list, or the file's path
  copy    TEXT NOT NULL,                     -- file: the conflict copy's path; value: ''
  base    TEXT NOT NULL,                     -- value: JSON or '' where missing; file: JSON {place,size,md5} of what both
                                             -- sides were made from, place being csh_id/oaio_id/stamp/path; '' unknown
  mine    TEXT NOT NULL,                     -- value: JSON of what lost; file: ''
  theirs  TEXT NOT NULL,                     -- value: JSON of what stands there now, '' where nothing does; file: ''
  stamp   TEXT NOT NULL,                     -- the server's version that won
  at      REAL NOT NULL                      -- wall clock, seconds
) STRICT;
