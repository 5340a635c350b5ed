"""Names: nothing from outside gets near a disk unchecked, and no user's document is taken for an editor's file."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from oaiofs.core import names
from oaiofs.core.model import Skipped
from oaiofs.errors import UsageError

#: Any text, lone surrogates, controls and all; and the characters that paths are made of more often than chance has it.
wild_text = st.text(st.characters(exclude_categories=()) | st.sampled_from("./\\~ :\0\n\ud800ü🎉"), max_size=300)
clean_names = st.text(st.sampled_from("ab. ~#$é🎉:"), min_size=1, max_size=120)
clean_paths = (
    st.lists(clean_names, min_size=1, max_size=4).map("/".join).filter(lambda path: not names.path_problem(path))
)


def is_plain_name(name: str) -> bool:
    """What every file system takes, in words of its own."""
    return (
        0 < len(name.encode()) <= 255
        and name == name.strip()
        and not name.startswith(".")
        and not any(character == "/" or ord(character) < 32 or ord(character) == 127 for character in name)
    )


# ------------------------------------------------------------------------------------------------- display names


@given(wild_text)
@example("")
@example("ü" * 200)
@example("a" * 254 + " b")
@example("\udcff")
def test_safe_name_is_plain_and_stays_as_it_is(text: str) -> None:
    name = names.safe_name(text)
    assert is_plain_name(name)
    assert names.safe_name(name) == name


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Report 2026.txt", "Report 2026.txt"),
        ("e\u0301", "e\u0301"),  # not normalized: mkdir and the stat after it use the same bytes
        ("\u00e9", "\u00e9"),
        ("  tea \n", "tea"),
        ("a/b", "a⁄b"),
        ("..", "_."),
        (".hidden", "_hidden"),
        ("../../etc/passwd", "_.⁄..⁄etc⁄passwd"),
        ("nul\0\x1b[2J\x7f", "nul␀␛[2J␡"),
        ("half\ud800", "half\ufffd"),
        ("gpj\u202eexe\u009b", "gpj\ufffdexe\ufffd"),
        ("", "unnamed"),
        (" \t ", "unnamed"),
        ("🎉" * 64, "🎉" * 63),  # 256 bytes: cut between characters
    ],
)
def test_safe_name(text: str, name: str) -> None:
    assert names.safe_name(text) == name


@pytest.mark.parametrize(
    ("values", "paths", "name"),
    [
        ({"_name": "tea", "_root_path": "{doc}/x"}, ["a"], "tea"),
        ({"_name": "", "_root_path": "{doc}/green/tea/"}, ["a"], "tea"),
        ({"_name": 7, "_root_path": ["x"]}, ["green/tea.txt"], "tea.txt"),
        ({"_root_path": "///"}, ["a", "b"], "the⁄id"),
        ({"_name": " "}, [], "the⁄id"),
        ({"_name": "../x"}, [], "_.⁄x"),
    ],
)
def test_display_name(values: dict[str, object], paths: list[str], name: str) -> None:
    assert names.display_name(values, paths, "the/id") == name


@given(clean_names.map(names.safe_name), st.integers(0, 12))
def test_unique_is_free_and_fits(name: str, others: int) -> None:
    taken: set[str] = set()
    for _ in range(others):
        taken.add(names.unique(name, taken))
    assert len(taken) == others
    free = names.unique(name, taken)
    assert free not in taken
    assert len(free.encode()) <= 255


def test_unique_counts_from_two() -> None:
    assert names.unique("tea", ()) == "tea"
    assert names.unique("tea", {"tea"}) == "tea ~2"
    assert names.unique("tea", {"tea", "tea ~2"}) == "tea ~3"
    assert names.unique("ü" * 127, {"ü" * 127}) == "ü" * 126 + " ~2"


@pytest.mark.parametrize(
    ("paths", "name"),
    [
        ([], "values.json"),
        (["sub/values.json", "Values.json"], "values.json"),
        (["values.json"], "values~.json"),
        (["values.json/inner"], "values~.json"),
        (["values~.json", "values.json"], "values~~.json"),
    ],
)
def test_sidecar_name(paths: list[str], name: str) -> None:
    assert names.sidecar_name(paths) == name
    assert not names.is_local_only(name, names.LOCAL_ONLY)


@pytest.mark.parametrize(
    ("name", "conflict"),
    [
        ("tea.txt", "tea (conflict lap 42).txt"),
        ("tea", "tea (conflict lap 42)"),
        ("d.d/tea.tar.gz", "d.d/tea (conflict lap 42).tar.gz"),
        (".bashrc", ".bashrc (conflict lap 42)"),
        (".config.json", ".config (conflict lap 42).json"),
        ("..x", "..x (conflict lap 42)"),
        ("a.b.c", "a.b (conflict lap 42).c"),
        ("tea.", "tea. (conflict lap 42)"),
        ("Dr. Watson's notes", "Dr. Watson's notes (conflict lap 42)"),
        ("ü" * 127 + ".a", "ü" * 117 + " (conflict lap 42).a"),
    ],
)
def test_conflict_name(name: str, conflict: str) -> None:
    assert names.conflict_name(name, "lap", "42", ()) == conflict


@given(clean_paths, wild_text, wild_text, st.integers(0, 3))
def test_conflict_name_is_free_fits_and_is_uploaded(path: str, device: str, stamp: str, others: int) -> None:
    taken = {path}
    for _ in range(others):
        taken.add(names.conflict_name(path, device, stamp, taken))
    name = names.conflict_name(path, device, stamp, taken)
    assert name not in taken
    assert name.rpartition("/")[0] == path.rpartition("/")[0]
    assert names.path_problem(name) is None or names.path_problem(path) is not None
    assert len(name.rpartition("/")[2].encode()) <= 255
    if names.storable_problem(path) is None:
        assert names.storable_problem(name) is None
    if not names.is_local_only(path, names.LOCAL_ONLY):
        assert not names.is_local_only(name, names.LOCAL_ONLY)


# ------------------------------------------------------------------------------------------------ attached files


@pytest.mark.parametrize(
    ("path", "why"),
    [
        (7, "not text"),
        (None, "not text"),
        (b"a", "not text"),
        ("", "empty"),
        ("/etc/passwd", "absolute"),
        ("..", "'.' or '..'"),
        ("a/../../b", "'.' or '..'"),
        ("./a", "'.' or '..'"),
        ("a//b", "empty part"),
        ("a/", "empty part"),
        ("a\0b", "control"),
        ("a\nb", "control"),
        ("a\x7f", "control"),
        ("a\ud800", "Unicode"),
        ("\udcff", "Unicode"),
        ("ü" * 128, "longer than 255"),
        ("a/" + "b" * 256, "longer than 255"),
        ("/".join(["b" * 200] * 20), "longer than 3000"),
        ("/".join("a" * 101), "deeper than 100"),
        (".versions/20260101000000000000/a", "stored versions"),
        (".versions", "stored versions"),
    ],
)
def test_paths_that_cannot_be(path: object, why: str) -> None:
    problem = names.path_problem(path)
    assert problem is not None
    assert why in problem


@pytest.mark.parametrize(
    "path",
    [
        "a",
        "a b/ c ",
        ".hidden/..x/...",
        "a\\b:c",
        "b" * 255,
        "ü" * 127,
        "/".join("a" * 100),
        "e\u0301",
        "\u202e",
        "x/.versions",
        "🎉",
        "values.json",
    ],
)
def test_paths_that_can_be(path: str) -> None:
    assert names.path_problem(path) is None


@given(st.lists(clean_paths | st.sampled_from(["a", "a/b", "a/b/c", "b", ""]) | st.none(), max_size=20))
def test_checked_paths_form_a_tree_and_nothing_goes_unreported(paths: list[object]) -> None:
    kept, skipped = names.check_paths(paths)
    assert len(kept) + len(skipped) == len(paths)
    assert list(kept) == list(dict.fromkeys(path for path in paths if path in kept))
    for path in kept:
        assert names.path_problem(path) is None
        assert not any(other.startswith(path + "/") for other in kept)


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | wild_text, st.lists, max_leaves=20))
def test_check_paths_takes_anything_and_reports_briefly(paths: object) -> None:
    _, skipped = names.check_paths(paths)
    assert all(len(item.what) <= 200 and item.what.isprintable() and item.why for item in skipped)


def test_the_first_of_two_clashing_paths_is_kept() -> None:
    assert names.check_paths(["b", "a", "a/b", "b"]) == (
        ("b", "a"),
        (Skipped("'a/b'", "is below 'a', which is a file"), Skipped("'b'", "is in the list twice")),
    )
    assert names.check_paths(("a/b/c", "a")) == (("a/b/c",), (Skipped("'a'", "is a folder of another attached file"),))


@pytest.mark.parametrize("paths", [None, "a", {"a": 1}, 7, {"a"}])
def test_a_list_that_is_none(paths: object) -> None:
    kept, skipped = names.check_paths(paths)
    assert kept == ()
    assert len(skipped) == 1


def test_huge_things_are_reported_in_few_characters() -> None:
    _, skipped = names.check_paths(["x" * 10_000_000, 10**5000, ["y"] * 1000])
    assert [len(item.what) < 201 for item in skipped] == [True] * 3


# ------------------------------------------------------------------------------------------------- storage hosts


@pytest.mark.parametrize("path", ["a:b", "d/a\\b", "a\x01", "../a", "half\udcff"])
def test_what_hosts_refuse_is_said_in_a_sentence(path: str) -> None:
    problem = names.storable_problem(path)
    assert problem is not None
    assert problem.endswith("Rename it.")
    assert problem.isprintable()


@pytest.mark.parametrize("path", ["a", " a ", "a b/c.d", ".x", "ü🎉", '#%?&*"<>|'])
def test_what_hosts_take(path: str) -> None:
    assert names.storable_problem(path) is None


def test_hosts_do_not_tell_case_apart() -> None:
    refused = names.unstorable(["readme", "README", "Doc/a", "doc/b", "doc2/a", "x:y"])
    assert [item.what for item in refused] == ["doc/b", "readme", "x:y"]
    assert "'Doc'" in refused[0].why
    assert names.unstorable(["a/b", "a/c", "b/a"]) == ()


# ----------------------------------------------------------------------------------------------- local-only files


@pytest.mark.parametrize(
    "name",
    [
        ".f.txt.swp",
        ".swp",
        "f.swp",
        ".f.swo",
        ".f.swn",
        ".f.swx",
        ".f.txt.kate-swp",
        "4913",
        "f~",
        "f.~1~",
        ".f.un~",
        ".#f",
        "#f#",
        ".goutputstream-A1B2C3",
        "f.txt___jb_tmp___",
        "f___jb_old___",
        "~$letter.docx",
        ".~lock.f.odt#",
        "lu123456abcd.tmp",
        "film.mkv.part",
        "page.crdownload",
        ".DS_Store",
        ".nfs00000000001",
        ".fuse_hidden0000000a",
    ],
)
def test_editors_and_desktops_own_files_stay_here(name: str) -> None:
    assert names.is_local_only(name, names.LOCAL_ONLY)
    assert names.is_local_only("sub/folder/" + name, names.LOCAL_ONLY)


@pytest.mark.parametrize(
    "path",
    [
        "values.json",
        "values~.json",
        "f.txt",
        ".hidden",
        ".gitignore",
        ".bashrc",
        "49130",
        "14913",
        "sediments",
        "sedan2024",
        "sedAb12Cd",
        ".env.sample",
        ".vimrc.backup",
        "a#b",
        "#1",
        "1#",
        "party",
        "f.part.txt",
        "crdownload",
        "DS_Store",
        ".ds_store",
        "F.SWP",
        "luggage.tmp",
        "lu.tmp",
        "~ab",
        "a~b",
        "nfs0",
        "notes.tmp",
        "4913/photo.jpg",
        "chapter1.part/text.md",
        "old~/f",
        ".#x/f",
        "a.swp/b",
    ],
)
def test_documents_are_uploaded(path: str) -> None:
    assert not names.is_local_only(path, names.LOCAL_ONLY)


def test_patterns_of_folders_end_in_a_slash() -> None:
    patterns = ["node_modules/", "*.o"]
    assert names.is_local_only("web/node_modules/x/index.js", patterns)
    assert names.is_local_only("src/a.o", patterns)
    assert not names.is_local_only("web/node_modules", patterns)
    assert not names.is_local_only("a.o/b", patterns)
    assert not names.is_local_only("a", [])
    assert not names.is_local_only("", ["*/"])


# --------------------------------------------------------------------------------------------------------- ids


def test_defuse_as_the_existing_clients_do() -> None:
    specials = "/|\\:*?\"'<>()[]{}#;@&=+$%^, \x7f\x00\x1f"
    assert names.defuse(specials) == "⁄।﹨﹕﹡﹖＂‘⟨⟩⟮⟯⟦⟧﹛﹜﹟﹔﹫﹠﹦﹢﹩﹪＾﹐␣␡␀␟"
    assert names.defuse("a://b:/c") == "a⫻b﹕⁄c"
    assert names.defuse("aZ0.-_~!`ü") == "aZ0.-_~!`ü"


@pytest.mark.parametrize(
    ("values", "paths", "middle"),
    [
        ({"_name": "a b", "_root_path": "x"}, ["f"], "⁄a␣b"),
        ({"_name": ""}, [], "⁄"),
        ({"_root_path": "/{doc}/x/"}, ["f"], "⁄﹛doc﹜⁄x"),
        ({}, ["d/f"], "⁄d⁄f"),
        ({}, ["d", "f"], ""),
        ({}, [], ""),
        ({"_name": 7}, [], ""),
        ({"_name": "🎉\ud800"}, [], "⁄\ufffd\ufffd"),
    ],
)
def test_make_oaio_id(values: dict[str, object], paths: list[str], middle: str) -> None:
    stamp = "20260102030405000006"
    assert names.make_oaio_id("app", "me", "lap", values, paths, stamp) == f"app⫻me﹫lap{middle}⁄{stamp}"


@given(st.text(max_size=400))
def test_ids_fit_into_a_file_name_and_keep_their_stamp(name: str) -> None:
    oaio_id = names.make_oaio_id("app", "me", "lap", {"_name": name}, [], "20260102030405000006")
    assert len(oaio_id.encode()) <= 255
    assert oaio_id.endswith("⁄20260102030405000006")
    assert max(map(ord, oaio_id)) < 0x10000


@pytest.mark.parametrize("parts", [("", "u", "d", "s"), ("a", "", "d", "s"), ("a", "u", "", "s"), ("a", "u", "d", "")])
def test_an_id_needs_all_its_parts(parts: tuple[str, str, str, str]) -> None:
    app_id, username, device_id, stamp = parts
    with pytest.raises(UsageError, match="empty"):
        names.make_oaio_id(app_id, username, device_id, {}, [], stamp)
