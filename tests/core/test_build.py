"""Building a version on the storage host: exactly the wanted files, with the least to send and ask."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from oaiofs.core.build import (
    Copies,
    Copy,
    CopyFolder,
    Put,
    Remove,
    Step,
    differing,
    remaining_steps,
    version_steps,
)
from oaiofs.core.model import FileFact, FileSet
from oaiofs.core.names import folders_of
from tests.depth import examples

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
            case Remove(""):
                self.files = {}
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


@given(trees, trees, st.sampled_from(Copies))
@settings(max_examples=examples(400))
@example(
    {"a": FileFact(1, "a"), "b/x": FileFact(1, "b")}, {"a/b": FileFact(1, "b"), "b": FileFact(1, "a")}, Copies.FOLDERS
)
def test_the_steps_make_exactly_what_is_wanted(base: FileSet, wanted: FileSet, copies: Copies) -> None:
    # What is wanted without a hash is a file that was never downloaded: it is as the base version has it.
    wanted = {path: fact if fact.md5 else base.get(path, FileFact(1, "a")) for path, fact in wanted.items()}
    host = Host(base if copies else {}, wanted)
    steps = version_steps(base, wanted, copies)
    for step in steps:
        host.carry_out(step)
    assert host.files.keys() == wanted.keys()
    for path, fact in wanted.items():
        assert (host.files[path].size, host.files[path].md5) == (fact.size, fact.md5)
        assert not fact.mtime_ns or host.files[path].mtime_ns == fact.mtime_ns
    stored = {(fact.size, fact.md5) for fact in base.values() if fact.md5 and copies}
    assert not any((wanted[step.path].size, wanted[step.path].md5) in stored for step in steps if isinstance(step, Put))
    assert len(steps) <= len(wanted), "never more requests than files"
    assert copies is Copies.FOLDERS or CopyFolder() not in steps
    assert copies or all(isinstance(step, Put) for step in steps)


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


@given(trees, trees, trees)
@settings(max_examples=examples(400))
@example({"a/b": FileFact(1, "a")}, {}, {"a": FileFact(1, "a")})
@example({"a": FileFact(1, "a")}, {}, {"a/b": FileFact(1, "a")})
def test_a_version_left_in_part_is_completed_and_nothing_sent_twice(
    there: FileSet, base: FileSet, wanted: FileSet
) -> None:
    wanted = {path: fact if fact.md5 else base.get(path, FileFact(1, "a")) for path, fact in wanted.items()}
    host = Host(base, wanted)
    host.files = dict(there)
    steps = remaining_steps(there, base, wanted)
    for step in steps:
        host.carry_out(step)
    assert host.files.keys() == wanted.keys()
    for path, fact in wanted.items():
        assert (host.files[path].size, host.files[path].md5) == (fact.size, fact.md5)
    sent = [step.path for step in steps if isinstance(step, Put)]
    assert not any(path in there and wanted[path].same_content(there[path]) for path in sent)
    assert not {wanted[path].md5 for path in sent} & {fact.md5 for fact in base.values() if fact.md5}


def test_of_a_version_left_in_part_only_the_rest_is_done() -> None:
    base = {"kept": FileFact(1, "a"), "old": FileFact(1, "b")}
    wanted = {"kept": FileFact(1, "a"), "new": FileFact(1, "c"), "more": FileFact(1, "d")}
    there = {"kept": FileFact(1, "a"), "new": FileFact(1, "c"), "old": FileFact(1, "b")}
    assert remaining_steps(there, base, wanted) == (Remove("old"), Put("more"))
    assert remaining_steps({}, base, wanted) == (Copy("kept", "kept"), Put("more"), Put("new"))


def test_a_folder_is_not_copied_for_a_few_small_files_with_a_huge_one_in_it() -> None:
    """It would take the host's room and time for what is removed, or replaced, right after."""
    small = {f"{n}": FileFact(100, f"{n:032x}") for n in range(5)}
    huge = {"huge": FileFact(4 << 30, "a" * 32)}
    assert CopyFolder() not in version_steps(small | huge, small)
    assert CopyFolder() not in version_steps(small | huge, small | {"huge": FileFact(4 << 30, "b" * 32)})
    assert version_steps(small | huge, small | huge) == (CopyFolder(),)
    many = {f"{n}": FileFact(100, f"{n:032x}") for n in range(500)}
    assert version_steps(many | huge, many) == (CopyFolder(), Remove("huge"))


def test_what_a_broken_off_copy_left_is_begun_anew_where_that_is_cheaper() -> None:
    there = {path: HUNDRED[path] for path in sorted(HUNDRED)[:3]}
    wanted = HUNDRED | {"new": EDITED}
    assert remaining_steps(there, HUNDRED, wanted) == (Remove(""), CopyFolder(), Put("new"))
    most = {path: HUNDRED[path] for path in sorted(HUNDRED)[2:]}
    assert Remove("") not in remaining_steps(most, HUNDRED, wanted), "two copies are no more than that"
    assert Remove("") not in remaining_steps(there | {"new": EDITED}, HUNDRED, wanted), "what was sent stays"
    assert Remove("") not in remaining_steps(there, HUNDRED, wanted, Copies.FILES)


def test_without_hashes_only_what_is_sure_is_the_same() -> None:
    wanted = {"a": FileFact(1, "a"), "b": FileFact(1, "b"), "c": FileFact(1, "c"), "never downloaded": FileFact(1, "")}
    there = {"a": FileFact(1, ""), "b": FileFact(2, ""), "c": FileFact(1, "c"), "never downloaded": FileFact(1, "d")}
    assert differing(there, wanted) == {"a", "b", "never downloaded"}
    assert differing(there, wanted, {"a", "b", "c", "never downloaded"}) == {"b"}
    assert differing({}, wanted, {"a"}) == set(wanted)
    assert differing({"a": FileFact(1, "x")}, {"a": FileFact(1, "a")}, {"a"}) == {"a"}, "a hash counts for more"
    assert remaining_steps(there, {}, wanted, sure={"never downloaded"}) == (Put("a"), Put("b"))
