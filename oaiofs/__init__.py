"""oaiofs: your oaio objects as directories, in a FUSE file system that never loses an edit.

The map of the code, from the outside in; imports point down only (``tests/test_layers.py`` keeps it so):

    cli, demo, doctor      parse, call, print; everything on one machine; what is wrong with this machine
    mount, control, config composition root; the running mount's local socket; settings
    status                 what is going on, as one JSON object
    fuse                   the kernel's requests, translated; the one errno boundary
    progress               what travels and what waits, cheap to ask
    client                 the library door: OaioClient
    session                a client root opened for its account, and the way to its servers
    verbs                  what commands ask of a client root, mounted or not
    vfs | sync             what each operation in the mount means | when versions travel; they meet in cache
    transfer               how one object's bytes and versions travel
    cache | remote         what this machine remembers | the oaio server and the storage hosts
    core                   pure: what an object is, how it is named, shown, merged and planned
    callers, mountinfo     who waits in the mount, what the kernel has mounted
    rootpaths              what ``_root_path`` means here
    power                  whether this machine runs on battery
    credentials            passwords; clientroots: where the copies on this machine are
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

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .client import OaioClient as OaioClient

__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    """``oaiofs.OaioClient`` comes when it is asked for: commands and the server don't need it, nor what it needs."""
    if name == "OaioClient":
        from .client import OaioClient

        return OaioClient
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
