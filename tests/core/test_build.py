"""Building a version on the storage host: exactly the wanted files, with the least to send and ask."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from oaiofs.core.build import Copy, CopyFolder, Put, Remove, Step, version_steps
from oaiofs.core.model import FileFact, FileSet
from oaiofs.core.names import folders_of

MS = 1_000_000


class Host:
    """A new version's folder on a storage host, as strict as the strictest."""

    def __init__(self, base: FileSet, local: FileSet) -> None:
        self.base, self.local = base, local
        self.files: dict[str, FileFact] = {}

    def carry_out(self, step: Step) -> None:
        match step:
            case CopyFolder():
                assert not self.files, "the target of a copy must not exist"
                self.files = dict(self.base)
            case Copy(source, target):
                assert target not in self.files, "a copy never replaces"
                self.store(target, self.base[source])
            case Put(path):
                assert self.local[path].md5 or path not in self.base, "there is nothing here to send"
                self.store(path, self.local[path])
            case Remove(path):
                removed = [other for other in self.files if other == path or other.startswith(path + "/")]
                assert removed, "a request for nothing"
                for other in removed:
                    del self.files[other]

    def store(self, path: str, fact: FileFact) -> None:
        assert not any(folder in self.files for folder in folders_of(path)), "below a file"
        assert not any(other.startswith(path + "/") for other in self.files), "is a folder"
        self.files[path] = FileFact(fact.size, fact.md5, self.local[path].mtime_ns or fact.mtime_ns)


facts = st.builds(FileFact, st.just(1), st.sampled_from(["a", "b", "c", "d", ""]), st.sampled_from([0, 5 * MS, 9 * MS]))
paths = st.lists(st.sampled_from("abc"), min_size=1, max_size=3).map("/".join)
trees = st.dictionaries(paths, facts, max_size=10).map(
    lambda files: {
        path: fact for path, fact in files.items() if not any(folder in files for folder in folders_of(path))
    }
)


@given(trees, trees, st.booleans())
@settings(max_examples=400)
@example({"a": FileFact(1, "a"), "b/x": FileFact(1, "b")}, {"a/b": FileFact(1, "b"), "b": FileFact(1, "a")}, True)
def test_the_steps_make_exactly_what_is_wanted(base: FileSet, wanted: FileSet, copy_folder: bool) -> None:
    # What is wanted without a hash is a file that was never downloaded: it is as the base version has it.
    wanted = {path: fact if fact.md5 else base.get(path, FileFact(1, "a")) for path, fact in wanted.items()}
    host = Host(base, wanted)
    steps = version_steps(base, wanted, copy_folder=copy_folder)
    for step in steps:
        host.carry_out(step)
    assert host.files.keys() == wanted.keys()
    for path, fact in wanted.items():
        assert (host.files[path].size, host.files[path].md5) == (fact.size, fact.md5)
        assert not fact.mtime_ns or host.files[path].mtime_ns == fact.mtime_ns
    stored = {(fact.size, fact.md5) for fact in base.values() if fact.md5}
    assert not any((wanted[step.path].size, wanted[step.path].md5) in stored for step in steps if isinstance(step, Put))
    assert len(steps) <= len(wanted), "never more requests than files"
    assert copy_folder or CopyFolder() not in steps


HUNDRED = {f"d{n % 3}/{n}": FileFact(n, f"{n:032x}", n * MS) for n in range(100)}
EDITED = FileFact(7, "f" * 32, 7 * MS)


@pytest.mark.parametrize(
    ("base", "wanted", "steps"),
    [
        ({}, {}, ()),
        (HUNDRED, HUNDRED, (CopyFolder(),)),
        (HUNDRED, HUNDRED | {"d1/1": EDITED}, (CopyFolder(), Put("d1/1"))),
        (HUNDRED, {}, ()),
        (HUNDRED, {"d1/1": HUNDRED["d1/1"]}, (Copy("d1/1", "d1/1"),)),
        (
            HUNDRED,
            {path: fact for path, fact in HUNDRED.items() if path[:2] != "d2"} | {"e": HUNDRED["d2/2"]},
            (CopyFolder(), Remove("d2"), Copy("d2/2", "e")),
        ),
        ({"a": EDITED}, {"b": EDITED, "c/d": EDITED}, (Copy("a", "b"), Copy("a", "c/d"))),
        ({"a": EDITED}, {"a": EDITED, "b": HUNDRED["d1/1"]}, (Copy("a", "a"), Put("b"))),
        ({}, {"b": EDITED, "a": EDITED}, (Put("a"), Put("b"))),
        (
            HUNDRED,
            HUNDRED | {"d1/1": FileFact(1, f"{1:032x}", 99 * MS)},  # touched: only a copy sets a time
            (CopyFolder(), Remove("d1/1"), Copy("d1/1", "d1/1")),
        ),
    ],
)
def test_steps(base: FileSet, wanted: FileSet, steps: tuple[Step, ...]) -> None:
    assert version_steps(base, wanted) == steps


def test_a_fraction_of_a_millisecond_is_no_new_time() -> None:
    wanted = {path: FileFact(fact.size, fact.md5, fact.mtime_ns + 999_999) for path, fact in HUNDRED.items()}
    assert version_steps(HUNDRED, wanted) == (CopyFolder(),)
