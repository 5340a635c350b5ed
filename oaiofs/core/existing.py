"""What the existing client (``ae_oaio_client``) has on its disk of one object, read and judged.

    objz/OAIO_ID            the ``repr`` of the object as on the wire, with the last agreed version in it
    filez/OAIO_ID/PATH      the attached files of objects without ``_root_path``
    last_sync_stamp.txt     not needed: each object says what was agreed of it

Pure, and as suspicious as of a server: much of it was written by strangers and only kept there. Must not know the disk.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from .. import errors
from . import dialect, literals, sidecar
from .model import ROOT_PATH_KEY, RemoteObject, Skipped, Stamp, Values

OBJECTS: Final = "objz"
FILES: Final = "filez"
#: Values are there twice, and each character may be escaped.
MOST_BYTES: Final = 4 * sidecar.MAX_BYTES


@dataclass(frozen=True, slots=True)
class Held:
    """One object as the existing client holds it.

    *now* is what it has: the newest local version, *agreed* the one last agreed with the server, None where it was
    never registered. Their stamps differ where something is still to be sent.
    """

    now: RemoteObject
    agreed: RemoteObject | None

    @property
    def unsent(self) -> bool:
        """Whether it has a version that the server was not told of."""
        return self.agreed is None or self.now.stamp > self.agreed.stamp

    @property
    def base_stamp(self) -> Stamp | None:
        return self.agreed.stamp if self.agreed else None

    @property
    def base_values(self) -> Values:
        return self.agreed.values if self.agreed else {}

    @property
    def root_path(self) -> str | None:
        """Where its files are instead of ``filez``, as ``_root_path`` says; None where it does not."""
        text = self.now.values.get(ROOT_PATH_KEY)
        return text if isinstance(text, str) else None

    @property
    def removed(self) -> tuple[str, ...]:
        """The agreed version's files that the unsent one has no more."""
        if not self.unsent or self.agreed is None:
            return ()
        return tuple(path for path in self.agreed.file_paths if path not in self.now.file_paths)

    @property
    def skipped(self) -> tuple[Skipped, ...]:
        return self.now.skipped


def read(name: str, data: bytes) -> Held:
    """The object of the file *name* below ``objz``, whose content is *data*. Raises Protocol where it can't be used."""
    try:
        raw = literals.parse(data.decode(), MOST_BYTES)
    except ValueError as error:  # UnicodeDecodeError is one
        raise errors.Protocol(f"what it holds {error}") from None
    if not isinstance(raw, dict):
        raise errors.Protocol("it holds no object")
    raw |= {key: _as_sent(raw[key]) for key in ("client_values", "server_values") if key in raw}
    now = dialect.read_object({**raw, "csh_access_right": raw.get("csh_access_right") or "C"})
    if now.oaio_id != name:
        raise errors.Protocol(f"it is another object's, {now.oaio_id}")
    if not now.right.may_read:
        raise errors.Protocol("the right to read it was taken away")
    return Held(now, _agreed(raw, now))


def _as_sent(values: object) -> Any:
    """*values* as the server has them from that client: JSON has no tuples, and no keys but texts."""
    try:
        return json.loads(json.dumps(values))
    except (TypeError, ValueError) as error:
        raise errors.Protocol(f"its values can't be sent: {error}") from None


def _agreed(raw: Mapping[str, Any], now: RemoteObject) -> RemoteObject | None:
    if not raw.get("server_stamp"):
        return None
    values = raw.get("server_values")
    right = dialect.write_right(now.right, now.dialect)
    return dialect.read_object(
        {**raw, "client_stamp": raw["server_stamp"], "client_values": values, "csh_access_right": right}
    )
