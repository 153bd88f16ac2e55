"""The figure below a fitted estimator: its words, its curves, and that it is well-formed."""

from __future__ import annotations

from xml.etree import ElementTree

import numpy as np

from descend import History
from descend.interfaces.sklearn_box import ending


def history(losses, validation=None):
    made = History()
    for i, loss in enumerate(losses):
        made.record(loss=loss, weights=[0.0], validation_loss=None if validation is None else validation[i])
    return made


def curves(figure):
    lines = ElementTree.fromstring(figure.replace("&#160;", " ")).iter("polyline")
    return [np.array([p.split(",") for p in line.get("points").split()], dtype=float) for line in lines]


def test_an_ending_in_words_and_a_curve_that_falls():
    figure = ending(history([4.0, 2.0, 1.0, 0.5]), "stopped <here>")
    assert "stopped &lt;here&gt; after 3 steps, loss 0.5" in figure
    (curve,) = curves(figure)
    assert (np.diff(curve[:, 0]) > 0).all()
    assert (np.diff(curve[:, 1]) > 0).all()  # down the page
    assert curve[-1, 1] - curve[0, 1] == 64


def test_validation_has_a_curve_of_its_own_on_the_same_scale():
    training, validation = curves(ending(history([4.0, 2.0, 1.0], [5.0, 4.0, 4.5]), "done"))
    assert validation[1, 1] == training[0, 1]  # both 4


def test_two_losses_and_losses_of_epochs():
    assert "<svg" not in ending(history([4.0, 1.0]), "done")
    (curve,) = curves(ending(history([4.0, None, 2.0, None, 1.0]), "done"))
    assert len(curve) == 3
    (flat,) = curves(ending(history([1.0, 1.0, 1.0]), "done"))
    assert np.isfinite(flat).all()
    (long,) = curves(ending(history(np.linspace(9.0, 1.0, 5_000)), "done"))
    assert len(long) == 200
