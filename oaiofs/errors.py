"""Every way in which oaiofs can refuse, in one tree.

This module imports nothing of oaiofs and knows neither FUSE, HTTP nor the command line. Each class carries the
*errno* a program in the mount gets to see and the *exit_code* that a command ends with; both are inherited, so a
new error can't be forgotten. The message is a sentence for the user: what happened, to what, what to do next.
Secrets never go into a message.

    OaiofsError                      EIO           1
    +-- UsageError                   EINVAL        2   the call's words are off
    |   +-- ConfigError                                a setting is missing or has a bad value
    +-- NotMounted                   ENOTCONN      3
    +-- Refused                      EPERM         7   a brake: nothing was done, --yes releases it
    +-- Busy                         EBUSY             in use: client root locked, name being changed
    +-- NotFound                     ENOENT
    +-- Exists                       EEXIST
    +-- NotADirectory                ENOTDIR
    +-- IsADirectory                 EISDIR
    +-- DirectoryNotEmpty            ENOTEMPTY
    +-- CrossesObjects               EXDEV             programs copy and delete instead
    +-- InvalidName                  EINVAL
    |   +-- NameTooLong              ENAMETOOLONG
    +-- InvalidSidecar               EINVAL            values.json is not what it must be; the draft is kept
    +-- NotPermitted                 EPERM             oaiofs has no such thing (hard links, files in the root)
    +-- AccessDenied                 EACCES            your right on this object does not allow it
    +-- ReadOnly                     EROFS
    +-- Unsupported                  EOPNOTSUPP
    +-- NoAttribute                  ENODATA
    +-- NotKnownYet                  EAGAIN            being asked of the server: look again in a moment
    +-- Stale                        ESTALE            this inode's name now stands for something else
    +-- NoSpace                      ENOSPC            this machine's disk is full
    +-- ChangedMeanwhile             EBUSY             nothing is wrong: the version is to be made again
    +-- StateError                   EIO               the local state is damaged or of a newer version
    +-- RemoteError                  EIO               a server or storage host answered something else than it should
        +-- Unreachable              ENETUNREACH   5   no connection, refused, cut, name not found
        |   +-- TimedOut             ETIMEDOUT     6
        +-- Unauthorized             EACCES        4   user name or password not accepted, session over
        +-- Forbidden                EACCES            known user, not allowed
        +-- RemoteNotFound           ENOENT
        +-- RemoteExists             EEXIST
        +-- Conflict                 EBUSY             a precondition failed: look again, then plan again
        +-- RateLimited              EBUSY             asked to wait; retry_after in seconds or None
        +-- ServerFault              EIO               5xx: worth another try
        +-- StorageFull              EDQUOT            413 or over quota: no use in trying again soon
        +-- Protocol                 EIO               not JSON, wrong shape, too large, or nonsense
        +-- Corrupt                  EIO               bytes failed their checksum or length
        +-- ClockSkew                EIO               this clock and the server's are too far apart to sync
"""

from __future__ import annotations

import errno

__all__ = [
    "AccessDenied",
    "Busy",
    "ChangedMeanwhile",
    "ClockSkew",
    "ConfigError",
    "Conflict",
    "Corrupt",
    "CrossesObjects",
    "DirectoryNotEmpty",
    "Exists",
    "Forbidden",
    "InvalidName",
    "InvalidSidecar",
    "IsADirectory",
    "NameTooLong",
    "NoAttribute",
    "NoSpace",
    "NotADirectory",
    "NotFound",
    "NotKnownYet",
    "NotMounted",
    "NotPermitted",
    "OaiofsError",
    "Protocol",
    "RateLimited",
    "ReadOnly",
    "Refused",
    "RemoteError",
    "RemoteExists",
    "RemoteNotFound",
    "ServerFault",
    "Stale",
    "StateError",
    "StorageFull",
    "TimedOut",
    "Unauthorized",
    "Unreachable",
    "Unsupported",
    "UsageError",
]


class OaiofsError(Exception):
    """Anything that oaiofs refuses or fails to do; ``str(error)`` is the sentence for the user."""

    errno: int = errno.EIO
    exit_code: int = 1


class UsageError(OaiofsError):
    errno = errno.EINVAL
    exit_code = 2


class ConfigError(UsageError):
    pass


class NotMounted(OaiofsError):
    errno = errno.ENOTCONN
    exit_code = 3


class Refused(OaiofsError):
    errno = errno.EPERM
    exit_code = 7


class Busy(OaiofsError):
    errno = errno.EBUSY


class NotFound(OaiofsError):
    errno = errno.ENOENT


class Exists(OaiofsError):
    errno = errno.EEXIST


class NotADirectory(OaiofsError):
    errno = errno.ENOTDIR


class IsADirectory(OaiofsError):
    errno = errno.EISDIR


class DirectoryNotEmpty(OaiofsError):
    errno = errno.ENOTEMPTY


class CrossesObjects(OaiofsError):
    errno = errno.EXDEV


class InvalidName(OaiofsError):
    errno = errno.EINVAL


class NameTooLong(InvalidName):
    errno = errno.ENAMETOOLONG


class InvalidSidecar(OaiofsError):
    """The text of a sidecar can't become values.

    *line* and *column* count from 1 (column in characters) and are 0 where no place can be named.
    """

    errno = errno.EINVAL

    def __init__(self, message: str, line: int = 0, column: int = 0) -> None:
        super().__init__(message)
        self.line = line
        self.column = column


class NotPermitted(OaiofsError):
    errno = errno.EPERM


class AccessDenied(OaiofsError):
    errno = errno.EACCES


class ReadOnly(OaiofsError):
    errno = errno.EROFS


class Unsupported(OaiofsError):
    errno = errno.EOPNOTSUPP


class NoAttribute(OaiofsError):
    errno = errno.ENODATA


class NotKnownYet(OaiofsError):
    errno = errno.EAGAIN


class Stale(OaiofsError):
    errno = errno.ESTALE


class NoSpace(OaiofsError):
    errno = errno.ENOSPC


class ChangedMeanwhile(OaiofsError):
    errno = errno.EBUSY


class StateError(OaiofsError):
    pass


class RemoteError(OaiofsError):
    pass


class Unreachable(RemoteError):
    errno = errno.ENETUNREACH
    exit_code = 5


class TimedOut(Unreachable):
    errno = errno.ETIMEDOUT
    exit_code = 6


class Unauthorized(RemoteError):
    errno = errno.EACCES
    exit_code = 4


class Forbidden(RemoteError):
    errno = errno.EACCES


class RemoteNotFound(RemoteError):
    errno = errno.ENOENT


class RemoteExists(RemoteError):
    errno = errno.EEXIST


class Conflict(RemoteError):
    errno = errno.EBUSY


class RateLimited(RemoteError):
    """The host asked to wait; *retry_after* is seconds, or None where it did not say."""

    errno = errno.EBUSY

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class ServerFault(RemoteError):
    pass


class StorageFull(RemoteError):
    errno = errno.EDQUOT


class Protocol(RemoteError):
    pass


class Corrupt(RemoteError):
    pass


class ClockSkew(RemoteError):
    pass
