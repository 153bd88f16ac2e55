"""Films: strict JSON and back, what is refused, what is saved."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from films import FILMS

import descend
from descend.errors import DataError, DescendError
from descend.pictures.film import PICTURES, Film, FilmSample, Surface


def strict(text):
    def refuse(constant):
        raise AssertionError(f"{constant} is no JSON")

    return json.loads(text, parse_constant=refuse)


def test_every_picture_has_a_film_here():
    assert {film.picture for film in FILMS.values()} == set(PICTURES) - {"none"}


@pytest.mark.parametrize("name", FILMS)
def test_a_film_comes_back_from_its_json(name):
    film = FILMS[name]
    text = film.to_json()
    back = Film.from_json(text)
    assert back.to_json() == text
    assert (back.picture, back.names, back.classes) == (film.picture, film.names, film.classes)
    np.testing.assert_allclose(back.weights, film.weights, rtol=5.1e-6)
    for frame in (0, film.frames - 1):
        assert back.loss(frame) == pytest.approx(film.loss(frame), rel=1e-5)
        z, known = film.sample.linear_predictor(frame), back.sample.linear_predictor(frame)
        np.testing.assert_allclose(known, z, atol=2e-3 * (np.ptp(z) or 1))
    strict(text)


def test_a_link_is_told_where_it_does_not_go_without_saying():
    assert "link" not in strict(FILMS["line"].to_json())
    assert "link" not in strict(FILMS["sigmoid"].to_json())
    film = FILMS["curve"]
    assert strict(film.to_json())["link"] == "log"
    back = Film.from_json(film.to_json())
    assert (back.picture, back.link) == ("curve", "log")
    z = film.sample.linear_predictor(3)
    np.testing.assert_allclose(back.predicted(3), np.exp(z), rtol=1e-3)
    with pytest.raises(DataError, match="it has the link 'probit', and this descend knows identity, log"):
        Film.from_json(film.to_json().replace('"link":"log"', '"link":"probit"'))


@pytest.mark.parametrize(
    ("name", "picture"),
    {
        "sigmoid": "none",
        "boundary": "boundary",
        "histogram": "none",
        "regions": "regions",
        "classes": "none",
    }.items(),
)
def test_classes_without_probabilities_are_drawn_where_they_need_none(name, picture):
    assert replace(FILMS[name], link="identity").picture == picture


def test_nan_and_infinity_become_null():
    film = replace(
        FILMS["line"],
        weights=np.array([[0.5, np.nan], [np.inf, -np.inf]]),
        steps=np.arange(2),
        curves={"loss": np.array([[0, 1], [2.0, np.inf]])},
        learning_rate=np.array([0.1, np.nan]),
    )
    plain = strict(film.to_json())
    assert plain["weights"] == [[0.5, None], [None, None]]
    assert plain["curves"]["loss"] == [[0, 1], [2, None]]
    assert plain["learning_rate"] == [0.1, None]
    assert np.isnan(Film.from_json(film.to_json()).loss(1))


def test_columns_far_from_zero_keep_their_digits():
    x = 1e6 + np.linspace(0, 1, 50)[:, None]
    w = np.array([[2.0, -2e6 + 0.25]])
    film = Film("regression", np.zeros(1), w, ("a", "b"), sample=FilmSample(x, x[:, 0], w, ("a",), 50))
    back = Film.from_json(film.to_json()).sample
    np.testing.assert_allclose(back.linear_predictor(0), film.sample.linear_predictor(0), atol=2e-3)


def test_a_surface_of_values_is_its_own_grid():
    values = np.arange(12.0).reshape(3, 4)
    x, y, z = Surface(("a", "b"), (0, 3), (0, 2), np.zeros((1, 2)), values=values).grid(50)
    assert (x.tolist(), y.tolist()) == ([0, 1, 2, 3], [0, 1, 2])
    np.testing.assert_array_equal(z, values)


FAULTS = {
    "cut short": (lambda text: text[:-9], "Was it cut short"),
    "a list": (lambda text: "[1]", "not a film of descend"),
    "of a model": (lambda text: text.replace("descend-film", "descend-model"), "not a film of descend"),
    "newer": (lambda text: text.replace('"version":1', '"version":9'), "version 9 .* Upgrade"),
    "damaged": (lambda text: text.replace('"steps"', '"stairs"'), "damaged film"),
    "ragged": (lambda text: text.replace('"weights":[[0.5,0.75]', '"weights":[[0.5]'), "damaged film"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_is_no_film_is_refused(fault, tmp_path):
    change, message = FAULTS[fault]
    text = change(FILMS["line"].to_json())
    with pytest.raises(DataError, match=message):
        Film.from_json(text)
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(DataError, match=r"cannot show .*a\.json.*" + message):
        Film.load(tmp_path / "a.json")


def test_files_that_cannot_be_read_say_so(tmp_path):
    with pytest.raises(DataError, match="No such file"):
        Film.load(tmp_path / "none.json")
    (tmp_path / "bytes.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="not text"):
        Film.load(tmp_path / "bytes.json")


def test_saving(tmp_path):
    film = FILMS["line"]
    for suffix in (".html", ".json", ".png"):
        film.save(tmp_path / f"a{suffix}")
    assert Film.load(tmp_path / "a.json").to_json() == film.to_json()
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(DescendError, match=r"saved as \.html, \.json, \.gif, \.mp4, \.png, got .*a\.avi"):
        film.save(tmp_path / "a.avi")
    with pytest.raises(DataError, match=r"the folder .* is not there"):
        film.save(tmp_path / "nowhere" / "a.json")


def test_a_notebook_gets_a_page_and_a_picture():
    bundle = FILMS["line"]._repr_mimebundle_()
    assert bundle["text/plain"] == "<Film line: 41 frames, regression, 2 weights>"
    assert bundle["text/html"].startswith("<iframe ")
    assert len(bundle["image/png"]) > 1_000


def test_the_shell_draws_a_film_or_a_history_again(tmp_path, capsys):
    from descend.interfaces.cli import main

    film, history = tmp_path / "a.film.json", tmp_path / "a.csv"
    FILMS["line"].save(film)
    kept = descend.History(names=("slope",))
    for a in (4.0, 2.0, 1.0):
        kept.record(loss=a**2, weights=[a])
    kept.save(history)
    for source, out in ((film, "a.html"), (history, "b.html"), (film, "c.json")):
        assert main(["animate", str(source), "--out", str(tmp_path / out)]) == 0
        assert (tmp_path / out).stat().st_size > 1_000
    assert main(["animate", str(tmp_path / "none.json"), "--out", str(tmp_path / "d.html")]) == 2
    assert "No such file" in capsys.readouterr().err
    assert not (tmp_path / "d.html").exists()
