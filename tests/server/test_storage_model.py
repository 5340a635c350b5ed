"""The tree against a model of thirty lines: any sequence of calls leaves the same files, names, sums and refusals."""

from __future__ import annotations

import hashlib
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oaiofs.server import site
from tests.depth import examples

Parts = tuple[str, ...]


class Refused(Exception):
    pass


class Model:
    """Paths as spelled, by folded path; None is a folder, bytes a file."""

    def __init__(self) -> None:
        self.entries: dict[Parts, tuple[Parts, bytes | None]] = {(): ((), None)}

    def put(self, path: Parts, content: bytes) -> None:
        old = self.entries.get(fold(path))
        if not self.is_folder(path[:-1]) or (old and old[1] is None):
            raise Refused
        self.entries[fold(path)] = (old[0] if old else (*self.spelled(path[:-1]), path[-1]), content)

    def make_folder(self, path: Parts) -> None:
        if not self.is_folder(path[:-1]) or fold(path) in self.entries:
            raise Refused
        self.entries[fold(path)] = ((*self.spelled(path[:-1]), path[-1]), None)

    def remove(self, path: Parts) -> None:
        if fold(path) not in self.entries:
            raise Refused
        for key in self.below(path):
            del self.entries[key]

    def copy(self, source: Parts, target: Parts, move: bool = False) -> None:
        same = fold(source) == fold(target)
        if fold(source) not in self.entries or not self.is_folder(target[:-1]):
            raise Refused
        if fold(target[:-1])[: len(source)] == fold(source) or (fold(target) in self.entries and not (same and move)):
            raise Refused
        new = (*self.spelled(target[:-1]), target[-1])
        taken = {key: self.entries[key] for key in self.below(source)}
        for key in taken if move else ():
            del self.entries[key]
        for key, (path, content) in taken.items():
            moved = (*new, *path[len(source) :])
            self.entries[(*fold(target), *key[len(source) :])] = (moved, content)

    def is_folder(self, path: Parts) -> bool:
        return self.entries.get(fold(path), ((), b""))[1] is None

    def spelled(self, path: Parts) -> Parts:
        return self.entries[fold(path)][0]

    def below(self, path: Parts) -> list[Parts]:
        return [key for key in self.entries if key[: len(path)] == fold(path)]

    def files(self) -> dict[str, str | None]:
        return {
            "/" + "/".join(path): None if content is None else hashlib.md5(content).hexdigest()
            for path, content in self.entries.values()
        }

    def used(self) -> int:
        return sum(len(content or b"") for _, content in self.entries.values())


def fold(path: Parts) -> Parts:
    return tuple(name.casefold() for name in path)


_paths = st.lists(st.sampled_from(["a", "A", "b", "ab", "a b"]), min_size=1, max_size=3).map(tuple)
_steps = st.lists(
    st.tuples(st.just("put"), _paths, st.binary(max_size=3))
    | st.tuples(st.just("make_folder"), _paths)
    | st.tuples(st.just("remove"), _paths)
    | st.tuples(st.sampled_from(["copy", "move"]), _paths, _paths),
    max_size=14,
)


@pytest.fixture(scope="module")
def place() -> Iterator[site.DataDir]:
    with tempfile.TemporaryDirectory() as folder, site.open_site(folder) as place:
        yield place


def _do(tree: Any, place: site.DataDir, step: tuple[Any, ...]) -> None:
    from oaiofs.server.storage.disk import DraftWriter
    from oaiofs.server.storage.tree import Condition, PutRule

    what, path, *rest = step
    if what == "put":
        with DraftWriter(place.spool) as writer:
            writer.write(rest[0])
            tree.put(path[:-1], path[-1], writer.finish(), PutRule(overwrite=True), 1000)
    elif what == "make_folder":
        tree.make_folder(path[:-1], path[-1])
    elif what == "remove":
        tree.remove(path, Condition())
    elif what == "copy":
        tree.copy(path, rest[0], None, Condition())
    else:
        tree.move(path, rest[0], Condition())


def _do_in_model(model: Model, step: tuple[Any, ...]) -> None:
    what, *arguments = step
    if what == "move":
        model.copy(arguments[0], arguments[1], move=True)
    else:
        getattr(model, what)(*arguments)


@settings(max_examples=examples(60), deadline=None)
@given(steps=_steps)
def test_tree_and_model_agree(place: site.DataDir, steps: list[tuple[Any, ...]]) -> None:
    from oaiofs.server.models import StorageAccount
    from oaiofs.server.storage.disk import StorageError
    from oaiofs.server.storage.index import Index
    from oaiofs.server.storage.tree import Shared, Tree

    directory = str(uuid.uuid4())
    account = StorageAccount.objects.create(email=directory, password_hash="x", directory=directory)
    tree = Tree(str(Path(place.storage, directory)), place.spool, Index(account.pk), Shared(), None)
    model = Model()
    for step in steps:
        refused = model_refused = False
        try:
            _do(tree, place, step)
        except StorageError:
            refused = True
        try:
            _do_in_model(model, step)
        except Refused:
            model_refused = True
        assert refused == model_refused, step
    found = dict(tree.walk(()))
    assert {path: getattr(entry, "md5", "error") or None for path, entry in found.items()} == model.files()
    assert tree.space()[1] == model.used()
