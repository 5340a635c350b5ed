"""The architecture as a test: imports point down only, and each outside library has one door.

Reads the syntax trees, imports nothing: so a module is judged by what it names, also inside functions and behind
TYPE_CHECKING (a type may be named where its module may be imported, nowhere else).
"""

import ast
import functools
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "oaiofs"

#: DESIGN.md, "Shape": from the top down; units on one line don't import each other.
LAYERS = (
    {"__main__"},
    {"cli"},
    {"demo", "doctor"},
    {"mount"},
    {"control", "config", "status"},
    {"fuse", "client", "verbs", "progress"},
    {"session"},
    {"vfs", "sync"},
    {"transfer"},
    {"cache", "remote", "rootpaths"},
    {"core", "clientroots", "credentials", "mountinfo", "callers", "power"},
    {"errors"},
)
LEVEL = {unit: len(LAYERS) - number for number, layer in enumerate(LAYERS) for unit in layer}

#: The only units that may name these libraries ("oaiofs/cache" is all below it).
DOORS = {
    "sqlite3": {"cache"},
    "httpx": {"remote"},
    "django": {"server"},
    "pyfuse3": {"fuse", "mount"},
    "click": {"cli"},
    "rich": {"cli"},
}
#: Who may start the embedded server, which nothing else knows.
STARTS_THE_SERVER = {"cli", "demo", "mount"}
BELOW_EVERYTHING = {"core", "errors"}


def modules() -> Iterator[tuple[str, Path]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


@functools.cache
def imports_of(path: Path, at_run_time: bool = False) -> frozenset[str]:
    """Absolute names of all that a module imports; *at_run_time* only what its import itself imports."""
    package = path.relative_to(ROOT).parent.parts
    found: set[str] = set()
    tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
    for node in _executed(tree.body) if at_run_time else ast.walk(tree):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join([*above, *([node.module] if node.module else [])])
            found.update(f"{module}.{alias.name}" for alias in node.names)
    return frozenset(found)


def _executed(body: list[ast.stmt]) -> Iterator[ast.AST]:
    for node in body:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            yield from _executed(node.orelse)
        elif isinstance(node, ast.If | ast.Try | ast.With | ast.ClassDef):
            yield from _executed([child for child in ast.iter_child_nodes(node) if isinstance(child, ast.stmt)])
        else:
            yield node


def unit_of(name: str) -> str:
    """The part of oaiofs that a module belongs to: ``core`` for ``oaiofs.core.plan``; '' for the package itself."""
    return [*name.split("."), ""][1]


MODULES = dict(modules())
UNITS = sorted({unit_of(name) for name in MODULES})


def test_there_is_something_to_judge() -> None:
    assert "oaiofs.core.plan" in MODULES
    assert "oaiofs.core.model" in {name.rpartition(".")[0] for name in imports_of(MODULES["oaiofs.core.plan"])}


@pytest.mark.parametrize("name", MODULES)
def test_imports_point_down(name: str) -> None:
    unit = unit_of(name)
    for imported in imports_of(MODULES[name]):
        target = unit_of(imported)
        if not imported.startswith("oaiofs") or target == unit or (unit and target not in UNITS):
            continue
        if unit == "server":
            assert target in BELOW_EVERYTHING, f"{name} imports {imported}: server/ stands alone on core and errors"
        elif unit in LEVEL:
            lower = LEVEL.get(target, len(LAYERS))
            allowed = lower < LEVEL[unit] or (target == "server" and unit in STARTS_THE_SERVER)
            assert allowed, f"{name} imports {imported}: imports point down only"


@pytest.mark.parametrize("name", MODULES)
def test_each_unit_has_its_place(name: str) -> None:
    unit = unit_of(name)
    assert unit in ("", "server") or unit in LEVEL, f"{name}: give {unit} a layer, here and in the design"


@pytest.mark.parametrize("name", [name for name in MODULES if unit_of(name) in BELOW_EVERYTHING])
def test_the_core_stands_on_the_standard_library_alone(name: str) -> None:
    outside = {
        imported
        for imported in imports_of(MODULES[name])
        if imported.partition(".")[0] not in sys.stdlib_module_names and not imported.startswith("oaiofs.")
    }
    assert outside == set()


#: Modules whose use would make a decision depend on more than its arguments.
IMPURE = {"asyncio", "logging", "os", "pathlib", "random", "secrets", "shutil", "socket", "subprocess", "tempfile"}
IMPURE |= {"threading", "time", "uuid", "sqlite3", "sys"}


@pytest.mark.parametrize("name", [name for name in MODULES if unit_of(name) == "core"])
def test_the_core_is_pure(name: str) -> None:
    assert {imported.partition(".")[0] for imported in imports_of(MODULES[name])} & IMPURE == set()
    nodes = ast.walk(ast.parse(MODULES[name].read_text("utf-8")))
    calls = {ast.unparse(node.func) for node in nodes if isinstance(node, ast.Call)}
    assert calls & {"open", "print", "input"} == set()
    assert not any(call.endswith((".now", ".utcnow", ".today")) for call in calls)


@pytest.mark.parametrize("name", MODULES)
def test_each_library_has_one_door(name: str) -> None:
    for library in {imported.partition(".")[0] for imported in imports_of(MODULES[name])}:
        assert unit_of(name) in DOORS.get(library, {unit_of(name)}), f"{name} must not know {library}"


def test_no_import_cycles() -> None:
    graph = {
        name: {
            target
            for imported in imports_of(path, at_run_time=True)
            if (target := imported if imported in MODULES else imported.rpartition(".")[0]) in MODULES
            and target != name
        }
        for name, path in MODULES.items()
    }
    cycles = []
    while graph:
        leaves = {name for name, targets in graph.items() if not targets & graph.keys()}
        if not leaves:
            cycles = sorted(graph)
            break
        graph = {name: targets for name, targets in graph.items() if name not in leaves}
    assert cycles == [], "these modules import each other (or depend on ones that do)"
