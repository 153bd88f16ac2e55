"""The house rules that a reader relies on: rooms stand in order, doors are listed, libraries stay with their owners."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import descend
from descend import doors

SOURCE = Path(descend.__file__).parent

ROOMS = (
    "engines",
    "tables",
    "objectives",
    "descent",
    "models",
    "pictures",
    "runs",
    "diagnosis",
    "interfaces",
)
"""A room may import itself, the top level and every room above it in this list."""

OWNERS = {
    "sklearn": {"interfaces"},
    "matplotlib": {"pictures"},
    "mpl_toolkits": {"pictures"},
    "PIL": {"pictures"},
    "jinja2": {"diagnosis"},
    "markupsafe": {"diagnosis"},
    "dask": {"engines"},
    "distributed": {"engines"},
    "torch": {"interfaces"},
    "fastai": {"interfaces"},
    "onnx": {"models"},
    "polars": {"tables"},
    "rich": {"runs", "interfaces"},
    "cyclopts": {"interfaces"},
}
"""The rooms that may import a library."""

MODULES = sorted(path for path in SOURCE.rglob("*.py") if path.name != "__main__.py")


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(SOURCE).with_suffix("").parts)


def room_of(path: Path) -> str:
    """The folder of a module; empty for the top level."""
    return "" if path.parent == SOURCE else path.parent.name


def _seen(node: ast.AST) -> Iterator[ast.AST]:
    yield node
    if not (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)):
        for child in ast.iter_child_nodes(node):
            yield from _seen(child)


def imports(tree: ast.AST) -> Iterator[str]:
    """The full name of every module that is imported, inside functions too, but for what only type checkers see."""
    for node in _seen(tree):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{name.name}" for name in node.names)


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_go_up_the_list_of_rooms(path):
    room = room_of(path)
    reach = ROOMS[: ROOMS.index(room) + 1] if room else ()
    for name in imports(ast.parse(path.read_text())):
        package, _, rest = name.partition(".")
        other = rest.partition(".")[0]
        if package == "descend" and other in ROOMS:
            assert other in reach, f"{name_of(path)} imports {name}: write a door, or move what is needed"


def test_every_folder_is_a_room_and_says_what_it_is():
    folders = {path.name for path in SOURCE.iterdir() if (path / "__init__.py").exists()}
    assert folders == set(ROOMS)
    for room in ROOMS:
        text = (SOURCE / room / "__init__.py").read_text()
        assert ast.get_docstring(ast.parse(text))
        assert text.count("\n") == 1


@pytest.mark.parametrize("room", ["", *ROOMS])
def test_the_docs_list_the_files_of_a_room_in_their_place(room):
    text = (SOURCE.parent.parent / "docs" / "explanation" / "architecture.md").read_text("utf-8")
    rows = dict(re.findall(r"^\| `?([a-z ]+)`? \| [^|]+ \| (`[^|]+) \|$", text, re.MULTILINE))
    assert list(rows)[: len(ROOMS) + 1] == ["top level", *ROOMS]
    files = {path.stem for path in (SOURCE / room).glob("[!_]*.py")}
    assert set(re.findall(r"`(\w+)`", rows[room or "top level"])) == files
    assert len(files) <= 12


def test_every_door_leads_somewhere_later():
    for module in (place.partition(":")[0] for place in doors.DOORS.values()):
        assert (SOURCE / f"{module.replace('.', '/')}.py").exists()
    assert len(doors.DOORS) <= 7


def test_no_two_modules_import_each_other():
    """Every circle of module-level imports, inside a room too."""
    arrows = {}
    for path in MODULES:
        tree = ast.parse(path.read_text())
        top = [
            node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)
        ]  # not those of type checkers
        named = {
            n.removeprefix("descend.") for node in top for n in imports(node) if n.startswith("descend.")
        }
        arrows[name_of(path)] = named & {name_of(other) for other in MODULES}
    done: set[str] = set()

    def visit(name: str, way: tuple[str, ...]) -> None:
        assert name not in way, f"a circle: {' -> '.join((*way[way.index(name) :], name))}"
        if name not in done:
            for other in sorted(arrows[name]):
                visit(other, (*way, name))
            done.add(name)

    for name in arrows:
        visit(name, ())


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_libraries_stay_with_their_owners(path):
    for name in imports(ast.parse(path.read_text())):
        package = name.partition(".")[0]
        assert room_of(path) in OWNERS.get(package, {room_of(path)}), f"{name_of(path)} imports {package}"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_functions_stay_small(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef):
            docstring = (ast.get_docstring(node, clean=False) or "").count("\n")
            assert node.end_lineno - node.lineno + 1 - docstring <= 60, node.name


KINDS = {"Quadratic", "Summed", "Standardised", "Sampled", "Batch"}


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_nobody_asks_an_objective_for_its_kind(path):
    if room_of(path) == "objectives":
        return
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "isinstance":
            asked = {n.id for n in ast.walk(node.args[1]) if isinstance(n, ast.Name)}
            assert not asked & KINDS, f"{name_of(path)}:{node.lineno}: let the objective answer"


@pytest.mark.parametrize("path", [path for path in MODULES if room_of(path) == "runs"], ids=name_of)
def test_what_runs_are_made_of_is_not_changed_afterwards(path):
    """Only a part's own methods set its attributes: contract D."""
    for node in ast.walk(ast.parse(path.read_text())):
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if not isinstance(node, ast.Assign | ast.AugAssign | ast.AnnAssign):
            continue
        for target in (t for one in targets for t in ast.walk(one)):
            if isinstance(target, ast.Attribute) and isinstance(target.ctx, ast.Store):
                own = isinstance(target.value, ast.Name) and target.value.id == "self"
                assert own, f"{name_of(path)}:{target.lineno}: give it when the part is made"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_what_begins_with_an_underscore_stays_in_its_module(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("descend"):
            private = [n.name for n in node.names if n.name.startswith("_") and not n.name.startswith("__")]
            assert not private, f"{name_of(path)} imports {private}"


def test_a_fit_of_a_file_goes_through_six_rooms():
    """And each calls those above it in the list, as the imports do: the way is from `runs` to `runs`."""
    code = """
import sys
from pathlib import Path
import descend

root, rooms = Path(descend.__file__).parent, set()

def visited(frame, event, arg):
    path = Path(frame.f_code.co_filename)
    if event == "call" and path.is_relative_to(root) and path.parent != root:
        if frame.f_code.co_name != "<module>":
            rooms.add(path.relative_to(root).parts[0])

sys.setprofile(visited)
for target in ("body_mass_g", "species"):
    descend.fit("examples/penguins.csv", target=target, engine=descend.Serial())
sys.setprofile(None)
print(*sorted(rooms))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) == {"runs", "tables", "engines", "objectives", "descent", "models"}


def test_few_attributes_are_looked_for_by_name():
    """What is ours is declared on a base class; what stays asks about other libraries' objects."""
    asked = []
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and len(node.args) > 1:
                named = isinstance(node.args[1], ast.Constant)
                if node.func.id in ("hasattr", "getattr") and named:
                    asked.append(f"{name_of(path)}:{node.lineno}")
    assert len(asked) < 20, asked


def test_importing_descend_imports_nothing_heavy():
    heavy = ("numpy", "scipy", "polars", "matplotlib", "sklearn", "torch", "rich", "cyclopts")
    code = f"import sys, descend; print([m for m in {heavy!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
