"""The public names are pinned, documented and shown at work; so are the commands and flags of the shell."""

from __future__ import annotations

import doctest
import inspect
import re
import subprocess
import sys
import tomllib
from importlib.util import find_spec
from pathlib import Path

import pytest

import descend
from descend.errors import MissingExtraError
from descend.interfaces import cli
from descend.models import model as modelfile

DOCS = Path(__file__).parent.parent / "docs"
NAMES = [
    "Adam",
    "Block",
    "Cluster",
    "Columns",
    "Constant",
    "Cosine",
    "CrossEntropy",
    "DescendError",
    "DescendWarning",
    "Diagnosis",
    "ElasticNet",
    "Exact",
    "Film",
    "GradientDescent",
    "History",
    "HistoryCallback",
    "HuberLoss",
    "InverseTime",
    "L1",
    "L2",
    "LBFGS",
    "LearningRates",
    "LinearClassifier",
    "LinearRegressor",
    "LocalSteps",
    "LogisticLoss",
    "Loss",
    "Model",
    "Moments",
    "Newton",
    "Objective",
    "OneCycle",
    "Optimizer",
    "Outcome",
    "Penalty",
    "PoissonLoss",
    "Problem",
    "Processes",
    "ProximalGradient",
    "Run",
    "Serial",
    "SquaredError",
    "Step",
    "Threads",
    "Torch",
    "TorchLoss",
    "Trajectory",
    "__version__",
    "cross_entropy",
    "diagnose",
    "export",
    "fit",
    "load",
    "lr_find",
    "make_line",
    "mse",
    "path",
    "plot",
    "predict",
    "steps",
    "style",
]
COMMANDS = {
    "fit": {
        *("--target", "--out", "-o", "--history", "--every", "--json", "--quiet", "--loss", "--l2"),
        *("--l1", "--l1-ratio"),
        *("--class-weight", "--optimizer", "--learning-rate", "--schedule", "--momentum", "--nesterov"),
        *("--batch-size", "--steps", "--epochs", "--tolerance", "--time-limit", "--patience", "--valid"),
        *("--group", "--weight", "--seed", "--memory", "--features", "--drop", "--categorical"),
        *("--numeric", "--reference", "--missing", "--encoding", "--no-report", "--cluster"),
        *("--engine", "--offset", "--errors", "--weight-kind", "--penalise"),
        "--diagnose",
    },
    "diagnose": {
        *(
            "--target",
            "--loss",
            "--l2",
            "--l1",
            "--l1-ratio",
            "--penalise",
            "--class-weight",
            "--steps",
            "--memory",
            "--json",
            "--features",
        ),
        *("--drop", "--categorical", "--numeric", "--reference", "--missing", "--encoding", "--weight"),
        *("--group", "--offset", "--valid", "--seed", "--cluster", "--engine"),
    },
    "predict": {"--out", "-o", "--keep", "--interval", "--encoding", "--cluster", "--engine"},
    "score": {"--weight", "--encoding", "--cluster", "--engine", "--json"},
    "show": {"--json"},
    "animate": {"--out", "-o"},
    "export": {"--to", "--out", "-o"},
    "lesson": {"--list"},
}


def test_every_extra_that_is_named_is_there():
    root = DOCS.parent
    extras = tomllib.loads((root / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    files = [root / "README.md", root / "CHANGELOG.md", *DOCS.rglob("*.md"), *(root / "src").rglob("*.py")]
    named = {name for f in files for name in re.findall(r"descend\[(\w+)\]", f.read_text("utf-8"))}
    assert named <= extras.keys()
    assert {"sklearn", "torch", "fastai", "onnx", "cluster", "notebook"} <= named | {"fastai"}
    (together,) = extras["all"]
    assert set(re.findall(r"\w+", together)[1:]) <= extras.keys()


def public(name):
    """What a public name leads to; the test is skipped where its extra is not installed."""
    try:
        return getattr(descend, name)
    except MissingExtraError as error:
        return pytest.skip(str(error))


EXTRAS = {
    "fastai": ["HistoryCallback"],
    "sklearn": ["LinearClassifier", "LinearRegressor"],
    "torch": ["Torch", "TorchLoss"],
}
"""The names that each extra brings."""


def test_the_public_names_are_these():
    missing = {name for extra, names in EXTRAS.items() if find_spec(extra) is None for name in names}
    assert sorted(descend.__all__) == [name for name in NAMES if name not in missing]
    assert dir(descend) == NAMES


HIDDEN = """
from importlib.machinery import PathFinder
found = PathFinder.find_spec
PathFinder.find_spec = lambda name, *where: None if name in {extras} else found(name, *where)
"""


def without(extras, code):
    """What a program prints that cannot import these libraries."""
    code = HIDDEN.format(extras=extras) + code
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.mark.parametrize("extras", [list(EXTRAS), ["torch", "fastai"]], ids="-".join)
def test_a_star_gives_every_name_that_can_be_had(extras):
    if any(find_spec(extra) is None for extra in EXTRAS if extra not in extras):
        pytest.skip("an extra that should stay is not installed")
    code = "before = {*globals()}\nfrom descend import *\nprint(*sorted({*globals()} - before - {'before'}))"
    missing = {name for extra in extras for name in EXTRAS[extra]}
    assert without(extras, code) == [name for name in NAMES if name not in missing]


@pytest.mark.parametrize("extra", EXTRAS)
def test_a_name_whose_extra_is_missing_says_what_to_install(extra):
    for name in EXTRAS[extra]:
        code = f"""
try:
    from descend import {name}
except ImportError as error:
    print(type(error).__name__, error)
"""
        kind, *words = without([extra], code)
        assert kind == "MissingExtraError"
        assert " ".join(words).endswith(f"pip install 'descend[{extra}]'.")


@pytest.mark.parametrize("name", NAMES)
def test_every_public_name_leads_to_something_of_that_name(name):
    found = public(name)
    assert name == "__version__" or found.__name__ == name


def test_another_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'descend' has no attribute 'fti'"):
        descend.fti


@pytest.mark.parametrize("name", [name for name in NAMES if name != "__version__"])
def test_every_public_object_is_documented_with_an_example(name):
    text = inspect.getdoc(public(name)) or ""
    assert len(text.splitlines()[0]) >= 20
    assert doctest.DocTestParser().get_examples(text), f"{name} shows no example"


@pytest.mark.parametrize("name", ["History", "Model", "Objective", "Problem", "Run"])
def test_every_method_that_users_call_is_documented(name):
    for method, value in vars(getattr(descend, name)).items():
        if not method.startswith("_") and (inspect.isroutine(value) or isinstance(value, property)):
            assert inspect.getdoc(getattr(getattr(descend, name), method)), f"{name}.{method}"


def flags(command):
    arguments = cli.app[command].assemble_argument_collection()
    return {name for a in arguments for name in a.names if a.show and name.startswith("-")}


def test_the_commands_are_these():
    assert {name for name in cli.app if not name.startswith("-")} == set(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_the_flags_of_a_command_are_these(command):
    assert flags(command) == COMMANDS[command]


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_a_command_shows_an_example(command, capsys):
    assert cli.main([command, "--help"]) == 0
    text = capsys.readouterr().out
    assert re.search(rf"^(\S+ .*\| )?descend {command} \S", text, re.M)
    for flag in COMMANDS[command]:
        assert re.search(rf"[│ ]{flag}\b", text), flag


def test_the_readme_shows_each_command():
    text = (DOCS.parent / "README.md").read_text()
    for command in COMMANDS:
        assert f"descend {command} " in text


def test_import_descend_is_light():
    """Nothing that takes long: importing the package names its modules and no more."""
    heavy = ["numpy", "scipy", "polars", "matplotlib", "sklearn", "rich", "cyclopts", "torch"]
    code = f"import descend, sys; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_help_imports_nothing_heavy():
    heavy = ["numpy", "scipy", "polars", "matplotlib", "sklearn"]
    code = f"""
import sys
from descend.interfaces.cli import main
main(["--help"])
print([name for name in {heavy} if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("[]\n")


def test_a_model_file_has_this_version():
    assert (modelfile.FORMAT, modelfile.VERSION) == ("descend-model", 1)
