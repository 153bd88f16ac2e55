"""Animation files: every frame is what it says, and the files are small and exact."""

from __future__ import annotations

import os
import stat

import numpy as np
import pytest
from films import FILMS
from PIL import Image

import descend
from descend.errors import DescendError
from descend.pictures import animation
from descend.pictures.animation import Stage, write
from descend.pictures.film import Film
from descend.pictures.styles import DARK, LIGHT, STYLES

pytestmark = pytest.mark.slow


def frames_of(path):
    with Image.open(path) as image:
        for number in range(image.n_frames):
            image.seek(number)
            yield np.asarray(image.convert("RGB")), image.info


def colour(text):
    return [int(text[i : i + 2], 16) for i in (1, 3, 5)]


class TestGif:
    @pytest.mark.parametrize("look", STYLES)
    def test_every_frame_is_there_on_the_exact_background(self, tmp_path, look):
        write(FILMS["line"], tmp_path / "a.gif", style=look)
        frames = list(frames_of(tmp_path / "a.gif"))
        assert len(frames) == FILMS["line"].frames
        for pixels, _ in frames:
            assert pixels[2, 2].tolist() == colour(STYLES[look].background)

    @pytest.mark.parametrize("picture", ["line", "fit", "regions", "histogram"])
    def test_frames_are_what_was_drawn(self, tmp_path, picture):
        film = FILMS[picture]
        write(film, tmp_path / "a.gif", style="light")
        import matplotlib

        from descend.pictures.plots import settings

        with matplotlib.rc_context(settings(LIGHT)):
            drawn = (pixels[..., :3].astype(int).copy() for pixels in Stage(film, LIGHT).frames())
            for (shown, _), pixels in zip(frames_of(tmp_path / "a.gif"), drawn, strict=True):
                off = np.abs(shown.astype(int) - pixels).max(axis=2)
                assert off.mean() < 2
                assert (off > 48).mean() < 0.001

    def test_small_marks_keep_their_colour(self, tmp_path):
        write(FILMS["regions"], tmp_path / "a.gif", style="dark")
        *_, (pixels, _) = frames_of(tmp_path / "a.gif")
        assert (pixels == colour(DARK.model)).all(axis=2).sum() > 20

    def test_times_are_kept_and_the_last_frame_stays(self, tmp_path):
        write(FILMS["line"], tmp_path / "a.gif", 50)
        durations = [info["duration"] for _, info in frames_of(tmp_path / "a.gif")]
        assert set(durations[:-1]) == {50}
        assert durations[-1] == 1_500

    def test_it_repeats_for_ever(self, tmp_path):
        write(FILMS["line"], tmp_path / "a.gif")
        with Image.open(tmp_path / "a.gif") as image:
            assert image.info["loop"] == 0

    def test_a_film_that_stands_still_is_written(self, tmp_path):
        still = Film("weights", np.arange(3), np.ones((3, 1)), ("a",), {"loss": np.ones((2, 3))})
        write(still, tmp_path / "a.gif")
        assert sum(1 for _ in frames_of(tmp_path / "a.gif")) == 3

    def test_the_same_film_gives_the_same_bytes(self, tmp_path):
        for name in ("a.gif", "b.gif"):
            write(FILMS["sigmoid"], tmp_path / name)
        assert (tmp_path / "a.gif").read_bytes() == (tmp_path / "b.gif").read_bytes()

    def test_the_lessons_run_is_small(self, tmp_path):
        write(FILMS["line"], tmp_path / "a.gif")
        assert (tmp_path / "a.gif").stat().st_size < 200_000


class TestStage:
    @pytest.mark.parametrize("picture", FILMS)
    def test_a_frame_does_not_depend_on_those_before(self, picture):
        film = FILMS[picture]
        for chosen in ([0, 5, film.frames - 1], [film.frames - 1, 0]):
            alone = next(Stage(film, LIGHT).frames([chosen[-1]])).copy()
            *_, after = Stage(film, LIGHT).frames(chosen)
            np.testing.assert_array_equal(after, alone)

    def test_the_caption_tells_the_step_and_the_loss(self):
        stage = Stage(FILMS["line"], LIGHT)
        stage.show(7)
        assert stage.caption.get_text() == f"step 7   loss {FILMS['line'].loss(7):.4g}"

    def test_a_loss_that_is_not_finite_is_left_out(self):
        film = Film(
            "weights", np.arange(2), np.ones((2, 1)), ("a",), {"loss": np.array([[0, 1], [1, np.inf]])}
        )
        stage = Stage(film, LIGHT)
        stage.show(1)
        assert stage.caption.get_text() == "step 1"


class TestPng:
    @pytest.mark.parametrize("picture", FILMS)
    def test_is_the_last_frame(self, tmp_path, picture):
        write(FILMS[picture], tmp_path / "a.png")
        with Image.open(tmp_path / "a.png") as image:
            assert image.size == (1680, 780)

    def test_follows_the_active_style(self, tmp_path):
        with descend.style("dark"):
            write(FILMS["line"], tmp_path / "a.png")
        with Image.open(tmp_path / "a.png") as image:
            assert list(image.convert("RGB").getpixel((2, 2))) == colour(DARK.background)


def program(folder, script):
    path = folder / "ffmpeg"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


class TestMp4:
    def test_without_ffmpeg_the_error_says_what_to_install(self, tmp_path, monkeypatch):
        monkeypatch.setenv("PATH", "")
        with pytest.raises(DescendError, match="apt install ffmpeg"):
            write(FILMS["line"], tmp_path / "a.mp4")
        assert not list(tmp_path.glob("*.mp4"))

    def test_ffmpeg_gets_every_frame_and_a_pause(self, tmp_path, monkeypatch):
        (tmp_path / "bin").mkdir()
        program(tmp_path / "bin", 'for last; do :; done; echo "$@" > "$(dirname "$0")/said"; cat > "$last"')
        monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
        write(FILMS["line"], tmp_path / "a.mp4", 100)
        said = (tmp_path / "bin" / "said").read_text()
        assert "-s 840x390 -r 10" in said
        assert (tmp_path / "a.mp4").stat().st_size == (FILMS["line"].frames + 15) * 840 * 390 * 4

    def test_what_ffmpeg_says_is_passed_on(self, tmp_path, monkeypatch):
        (tmp_path / "bin").mkdir()
        program(tmp_path / "bin", "echo 'Unknown encoder libx264' >&2; exit 1")
        monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
        with pytest.raises(DescendError, match="ffmpeg could not write the film: Unknown encoder libx264"):
            write(FILMS["line"], tmp_path / "a.mp4")
        assert not (tmp_path / "a.mp4").exists()


def test_other_kinds_and_intervals_are_refused(tmp_path):
    with pytest.raises(DescendError, match=r"a film is drawn as \.gif, \.mp4, \.png, got 'a\.avi'"):
        write(FILMS["line"], "a.avi")
    with pytest.raises(DescendError, match="`interval` must be"):
        write(FILMS["line"], tmp_path / "a.gif", 0)


def test_the_writers_are_those_that_a_film_names():
    from descend.pictures.film import PAINTED

    assert set(animation.WRITERS) == set(PAINTED)
