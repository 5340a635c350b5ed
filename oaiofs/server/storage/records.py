"""A file, a folder and a mount as the storage host's JSON tells them."""

from __future__ import annotations

import mimetypes
from typing import Any

from .logins import Login
from .tree import Entry

#: The name that existing clients look for (Digi Storage's in Spain); others go by isPrimary.
MOUNT_NAME = "DIGIstorage"
PRIMARY = "primary"
_MIB = 1024 * 1024

_PERMISSIONS = (
    "READ", "WRITE", "OWNER", "MOUNT", "CREATE_RECEIVER", "CREATE_LINK", "CREATE_ACTION", "COMMENT",
)  # fmt: skip


def content_type(entry: Entry) -> str:
    return "" if entry.is_folder else mimetypes.guess_type(entry.name)[0] or "application/octet-stream"


def file_record(entry: Entry) -> dict[str, Any]:
    record = {
        "name": entry.name,
        "type": "dir" if entry.is_folder else "file",
        "modified": entry.modified,
        "size": entry.size,
        "contentType": content_type(entry),
    }
    return record if entry.is_folder else {**record, "hash": entry.md5}


def mount_record(login: Login, total: int, used: int) -> dict[str, Any]:
    """*total* and *used* are bytes; the wire has MiB."""
    return {
        "id": login.account.directory,
        "name": MOUNT_NAME,
        "type": "device",
        "origin": "hosted",
        "online": True,
        "isPrimary": True,
        "isShared": False,
        "permissions": dict.fromkeys(_PERMISSIONS, True),
        "canWrite": True,
        "canUpload": True,
        "overQuota": used > total,
        "almostOverQuota": used > total * 0.95,
        "capabilities": {},
        "spaceTotal": total // _MIB,
        "spaceUsed": -(-used // _MIB),
        "version": 1,
        "owner": user_record(login),
        "users": [],
        "groups": [],
        "userAdded": 0,
    }


def user_record(login: Login) -> dict[str, Any]:
    return {"id": login.account.directory, "name": login.email, "email": login.email, "permissions": {}}
