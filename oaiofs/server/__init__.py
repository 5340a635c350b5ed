"""A self-hosted oaio server with a Koofr-compatible storage host on the same port.

    service    the door: run a server, manage its accounts           (no Django until called)
    process    the server as a child process of this one             (no Django at all)
    site       the data directory and Django's settings for it
    urls       which address is answered by which view
    answers    JSON answers, refusals and the header of every answer
    passwords  how passwords are kept
    throttle   how long a guesser of passwords has to wait
    bodies     PURE: an object as it arrives, checked and kept exact
    models     what is remembered; the schema's prose
    objects    what register, upload, delete and subscribe mean, rights included
    holdings   who has which right on what is stored for an object, registered or not
    api        the oaio endpoints over ``objects``
    storage/   the storage host: paths, index, tree, accounts, access, uploads, views

Invariants: imports of oaiofs are ``core`` and ``errors`` only. Django comes with the optional extra ``server`` and is
imported when a server or its data is opened, not before. One process serves one data directory (a lock sees to it);
accounts may be managed from other processes meanwhile. Nothing is ever changed in place on the storage host.

Under the data directory (0700): ``oaio.sqlite3``, ``secret.key`` (0600), ``storage/<account>/…`` with the stored files
as plain files, ``tmp/`` for what is on its way, ``server.lock``. On the storage host each user has a login of their
own, derived from ``secret.key``, which does what the user's rights on the objects allow. The passwords of storage hosts
elsewhere are in the database in clear, because ``csh_args`` has to hand them out: whoever can read the data directory
can read everything in it.
"""

from .service import Account, add_storage, add_user, delete_user, list_users, run, set_password

__all__ = ["Account", "add_storage", "add_user", "delete_user", "list_users", "run", "set_password"]
