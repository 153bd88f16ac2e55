"""The player in a real browser whose network is cut: what it draws, and every way to move through it."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest
from screens import FILMS

import descend
from descend.pictures.page import framed

PANELS = {
    "lesson": ["Data and line", "Loss surface and path", "Loss", "Coefficients"],
    "two features": ["Predicted and actual", "Residuals", "Loss surface and path", "Loss", "Coefficients"],
    "counts": ["Data and curve", "Loss surface and path", "Loss", "Coefficients"],
    "sigmoid": ["Probability and classes", "Loss surface and path", "Loss", "Coefficients"],
    "boundary": ["Boundary and probability", "Loss surface and path", "Loss", "Coefficients"],
    "histogram": ["Probabilities by class", "Loss surface and path", "Loss", "Coefficients"],
    "regions": ["Regions of the classes", "Loss surface and path", "Loss", "Coefficients"],
    "classes": ["Probability of the true class", "Loss surface and path", "Loss", "Coefficients"],
    "loop": ["Loss", "Weights"],
}
LIKE = {"ten features": "two features", "counts, four features": "two features"} | dict.fromkeys(
    ("exact", "diverged", "leaving", "overflown"), "lesson"
)


@pytest.mark.parametrize("width", [360, 900, 1600])
@pytest.mark.parametrize("name", FILMS)
def test_every_film_is_drawn_at_every_width(name, width, films, open_film):
    tab = open_film(films(name), width, dark=width == 900)
    titles = tab.page.locator(".dp-cap b").all_text_contents()
    assert titles == PANELS[LIKE.get(name, name)]
    for key in ("End", "Home"):
        tab.page.keyboard.press(key)
        if (name, key) != ("overflown", "End"):  # where no number is left to draw
            assert min(tab.drawn()) > 20
    overflow = tab.page.evaluate("document.documentElement.scrollWidth - innerWidth")
    assert overflow <= 0
    outside = tab.page.locator(".dp-plot svg text").evaluate_all(
        "texts => texts.filter(t => t.getBoundingClientRect().right > innerWidth + 1).map(t => t.textContent)"
    )
    assert outside == []


def test_a_count_is_drawn_as_the_exponential_and_losses_below_zero_where_they_are(films, open_film):
    film = films("counts")
    assert film.loss(film.frames - 1) < 0 < film.loss(0)
    tab = open_film(film)
    slope, intercept = film.sample.predictors[-1]
    said = tab.page.locator(".dp-model .dp-keys").text_content()
    assert said.startswith(f"exp({slope:.4g} × x0")
    assert f"{abs(intercept):.3g}"[:4] in said
    axis = tab.page.locator(".dp-loss svg text").all_text_contents()
    assert "log scale" not in axis
    assert any(text.startswith("−") for text in axis)


def test_classes_without_probabilities_have_a_boundary_alone(films, open_film):
    tab = open_film(replace(films("boundary"), link="identity"))
    assert tab.page.locator(".dp-cap b").first.text_content() == "Boundary"
    box = tab.page.locator(".dp-model canvas").last.bounding_box()
    tab.page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    assert "probability" not in tab.page.locator(".dp-model").text_content()


def test_play_goes_to_the_end_in_the_time_that_the_frames_take(films, open_film):
    film = replace(films("lesson"), interval=10.0)
    tab = open_film(film)
    tab.page.keyboard.press("Home")
    began = time.perf_counter()
    tab.page.locator(".dp-play").click()
    assert tab.playing()
    tab.page.wait_for_function("document.querySelector('.dp-bar input').value == 100", polling=20)
    taken = time.perf_counter() - began
    assert 0.9 < taken < 10  # one second; frames that come late are skipped
    tab.page.wait_for_function("document.querySelector('.dp-play').ariaLabel.startsWith('Play')")
    assert tab.told()["step"] == "100"
    tab.page.locator(".dp-play").click()  # from the end it starts over
    tab.page.wait_for_function("document.querySelector('.dp-bar input').value < 60")


def test_pause_stops_where_it_is(films, open_film):
    tab = open_film(replace(films("lesson"), interval=30.0))
    tab.page.keyboard.press("Home")
    tab.page.keyboard.press("Space")
    tab.page.wait_for_function("document.querySelector('.dp-bar input').value > 5")
    tab.page.keyboard.press("Space")
    at = tab.frame()
    assert not tab.playing()
    assert 5 < at < 100
    tab.page.wait_for_timeout(200)
    assert tab.frame() == at


def test_a_film_plays_by_itself_unless_motion_is_unwelcome(films, open_film):
    film = replace(films("lesson"), interval=150.0)
    moving, still = open_film(film, still=False), open_film(film, still=True)
    playing = "document.querySelector('.dp-play').getAttribute('aria-label').includes('Pause')"
    moving.page.wait_for_function(f"document.querySelector('.dp-bar input').value > 3 && {playing}")
    assert (still.playing(), still.frame()) == (False, still.last())


def test_speed_and_loop(films, open_film):
    tab = open_film(replace(films("lesson"), interval=5.0))
    tab.page.keyboard.press("Home")
    tab.page.select_option(".dp-bar select", "0.1")
    tab.page.locator(".dp-play").click()
    tab.page.wait_for_timeout(400)
    assert tab.frame() < 40
    loop = tab.page.get_by_role("button", name="Loop")
    loop.click()
    assert loop.get_attribute("aria-pressed") == "true"
    tab.page.select_option(".dp-bar select", "4")
    tab.page.wait_for_function("document.querySelector('.dp-bar input').value == 100")
    tab.page.wait_for_function("document.querySelector('.dp-bar input').value < 100")
    assert tab.playing()


def test_dragging_the_slider(films, open_film):
    tab = open_film(films("lesson"))
    box = tab.page.locator(".dp-bar input").bounding_box()
    y = box["y"] + box["height"] / 2
    tab.page.mouse.move(box["x"] + box["width"] - 9, y)
    tab.page.mouse.down()
    seen = []
    for share in (0.75, 0.5, 0.25):
        tab.page.mouse.move(box["x"] + share * box["width"], y, steps=3)
        seen.append(tab.frame())
    tab.page.mouse.up()
    np.testing.assert_allclose(seen, [75, 50, 25], atol=3)
    assert tab.told()["step"] == str(tab.frame())


def test_keys(films, open_film):
    film = films("lesson")
    tab = open_film(film)
    frames = []
    for key in (
        "Home",
        "ArrowRight",
        "ArrowRight",
        "ArrowLeft",
        "Shift+ArrowRight",
        "End",
        "ArrowRight",
        "ArrowLeft",
    ):
        tab.page.keyboard.press(key)
        frames.append(tab.frame())
    assert frames == [0, 1, 2, 1, 11, 100, 100, 99]
    tab.page.get_by_role("button", name="One step back").click()
    tab.page.get_by_role("button", name="One step forward").focus()
    tab.page.keyboard.press("Space")  # the button's own key
    assert (tab.frame(), tab.playing()) == (99, False)
    told = tab.told()
    assert float(told["loss"]) == pytest.approx(film.loss(99), rel=1e-3)
    assert float(told["x0"]) == pytest.approx(film.weights[99, 0], rel=1e-3)
    assert float(told["learning rate"]) == pytest.approx(0.1)


def test_it_is_read_aloud(films, open_film):
    tab = open_film(films("lesson"))
    tab.page.keyboard.press("Home")
    tab.page.wait_for_function("document.querySelector('[aria-live]').textContent.includes('step 0')")
    slider = tab.page.get_by_role("slider", name="Frame")
    assert slider.get_attribute("aria-valuetext").startswith("step 0, loss 6.698")
    unnamed = tab.page.locator(
        "button:not([aria-label]), select:not([aria-label]), canvas[role=img]:not([aria-label])"
    )
    assert unnamed.count() == 0
    assert tab.page.get_by_role("button", name="Play").count() == 1


def test_resizing_draws_again(films, open_film):
    tab = open_film(films("boundary"), 1600)
    size = "document.querySelector('.dp-plot canvas').width"
    wide = tab.page.evaluate(size)
    columns = "getComputedStyle(document.querySelector('.dp-grid')).gridTemplateColumns.split(' ').length"
    assert tab.page.evaluate(columns) == 3
    for width, count in ((900, 2), (360, 1)):
        tab.page.set_viewport_size({"width": width, "height": 800})
        tab.page.wait_for_function(f"{columns} == {count} && {size} != {wide}")
        assert min(tab.drawn()) > 20
        room = tab.page.evaluate("document.querySelector('.dp-plot').clientWidth")
        tab.page.wait_for_function(f"Math.abs({size} - {room}) <= 1")


def test_dark_and_light_while_it_is_open(films, open_film):
    tab = open_film(films("lesson"))
    background = "getComputedStyle(document.querySelector('.dp')).backgroundColor"
    corner = """(() => { const c = document.querySelectorAll('.dp-surface canvas')[0];
        const copy = new OffscreenCanvas(1, 1).getContext('2d', { willReadFrequently: true });
        copy.drawImage(c, 20 - c.width, -40);
        return [...copy.getImageData(0, 0, 1, 1).data].slice(0, 3) })()"""
    assert tab.page.evaluate(background) == "rgb(255, 255, 255)"
    light = sum(tab.page.evaluate(corner))
    tab.page.emulate_media(color_scheme="dark")
    tab.page.wait_for_function(f"{background} == 'rgb(21, 25, 30)'")
    tab.page.wait_for_timeout(50)
    assert sum(tab.page.evaluate(corner)) < light - 150


def test_on_paper_it_is_light_and_as_wide_as_paper(films, open_film):
    tab = open_film(films("lesson"), 1600, dark=True)
    seen = """() => [document.querySelector('.dp').clientWidth, document.querySelector('.dp-plot canvas').clientWidth,
        getComputedStyle(document.querySelector('.dp')).backgroundColor]"""
    before = tab.page.evaluate(seen)
    tab.page.evaluate("dispatchEvent(new Event('beforeprint'))")
    width, canvas, background = tab.page.evaluate(seen)
    assert (width, background) == (690, "rgb(255, 255, 255)")
    assert canvas < 350
    tab.page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert tab.page.evaluate(seen) == before


def test_hovering_shows_values(films, open_film):
    tab = open_film(films("lesson"))
    for k, words in enumerate(("residual", "loss", "training", "step")):
        plot = tab.page.locator(".dp-plot").nth(k)
        box = plot.bounding_box()
        tip = plot.locator(".dp-tip")
        for share in np.linspace(0.25, 0.8, 40):
            tab.page.mouse.move(
                box["x"] + share * box["width"], box["y"] + (1.02 - 0.9 * share) * box["height"]
            )
            if float(tip.evaluate("t => getComputedStyle(t).opacity")) > 0:
                break
        assert words in tip.text_content()
        tab.page.mouse.move(2, 2)
        assert tip.evaluate("t => t.style.opacity") == "0"


def test_a_run_that_goes_on_is_appended(films, open_film):
    film = films("lesson")
    first = replace(
        film,
        steps=film.steps[:10],
        weights=film.weights[:10],
        learning_rate=film.learning_rate[:10],
        curves={"loss": film.curves["loss"][:, :10]},
        sample=replace(film.sample, predictors=film.sample.predictors[:10]),
        surface=replace(film.surface, path=film.surface.path[:10]),
    )
    tab = open_film(first)
    tab.page.evaluate(
        """() => { window.handle = descendPlayer.mount(document.getElementById('film'),
             JSON.parse(document.getElementById('film-data').textContent)); }"""
    )
    steps, losses = film.curves["loss"][:, 10:].tolist()
    message = {
        "steps": steps,
        "weights": film.weights[10:].tolist(),
        "predictors": film.sample.predictors[10:].tolist(),
        "path": film.surface.path[10:].tolist(),
        "learning_rate": [0.1] * len(steps),
        "curves": {"loss": [steps, losses]},
        "outcome": "done",
    }
    tab.page.evaluate("message => handle.append(message)", message)
    assert tab.page.evaluate("[handle.frame, handle.frames]") == [100, 101]  # it follows the end
    assert "done" in tab.page.locator(".dp-notes").text_content()
    tab.page.evaluate("handle.seek(20)")
    tab.page.evaluate(
        "handle.append({steps: [101], weights: [[3, 2]], predictors: [[3, 2]], path: [[3, 2]]})"
    )
    assert tab.page.evaluate("[handle.frame, handle.frames]") == [20, 102]  # unless one looks back
    tab.page.evaluate("handle.destroy()")
    assert tab.page.evaluate("document.getElementById('film').children.length") == 0


@pytest.mark.parametrize("width", [360, 1000])
@pytest.mark.parametrize("name", ["leaving", "diverged"])
def test_a_diverged_run_is_seen_leaving_and_the_ending_says_why(name, width, films, open_film):
    tab = open_film(films(name), width)
    ticks = tab.page.locator(".dp-plot svg").evaluate_all(
        "pictures => pictures.map(p => [...p.querySelectorAll('g')].map(g => g.querySelectorAll('.tick').length))"
    )
    assert all(axis >= 2 for axes in ticks for axis in axes if axis)
    words = tab.page.locator(".dp-notes .dp-bad").text_content()
    for said in ("diverged", "The learning rate was", "0.9856", "What blew up", "learning_rate=0.887"):
        assert said in words
    moves = np.linalg.norm(np.diff(films(name).surface.path, axis=0), axis=1)
    assert (np.diff(moves[3:]) > 0).all()  # farther with every step
    assert (
        tab.page.locator(".dp-surface canvas")
        .nth(1)
        .evaluate(
            """canvas => { const [w, h] = [canvas.width, canvas.height];
             const data = canvas.getContext("2d").getImageData(0, 0, w, h).data;
             const rows = new Set();
             for (let i = 3; i < data.length; i += 4) if (data[i] > 200) rows.add(Math.floor(i / 4 / w));
             return rows.size / h; }"""
        )
        > 0.6
    )  # the path crosses the picture


@pytest.mark.parametrize("loss", ["squared-error", "logistic"])
def test_the_cross_on_the_surface_lies_along_the_principal_directions(loss, open_film):
    x = np.linspace(-2, 3, 60)
    y = x + np.sin(9 * x) if loss == "squared-error" else (x + np.sin(9 * x) > 0.5).astype(int)
    film = descend.fit(x[:, None], y, loss=loss, penalty=0.01).animate()
    axes = film.surface.axes(0.35)
    assert len(axes) == 2
    tab = open_film(film)
    colour = tab.page.evaluate(
        "getComputedStyle(document.documentElement).getPropertyValue('--text')"
    ).strip()
    text = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)])
    (left, right), (low, high) = film.surface.x_range, film.surface.y_range
    ends = [film.surface.centre + share * half for _, half in axes for share in (-0.9, 0.9)]
    found = tab.page.locator(".dp-surface canvas").first.evaluate(
        """(canvas, places) => {
             const [w, h] = [canvas.width, canvas.height];
             const data = canvas.getContext("2d").getImageData(0, 0, w, h).data;
             return places.map(([u, v]) => {
               const [x, y] = [46 + u * (w - 56), 20 + (1 - v) * (h - 54)].map(Math.round);
               const near = [-2, -1, 0, 1, 2].flatMap((i) => [-2, -1, 0, 1, 2].map((j) => 4 * ((y + i) * w + x + j)));
               return near.map((at) => [...data.slice(at, at + 3)]);
             }); }""",
        [[(a - left) / (right - left), (b - low) / (high - low)] for a, b in ends],
    )
    for pixels in np.array(found):
        assert np.abs(pixels - text).sum(axis=1).min() < 260  # on a ground that is 600 away


def test_what_did_not_diverge_has_no_such_ending(films, open_film):
    assert open_film(films("lesson")).page.locator(".dp-bad").count() == 0


def test_texts_of_the_data_are_never_run(films, open_film):
    film = films("boundary")
    evil = "</script><img src=x onerror=window.hacked=1><script>window.hacked=1</script>"
    tab = open_film(
        replace(
            film, title=evil, target=evil, outcome=evil, notes=(evil,), classes=(evil, evil),
            names=tuple(evil for _ in film.names), sample=replace(film.sample, names=(evil, evil)),
        )
    )  # fmt: skip
    assert tab.page.evaluate("window.hacked") is None
    assert tab.page.locator(".dp img").count() == 0
    assert tab.page.locator(".dp-title").text_content() == evil


def test_a_notebook_s_frame_takes_the_height_of_the_film(films, open_film):
    tab = open_film.visit(f"<!doctype html><body>{framed(films('lesson'), 300)}", 900, 800, False, True)
    inner = tab.page.frame_locator("iframe")
    inner.locator(".dp-plot canvas").first.wait_for()
    tab.page.wait_for_function("document.querySelector('iframe').clientHeight > 500")
    content = inner.locator(".dp").evaluate("e => e.getBoundingClientRect().height")
    assert abs(tab.page.evaluate("document.querySelector('iframe').clientHeight") - content) < 6
    before = tab.page.evaluate("document.querySelector('iframe').clientHeight")
    tab.page.set_viewport_size({"width": 420, "height": 800})
    tab.page.wait_for_function(f"document.querySelector('iframe').clientHeight > {before} + 200")
