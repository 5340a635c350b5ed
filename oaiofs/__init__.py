"""oaiofs: your oaio objects as directories, in a FUSE file system that never loses an edit.

The map of the code, from the outside in; imports point down only (``tests/test_layers.py`` keeps it so):

    cli, demo              parse, call, print; everything on one machine
    mount, control, config composition root; the running mount's local socket; settings
    status                 what is going on, as one JSON object
    fuse                   the kernel's requests, translated; the one errno boundary
    vfs | sync             what each operation in the mount means | when versions travel; they meet in cache
    transfer               how one object's bytes and versions travel
    cache | remote         what this machine remembers | the oaio server and the storage hosts
    core                   pure: what an object is, how it is named, shown, merged and planned
    callers, mountinfo     who waits in the mount, what the kernel has mounted; credentials: passwords
    errors                 every way to refuse

    server/                the self-hosted oaio server and storage host; uses core and errors only

Invariants worth knowing before changing anything:

- **No edit is ever lost.** Whatever a program was told is written is in an ordinary file below the client root, and the
  database says that it is dirty before the first byte of it changes.
- **Observations, not work.** What is to be done is derived from what was agreed last and what is here now.
- **Deciding is pure.** ``core.plan`` decides, the edges act; there is no decision in an ``except``.
- **An inode never changes from outside.** A remote version gives the name a new inode.
- **Nothing waits for the network** but open, read and what the user asked for.
"""

__version__ = "0.1.0"
