"""The page of a diagnosis: it fits the screen, JSON holds all of it, and its advice holds when it is followed."""

from __future__ import annotations

import json
import re
import warnings
from pathlib import Path

import numpy as np
import pytest

import descend
from descend import GradientDescent
from descend.diagnosis.text import Item, Table, sections

ROOT = Path(__file__).parents[2]
PENGUINS = str(ROOT / "examples" / "penguins.csv")
RNG = np.random.default_rng(3)
X = RNG.normal(size=(300, 3)) * [1.0, 300.0, 1.0] + [0.0, 0.0, 50.0]
Y = X @ [1.0, 0.01, 2.0] + RNG.normal(size=300)
CLASSES = (X @ [1.0, 0.005, 0.5] - 25 + RNG.logistic(size=300) > 0).astype(int)
APART = (X[:, 0] + X[:, 1] / 300 > 0).astype(int)


def quietly(*data, **how):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", descend.DescendWarning)
        return descend.fit(*data, **how)


def line(rate):
    x, y = descend.make_line(100, seed=0)
    return quietly(x, y, intercept=False, optimizer=GradientDescent(rate), steps=30)


DIAGNOSES = {
    "lesson": lambda: descend.diagnose(*descend.make_line(100, seed=0), intercept=False),
    "raw units": lambda: descend.diagnose(X, Y),
    "step limit": lambda: descend.diagnose(quietly(X, Y, optimizer="gradient-descent", steps=50)),
    "arrived": lambda: descend.diagnose(quietly(X, Y)),
    "diverged": lambda: descend.diagnose(line(1.05)),
    "classes": lambda: descend.diagnose(X, CLASSES, loss="logistic"),
    "classes, run": lambda: descend.diagnose(
        quietly(X, CLASSES, loss="logistic", optimizer="gradient-descent", steps=50)
    ),
    "apart": lambda: descend.diagnose(X, APART, loss="logistic"),
    "apart, run": lambda: descend.diagnose(quietly(X, APART, loss="logistic", optimizer="adam", steps=20)),
    "mass": lambda: descend.diagnose(PENGUINS, target="body_mass_g"),
    "species": lambda: descend.diagnose(PENGUINS, target="species"),
    "wide": lambda: descend.diagnose(RNG.normal(size=(40, 60)), RNG.normal(size=40)),
    "one column": lambda: descend.diagnose(X[:, :1], Y),
    "nothing to learn": lambda: descend.diagnose(X, np.full(300, 2.0)),
}


@pytest.fixture(scope="module", params=DIAGNOSES)
def d(request):
    return DIAGNOSES[request.param]()


def words(text):
    return re.findall(r"\S+", text.replace("*", " ").replace("->", " "))


def test_the_page_fits_and_begins_with_what_to_do(d):
    lines = str(d).splitlines()
    assert max(map(len, lines)) <= 100
    assert lines[2] == "What to do"
    assert lines[3].startswith("  * ")
    assert "\n\n\n" not in str(d)
    assert "nan" not in str(d).lower().split()
    for section in sections(d):
        for part in section.parts:
            for sentence in (part,) if isinstance(part, str) else part.what if isinstance(part, Item) else ():
                assert sentence[0].isupper() or sentence[0] in "`0123456789"
                assert sentence.endswith(".")
                assert sentence.count("`") % 2 == 0


def test_json_holds_every_word_of_the_page(d):
    content = json.loads(json.dumps(d.to_dict(), allow_nan=False))
    said = []
    for section in content["page"]:
        said.append(section["title"])
        for part in section["says"]:
            if isinstance(part, str):
                said.append(part)
            else:
                said += [*part.get("what", []), part.get("do", ""), *part.get("head", [])]
                said += [cell for row in part.get("rows", []) for cell in row]
    assert set(words("\n".join(str(d).splitlines()[1:]))) <= set(words(" ".join(said)))


def test_json_holds_the_figures_of_the_tables(d):
    content = d.to_dict()
    numbers = []

    def walk(value):
        if isinstance(value, dict):
            for key, inner in value.items():
                if key != "page":
                    walk(inner)
        elif isinstance(value, list | tuple):
            for inner in value:
                walk(inner)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            numbers.append(float(value))

    walk(content)
    for table in (part for s in sections(d) for part in s.parts if isinstance(part, Table)):
        for _, *cells in table.rows:
            for cell in cells:
                if re.fullmatch(r"[\d.,]+(e[+-]\d+)?", cell):
                    shown = float(cell.replace(",", ""))
                    assert any(
                        n == pytest.approx(shown, rel=6e-2 if "e+" in cell else 6e-3) for n in numbers
                    ), cell


def test_the_page_in_the_docs_is_as_printed():
    text = (ROOT / "docs" / "explanation" / "diagnosis.md").read_text("utf-8")
    code = re.search(r"```python\n(import.*?)```", text, re.S)[1]
    page = re.search(r"```text\n(.*?)```", text, re.S)[1]
    scope = {}
    exec(code.replace("print(descend.diagnose(run))", "page = str(descend.diagnose(run))"), scope)
    assert scope["page"].strip() == page.strip()


def advice(d):
    return " ".join(part.what[0] for part in sections(d)[0].parts)


def told(d):
    return int(re.search(r"([\d,]+) steps? to within 1 %", advice(d))[1].replace(",", ""))


def within(run, d, share=1.01):
    return run.history.loss <= d.gap.best * share


def test_an_array_is_told_to_standardise_and_that_works():
    d = DIAGNOSES["raw units"]()
    assert "`standardize=True`" in advice(d)
    assert "that takes `exact`" in advice(d).lower()
    run = descend.fit(X, Y, optimizer="gradient-descent", standardize=True, steps=told(d))
    assert within(run, d)[-1]
    assert not within(run, d)[-2]
    best = descend.fit(X, Y)
    assert best.optimizer.name == "exact"
    assert best.loss == pytest.approx(d.gap.best)


def test_a_table_is_told_to_take_momentum_and_that_works():
    d = DIAGNOSES["species"]()
    assert "--momentum 0.9 --nesterov" in advice(d)
    optimizer = GradientDescent(momentum=0.9, nesterov=True)
    run = quietly(PENGUINS, target="species", optimizer=optimizer, steps=3 * told(d))
    reached = int(np.argmax(within(run, d)))
    assert 0.5 * told(d) <= reached <= 2 * told(d)
    plain = quietly(PENGUINS, target="species", optimizer="gradient-descent", steps=3 * told(d))
    assert not within(plain, d)[: reached + 1].any()
    assert quietly(PENGUINS, target="species").loss == pytest.approx(d.gap.best)


def test_the_lesson_is_told_that_gradient_descent_will_do():
    x, y = descend.make_line(100, seed=0)
    d = DIAGNOSES["lesson"]()
    run = descend.fit(x, y, intercept=False, optimizer="gradient-descent", steps=told(d))
    assert within(run, d)[-1]
    assert not within(run, d)[-2]


def test_what_can_be_told_apart_is_told_to_take_a_penalty_and_that_works():
    d = DIAGNOSES["apart"]()
    assert advice(d).startswith("Give a penalty, `penalty=0.01`")
    assert "condition number" not in str(d)
    run = descend.fit(X, APART, loss="logistic", penalty=0.01)
    assert run.outcome.converged
    assert "Nothing: your run is at the best loss" in advice(descend.diagnose(run))


def test_flags_are_translated_for_a_table_alone():
    assert "The flags in Python" in str(DIAGNOSES["mass"]())
    assert "The flags in Python" not in str(DIAGNOSES["raw units"]())


def test_a_diverged_run_is_told_why_and_both_curvatures_of_a_classification_are_named():
    assert "How your run ended: diverged" in advice(DIAGNOSES["diverged"]())
    assert "What blew up" in advice(DIAGNOSES["diverged"]())
    page = " ".join(str(DIAGNOSES["classes, run"]()).split())
    for named in (
        "the bound on all curvatures",
        "curvature at your run's weights",
        "curvature at the best weights",
    ):
        assert named in page
