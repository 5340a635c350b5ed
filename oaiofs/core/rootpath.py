"""Folders of attached files as all devices can name them: ``{doc}/x`` for this machine's ``/home/ann/Documents/x``.

The value ``_root_path`` says where the existing client keeps an object's files on each device. A placeholder at its
beginning stands for a folder that is another one on each of them. Pure: the places are arguments; whether a folder
exists, and links in its path, are not looked at. The placeholders are those of ``ae.paths`` on Linux.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping
from typing import TypeAlias

#: What each placeholder, without its braces, stands for: absolute folders, and ``app_name``, a text; ``~`` is the home.
Places: TypeAlias = Mapping[str, str]

_APP_NAME, _HOME = "app_name", "~"
_PLACEHOLDER = re.compile(r"\{([A-Za-z0-9_]+)\}")


def places(*, home: str, config: str = "", cwd: str = "", app_name: str = "") -> Places:
    """The placeholders of a user whose home is the absolute folder *home*, in the existing client's order.

    *config* is ``$XDG_CONFIG_HOME`` ('' where it is not set, taken from *home* on where relative), *cwd* the working
    folder and *app_name* the name of the application that the path is of: each '' where it is not known, and then
    what depends on it is left out.
    """
    user, documents = posixpath.join(home, config or ".config"), posixpath.join(home, "Documents")
    found = {_APP_NAME: app_name, "ado": f"{documents}/{app_name}", "app": f"{user}/{app_name}"} if app_name else {}
    return {**found, **({"cwd": cwd} if cwd else {}), "doc": documents, "usr": user, _HOME: home}


def shorten(path: str, known: Places) -> str:
    """The absolute *path* with the longest folder that has a placeholder replaced by it, as ``_root_path`` has it.

    As it is where no placeholder fits; always with outer and double slashes, ``.`` and ``..`` taken out.
    """
    path = _normal(path)
    folders = [(name, _normal(folder)) for name, folder in known.items() if name not in (_APP_NAME, _HOME)]
    for name, folder in sorted(folders, key=lambda one: len(one[1]), reverse=True):
        if path == folder or path.startswith(folder + "/"):
            return f"{{{name}}}{path[len(folder) :]}"
    return path


def expand(text: str, known: Places) -> str | None:
    """The absolute folder of this machine that *text*, a ``_root_path``, means.

    None where that can't be told here: a placeholder that is not known, or a path from a folder on that is not.
    """
    path = _PLACEHOLDER.sub(lambda found: known.get(found[1], found[0]), text)
    if path == _HOME or path.startswith(f"{_HOME}/"):
        path = known.get(_HOME, "") + path[len(_HOME) :]
    if not path.startswith("/") or "\0" in path:
        return None
    return _normal(path)


def _normal(path: str) -> str:
    return posixpath.normpath("/" + path.lstrip("/")) if path.startswith("/") else posixpath.normpath(path)
