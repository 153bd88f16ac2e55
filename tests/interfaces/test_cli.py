"""The shell, in-process: what is printed where, the files left behind, and the exit codes."""

from __future__ import annotations

import io
import json
import re
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import descend
from descend import DescendError
from descend.descent.choose import OPTIMIZERS
from descend.interfaces.cli import main
from descend.models.codegen import WRITERS
from descend.objectives.losses import LOSSES

PENGUINS = str(Path(__file__).parents[2] / "examples" / "penguins.csv")
ROWS = 344
MASS = ["fit", PENGUINS, "--target", "body_mass_g"]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")
    return tmp_path


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A regression and a classification of the penguins."""
    made = tmp_path_factory.mktemp("models")
    for target in ("body_mass_g", "species"):
        descend.fit(PENGUINS, target=target, valid=0.2).save(made / f"{target}.json")
    return made


@pytest.fixture
def run(capsys):
    """Call the command; give the exit code, standard output and standard error."""

    def call(*arguments):
        code = main([str(a) for a in arguments])
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return call


@pytest.fixture
def stdin(monkeypatch):
    def give(content):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))

    return give


def one_line(text):
    return text.startswith("descend: ") and text.count("\n") == 1 and text.endswith("\n")


# --- fit


def test_fit_prints_the_descent_the_metrics_and_the_coefficients(run, folder):
    code, out, err = run(*MASS)
    assert (code, err) == (0, "")
    for words in (
        "squared-error for body_mass_g",
        "265 rows to learn from, 77 held out, 2 without a target left out",
        "converged: the gradient is zero within the tolerance",
        "training, constant",
        "flipper_length_mm",
        "(intercept)",
        "model    penguins.model.json",
    ):
        assert words in out, words
    made = {"penguins.model.json", "penguins.report.html", "penguins.film.json"}
    assert {path.name for path in folder.iterdir()} == made


def test_fit_in_the_shell_is_fit_in_python(run):
    assert run(*MASS, "--optimizer", "gradient-descent", "--steps", 20, "--seed", 3, "--quiet")[0] == 0
    ours = descend.fit(
        PENGUINS, target="body_mass_g", optimizer="gradient-descent", steps=20, seed=3, valid=0.2
    )
    saved = descend.load("penguins.model.json")
    np.testing.assert_array_equal(saved.weights, ours.weights)
    assert saved.facts["rows"] == ours.rows


def test_json_is_one_object(run):
    code, out, err = run(*MASS, "--json", "--every", 1, "--history", "h.csv", "--out", "m.json")
    assert (code, err) == (0, "")
    told = json.loads(out)
    assert told["converged"] is True
    files = {"model": "m.json", "history": "h.csv", "report": "m.report.html", "film": "m.film.json"}
    assert told["files"] == files
    assert told["rows"] == {"training": 265, "validation": 77, "without_target": 2}
    coefficients = descend.fit(PENGUINS, target="body_mass_g", valid=0.2).coefficients
    assert told["coefficients"]["flipper_length_mm"] == coefficients["flipper_length_mm"]
    assert told["intercept"] == coefficients["(intercept)"]
    assert told["metrics"]["validation"]["values"]["r2"] == pytest.approx(0.865, abs=5e-4)


def test_quiet_prints_nothing_and_still_writes(run, folder):
    assert run(*MASS, "--quiet", "--every", 1, "--no-report") == (0, "", "")
    assert [path.name for path in folder.iterdir()] == ["penguins.model.json"]


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_the_history_is_written(kind, run):
    assert run(*MASS, "--optimizer", "gradient-descent", "--steps", 7, "--history", f"h.{kind}")[0] == 0
    history = descend.History.load(f"h.{kind}")
    assert history.number.tolist() == list(range(8))
    assert (np.diff(history.loss) < 0).all()


def test_every_prints_the_loss_on_the_way(run):
    code, out, _ = run(*MASS, "--optimizer", "gradient-descent", "--steps", 30, "--every", 10)
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()[:3]] == ["0", "10", "20"]
    assert all(len(line.split()) == 2 for line in out.splitlines()[:3])


def test_a_time_limit_is_no_failure(run):
    arguments = (*MASS, "--optimizer", "gradient-descent", "--learning-rate", "1e-9", "--time-limit", 0.05)
    code, out, _ = run(*arguments)
    assert code == 0
    assert "stopped at the time limit" in out


def test_a_run_that_diverges_exits_with_1_and_keeps_finite_weights(run):
    code, out, _ = run(*MASS, "--learning-rate", 50)
    assert code == 1
    assert "warning: `learning_rate` 50 is above" in out
    assert "diverged" in out
    assert np.isfinite(descend.load("penguins.model.json").weights).all()


def test_short_of_a_tolerance_exits_with_1(run):
    short = ("--optimizer", "gradient-descent", "--steps", 3)
    assert run(*MASS, *short, "--quiet")[0] == 0
    assert run(*MASS, *short, "--tolerance", 1e-6, "--quiet")[0] == 1


def test_a_target_of_three_classes_is_classified(run):
    code, out, _ = run("fit", PENGUINS, "--target", "species", "--drop", "sex", "--json")
    told = json.loads(out)
    assert (code, told["loss_function"]) == (0, "cross-entropy")
    assert told["classes"] == ["Adelie", "Chinstrap", "Gentoo"]
    assert not any(name.startswith("sex") for name in told["coefficients"])


def test_the_flags_reach_the_fit(run, folder):
    rng = np.random.default_rng(0)
    x, days = rng.normal(size=400), rng.integers(1, 4, 400)
    late = np.where(x + rng.normal(size=400) > 0.8, "yes", "no")
    names = rng.choice(["u", "v"], 400)
    frame = pl.DataFrame({"x": x, "c": names, "days": days, "who": rng.integers(0, 40, 400), "late": late})
    frame.write_csv("t.csv")
    settings = {"seed": 4, "valid": 0.25, "class_weight": "balanced", "batch_size": 32, "epochs": 2}
    optimizer = descend.GradientDescent(descend.Cosine(0.1), momentum=0.8, nesterov=True)
    columns = descend.Columns(reference={"c": "v"}, weight="days", group="who")
    expected = descend.fit(
        frame, target="late", penalty=0.0, optimizer=optimizer, columns=columns, **settings
    )
    code, _, err = run(
        *("fit", "t.csv", "--target", "late", "--seed", 4, "--valid", 0.25, "--class-weight", "balanced"),
        *("--batch-size", 32, "--epochs", 2, "--learning-rate", 0.1, "--schedule", "cosine"),
        *("--momentum", 0.8, "--nesterov", "--reference", "c=v", "--weight", "days", "--group", "who"),
        *("--l2", 0, "--memory", "1MB", "--quiet"),
    )
    assert (code, err) == (0, "")
    np.testing.assert_allclose(descend.load("t.model.json").weights, expected.weights, rtol=1e-12)


def test_standard_input(run, stdin, folder):
    stdin(Path(PENGUINS).read_bytes())
    assert run("fit", "-", "--target", "body_mass_g", "--quiet") == (0, "", "")
    assert (folder / "model.model.json").exists()
    expected = descend.fit(PENGUINS, target="body_mass_g", valid=0.2).weights
    np.testing.assert_array_equal(descend.load("model.model.json").weights, expected)


def test_a_hyphen_may_be_a_missing_cell(run):
    Path("t.csv").write_text("x,y\n1,2\n-,3\n2,5\n4,?\n5,9\n")
    code, out, _ = run("fit", "t.csv", "--target", "y", "--valid", 0, "--missing", "?", "-", "--json")
    assert code == 0
    assert json.loads(out)["rows"] == {"training": 4, "validation": 0, "without_target": 1}
    assert json.loads(out)["missing"] == ["?", "-"]


@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz", "t.tsv.zst", "t.parquet"])
def test_the_model_is_named_after_the_data(name, run, folder):
    frame = pl.DataFrame({"x": [1.0, 2, 3, 5], "y": [1.0, 2, 4, 4]})
    if name.endswith("parquet"):
        frame.write_parquet(name)
    else:
        kind = {"csv": "uncompressed", "gz": "gzip", "zst": "zstd"}[name.rsplit(".", 1)[1]]
        frame.lazy().sink_csv(
            name, separator="\t" if "tsv" in name else ",", compression=kind, check_extension=False
        )
    assert run("fit", name, "--target", "y", "--valid", 0, "--quiet") == (0, "", "")
    assert (folder / "t.model.json").exists()


@pytest.mark.parametrize(("data", "name"), [("data", "data"), ("data/*.csv", "model"), ("data/t.csv", "t")])
def test_the_model_is_named_after_a_folder_but_not_after_a_glob(data, name, run, folder):
    (folder / "data").mkdir()
    (folder / "data" / "t.csv").write_text("x,y\n1,1\n2,2\n4,3\n")
    assert run("fit", data, "--target", "y", "--valid", 0, "--quiet") == (0, "", "")
    assert [path.name for path in folder.glob("*.model.json")] == [f"{name}.model.json"]


def test_a_folder_may_be_the_current_one(run, folder, monkeypatch):
    (folder / "sales").mkdir()
    monkeypatch.chdir(folder / "sales")
    Path("t.csv").write_text("x,y\n1,1\n2,2\n4,3\n")
    assert run("fit", ".", "--target", "y", "--valid", 0, "--quiet") == (0, "", "")
    assert Path("sales.model.json").exists()


def test_nothing_is_fitted_where_it_could_not_be_written(run, monkeypatch):
    monkeypatch.setattr("descend.runs.fitting.fit", lambda *_, **__: pytest.fail("fitted"))
    assert run(*MASS, "--history", "h.txt")[0] == 2
    assert run(*MASS, "--out", "a/m.json")[0] == 2


@pytest.mark.parametrize("flag", ["--out", "--history"])
@pytest.mark.parametrize("read", ["a.csv", "b.csv"])
def test_what_is_read_is_not_written_over(flag, read, run):
    text = Path(PENGUINS).read_text()
    Path("a.csv").write_text(text)
    Path("b.csv").write_text(text)
    code, out, err = run("fit", "a.csv", "--target", "body_mass_g", "--valid", "b.csv", flag, read)
    assert (code, out) == (2, "")
    assert f"'{read}' is one of the files that are read" in err
    assert Path(read).read_text() == text


# --- predict, score, show


def test_predictions_go_to_standard_output_as_csv(models, capfdbinary):
    assert main(["predict", str(models / "body_mass_g.json"), PENGUINS]) == 0
    out, err = capfdbinary.readouterr()
    assert err == b""
    lines = out.decode().splitlines()
    assert (lines[0], len(lines)) == ("prediction", ROWS + 1)
    expected = descend.load(models / "body_mass_g.json").predict(PENGUINS)
    np.testing.assert_array_equal(np.array(lines[1:], dtype=float), expected)


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_predictions_of_classes_keep_order_and_columns(kind, models, run):
    code, out, err = run(
        *("predict", models / "species.json", PENGUINS, "--out", f"p.{kind}", "--keep", "year", "species")
    )
    assert (code, out, err) == (0, "", f"344 predictions in p.{kind}\n")
    written = pl.read_csv("p.csv") if kind == "csv" else pl.read_parquet("p.parquet")
    classes = ["Adelie", "Chinstrap", "Gentoo"]
    assert written.columns == ["year", "species", "prediction", *(f"probability:{c}" for c in classes)]
    source = pl.read_csv(PENGUINS, null_values="NA")
    assert written["species"].to_list() == source["species"].to_list()
    assert written["year"].to_list() == source["year"].to_list()
    assert (written["species"] == written["prediction"]).mean() > 0.98
    np.testing.assert_allclose(written.select(pl.sum_horizontal(pl.col("^prob.*$"))).to_series(), 1.0)


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_predictions_are_not_written_over_what_is_predicted(kind, models, run):
    data = pl.read_csv(PENGUINS, null_values="NA")
    data.write_csv("a.csv") if kind == "csv" else data.write_parquet("a.parquet")
    before = Path(f"a.{kind}").read_bytes()
    code, _, err = run("predict", models / "species.json", f"a.{kind}", "--out", f"./a.{kind}")
    assert code == 2
    assert "is one of the files that are read" in err
    assert Path(f"a.{kind}").read_bytes() == before


def test_unknown_levels_are_counted_on_standard_error(models, run):
    text = Path(PENGUINS).read_text().replace("Torgersen", "Atlantis")
    Path("new.csv").write_text(text)
    code, _, err = run("predict", models / "body_mass_g.json", "new.csv", "--out", "p.csv")
    assert code == 0
    assert f"never seen count as its reference: {text.count('Atlantis')}, 'Atlantis'" in err


def test_predictions_of_standard_input(models, run, stdin):
    stdin(Path(PENGUINS).read_bytes())
    assert run("predict", models / "species.json", "-", "--out", "p.csv")[0] == 0
    assert pl.read_csv("p.csv").height == ROWS


def test_score_gives_metrics_of_rows_with_a_target(models, run):
    code, out, err = run("score", models / "body_mass_g.json", PENGUINS, "--json")
    assert (code, err) == (0, "")
    told = json.loads(out)
    assert told["rows"] == 342
    y = pl.read_csv(PENGUINS, null_values="NA")["body_mass_g"].to_numpy().astype(float)
    error = (descend.load(models / "body_mass_g.json").predict(PENGUINS) - y)[~np.isnan(y)]
    assert told["values"]["rmse"] == pytest.approx(np.sqrt((error**2).mean()))
    code, out, err = run("score", models / "species.json", PENGUINS)
    assert (code, err) == (0, "")
    assert "344 rows, constant" in out
    assert "predicted Gentoo" in out


def test_show_gives_what_fit_said(models, run):
    code, out, err = run("show", models / "body_mass_g.json")
    assert (code, err) == (0, "")
    for words in ("squared-error for body_mass_g", "265 rows", "validation", "(exact, 1 step)"):
        assert words in out
    code, out, _ = run("show", models / "species.json", "--json")
    told = json.loads(out)
    assert (code, told["target"], told["loss_function"]) == (0, "species", "cross-entropy")
    assert len(told["intercept"]) == 3


# --- what goes wrong

WRONG = {
    "no file": (["fit", "nothere.csv", "--target", "y"], "found no file 'nothere.csv'"),
    "no data": (["fit", "--target", "y"], "Give files before the flags, or after --"),
    "data swallowed": (["fit", "--target", "y", "--drop", "a", "t.csv"], "Give files before the flags"),
    "no target": (["fit", PENGUINS], "--target"),
    "unknown target": (["fit", PENGUINS, "--target", "mass"], "has no column `mass`. It has `species`,"),
    "unknown command": (["fti"], "Unknown command \"fti\""),
    "unknown flag": ([*MASS, "--stpes", "3"], "Unknown option: "),
    "no number": ([*MASS, "--steps", "many"], 'unable to convert "many" into int'),
    "negative": ([*MASS, "--steps", "-1"], "`steps` must be a whole number of at least 0, got -1"),
    "loss": ([*MASS, "--loss", "hinge"], "`loss` must be one of squared-error, logistic, cross-entropy, poisson, huber, or"),
    "optimizer": ([*MASS, "--optimizer", "sgd"], "`optimizer` must be auto or one of"),
    "schedule": ([*MASS, "--schedule", "linear"], "`schedule` must be one of"),
    "setting": ([*MASS, "--optimizer", "newton", "--momentum", "0.9"], "does not apply to `optimizer` newton"),
    "class weight": ([*MASS, "--class-weight", "auto"], "`class_weight` must be None or"),
    "reference": ([*MASS, "--reference", "island"], "`--reference` takes COL=LEVEL, got 'island'"),
    "memory": ([*MASS, "--memory", "much"], "`memory` must be a number of bytes"),
    "valid": ([*MASS, "--valid", "0,2"], "`valid` is neither a share of the rows"),
    "no model": (["show", "nothere.json"], "cannot read 'nothere.json'"),
    "no model file": (["predict", PENGUINS, PENGUINS], "is not a whole model file"),
    "folder": ([*MASS, "--out", "."], "cannot write '.': it is a folder"),
    "history": ([*MASS, "--history", "h.txt"], "cannot write 'h.txt': its ending must be .csv or .parquet"),
    "no folder": ([*MASS, "--out", "a/m.json"], "cannot write 'a/m.json': the folder 'a' is not there"),
}  # fmt: skip


@pytest.mark.parametrize(("arguments", "words"), WRONG.values(), ids=WRONG)
def test_bad_input_is_one_line_on_standard_error_and_exit_code_2(arguments, words, run):
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert one_line(err)
    assert words in err


def test_an_unknown_flag_is_named_beside_the_one_meant(run):
    _, _, err = run(*MASS, "--stpes", "3")
    named = r'Unknown option: "?--stpes"?\. Did you mean "?--steps"?\?'  # cyclopts 4 puts them in quotes
    assert re.search(named, err)


def test_predict_names_what_the_data_lack(models, run):
    Path("few.csv").write_text("species\nAdelie\n")
    code, _, err = run("predict", models / "body_mass_g.json", "few.csv")
    assert code == 2
    assert one_line(err)
    assert "'few.csv' lacks" in err
    assert "`island`" in err
    code, _, err = run("predict", models / "body_mass_g.json", PENGUINS, "--keep", "id", "--out", "p.csv")
    assert code == 2
    assert "has no column `id` to keep" in err
    code, _, err = run("score", models / "body_mass_g.json", PENGUINS, "--weight", "days")
    assert code == 2
    assert "has no column `days`, the weights" in err
    assert run("predict", models / "body_mass_g.json", PENGUINS, "--out", "p.xlsx")[0] == 2


def test_debug_shows_the_traceback():
    with pytest.raises(DescendError, match=r"found no file 'nothere\.csv'"):
        main(["fit", "nothere.csv", "--target", "y", "--debug"])


def test_ctrl_c_before_there_is_a_run(run, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("descend.runs.fitting.Problem.of", interrupted)
    assert run(*MASS) == (130, "", "descend: interrupted; nothing was written\n")


def test_no_arguments_print_the_help(run):
    code, out, err = run()
    assert (code, err) == (0, "")
    assert "Usage: descend COMMAND" in out


def test_the_version(run):
    assert run("--version") == (0, f"{descend.__version__}\n", "")


def test_an_engine_is_named_by_a_flag(tmp_path, capsys):
    weights = []
    for engine in ([], ["--engine", "serial"], ["--engine", "processes:2"]):
        model = tmp_path / "m.json"
        assert main([*MASS, "--out", str(model), "--no-report", "--quiet", *engine]) == 0
        weights.append(json.loads(model.read_text())["weights"])
    assert weights[0] == weights[1] == weights[2]
    assert main([*MASS, "--engine", "abacus"]) == 2
    assert "one of serial, threads, processes, cluster" in capsys.readouterr().err
    assert main([*MASS, "--engine", "threads", "--cluster", "local:2"]) == 2
    assert "leave `--engine` out" in capsys.readouterr().err


@pytest.mark.parametrize("loss", ["poisson", "huber"])
def test_every_command_takes_other_losses(loss, run, folder):
    random = np.random.default_rng(4)
    x, group = random.normal(size=400), random.choice(["a", "b"], 400)
    z = 0.6 * x + 0.5 * (group == "b")
    y = random.poisson(np.exp(z)) if loss == "poisson" else z + random.standard_t(2, size=400)
    pl.DataFrame({"x": x, "group": group, "y": y}).write_csv("data.csv")
    code, out, err = run("fit", "data.csv", "--target", "y", "--loss", loss, "--l2", 0)
    assert (code, err) == (0, "")
    figures = ["deviance", "d2", "rmse", "mae"] if loss == "poisson" else ["rmse", "mae", "r2", "loss", "d2"]
    table = out[out.index("training, constant") : out.index("coefficient")]
    assert re.findall(r"^(\w+) +-?\d", table, re.M) == figures
    model = descend.load("data.model.json")
    assert model.loss == descend.objectives.losses.LOSSES[loss]
    _, out, _ = run("show", "data.model.json")
    assert ("dispersion" if loss == "poisson" else "robust ones") in out
    _, out, _ = run("score", "data.model.json", "data.csv", "--json")
    assert [*json.loads(out)["values"]] == figures
    _, out, _ = run("predict", "data.model.json", "data.csv")
    predicted = pl.read_csv(io.StringIO(out))
    assert predicted.columns == ["prediction"]
    np.testing.assert_allclose(predicted["prediction"], model.predict("data.csv"), rtol=1e-12)
    code, out, err = run("diagnose", "data.csv", "--target", "y", "--loss", loss, "--l2", 0)
    assert (code, err) == (0, "")
    assert out.startswith(f"Diagnosis: {loss.capitalize()} loss for `y`, 400 rows")
    assert run("animate", "data.film.json", "--out", "data.png")[0] == 0
    assert run("export", "data.model.json", "--to", "sql")[0] == 0
    assert ("EXP(" in Path("data.sql").read_text()) == (loss == "poisson")


@pytest.mark.parametrize(
    ("command", "names"),
    [("fit", LOSSES), ("fit", OPTIMIZERS), ("diagnose", LOSSES), ("export", WRITERS)],
)
def test_the_help_lists_every_name(run, command, names):
    code, out, _ = run(command, "--help")
    words = re.sub(r"[│\s]+", " ", out)
    assert code == 0
    assert not [name for name in names if name not in words]


def test_quiet_says_nothing_of_an_engine(run):
    assert run(*MASS, "--engine", "processes:1", "--quiet", "--no-report") == (0, "", "")


def test_errors_without_effect_are_told(run):
    _, _, err = run(*MASS, "--l2", 0.1, "--errors", "hc1", "--no-report")
    assert "note: `--errors` has no effect: the L2 penalty" in err
