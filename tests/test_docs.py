"""What the documentation owes: every public name with its parameters, shapes and errors, every flag, links that lead on."""

from __future__ import annotations

import ast
import functools
import importlib.util
import inspect
import json
import re
import textwrap
import typing
from dataclasses import replace
from enum import Enum
from pathlib import Path

import numpy as np
import pytest

import descend
from descend.interfaces import cli

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"


def of_the_build(name):
    """A module that the build of the documentation runs."""
    spec = importlib.util.spec_from_file_location(name, DOCS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


generate = of_the_build("generate")
NAMES = [name for name in descend.__all__ if name != "__version__"]
CLASSES = [name for name in NAMES if inspect.isclass(getattr(descend, name))]
SHOWN = [
    (name, member)
    for name in CLASSES
    for member in generate.members(getattr(descend, name))
    if callable(getattr(getattr(descend, name), member, None))
    and not issubclass(getattr(descend, name), Enum)
]
"""The methods that the reference shows."""
CHECKED = ("check_", "_check")
"""How functions are named that raise where an argument is not what it must be."""


def parameters(found):
    """The names that a caller may give, the unpacked keyword arguments among them."""
    try:
        given = inspect.signature(found).parameters.values()
    except ValueError:  # exceptions
        return []
    names = []
    for parameter in given:
        unpacked = re.fullmatch(r"Unpack\[(\w+)\]", str(parameter.annotation))
        if unpacked:
            names += typing.get_type_hints(vars(inspect.getmodule(found))[unpacked[1]])
        elif parameter.name not in ("self", "cls") and not parameter.name.startswith("_"):
            names.append(parameter.name)
    return names


def told(found):
    """The parameters that a docstring names in backticks, alone or in a formula, or says to be those of another."""
    text = inspect.getdoc(found)
    names = set(re.findall(r"[A-Za-z_]\w*", " ".join(re.findall(r"`([^`]+)`", text))))
    for other in re.findall(r"\bthose\s+of\s+`([A-Za-z_.]+)`", text):
        start, *rest = other.split(".")
        if hasattr(descend, start):
            names |= {*parameters(functools.reduce(getattr, rest, getattr(descend, start)))}
    return names | (generate.documented_attributes(found) if inspect.isclass(found) else set())


def sources(found):
    """The parsed functions whose errors a caller meets: a function's own, or those that make an object."""
    if inspect.isclass(found):
        made = (getattr(found, name, None) for name in ("__init__", "__post_init__", "__new__"))
        functions = [f for f in made if inspect.isfunction(f) and f.__module__.startswith("descend.")]
    else:
        functions = [inspect.unwrap(found)]
    for function in functions:
        try:
            yield ast.parse(textwrap.dedent(inspect.getsource(function)))
        except OSError:  # made by dataclass
            continue


def may_raise(found):
    """Whether there is a `raise`, or a call of something that is there to raise."""
    for tree in sources(found):
        for node in ast.walk(tree):
            called = node.func if isinstance(node, ast.Call) else None
            name = getattr(called, "id", getattr(called, "attr", ""))
            if isinstance(node, ast.Raise) or name.startswith(CHECKED):
                return True
    return False


def takes_arrays(found):
    try:
        annotations = [str(p.annotation) for p in inspect.signature(found).parameters.values()]
    except ValueError:
        return False
    return any(re.search(r"\b(Float|Array|Matrix)\b", text) for text in annotations)


def test_every_public_name_is_in_the_reference_once():
    pages = generate.rooms()
    listed = [name for names in pages.values() for name in names]
    assert sorted(listed) == sorted(descend._HOME)
    for room, all_names in pages.items():
        names = [name for name in all_names if name in NAMES]  # an extra may be missing
        page = generate.page(room, names)
        assert re.findall(r"^\.\. auto(?:class|function):: (\w+)$", page, re.M) == names


def test_a_new_public_name_appears_by_itself(monkeypatch):
    monkeypatch.setitem(descend._HOME, "check_whole", "errors")
    assert "check_whole" in generate.rooms()[generate.TOP]
    assert ".. autofunction:: check_whole" in generate.page(generate.TOP, ["check_whole"])
    monkeypatch.setitem(descend._HOME, "Tree", "engines.engine")
    assert "Tree" in generate.rooms()["engines"]
    assert re.search(r"autoclass:: Tree\n +:members: add, total, result", generate.page("engines", ["Tree"]))
    assert "| `~descend.Tree`".replace("`", "{py:obj}`", 1) in generate.index({"engines": ["Tree"]})


@pytest.mark.parametrize("name", NAMES)
def test_the_reference_says_what_every_parameter_is(name):
    found = getattr(descend, name)
    if inspect.isclass(found) and issubclass(found, Enum):
        return
    known = told(found)
    assert [parameter for parameter in parameters(found) if parameter not in known] == []


@pytest.mark.parametrize(("name", "member"), SHOWN, ids=map(".".join, SHOWN))
def test_the_reference_says_what_every_parameter_of_a_method_is(name, member):
    method = getattr(getattr(descend, name), member)
    known = told(method) | told(getattr(descend, name))
    assert [parameter for parameter in parameters(method) if parameter not in known] == []


@pytest.mark.parametrize("name", NAMES)
def test_the_reference_says_what_is_raised(name):
    found = getattr(descend, name)
    if may_raise(found):
        assert re.search(r"\b[Rr]aise[sd]?\b", inspect.getdoc(found))


@pytest.mark.parametrize(("name", "member"), SHOWN, ids=map(".".join, SHOWN))
def test_the_reference_says_what_is_raised_by_a_method(name, member):
    method = getattr(getattr(descend, name), member)
    if may_raise(method):
        assert re.search(r"\b[Rr]aise[sd]?\b", inspect.getdoc(method))


@pytest.mark.parametrize("name", NAMES)
def test_the_reference_says_the_shape_of_arrays(name):
    found = getattr(descend, name)
    if takes_arrays(found):
        text = inspect.getdoc(found) + "".join(
            inspect.getdoc(getattr(found, m, None)) or ""
            for m in (generate.members(found) if name in CLASSES else ())
        )
        assert "shape" in text or "one value per row" in text


@pytest.mark.parametrize("command", [name for name in cli.app if not name.startswith("-")])
def test_every_flag_of_a_command_is_in_the_reference_with_words_of_its_own(command):
    rows = [row for group in generate.flags(command).values() for row in group]
    shown = [a.names for a in cli.app[command].assemble_argument_collection() if a.show]
    assert sorted(re.findall(r"`(-*[\w-]+)", row.names) for row in rows) == sorted(map(list, shown))
    assert all(len(row.what) > 10 for row in rows)
    assert generate.examples(command)
    page = (DOCS / "reference" / "shell.md").read_text("utf-8")
    assert len(re.findall(rf"^## `descend {command}\b.*?^```{{flags}} {command}$", page, re.M | re.S)) == 1


def test_what_a_part_of_your_own_must_offer_is_in_the_reference():
    pages = {
        room: generate.page(room, [n for n in names if n in NAMES])
        for room, names in generate.rooms().items()
    }
    for part in generate.PARTS:
        assert len(re.findall(rf"autoclass:: (?:descend\.[\w.]+\.)?{part}\n", "".join(pages.values()))) == 1
    assert "init, step, planned" in pages["descent"]


def test_signatures_are_shown_as_they_are_written():
    assert generate.signature(descend.predict, False) == (
        "(x: Any, weights: Any, *, intercept: bool = False)",
        "Float",
    )
    assert generate.signature(descend.L2, True) == ("(alpha: float = 0.0)", None)
    shown, returned = generate.signature(descend.path, False)
    assert "problem" not in shown
    assert ", start: Any = None, target: str | None = None, loss: Loss | str | None = None," in shown
    assert ", intercept: bool = True," in shown
    assert returned == "Trajectory"
    assert generate.signature(descend.DescendError, True) is None


def keys_told(heading):
    """The first column of the table in the page on files whose head this is."""
    page = (DOCS / "reference" / "files.md").read_text("utf-8")
    (table,) = re.findall(rf"^{re.escape(heading)}\n(?:.+\n)+", page, re.M)
    return re.findall(r"^\| `([^`]+)` \|", table, re.M)


@pytest.fixture(scope="module")
def runs():
    """Runs that between them have whatever a file can hold."""
    table = ROOT / "examples" / "penguins.csv"
    x, y = descend.make_line(100, seed=0)
    batches = {"optimizer": "gradient-descent", "batch_size": 10, "epochs": 2}
    return [
        descend.fit(table, target="body_mass_g", valid=0.2),
        descend.fit(table, target="species"),
        descend.fit(x, y, intercept=False, optimizer="gradient-descent"),
        descend.fit(x, y, valid=0.2, **batches),
        descend.fit(x, np.arange(100) % 4, loss="poisson", offset=np.zeros(100)),
    ]


def test_the_page_on_files_names_what_a_model_file_holds(runs, tmp_path):
    models = []
    for number, run in enumerate(runs):
        run.save(tmp_path / f"{number}.model.json")
        models.append(json.loads((tmp_path / f"{number}.model.json").read_text("utf-8")))
    told = keys_told('| key | holds |\n|---|---|\n| `format` | `"descend-model"` |')
    replace(runs[2].model, offset="offset").save(tmp_path / "offset.model.json")
    assert told == list(json.loads((tmp_path / "offset.model.json").read_text("utf-8")))
    assert told == [*(key for key in models[0] if key != "uncertainty"), "offset", "uncertainty"]
    assert sorted(keys_told("| fact | holds |")) == sorted(
        {key for model in models for key in model["facts"]}
    )
    columns = [column for model in models[:2] for column in model["encoding"]["columns"]]
    for kind in ("number", "category"):
        shown = next(list(column) for column in columns if column["kind"] == kind)
        assert keys_told(f"| key of a {kind} | holds |") == shown
    assert {*models[0]["encoding"]} == {"columns", "target", "intercept"}


def test_the_page_on_files_names_what_a_film_holds(runs):
    films = [json.loads(run.animate().to_json()) for run in runs]
    assert keys_told('| key | holds |\n|---|---|\n| `format` | `"descend-film"` |') == list(films[-1])
    assert list(films[-1]) == [*films[0], "link"]
    for part in ("sample", "surface"):
        told = keys_told(f"| key of the {part} | holds |")
        assert sorted(told) == sorted({key for film in films for key in film[part]})


def test_the_page_on_files_names_the_columns_of_a_history(runs):
    written = {re.sub(":.*", ":NAME", name) for run in runs for name in run.history.columns()}
    assert sorted(keys_told("| column | holds |")) == sorted(written)


def test_links_between_pages_lead_to_files():
    pages = [
        p
        for p in (*DOCS.rglob("*.md"), *ROOT.glob("*.md"))
        if not {"_build", "lessons", "python"} & {*p.parts}
    ]
    assert len(pages) > 12
    for page in pages:
        text = re.sub(r"^```.*?^```", "", page.read_text("utf-8"), flags=re.M | re.S)
        for link in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text):
            if "://" not in link:
                assert (page.parent / link).exists(), f"{page.name}: {link}"
