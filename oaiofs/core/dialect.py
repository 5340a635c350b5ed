"""The wire's spellings of an object, in one table, and the only two functions that read and write it.

Two models of the wire are in the field: the classic one (``C D U r x``, ``_name``, ``_root_path``, ``_file_paths``)
and a half-released newer one (``CaR`` …, ``_name_VaK`` …, ``registerA`` …), whose code and documentation differ in one
key. A server of one age hands out what clients of the other age stored, so rights and value keys are told apart
independently; inside oaiofs everything is classic, and so is what a new object is written in.

Pure, and suspicious: what comes in was written by strangers. Must not know how it came (HTTP, JSON text) nor what is
done with it. Facts: the wire protocol of ``ae_oaio_model`` 0.3.13 and 0.3.18, see ``remote.contract``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from .. import errors
from . import names, sidecar, stamps
from .model import FILES_KEY, NAME_KEY, ROOT_PATH_KEY, OaioId, Outgoing, RemoteObject, Right, Stamp

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

#: The keys of an object on the wire; the existing client breaks on one more or less.
WIRE_KEYS: Final = (
    "oaio_id", "client_stamp", "server_stamp", "client_values", "server_values",
    "csh_id", "username", "device_id", "app_id", "csh_access_right",
)  # fmt: skip

_MAX_ID_CHARS = 2000
_MAX_TEXT_CHARS = 2000
_MAX_DEPTH = 100
_MAX_LINEAGE = 1000
#: Bits of a number that could be longer than the digits a sidecar may hold.
_MAX_BITS = math.ceil(sidecar.MAX_DIGITS * math.log2(10))


@dataclass(frozen=True, slots=True)
class Spelling:
    """How one dialect writes rights and the reserved keys of values."""

    rights: Mapping[Right, str]
    keys: Mapping[str, str]


_CLASSIC_RIGHTS = {right: right.value for right in Right}
_NEWER_RIGHTS = {right: right.value + "aR" for right in Right}
_CLASSIC_KEYS = {key: key for key in (NAME_KEY, ROOT_PATH_KEY, FILES_KEY)}
_NEWER_KEYS = {NAME_KEY: "_name_VaK", ROOT_PATH_KEY: "_root_VaK", FILES_KEY: "_files_VaK"}
#: The other spelling of one key; where an object has both, this one is a key like any of its user's.
_OTHER_ROOT_KEY = "_root_path_VaK"
_NEWER_KEYS_TOO = {**_NEWER_KEYS, ROOT_PATH_KEY: _OTHER_ROOT_KEY}

#: Every dialect by the name that ``RemoteObject.dialect`` and ``Outgoing.dialect`` carry.
DIALECTS: Final[Mapping[str, Spelling]] = {
    "classic": Spelling(_CLASSIC_RIGHTS, _CLASSIC_KEYS),
    "newer": Spelling(_NEWER_RIGHTS, _NEWER_KEYS),
    "newer-keys": Spelling(_CLASSIC_RIGHTS, _NEWER_KEYS),
    "newer-rights": Spelling(_NEWER_RIGHTS, _CLASSIC_KEYS),
    "newer-root-path": Spelling(_NEWER_RIGHTS, _NEWER_KEYS_TOO),
    "newer-keys-root-path": Spelling(_CLASSIC_RIGHTS, _NEWER_KEYS_TOO),
}

#: What servers are asked to do with an object, as the last part of the address, and as the newer model names it.
ACTIONS: Final[Mapping[str, str]] = {"register": "registerA", "upload": "uploadA", "delete": "deleteA"}

_RIGHT_OF = {text: right for spelling in DIALECTS.values() for right, text in spelling.rights.items()}


def read_right(raw: object) -> Right:
    """The right that *raw* spells, in any dialect. Raises Protocol."""
    if isinstance(raw, str) and raw in _RIGHT_OF:
        return _RIGHT_OF[raw]
    raise errors.Protocol(f"{_shown(raw)} is no access right")


def write_right(right: Right, dialect: str = "classic") -> str:
    """*right* in the spelling of *dialect*."""
    return DIALECTS[dialect].rights[right]


def of_server(listed: Iterable[RemoteObject]) -> str:
    """The dialect for what is asked of a server that lists these: whose rights it spells the newer way is newer."""
    newer = any(DIALECTS[one.dialect].rights is _NEWER_RIGHTS for one in listed)
    return "newer-rights" if newer else "classic"


def read_object(raw: object) -> RemoteObject:
    """One object off the wire, checked through and through.

    Raises Protocol with a sentence saying what is wrong with it. File paths that could do harm are left out and named
    in the result's *skipped*; anything else that is wrong makes the object unusable. Keys beyond the known are ignored.
    """
    if not isinstance(raw, dict):
        raise errors.Protocol(f"an object must be a JSON object, not {_kind(raw)}")
    oaio_id = read_id(raw.get("oaio_id"))
    raw_stamp = raw.get("client_stamp")
    stamp = stamps.parse(raw_stamp)
    if stamp is None:
        raise errors.Protocol(f"client_stamp of object {oaio_id} is {_shown(raw_stamp)}, which is no stamp")
    right_text = raw.get("csh_access_right")
    right = read_right(right_text)
    wire_values = raw.get("client_values")
    if not isinstance(wire_values, dict):
        raise errors.Protocol(f"client_values of object {oaio_id} {values_problem(wire_values)}")
    dialect = _dialect_of(str(right_text), wire_values)
    values = _translate(wire_values, {wire: ours for ours, wire in DIALECTS[dialect].keys.items()})
    paths = values.pop(FILES_KEY, [])  # judged one by one: a bad path does not spoil the object
    problem = values_problem(values)
    if problem is not None:
        raise errors.Protocol(f"client_values of object {oaio_id} {problem}")
    file_paths, skipped = names.check_paths(paths)
    return RemoteObject(
        oaio_id=oaio_id,
        stamp=stamp,
        values=values,
        file_paths=file_paths,
        right=right,
        csh_id=_read_text(raw, "csh_id", oaio_id),
        username=_read_text(raw, "username", oaio_id),
        device_id=_read_text(raw, "device_id", oaio_id),
        app_id=_read_text(raw, "app_id", oaio_id),
        dialect=dialect,
        skipped=skipped,
        lineage=_read_lineage(raw.get("lineage")),
    )


def _read_lineage(raw: object) -> tuple[Stamp, ...]:
    """The versions that one was made from; only self-hosted servers tell, and nonsense tells nothing."""
    if not isinstance(raw, list):
        return ()
    read = [stamps.parse(one) for one in raw[:_MAX_LINEAGE]]
    return tuple(one for one in read if one is not None) if None not in read else ()


def read_id(raw: object) -> OaioId:
    """*raw* as an object's id: one part of a storage path, without controls and surrogates, at most 2000 characters.

    Raises Protocol. A valid id may still hold more bytes than a local file name may have. Honest ids are defused (they
    hold look-alikes of ``/``), so one with a real slash is a stranger's try to reach into another object's folder.
    """
    if not isinstance(raw, str) or not raw:
        raise errors.Protocol(f"an object's id is {_shown(raw)} instead of a text")
    problem = _text_problem(raw, _MAX_ID_CHARS)
    if problem is not None:
        raise errors.Protocol(f"the object id {_shown(raw)} {problem}")
    if "/" in raw or raw in (".", ".."):
        raise errors.Protocol(f"the object id {_shown(raw)} would be another folder's path")
    return OaioId(raw)


def write_object(outgoing: Outgoing, *, username: str, device_id: str, app_id: str) -> dict[str, Any]:
    """*outgoing* as the dict that ``register/`` and ``upload/`` take, in the dialect the object is kept in.

    The list of attached files is there only where there are some. Raises InvalidSidecar where a user's key clashes
    with the dialect's spelling of a reserved one.
    """
    spelling = DIALECTS[outgoing.dialect]
    return {
        "oaio_id": outgoing.oaio_id,
        "client_stamp": outgoing.stamp,
        "server_stamp": outgoing.base,
        "client_values": _wire_values(outgoing.values, outgoing.file_paths, spelling),
        "server_values": _wire_values(outgoing.base_values, outgoing.base_file_paths, spelling),
        "csh_id": outgoing.csh_id,
        "username": username,
        "device_id": device_id,
        "app_id": app_id,
        "csh_access_right": spelling.rights[outgoing.right],
    }


def values_problem(values: object) -> str | None:
    """Why *values* can't be an object's values, or None.

    They must be a dict with text keys, of what JSON can hold exactly, nested at most 100 deep, without lone surrogates
    (no UTF-8 for those) and without infinities, and not larger than a sidecar can be.
    """
    if not isinstance(values, dict):
        return f"must be a JSON object, not {_kind(values)}"
    pending: list[tuple[object, int]] = [(values, 1)]
    size = -1  # nothing follows the outermost
    while pending:
        node, depth = pending.pop()
        # What each takes in a sidecar at least: itself, a text with its quotes, and what divides it from the next.
        size += len(node) + 3 if isinstance(node, str) else 2
        problem = _node_problem(node, depth)
        if problem is not None:
            return problem
        if size > sidecar.MAX_BYTES:
            return f"are larger than {sidecar.MAX_BYTES} bytes"
        pending.extend((child, depth + 1) for child in _children(node))
    return None


def _node_problem(node: object, depth: int) -> str | None:
    if isinstance(node, str):
        return "hold half a character (a lone surrogate)" if _has_surrogate(node) else None
    if isinstance(node, float):
        return None if math.isfinite(node) else "hold a number that is not finite"
    if isinstance(node, dict):
        if not all(isinstance(key, str) for key in node):
            return "hold a key that is no text"
    elif not isinstance(node, list):
        if isinstance(node, int) and node.bit_length() > _MAX_BITS:
            return f"hold a number of more than {sidecar.MAX_DIGITS} digits"
        return None if isinstance(node, int | None) else f"hold {_kind(node)}"
    return f"are nested deeper than {_MAX_DEPTH} levels" if depth > _MAX_DEPTH else None


def _children(node: object) -> Iterator[object]:
    if isinstance(node, dict):
        yield from node
        yield from node.values()
    elif isinstance(node, list):
        yield from node


def _dialect_of(right_text: str, values: Mapping[str, Any]) -> str:
    newer_rights = right_text in _NEWER_RIGHTS.values()
    # An object with both spellings was surely not written by a newer client, which knows no classic key.
    newer = {*_NEWER_KEYS.values(), _OTHER_ROOT_KEY}
    newer_keys = not values.keys().isdisjoint(newer) and values.keys().isdisjoint(_CLASSIC_KEYS)
    # Without any reserved key the right alone decides: what is added later is then in the spelling of its time.
    newer_keys = newer_keys or (newer_rights and values.keys().isdisjoint(_CLASSIC_KEYS))
    if newer_keys and _OTHER_ROOT_KEY in values and _NEWER_KEYS[ROOT_PATH_KEY] not in values:
        return "newer-root-path" if newer_rights else "newer-keys-root-path"
    return {
        (False, False): "classic",
        (True, True): "newer",
        (False, True): "newer-keys",
        (True, False): "newer-rights",
    }[newer_rights, newer_keys]


def _translate(values: Mapping[str, Any], keys: Mapping[str, str]) -> dict[str, Any]:
    """*values* with some top keys renamed, in the same order."""
    return {keys.get(key, key): value for key, value in values.items()}


def _wire_values(values: Mapping[str, Any], file_paths: tuple[str, ...], spelling: Spelling) -> dict[str, Any]:
    for ours, wire in spelling.keys.items():
        if wire != ours and wire in values:
            raise errors.InvalidSidecar(f"the key {wire!r} is reserved in this object: use {ours!r} instead")
    if spelling.keys is _NEWER_KEYS and _OTHER_ROOT_KEY in values and ROOT_PATH_KEY not in values:
        raise errors.InvalidSidecar(f"the key {_OTHER_ROOT_KEY!r} is reserved in this object: use {ROOT_PATH_KEY!r}")
    translated = _translate({key: value for key, value in values.items() if key != FILES_KEY}, spelling.keys)
    if file_paths:
        translated[spelling.keys[FILES_KEY]] = list(file_paths)
    return translated


def _read_text(raw: Mapping[str, Any], key: str, oaio_id: str) -> str:
    """A short text that may be missing or null."""
    text = raw.get(key)
    if text is None:
        return ""
    if not isinstance(text, str):
        raise errors.Protocol(f"{key} of object {oaio_id} is {_kind(text)} instead of a text")
    problem = _text_problem(text, _MAX_TEXT_CHARS)
    if problem is not None:
        raise errors.Protocol(f"{key} of object {oaio_id} {problem}")
    return text


def _text_problem(text: str, max_chars: int) -> str | None:
    if len(text) > max_chars:
        return f"has more than {max_chars} characters"
    if _has_surrogate(text):
        return "holds half a character (a lone surrogate)"
    if any(ord(char) < 0x20 or 0x7F <= ord(char) < 0xA0 for char in text):
        return "holds control characters"
    return None


def _has_surrogate(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False


def _kind(raw: object) -> str:
    """What *raw* is, in JSON's words."""
    if raw is None:
        return "null"
    if isinstance(raw, bool):
        return "a truth value"
    kinds = {str: "a text", int: "a number", float: "a number", list: "a list", dict: "a JSON object"}
    return kinds.get(type(raw), type(raw).__name__)


def _shown(raw: object) -> str:
    """*raw* short and printable, for a sentence."""
    return ascii(raw[:60]) if isinstance(raw, str) else _kind(raw)
