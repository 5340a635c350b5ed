"""The files of this machine's user that a program attaches: which there are, and what may be written beside them.

Must not know objects, the client root or the servers. All but ``checked`` block: for threads.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from ..core import names
from ..errors import Exists, InvalidName, NotFound


def below(folder: str, local_only: Sequence[str]) -> list[str]:
    """All files below the absolute *folder*, by their paths relative to it, sorted; links to folders are left out.

    Left out likewise is what stays on this machine in the mount (*local_only*). Raises NotFound.
    """
    if not os.path.isdir(folder):
        raise NotFound(f"there is no folder {folder}")
    found = []
    for parent, _, files in os.walk(folder):
        paths = [os.path.relpath(os.path.join(parent, name), folder) for name in files]
        found += [path for path in paths if os.path.isfile(os.path.join(folder, path))]
    return sorted(path for path in found if not names.is_local_only(path, local_only))


def checked(paths: Sequence[str], local_only: Sequence[str] = ()) -> list[str]:
    """These paths, where all of them can be attached together. Raises InvalidName."""
    kept, skipped = names.check_paths(list(paths))
    for one in (*skipped, *names.unstorable(kept)):
        raise InvalidName(f"{one.what} can't be attached: {one.why}")
    for path in kept:
        if local_only and names.is_local_only(path, local_only):
            raise InvalidName(f"{path} can't be attached: files called like this stay on this machine")
    return list(kept)


def make(path: str, content: bytes, known: bytes | None) -> None:
    """Have the file at the absolute *path* hold *content*, by temporary and rename.

    A file that is there must hold that, or what is *known* of it: Raises Exists for any other, which nobody else has.
    """
    try:
        with open(path, "rb") as stream:
            present = stream.read()
    except FileNotFoundError:
        os.makedirs(os.path.dirname(path), exist_ok=True)
    else:
        if present == content:
            return
        if present != known:
            raise Exists(f"{path} is another file: leave file_content out to attach it, or move it away first")
    temporary = f"{path}.oaiofs-{os.getpid()}"
    try:
        with open(temporary, "xb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    except BaseException:
        if os.path.lexists(temporary):
            os.unlink(temporary)
        raise
