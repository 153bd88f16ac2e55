"""Reports: they say what the run found, escape what comes from the data, and ask for nothing."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from own_losses import SquaredHinge

import descend
from descend.diagnosis.report import figure, render
from descend.interfaces.cli import main
from descend.pictures.film import Film

PENGUINS = Path(__file__).parents[2] / "examples" / "penguins.csv"
VOID = {"meta", "link", "br", "rect", "img", "input"}


class Page(HTMLParser):
    """The elements of a page, the words of its tables, and whether its tags are balanced."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tables, self.addresses, self.words, self.elements = [], [], [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        self.addresses += [v for k, v in attributes if k in ("src", "href", "srcset", "action") and v]
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in VOID:
            while self.open and self.open[-1] in ("p", "li") and tag != self.open[-1]:
                self.open.pop()
            assert self.open.pop() == tag, f"</{tag}> closes something else"

    def handle_data(self, data):
        if self.open and self.open[-1] in ("td", "th"):
            self.tables[-1][-1][-1] += data
        if self.open and self.open[-1] not in ("script", "style"):
            self.words.append(data.strip())

    def table(self, *heads):
        """The body of the table whose head holds these words."""
        return next(t[1:] for t in self.tables if t and set(heads) <= set(t[0]))

    def row(self, first):
        return next(row for t in self.tables for row in t if row and row[0] == first)


@pytest.fixture(scope="module")
def mass():
    return descend.fit(PENGUINS, target="body_mass_g", valid=0.2)


@pytest.fixture(scope="module")
def species():
    return descend.fit(PENGUINS, target="species", valid=0.2)


@pytest.fixture(scope="module")
def mass_page(mass):
    return Page(render(mass, command="descend fit penguins.csv --target body_mass_g", label="penguins.csv"))


@pytest.fixture(scope="module")
def species_page(species):
    return Page(render(species, label="penguins.csv"))


class TestContent:
    def test_tags_are_balanced(self, mass_page, species_page):
        assert mass_page.open in ([], ["html", "body"], ["html"])
        assert species_page.open == mass_page.open

    def test_metrics_stand_beside_the_constant_prediction(self, mass, mass_page):
        rows = mass_page.table("metric", "this model")
        for side, metrics in mass.metrics.items():
            for name, words in (("rmse", "root mean squared error"), ("mae", "mean absolute error")):
                row = next(r for r in rows if r[:2] == [side, words])
                assert row[2:] == [figure(metrics.values[name]), figure(metrics.baseline[name]), "better"]

    def test_coefficients_are_in_original_units_with_bars(self, mass, mass_page):
        rows = {row[0]: row for row in mass_page.table("feature", "coefficient")}
        assert set(rows) == set(mass.coefficients)
        for name, value in mass.coefficients.items():
            assert rows[name][1] == figure(value)
        bars = [a for tag, a in mass_page.elements if tag == "i"]
        sizes = [c.size for c in mass.model.encoding.coefficients(mass.weights)[0]]
        widths = [float(re.search(r"width:([\d.]+)%", a["style"])[1]) for a in bars]
        np.testing.assert_allclose(widths, 50 * np.array(sizes) / max(sizes), atol=0.01)
        signs = [a["class"] for a in bars]
        listed = mass.model.encoding.coefficients(mass.weights)[0]
        assert signs == ["minus" if c.values[0] < 0 else "plus" for c in listed]

    def test_each_class_has_its_column_of_coefficients(self, species, species_page):
        row = species_page.row("bill_length_mm")
        assert row[1:4] == [figure(v) for v in species.coefficients["bill_length_mm"]]

    def test_the_ending_is_told(self, mass, mass_page):
        assert mass.outcome.value in mass_page.words
        assert any(word.startswith("1 step, the loss went from ") for word in mass_page.words)

    def test_the_columns_are_described(self, mass_page):
        rows = {row[0]: row for row in mass_page.table("column", "taken as")}
        assert rows["species"][1] == "category, 3 levels"
        assert rows["flipper_length_mm"][1] == "number"
        assert rows["sex"][2].endswith("%")
        assert "Adelie" in rows["species"][3]

    def test_columns_left_out_are_named_with_the_reason(self, tmp_path):
        table = pl.read_csv(PENGUINS, null_values="NA").with_columns(pl.lit(1).alias("always one"))
        run = _fit(table, "body_mass_g")
        page = Page(render(run))
        assert any("`always one` is left out" in word for word in page.words)

    def test_the_confusion_matrix_is_that_of_the_validation_rows(self, species, species_page):
        counts = species.metrics["validation"].confusion
        for label, row in zip(species.model.classes, counts, strict=True):
            assert species_page.row(f"is {label}")[1:] == [figure(c) for c in row]

    def test_the_residuals_are_all_counted(self, mass, mass_page):
        bars = [a for tag, a in mass_page.elements if tag == "rect"]
        assert len(bars) == 31
        assert max(float(bar["height"]) for bar in bars) == 100
        counted = sum(
            int(n.replace(",", "")) for n in re.findall(r": ([\d,]+) rows", " ".join(mass_page.words))
        )
        assert counted == mass.rows["training"]

    def test_the_largest_loss_comes_first(self, mass, mass_page):
        rows = mass_page.table("loss", "the row")
        losses = [float(row[0].replace(",", "")) for row in rows]
        assert losses == sorted(losses, reverse=True)
        errors = mass.model.linear_predictor(mass.sample.X) - mass.sample.y
        assert rows[0][0] == figure((errors**2).max())

    def test_the_command_and_the_versions_are_there(self, mass_page):
        assert "descend fit penguins.csv --target body_mass_g" in mass_page.words
        assert any(f"descend {descend.__version__}" in word for word in mass_page.words)

    def test_the_film_is_on_the_page(self, mass):
        text = render(mass)
        content = re.search(
            r'<script type="application/json" id="film-data">(.*?)</script>', text, re.DOTALL
        )[1]
        assert Film.from_json(content.replace("\\u003c", "<")).picture == "fit"

    def test_a_run_that_diverged_is_told(self):
        x, y = descend.make_line(50, seed=0)
        with pytest.warns(descend.DescendWarning, match="above"):
            run = descend.fit(x, y, intercept=False, optimizer=descend.GradientDescent(5.0), steps=2_000)
        text = render(run)
        assert 'class="ending bad"' in text
        assert run.outcome.value in Page(text).words

    def test_arrays_are_reported_too(self, tmp_path):
        x, y = descend.make_line(100, weights=(3, 2), seed=0)
        run = descend.fit(x, y, intercept=False, optimizer=descend.GradientDescent(0.1), steps=100)
        run.report(tmp_path / "line.html")
        page = Page((tmp_path / "line.html").read_text("utf-8"))
        assert page.row("x0")[1] == figure(run.weights[0])
        assert page.row("optimizer")[1] == "gradient descent, learning rate 0.1"
        assert page.table("row", "loss")[0][0] == str(int(((x @ run.weights - y) ** 2).argmax()))

    def test_the_same_run_gives_the_same_report(self, species):
        assert render(species) == render(species)


def _fit(table, target, **how):
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", descend.DescendWarning)
        return descend.fit(table, target=target, **how)


EVIL = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def text():
    rng = np.random.default_rng(0)
    table = pl.DataFrame(
        {
            EVIL: rng.normal(size=60),
            "</script><b>": rng.choice([EVIL, '"><img src=x onerror=alert(1)>', "&amp;"], 60),
            "{{ 7 * 7 }}": rng.normal(size=60),
            "<i>constant</i>": np.ones(60),
            "<b>target": rng.choice(["<u>yes", "no' onclick='x"], 60),
        }
    )
    return render(_fit(table, "<b>target", valid=0.2), command=f"descend fit {EVIL}", label="<em>x.csv")


class TestEscaping:
    def test_names_and_values_are_words(self, text):
        page = Page(text)
        assert {tag for tag, _ in page.elements} & {"b", "img", "u", "em"} == set()
        assert EVIL in " ".join(page.words)
        assert not [a for _, a in page.elements if any(name.startswith("on") for name in a)]
        scripts = [a for tag, a in page.elements if tag == "script"]
        assert len(scripts) == 2

    def test_names_are_no_template(self, text):
        assert "{{ 7 * 7 }}" in text
        assert ">49<" not in text


@pytest.fixture
def reads(monkeypatch):
    """How often rows of a file are asked for."""
    from descend.tables.table import Table

    seen, original = [], Table.slices

    def counted(self, *arguments):
        seen.append(self)
        return original(self, *arguments)

    monkeypatch.setattr(Table, "slices", counted)
    return seen


class TestDiagnosis:
    def test_the_page_is_a_section(self, species, species_page):
        said = " ".join(" ".join(species_page.words).split())
        page = "\n".join(str(descend.diagnose(species)).splitlines()[1:])
        for mark in ("*", "->", "`"):
            page = page.replace(mark, " ")
        for words in page.split():
            assert words in said
        assert species_page.row("largest safe learning rate")
        assert species_page.row("automatic, momentum=0.9")

    def test_the_run_lies_on_what_was_predicted(self):
        run = descend.fit(PENGUINS, target="body_mass_g", optimizer="gradient-descent", steps=60)
        page = Page(render(run))
        lines = [a["points"] for tag, a in page.elements if tag == "polyline"]
        actual, predicted = (np.array([p.split(",") for p in line.split()], dtype=float) for line in lines)
        np.testing.assert_allclose(actual, predicted, atol=0.011)
        assert actual.shape == (61, 2)
        assert (actual >= 0).all()
        assert (actual <= 100).all()
        assert any("both lie on each other" in words for words in page.words)

    def test_another_run_shows_what_is_planned(self, mass_page, mass):
        lines = [a for tag, a in mass_page.elements if tag == "polyline"]
        assert len(lines) == len(descend.diagnose(mass).standardised.plans)
        assert any("thin cross" in words for words in mass_page.words)

    def test_a_diverged_run_keeps_its_curve_within_the_picture(self):
        x, y = descend.make_line(100, seed=0)
        with pytest.warns(descend.DescendWarning):
            run = descend.fit(x, y, intercept=False, optimizer=descend.GradientDescent(1.3))
        page = Page(render(run))
        points = next(a["points"] for tag, a in page.elements if tag == "polyline")
        heights = np.array([p.split(",")[1] for p in points.split()], dtype=float)
        assert heights.min() == pytest.approx(4.0)
        assert heights.max() <= 96

    def test_squared_error_is_not_read_again(self, reads):
        run = descend.fit(PENGUINS, target="body_mass_g", valid=0.2)
        before = len(reads)
        assert "How good it can get" in render(run)
        assert "How good it can get" in render(run, diagnosis=True)
        assert len(reads) == before

    def test_a_large_table_with_classes_is_read_again_only_if_asked(self, reads, monkeypatch):
        monkeypatch.setattr("descend.diagnosis.report.FEW_CELLS", 100)
        run = descend.fit(PENGUINS, target="species", valid=0.2)
        before = len(reads)
        text = render(run)
        assert "How good it can get" not in text
        assert "descend fit ... --diagnose" in text
        assert len(reads) == before
        assert "How good it can get" in render(run, diagnosis=True)
        assert len(reads) > before

    def test_arrays_with_classes_are_gone_through_again_where_they_are_small(self, monkeypatch):
        x, _ = descend.make_line(60, seed=0)
        y = (x[:, 0] + np.sin(9 * x[:, 0]) > 0).astype(int)
        run = descend.fit(x[:, :1], y, loss="logistic")
        assert "How good it can get" in render(run)
        monkeypatch.setattr("descend.diagnosis.report.FEW_CELLS", 10)
        assert "How good it can get" not in render(run)

    def test_one_that_is_made_already_is_taken(self, species, reads):
        d = descend.diagnose(species)
        before = len(reads)
        assert "How good it can get" in render(species, diagnosis=d)
        assert len(reads) == before
        assert "How good it can get" not in render(species, diagnosis=False)

    def test_where_it_cannot_be_made_it_is_left_out_or_the_reason_is_said(self):
        x, y = descend.make_line(30, seed=0)
        run = replace(descend.fit(x, y, intercept=False), origin=None)
        assert "How good it can get" not in render(run)
        with pytest.raises(descend.DescendError, match="does not know its data"):
            render(run, diagnosis=True)


class TestSelfContained:
    def test_no_address_is_asked_for(self, mass, species):
        for run in (mass, species):
            page = Page(render(run))
            assert set(page.addresses) <= {"data:,"}
            style = " ".join(re.findall(r"<style>(.*?)</style>", render(run), re.DOTALL))
            assert "url(" not in style
            assert "@import" not in style

    def test_it_is_small(self, species):
        assert len(render(species).encode()) < 250_000


class TestShell:
    def test_fit_writes_a_report_and_a_film_beside_the_model(self, tmp_path, capsys):
        model = tmp_path / "a b.model.json"
        words = ["fit", str(PENGUINS), "--target", "species", "--out", str(model)]
        assert main(words) == 0
        said = capsys.readouterr().out
        for kind, name in (("report", "a b.report.html"), ("film", "a b.film.json")):
            assert (tmp_path / name).exists()
            assert re.search(rf"{kind} +.*{name}", said)
        page = Page((tmp_path / "a b.report.html").read_text("utf-8"))
        assert shlex.join(["descend", *words]) in page.words
        assert "species from penguins.csv" in page.words
        assert Film.load(tmp_path / "a b.film.json").classes == ("Adelie", "Chinstrap", "Gentoo")

    def test_the_files_are_in_the_json(self, tmp_path, capsys):
        out = tmp_path / "m.model.json"
        assert main(["fit", str(PENGUINS), "--target", "sex", "-o", str(out), "--json"]) == 0
        files = json.loads(capsys.readouterr().out)["files"]
        assert files["report"] == str(tmp_path / "m.report.html")

    def test_a_diagnosis_is_there_if_asked(self, tmp_path, monkeypatch):
        monkeypatch.setattr("descend.diagnosis.report.FEW_CELLS", 100)
        words = ["fit", str(PENGUINS), "--target", "sex", "-o", str(tmp_path / "m.model.json"), "--quiet"]
        for flags in ([], ["--diagnose"]):
            assert main([*words, *flags]) == 0
            assert ("How good it can get" in (tmp_path / "m.report.html").read_text("utf-8")) == bool(flags)

    def test_standard_input_is_gone_and_not_asked_for_again(self, tmp_path, monkeypatch):
        import io

        class Stream:
            buffer = io.BytesIO(PENGUINS.read_bytes())

        monkeypatch.setattr(sys, "stdin", Stream())
        out = str(tmp_path / "m.model.json")
        assert main(["fit", "-", "--target", "sex", "-o", out, "--quiet"]) == 0
        assert "How good it can get" not in (tmp_path / "m.report.html").read_text("utf-8")

    def test_it_can_be_left_out(self, tmp_path):
        out = tmp_path / "m.model.json"
        assert main(["fit", str(PENGUINS), "--target", "sex", "-o", str(out), "--quiet", "--no-report"]) == 0
        assert [p.name for p in tmp_path.iterdir()] == ["m.model.json"]

    def test_matplotlib_is_not_needed(self, tmp_path):
        code = (
            "import sys; from descend.interfaces.cli import main; "
            f"main(['fit', {str(PENGUINS)!r}, '--target', 'species', '--out', 'm.model.json', '--quiet']); "
            "print([m for m in sys.modules if m.split('.')[0] in ('matplotlib', 'PIL', 'importlib.metadata')])"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
        )
        assert done.stdout.strip() == "[]"
        assert (tmp_path / "m.report.html").exists()


@pytest.fixture(scope="module")
def counts():
    random = np.random.default_rng(2)
    frame = pl.DataFrame({"a": random.normal(size=300), "b": random.choice(["u", "v"], 300)})
    y = random.poisson(np.exp(0.7 * frame["a"] + 0.4))
    return descend.fit(frame.with_columns(visits=y), target="visits", loss="poisson", valid=0.2)


class TestOtherLosses:
    def test_counts(self, counts):
        page = Page(render(counts, label="visits.csv", diagnosis=True))
        assert page.row("loss")[1] == "Poisson loss: the mean of a count is predicted"
        named = [row[1] for row in page.table("metric") if row[0] == "training"]
        assert named[:2] == ["mean deviance", "D², the share of the deviance explained"]
        said = " ".join(page.words)
        assert "adds to the logarithm of the prediction, which it multiplies by exp(coefficient)" in said
        assert "The largest deviances among" in said
        assert "nan" not in said.lower().replace("finance", "")

    def test_residuals_of_counts_are_those_of_the_mean(self, counts):
        run = counts
        sample = run.sample
        reach = np.abs(sample.y - run.model.decide(run.model.linear_predictor(sample.X))).max()
        assert f"{reach:.3g}" in render(run)
        worst = run.top_losses(3)
        assert worst.what == "deviance"
        deviances = run.model.loss.unit_deviance(run.model.linear_predictor(sample.X), sample.y)
        assert [row.loss for row in worst.rows] == pytest.approx(np.sort(deviances)[::-1][:3])

    def test_settings_of_a_loss_are_told(self):
        x = np.random.default_rng(0).normal(size=(50, 2))
        page = Page(render(descend.fit(x, x @ [1, 2], loss=descend.HuberLoss(0.3))))
        assert page.row("loss")[1] == "Huber loss with delta 0.3: a number is predicted"

    def test_classes_without_probabilities(self):
        x = np.random.default_rng(0).normal(size=(50, 2))
        run = descend.fit(x, (x[:, 0] > 0.3).astype(int), loss=SquaredHinge(), penalty=0.1)
        page = Page(render(run))
        assert page.row("loss")[1] == "squared hinge: one of two classes is predicted"
        assert "in brackets the probability" not in " ".join(page.words)


@pytest.mark.filterwarnings("ignore:the classes are separated")
def test_a_fit_without_a_minimum_is_no_success_and_says_what_to_do(tmp_path):
    x = np.linspace(-1.0, 1.0, 40)
    run = descend.fit({"x": x, "y": (x > 0).astype(int)}, target="y", penalty=0)
    run.report(tmp_path / "a.html")
    text = (tmp_path / "a.html").read_text("utf-8")
    assert 'class="ending bad"' in text
    assert "tells the classes apart without a mistake" in text.partition("How good it is")[0]
