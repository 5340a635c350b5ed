"""Pins: what is to be kept on this machine, by path, inherited by everything below. Pure.

A pin is the path of a file or folder in its object, '' for the whole object. The name is what is pinned: whatever
stands there, also a new version of the file and one saved anew by an editor. Must not know who stores it.
"""

from __future__ import annotations

from collections.abc import Collection


def nearest(pins: Collection[str], path: str) -> str | None:
    """The pin that *path* has itself or inherits, the nearest one; None where it is not pinned."""
    while pins:
        if path in pins:
            return path
        if not path:
            break
        path = path.rpartition("/")[0]
    return None


def below(pins: Collection[str], path: str) -> set[str]:
    """The pins of *path* itself and of what is in it."""
    return {pin for pin in pins if not path or pin == path or pin.startswith(path + "/")}


def renamed(pins: Collection[str], old: str, new: str) -> dict[str, str]:
    """Which pins go along with a rename of *old* to *new*, each with its new path."""
    return {pin: new + pin[len(old) :] for pin in below(pins, old)}
