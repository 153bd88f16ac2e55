"""Run the benchmarks: each module listed below measures one section of docs/explanation/benchmarks.md.

    python benchmarks/run.py                         every section, printed
    python benchmarks/run.py startup --quick         one of them, a smoke test
    python benchmarks/run.py --data FOLDER --write docs/explanation/benchmarks.md

A section lies between two comments of its name and is replaced by itself, so sections may be
measured one by one, and the text around them is left alone.
"""

from __future__ import annotations

import argparse
import importlib
import os
import platform
import re
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

for tuning in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"):  # as a user's machine is, before NumPy is there
    os.environ.pop(tuning, None)

ROOT = Path(__file__).parent.parent
SECTIONS = {
    "accuracy": "The same answer with nothing said but the target",
    "claims": "What says that it has converged has",
    "diagnosis": "What a diagnosis costs",
    "flights": "A third of a million flights",
    "rates": "A learning rate that holds",
    "startup": "From prompt to prompt",
    "reading": "As fast as a file can be read",
    "memory": "Files larger than memory",
    "minibatch": "Mini-batches",
    "sparse": "Sparse matrices",
    "pictures": "Something that moves",
    "cluster": "On a cluster",
}
HEADER = """# Benchmarks

Written by `python benchmarks/run.py --data FOLDER --write docs/explanation/benchmarks.md`; `--quick` is a smoke test.
Figures are medians of five rounds (three where a round takes long), smallest to largest in brackets.
Rivals take turns with descend in the same run, so ratios travel between machines better than seconds do.
"""
PACKAGES = ("numpy", "polars", "pandas", "scikit-learn", "torch")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("sections", nargs="*", help=f"of {', '.join(SECTIONS)}; all unless given")
    parser.add_argument("--quick", action="store_true", help="small data, one round")
    parser.add_argument("--data", type=Path, default=ROOT / "examples", help="the folder of data files")
    parser.add_argument("--write", type=Path, help="the file to put the sections into")
    options = parser.parse_args(arguments)
    if unknown := set(options.sections) - SECTIONS.keys():
        parser.error(f"no section {', '.join(sorted(unknown))}; there are {', '.join(SECTIONS)}")
    failed = 0
    for name in options.sections or SECTIONS:
        start = time.perf_counter()
        try:
            body = importlib.import_module(name).measure(options.data, options.quick)
        except AssertionError as error:
            print(f"{name}: FAILED: {error}", file=sys.stderr)
            failed = 1
            continue
        print(f"## {SECTIONS[name]}\n\n{body}\n\n{name}: {time.perf_counter() - start:.1f} s\n", flush=True)
        if options.write is not None:
            write(options.write, name, f"{body}\n\n{machine()}")
    return failed


def write(path: Path, name: str, body: str) -> None:
    """Put a section in its place, or at the end where it has none."""
    text = path.read_text("utf-8") if path.exists() else HEADER
    section = f"<!-- {name} -->\n## {SECTIONS[name]}\n\n{body}\n<!-- /{name} -->"
    place = re.compile(rf"<!-- {name} -->.*?<!-- /{name} -->", re.DOTALL)
    text = place.sub(lambda _: section, text) if place.search(text) else f"{text.rstrip()}\n\n{section}\n"
    path.write_text(text, "utf-8")


def machine() -> str:
    """What the figures were measured on, in a sentence."""
    packages = ", ".join(found for name in PACKAGES if (found := installed(name)))
    return f"Measured with {os.cpu_count()} cores ({processor()}), Python {platform.python_version()}, {packages}."


def installed(package: str) -> str | None:
    """The package and its version, None where it is not there."""
    try:
        return f"{package} {version(package)}"
    except PackageNotFoundError:
        return None


def processor() -> str:
    """The processor's name where the system tells it."""
    try:
        names = re.findall(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    except OSError:
        names = []
    return names[0] if names else platform.processor() or platform.machine()


if __name__ == "__main__":
    sys.exit(main())
