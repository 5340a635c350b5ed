"""What the server remembers; each column is explained here and nowhere else.

Must not know HTTP. Users and sessions are Django's own (``auth_user``, ``django_session``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.conf import settings
from django.db import models

if TYPE_CHECKING:
    from datetime import datetime
    from typing import TypeAlias

    from django.contrib.auth.models import User

    Text: TypeAlias = models.TextField[str, str]
    Char: TypeAlias = models.CharField[str, str]
    Integer: TypeAlias = models.BigIntegerField[int, int]
    OptionalInteger: TypeAlias = models.BigIntegerField[int | None, int | None]

_STAMP = 20


class OaioObject(models.Model):
    """The newest announced version of one object."""

    oaio_id: Text = models.TextField(unique=True)
    #: The id as the storage host compares names (``storage.paths.fold``), so that no two objects share a folder there.
    #: Of objects from before this was seen to, all but the oldest have one here that is no name.
    folded: Text = models.TextField(unique=True)
    creator_id: int
    creator: models.ForeignKey[User, User] = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="created_objects"
    )
    stamp: Char = models.CharField(max_length=_STAMP)
    #: The values' JSON text exactly as the client sent it: key order, spelling of numbers and all.
    values_text: Text = models.TextField()
    csh_id: Text = models.TextField(blank=True)
    #: Stamps of the versions that this one was made from, each from the next, as their authors said; blanks between.
    lineage: Text = models.TextField(blank=True, default="")
    #: Who announced this version, from which device and app.
    username: Text = models.TextField()
    device_id: Text = models.TextField(blank=True)
    app_id: Text = models.TextField(blank=True)


class Subscription(models.Model):
    """One user's right on one object; no row means no right. The key is the ``Pid`` of the wire."""

    oaio: models.ForeignKey[OaioObject, OaioObject] = models.ForeignKey(
        OaioObject, on_delete=models.CASCADE, related_name="subscriptions"
    )
    user_id: int
    user: models.ForeignKey[User, User] = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="subscriptions"
    )
    #: C, D, U or r as in ``core.model.Right``.
    right: Char = models.CharField(max_length=1)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["oaio", "user"], name="one_right_per_user")]  # noqa: RUF012


class Holding(models.Model):
    """One user's right on the stored files of an object that they do not subscribe: not yet, or not any more.

    Who is the first to store something for an id has right C there, and nobody else any, until it is registered. Of a
    deleted object those rows tell who subscribed it then. Who ended the own subscription may read what there was then,
    for it is in their trash and may come back from there as an object of their own. Registering the id takes all of
    them away. An id without a row, of which something is stored all the same, is nobody's.
    """

    #: As in OaioObject.
    folded: Text = models.TextField()
    oaio_id: Text = models.TextField()
    user_id: int
    user: models.ForeignKey[User, User] = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="holdings"
    )
    #: C, D, U or r as in ``core.model.Right``.
    right: Char = models.CharField(max_length=1)
    #: Of who ended the own subscription: the last version of theirs; '' of all others.
    until: Char = models.CharField(max_length=_STAMP, blank=True, default="")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["folded", "user"], name="one_holding_per_user")]  # noqa: RUF012


class LogEntry(models.Model):
    """One accepted change. Kept when the object is deleted, so what was replaced can be found again.

    Of a wiped user's changes nothing is kept but that there were versions of these stamps: they stay as they are on the
    storage host.
    """

    oaio_id: Text = models.TextField(db_index=True)
    #: register, upload, delete or wiped.
    action: Char = models.CharField(max_length=10)
    #: The announced stamp; of a delete, the stamp that was current.
    stamp: Char = models.CharField(max_length=_STAMP)
    #: The stamp that was current before, '' for a register.
    replaced_stamp: Char = models.CharField(max_length=_STAMP, blank=True)
    #: As in OaioObject; what a later version was made from is looked up here.
    lineage: Text = models.TextField(blank=True, default="")
    #: The values announced; of a delete, the last ones.
    values_text: Text = models.TextField()
    csh_id: Text = models.TextField(blank=True)
    username: Text = models.TextField(db_index=True)
    device_id: Text = models.TextField(blank=True)
    app_id: Text = models.TextField(blank=True)
    received: models.DateTimeField[datetime, datetime] = models.DateTimeField(auto_now_add=True)

    class Meta:
        # asked for each file that is stored
        indexes = [models.Index(fields=["oaio_id", "stamp"], name="versions_by_stamp")]  # noqa: RUF012


class StorageHost(models.Model):
    """What ``csh_args/<csh_id>`` hands out: to *user*, or to all users who have none of their own (user NULL)."""

    csh_id: Char = models.CharField(max_length=200)
    user: models.ForeignKey[User | None, User | None] = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.CASCADE, related_name="storage_hosts"
    )
    root_folder: Text = models.TextField(blank=True)
    email: Text = models.TextField()
    #: In clear, because clients get it in clear: the data directory is 0700 and this file 0600 for that reason. '' for
    #: an account on this very server, where each user gets a login of their own (``storage.logins``).
    password: Text = models.TextField(blank=True)
    #: Where the host is; '' means: the account of that email on this very server.
    base_url: Text = models.TextField(blank=True)

    class Meta:
        constraints = [  # noqa: RUF012
            models.UniqueConstraint(fields=["csh_id", "user"], name="one_host_per_user"),
            models.UniqueConstraint(fields=["csh_id"], condition=models.Q(user=None), name="one_host_for_all"),
        ]


class StorageAccount(models.Model):
    """An account on the storage host that this server runs itself."""

    email: Text = models.TextField(unique=True)
    password_hash: Text = models.TextField()
    #: Name of the folder below ``storage/``; also the id of the account's only mount.
    directory: Char = models.CharField(max_length=36, unique=True)
    #: Bytes; NULL: as much as the disk holds.
    quota: OptionalInteger = models.BigIntegerField(null=True)


class StoredFile(models.Model):
    """What is known of one stored file beyond the plain file itself.

    Valid only while *inode*, *size* and *mtime_ns* are the plain file's; a row that fails this is made anew from the
    file, so the table may be lost, and files may be restored from a backup, without harm.
    """

    account: models.ForeignKey[StorageAccount, StorageAccount] = models.ForeignKey(
        StorageAccount, on_delete=models.CASCADE, related_name="files"
    )
    #: Below the account's folder, ``a/b/c``, as spelled on disk.
    path: Text = models.TextField()
    #: Text, because some file systems use all 64 bits.
    inode: Char = models.CharField(max_length=20)
    size: Integer = models.BigIntegerField()
    mtime_ns: Integer = models.BigIntegerField()
    md5: Char = models.CharField(max_length=32)
    #: The file's time as clients see it, milliseconds since the epoch: hard links share a plain file's own.
    modified: Integer = models.BigIntegerField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["account", "path"], name="one_row_per_file")]  # noqa: RUF012
        # all sizes of an account are summed up from this index alone
        indexes = [models.Index(fields=["account", "size"], name="sizes_by_account")]  # noqa: RUF012
