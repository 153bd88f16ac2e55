"""The house rules that a reader relies on: imports go down, owners keep their libraries, files stay small."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import descend

SOURCE = Path(descend.__file__).parent

ORDER = [
    "errors",
    "files",
    "styles",
    "blas",
    "matrix",
    "blocks",
    "losses",
    "penalties",
    "schedules",
    "datasets",
    "csv_files",
    "table_files",
    "tables",
    "kept",
    "table_parts",
    "cells",
    "surprises",
    "profiles",
    "encoding",
    "spool",
    "cache",
    "encoded_parts",
    "encoded",
    "sampling",
    "moments",
    "collinearity",
    "raw_moments",
    "indicators",
    "raw_cells",
    "statistics",
    "engines",
    "autograd",
    "orders",
    "worker",
    "links",
    "shares",
    "remote",
    "processes",
    "cluster",
    "survey",
    "least_squares",
    "objective",
    "batches",
    "optimizers",
    "curvature",
    "newton",
    "lbfgs",
    "local_steps",
    "second_order",
    "ranking",
    "metrics",
    "inference",
    "problem",
    "advice",
    "table_problem",
    "trajectory",
    "rates",
    "stopping",
    "history",
    "coordinates",
    "film",
    "landscape",
    "filming",
    "page",
    "panels",
    "curves",
    "plots",
    "animation",
    "descent",
    "incremental",
    "endings",
    "modelfile",
    "summary",
    "prediction_parts",
    "scoring",
    "progress",
    "arguments",
    "recording",
    "run",
    "fitting",
    "layers",
    "learner",
    "parameters",
    "estimator_box",
    "linear_estimator",
    "estimators",
    "formula",
    "onnx_graph",
    "codegen",
    "separation",
    "findings",
    "terrain",
    "forecast",
    "diagnosis",
    "diagnosis_page",
    "top_losses",
    "report",
    "lesson",
    "terminal",
    "cli_options",
    "cli_diagnose",
    "cli_export",
    "cli",
]

LATE = {
    "problem.of": {"tables", "table_problem"},
    "history.save": {"tables"},
    "history.load": {"tables"},
    "history.plot": {"plots"},
    "history.plot_loss": {"plots"},
    "history.plot_coefficients": {"plots"},
    "history.surface": {"plots"},
    "run.plot_top_losses": {"top_losses"},
    "run.report": {"report"},
    "run.fit": {"progress"},
    "run.from_torch": {"layers"},
    "losses.as_loss": {"autograd"},
    "rates.plot": {"plots"},
    "diagnosis.__str__": {"diagnosis_page"},
    "diagnosis.to_dict": {"diagnosis_page"},
    "run.animate": {"filming"},
    "history.animate": {"filming"},
    "film.to_html": {"page"},
    "film._repr_mimebundle_": {"page"},
    "film.save": {"animation"},
}
"""Functions that import a module inside their body, because it is heavy or stands later in the list."""

OWNERS = {
    "sklearn": {"linear_estimator", "estimators"},
    "matplotlib": {"plots", "animation"},
    "mpl_toolkits": {"plots"},
    "PIL": {"animation"},
    "jinja2": {"report"},
    "markupsafe": {"report"},
    "dask": {"cluster"},
    "distributed": {"cluster"},
    "torch": {"autograd"},
    "fastai": {"learner"},
    "onnx": {"onnx_graph"},
    "polars": {
        "csv_files",
        "table_files",
        "tables",
        "table_parts",
        "cells",
        "profiles",
        "encoding",
        "kept",
        "indicators",
        "raw_cells",
        "survey",
    },
    "rich": {"progress", "terminal", "cli"},
    "cyclopts": {"cli", "cli_diagnose", "cli_export", "cli_options"},
    "starlette": {"live"},
}

MODULES = sorted(p for p in SOURCE.glob("*.py") if p.stem not in ("__init__", "__main__"))


def imports(tree: ast.AST) -> Iterator[tuple[str, str, str | None]]:
    """`(package, submodule, function)` of every import; function is None at module level."""

    def walk(node: ast.AST, function: str | None) -> Iterator[tuple[str, str, str | None]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test):
                continue
            if isinstance(child, ast.FunctionDef):
                yield from walk(child, function or child.name)
            elif isinstance(child, ast.Import):
                for name in child.names:
                    package, _, rest = name.name.partition(".")
                    yield package, rest, function
            elif isinstance(child, ast.ImportFrom) and child.module:
                package, _, rest = child.module.partition(".")
                for name in child.names if not rest else ():
                    yield package, name.name, function
                if rest:
                    yield package, rest, function
            else:
                yield from walk(child, function)

    return walk(tree, None)


def test_every_module_has_its_place():
    assert {p.stem for p in MODULES} <= set(ORDER)
    assert len(ORDER) == len(set(ORDER))


def test_the_order_is_the_one_that_is_written_down():
    text = (Path(__file__).parent.parent / "docs" / "architecture.md").read_text("utf-8")
    assert " ".join(ORDER) in " ".join(text.split())


@pytest.mark.parametrize("path", MODULES, ids=lambda p: p.stem)
def test_imports_go_down(path):
    place = ORDER.index(path.stem)
    for package, module, function in imports(ast.parse(path.read_text())):
        if package != "descend" or module not in ORDER:
            continue
        late = module in LATE.get(f"{path.stem}.{function}", ())
        assert late or ORDER.index(module) < place, f"{path.stem} imports {module}, which stands later"


@pytest.mark.parametrize("path", MODULES, ids=lambda p: p.stem)
def test_libraries_stay_with_their_owners(path):
    for package, _, _ in imports(ast.parse(path.read_text())):
        assert path.stem in OWNERS.get(package, {path.stem}), f"{package} is imported in {path.stem}"


@pytest.mark.parametrize("path", MODULES, ids=lambda p: p.stem)
def test_files_and_functions_stay_small(path):
    text = path.read_text()
    assert text.count("\n") <= 450
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            docstring = (ast.get_docstring(node, clean=False) or "").count("\n")
            assert node.end_lineno - node.lineno + 1 - docstring <= 60, node.name


def test_importing_descend_imports_nothing_heavy():
    heavy = ("numpy", "scipy", "polars", "matplotlib", "sklearn", "torch", "rich", "cyclopts")
    code = f"import sys, descend; print([m for m in {heavy!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
