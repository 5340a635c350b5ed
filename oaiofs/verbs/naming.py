"""What a word of a command means: an object, or a place in one.

A word is [text, path in the mount or null]. The text may be a display name, with a path in the object after it, or an
object's id. Must not know what is then done.
"""

from __future__ import annotations

from collections.abc import Callable

from ..cache.store import Head, Store
from ..core.model import NAME_KEY
from ..errors import NotFound, UsageError

_LEAST_ID = 4
_MOST_NAMED = 10


def read_word(word: object) -> tuple[str, str | None]:
    """The text of a word, and the path in the mount that it is. Raises UsageError."""
    match word:
        case [str(text), (None | str()) as inside]:
            return text, inside
    raise UsageError("what is meant is a text, and the path in the mount that it is")


def place_of(
    store: Store, text: str, inside: str | None, is_there: Callable[[Head, str], bool] = lambda head, path: True
) -> tuple[Head, str] | None:
    """The object that the word means or leads into, and the path in it ('': the object); None where it means none.

    *is_there* says which paths in an object may be meant.
    """
    for path in (inside, text):
        name, _, rest = (path or "").strip("/").partition("/")
        head = store.by_name.get(name)
        if head is not None and (not rest or is_there(head, rest)):
            return head, rest
    record = store.record_of_id(text)
    head = None if record is None else store.heads.get(record.key)
    return None if head is None else (head, "")


def object_of(store: Store, word: object) -> Head:
    """The object that a word means as a whole.

    Its path in the mount, display name and id come first, then ``_name`` where the display name is another one, and an
    id's beginning. Raises NotFound, and UsageError where several could be meant: they are named.
    """
    text, inside = read_word(word)
    found = _exactly(store, text, inside) or _nearly(store, text)
    if len(found) > 1:
        shown = [f"{head.name} ({store.record(head.key).oaio_id or 'no id yet'})" for head in found[:_MOST_NAMED]]
        more = f" and {len(found) - _MOST_NAMED} more" if len(found) > _MOST_NAMED else ""
        raise UsageError(f"{text} could be {len(found)} objects, name one by its id: {', '.join(shown)}{more}")
    if found:
        return found[0]
    around = place_of(store, text, inside)
    if around is not None and around[1]:
        raise UsageError(f"{text} is in the object {around[0].name}: name the object itself")
    raise NotFound(f"there is no object {text} here: `oaiofs ls` lists all")


def _exactly(store: Store, text: str, inside: str | None) -> list[Head]:
    names = [name for name in (inside, text.rstrip("/")) if name]
    found = {head.key: head for name in names if (head := store.by_name.get(name)) is not None}
    record = store.record_of_id(text)
    if record is not None and record.key in store.heads:
        found[record.key] = store.heads[record.key]
    return list(found.values())


def _nearly(store: Store, text: str) -> list[Head]:
    records = [store.record(key) for key in store.heads]
    return [
        store.heads[record.key]
        for record in records
        if record.values.get(NAME_KEY) == text
        or (len(text) >= _LEAST_ID and (record.oaio_id or "").startswith(text))
    ]  # fmt: skip
