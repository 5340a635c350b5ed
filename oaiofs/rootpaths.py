"""``_root_path`` on this machine: ``core.rootpath`` with what this process's environment says.

``{cwd}`` is understood and never written: it stands for another place whenever a program runs. Must not know objects,
nor what is at a path.
"""

from __future__ import annotations

import os

from .core import rootpath

_LASTING = ("{usr}", "{doc}", "{app}", "{ado}")


def _places(app_id: str, cwd: str = "") -> rootpath.Places:
    home, config = os.path.expanduser("~"), os.environ.get("XDG_CONFIG_HOME", "")
    return rootpath.places(home=home, config=config, cwd=cwd, app_name=app_id)


def resolve(root_path: str, app_id: str) -> str:
    """The absolute path that *root_path* means here; one from a folder on is taken from the working folder."""
    places = _places(app_id, os.getcwd())
    found = rootpath.expand(root_path, places) or rootpath.expand(f"{os.getcwd()}/{root_path}", places)
    return found or os.path.abspath(root_path)


def kept(root_path: str, app_id: str) -> str:
    """What an object's ``_root_path`` is to be for *root_path*: as it is where it has a placeholder, else portable."""
    if root_path.startswith(_LASTING):
        return root_path
    return rootpath.shorten(resolve(root_path, app_id), _places(app_id))
