"""What the reference says by itself: the public names by room, and the flags of each command.

`conf.py` writes the pages of names when the documentation is built, so that a new public name appears in them;
the tests hold the docstrings that the pages show to what a reference owes.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import sys
import textwrap
from collections.abc import Iterator
from enum import Enum
from functools import cached_property
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any, NamedTuple

import descend

ROOMS = (
    "runs",
    "descent",
    "objectives",
    "models",
    "pictures",
    "diagnosis",
    "engines",
    "tables",
    "interfaces",
)
"""The rooms in the order in which a reader meets them; the names of the top level come last."""
PARTS = ("Loss", "Penalty", "Optimizer", "Schedule", "Engine")
"""What others can write: the contracts between descend and a part of one's own."""
TOP = "top"
TOP_TITLE = "Errors, and data to try"


def rooms() -> dict[str, list[str]]:
    """The public names of each room that has any: functions first, then classes, by the alphabet."""
    found: dict[str, list[str]] = {}
    for name, home in descend._HOME.items():
        found.setdefault(home.partition(".")[0] if "." in home else TOP, []).append(name)
    order = [*ROOMS, *sorted(found.keys() - {*ROOMS, TOP}), TOP]
    return {
        room: sorted(found[room], key=lambda name: (name[0].isupper(), name.lower()))
        for room in order
        if room in found
    }


def title(room: str) -> str:
    """What a room says of itself, as a heading."""
    if room == TOP:
        return TOP_TITLE
    return _words(room).partition(":")[0].removesuffix(".")


def _words(room: str) -> str:
    return (inspect.getdoc(importlib.import_module(f"descend.{room}")) or room).splitlines()[0]


def summary(found: Any) -> str:
    """The first sentence of a docstring."""
    first = " ".join((inspect.getdoc(found) or "").partition("\n\n")[0].split())
    return first.partition(". ")[0].removesuffix(".")


def contracts() -> list[type]:
    """The protocols of every module that has been imported."""
    return [kind for kind in classes() if vars(kind).get("_is_protocol")]


def classes() -> list[type]:
    """The classes of every module of descend that has been imported."""
    modules = [module for name, module in sorted(sys.modules.items()) if name.startswith("descend.")]
    return [
        kind
        for module in modules
        if isinstance(module, ModuleType)
        for kind in vars(module).values()
        if inspect.isclass(kind) and kind.__module__ == module.__name__
    ]


def parts_of_your_own(room: str) -> list[type]:
    """What a loss, a penalty and so on of one's own must offer, where that has no public name of its own."""
    known = {kind.__name__: kind for kind in classes() if kind.__name__ in PARTS}
    assert known.keys() == {*PARTS}
    own = [known[name] for name in PARTS if name not in descend._HOME]
    return [kind for kind in own if kind.__module__.split(".")[1] == room]


METHODS = FunctionType | property | staticmethod | classmethod | cached_property


def public_methods(kind: type) -> set[str]:
    """The methods of a class that users may call, those of its bases in this package too."""
    return {
        name
        for base in kind.__mro__
        if base.__module__.startswith("descend")
        for name, value in vars(base).items()
        if isinstance(value, METHODS) and not name.startswith("_")
    }


def members(kind: type) -> list[str]:
    """What the reference shows of a class: its methods, properties and attributes that have words of their own.

    The methods of a contract are told once, where the contract is; a contract itself shows all it asks for.
    """
    if issubclass(kind, Enum):
        return list(kind.__members__)
    methods = public_methods(kind)
    if vars(kind).get("_is_protocol") or inspect.isabstract(kind):
        asked = methods
    else:
        told = (public_methods(contract) for contract in contracts())
        bases = {name for base in kind.__mro__[1:] for name in getattr(base, "__abstractmethods__", ())}
        asked = methods.difference(bases, *(names for names in told if names and names <= methods))
    documented = {name for name in asked if getattr(vars(kind).get(name), "__doc__", None)}
    attributes = documented_attributes(kind)
    return [name for name in _in_order(kind) if name in documented or name in attributes]


def documented_attributes(kind: type) -> set[str]:
    """The public attributes of a class that a text follows in its source."""
    body = ast.parse(textwrap.dedent(inspect.getsource(kind))).body[0]
    assert isinstance(body, ast.ClassDef)
    return {
        name
        for place in (body, *(node for node in body.body if isinstance(node, ast.FunctionDef)))
        for before, after in zip(place.body, place.body[1:], strict=False)
        if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
        for name in _assigned(before)
        if not name.startswith("_")
    }


def _assigned(node: ast.stmt) -> Iterator[str]:
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    for target in targets:
        if isinstance(target, ast.Name):
            yield target.id
        elif isinstance(target, ast.Attribute):
            yield target.attr


def _in_order(kind: type) -> list[str]:
    """The names of a class in the order of its source."""
    return list(
        dict.fromkeys(
            [*vars(kind).get("__annotations__", ()), *vars(kind), *sorted(documented_attributes(kind))]
        )
    )


def subclasses(kind: type) -> list[type]:
    """The errors that derive from one, which are caught by it and need no public name."""
    derived = [other for other in kind.__subclasses__() if other.__module__ == kind.__module__]
    return sorted(derived, key=lambda other: other.__name__)


def entry(name: str) -> str:
    """The directive that shows a public name."""
    found = getattr(descend, name)
    if not inspect.isclass(found):
        return f".. autofunction:: {name}\n"
    shown = members(found)
    options = f"   :members: {', '.join(shown)}\n" if shown else ""
    options += "   :undoc-members:\n" if issubclass(found, Enum) else ""
    text = f".. autoclass:: {name}\n{options}"
    if issubclass(found, Exception):
        text += "".join(
            f"\n.. autoclass:: {other.__module__}.{other.__name__}\n" for other in subclasses(found)
        )
    return text


def page(room: str, names: list[str]) -> str:
    """The page of a room, in Markdown."""
    entries = "\n".join(entry(name) for name in names)
    for kind in parts_of_your_own(room):
        entries += (
            f"\n.. autoclass:: {kind.__module__}.{kind.__name__}\n   :members: {', '.join(members(kind))}\n"
        )
    words = "" if room == TOP or ":" not in _words(room) else f"{_words(room)}\n\n"
    return f"# {title(room)}\n\n{words}```{{eval-rst}}\n.. currentmodule:: descend\n\n{entries}```\n"


def index(found: dict[str, list[str]]) -> str:
    """The table of contents: every public name with its first sentence."""
    parts = ["# In Python\n", INTRODUCTION]
    for room, names in found.items():
        parts.append(f"## {title(room)}\n\n| name | |\n|---|---|")
        rows = [
            f"| {{py:obj}}`~descend.{name}` | {_cell(summary(getattr(descend, name)))} |" for name in names
        ]
        parts.append("\n".join(rows) + "\n")
    listed = "\n".join(found)
    parts.append(f"```{{toctree}}\n:hidden:\n\n{listed}\n```\n")
    return "\n".join(parts)


INTRODUCTION = """\
Every public name, made from the code when these pages are built. `X` has shape (rows, features), `y` (rows,),
weights (features,), or (features, outputs) where there are several; the intercept is the last weight. `Float` is a
NumPy array of float64, `Array` one of any type, `Matrix` a dense array or a sparse one; a `Rate` is a number or "auto".
The loss is a mean over rows, a penalty is added to it.
"""


def write(folder: Path) -> None:
    """Write the pages of names; a page that has not changed is left as it is, so that it is not built again."""
    folder.mkdir(parents=True, exist_ok=True)
    found = rooms()
    pages = {"index": index(found)} | {room: page(room, names) for room, names in found.items()}
    for old in folder.glob("*.md"):
        if old.stem not in pages:
            old.unlink()
    for name, text in pages.items():
        path = folder / f"{name}.md"
        if not path.exists() or path.read_text("utf-8") != text:
            path.write_text(text, "utf-8")


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def write_film(path: Path) -> None:
    """Write the film of the first page, as a notebook would show it: the lesson's line, from a guess to its place."""
    from descend.pictures.page import framed

    x, y = descend.make_line(100, weights=(3, 2), seed=0)
    walk = descend.GradientDescent(learning_rate=0.1)
    run = descend.fit(x, y, intercept=False, start=(-1, 1), optimizer=walk, steps=100)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(framed(run.animate()), "utf-8")


class Plain(str):
    """A text that a signature shows without quotes."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def signature(found: Any, of_class: bool) -> tuple[str, str | None] | None:
    """The signature of a function or a class as it is written, and what is returned; None where there is none.

    `**problem: Unpack[ProblemOptions]` are the keyword arguments that it stands for, with their defaults.
    """
    try:
        made = inspect.signature(found)
    except ValueError:
        return None
    parameters = []
    for parameter in made.parameters.values():
        if parameter.name in ("self", "cls"):
            continue
        unpacked = re.fullmatch(r"Unpack\[(\w+)\]", str(parameter.annotation))
        if unpacked:
            parameters += _keywords(vars(inspect.getmodule(found))[unpacked[1]])
            continue
        if "factory" in repr(parameter.default):
            parameter = parameter.replace(default=Plain("..."))
        parameters.append(_plain(parameter))
    returned = made.return_annotation
    shown = made.replace(parameters=parameters, return_annotation=inspect.Signature.empty)
    return str(shown), None if of_class or returned is inspect.Signature.empty else str(returned)


def _plain(parameter: inspect.Parameter) -> inspect.Parameter:
    written = isinstance(parameter.annotation, str)
    return parameter.replace(annotation=Plain(parameter.annotation)) if written else parameter


def _keywords(options: type) -> list[inspect.Parameter]:
    """What `Problem.of` takes, as far as it is in `options`."""
    taken = inspect.signature(descend.Problem.of).parameters
    return [_plain(taken[name]) for name in options.__annotations__]


VALUES = {"str": "TEXT", "float": "NUMBER", "int": "N", "list[str]": "TEXT...", "bool": ""}


class Flag(NamedTuple):
    """A flag or an argument of a command, in Markdown."""

    names: str
    what: str
    unless_given: str


def flags(command: str) -> dict[str, list[Flag]]:
    """The arguments and flags of a command, in the groups of its options; its own come first, under no heading."""
    from descend.interfaces import cli

    groups: dict[str, list[Flag]] = {"": []}
    headings: dict[str, str] = {}
    for argument in cli.app[command].assemble_argument_collection(parse_docstring=True):
        for child in argument.children:
            headings[child.name] = (inspect.getdoc(argument.hint) or "").partition("\n")[0].removesuffix(".")
        if argument.show:
            groups.setdefault(headings.get(argument.name, ""), []).append(_flag(argument))
    return groups


def _flag(argument: Any) -> Flag:
    hint, default = argument.hint, argument.field_info.default
    kind = (hint.__name__ if hint in (str, int, float, bool) else str(hint)).removesuffix(" | None")
    positional = not argument.name.startswith("-")
    value = ("..." if kind.startswith("tuple") else "") if positional else f" {VALUES[kind]}".rstrip()
    plain = isinstance(default, str | int) and not isinstance(default, bool) and default != ""
    return Flag(
        ", ".join(f"`{name}{value}`" for name in argument.names),
        _cell(str(argument.parameter.help)),
        "required" if argument.required else f"`{default}`" if plain else "",
    )


def examples(command: str) -> list[str]:
    """The command lines that a command's own words show."""
    from descend.interfaces import cli

    told = inspect.getdoc(cli.app[command].default_command) or ""
    return re.findall(rf"^(?:\S+ .*\| )?descend {command}\b.*$", told, re.M)


def flag_table(command: str) -> str:
    """The examples and the flags of a command, in Markdown."""
    parts = ["```console", *(f"$ {line}" for line in examples(command)), "```", ""]
    for heading, rows in flags(command).items():
        parts += [f"{heading}:", ""] if heading else []
        parts += ["| flag | what it does | unless given |", "|---|---|---|"]
        parts += [f"| {' | '.join(row)} |" for row in rows]
        parts += [""]
    return "\n".join(parts)
