-- A state file of the first format, as its schema was.

CREATE TABLE meta (
  key   TEXT PRIMARY KEY,  -- 'device_id', 'server', 'user', 'next_ino', 'clean' (1 only after an ordered end), ...
  value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

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
  prior_until   TEXT,                        -- stamp of the version that followed prior
  pending       TEXT,                        -- JSON version being built or announced, its outcome not yet known
  local_seq     INTEGER NOT NULL DEFAULT 0,  -- counts local changes
  settled_seq   INTEGER NOT NULL DEFAULT 0,  -- local_seq of the state last agreed with the server
  pending_since REAL,                        -- wall clock, seconds: the first change that is not settled yet
  removed_at    REAL,                        -- wall clock, seconds: a tombstone; NULL: visible in the mount
  draft         TEXT,                        -- JSON {message,line,column}: the sidecar's text is no values; NULL: it is
  orphan        INTEGER NOT NULL DEFAULT 0   -- 1: the server has it no more, unpushed edits are kept
) STRICT;
CREATE INDEX object_open ON object(key) WHERE local_seq > settled_seq OR removed_at IS NOT NULL OR pending IS NOT NULL;
CREATE UNIQUE INDEX object_name ON object(name) WHERE removed_at IS NULL;

CREATE TABLE base_file (
  object   INTEGER NOT NULL REFERENCES object(key) ON DELETE CASCADE,
  path     TEXT NOT NULL,                    -- relative to the object
  size     INTEGER NOT NULL,                 -- bytes
  md5      TEXT NOT NULL,                    -- lower-case hex; '' where the storage host tells none
  mtime_ns INTEGER NOT NULL,
  PRIMARY KEY (object, path)
) STRICT, WITHOUT ROWID;

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
  origin   TEXT NOT NULL DEFAULT ''          -- placeholder that was renamed here: where the storage host has its bytes,
                                             -- csh_id/oaio_id/stamp/path; '': under its own path in the agreed version
) STRICT;
CREATE UNIQUE INDEX node_name ON node(parent, name) WHERE parent > 0;
CREATE INDEX node_object ON node(object);

CREATE TABLE intent (
  id     INTEGER PRIMARY KEY,
  source TEXT NOT NULL,                      -- relative to the client root
  target TEXT NOT NULL,                      -- likewise; '' means: remove
  inode  INTEGER NOT NULL                    -- st_ino of the source: anything else that stands there is left alone
) STRICT;

CREATE TABLE conflict (
  id      INTEGER PRIMARY KEY,
  object  INTEGER NOT NULL REFERENCES object(key) ON DELETE CASCADE,
  kind    TEXT NOT NULL,                     -- 'value' or 'file'
  path    TEXT NOT NULL,                     -- key path as JSON list, or the file's path
  copy    TEXT NOT NULL,                     -- file: the conflict copy's path; value: ''
  base    TEXT NOT NULL,                     -- value: JSON or '' where missing; file: ''
  mine    TEXT NOT NULL,
  theirs  TEXT NOT NULL,
  stamp   TEXT NOT NULL,                     -- the server's version that won
  at      REAL NOT NULL                      -- wall clock, seconds
) STRICT;
PRAGMA user_version = 1;
INSERT INTO meta VALUES ('account', 'alice https://oaio.example'), ('clean', '1'), ('device_id', 'laptop'),
  ('next_ino', '11000'), ('next_object', '2');
INSERT INTO object VALUES (1, 'oaio Notes', 'Notes', 'Notes.1', 1000, 'values.json', 'C', 'Digi', 'alice', 'laptop',
  'oaiofs', 'classic', '{"_name":"Notes"}', '{"_name":"Notes"}', '20260101000000000000', '{"_name":"Notes"}', NULL, NULL,
  NULL, 1, 1, NULL, NULL, NULL, 0);
