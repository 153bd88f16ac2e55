"""The area under the ROC curve beside scikit-learn's, exact and from bins."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from descend.models import metrics as ranking
from descend.models.metrics import Ranking, Scores, roc_auc


def sample(rows, seed=0, ties=False, weighted=False):
    rng = np.random.default_rng(seed)
    y = rng.random(rows) < 0.3
    z = rng.normal(size=rows) + 0.8 * y
    weight = rng.integers(0, 4, rows).astype(float) if weighted else None
    return Scores(z.round(1) if ties else z, y, weight)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
def test_the_area_is_that_of_scikit_learn(ties, weighted):
    scores = sample(2_000, 1, ties, weighted)
    assert roc_auc(*scores) == pytest.approx(
        roc_auc_score(scores.positive, scores.z, sample_weight=scores.weight), rel=1e-12
    )


def test_one_class_has_no_area():
    assert np.isnan(roc_auc(np.arange(3.0), np.ones(3, bool)))


def total(parts):
    whole = Ranking(parts[:1])
    for part in parts[1:]:
        whole = whole.merged(Ranking([part]))
    return whole


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("scale", [1.0, 1e-9, 1e9], ids="scale {}".format)
def test_beyond_the_limit_bins_come_close_and_memory_is_bounded(weighted, scale, monkeypatch):
    monkeypatch.setattr(ranking, "EXACT_ROWS", 20_000)
    monkeypatch.setattr(ranking, "BINS", 4_096)
    parts = [sample(5_000, seed, weighted=weighted) for seed in range(20)]
    parts = [part._replace(z=1e3 * scale + scale * (part.z + 0.1 * i)) for i, part in enumerate(parts)]
    found = total(parts)
    assert found.binned
    assert sum(len(part.z) for part in found.parts) <= 20_000
    joined = [np.concatenate(column) for column in zip(*parts, strict=True)] if weighted else [
        np.concatenate([p.z for p in parts]), np.concatenate([p.positive for p in parts])
    ]  # fmt: skip
    assert found.area() == pytest.approx(roc_auc(*joined), abs=5 / 4_096)


def test_up_to_the_limit_the_area_is_exact():
    parts = [sample(500, seed) for seed in range(4)]
    found = total(parts)
    assert not found.binned
    assert found.area() == roc_auc(
        np.concatenate([p.z for p in parts]), np.concatenate([p.positive for p in parts])
    )


def test_metrics_say_that_they_come_from_bins(monkeypatch):
    import descend
    from descend.models import metrics

    for module in (ranking, metrics):
        monkeypatch.setattr(module, "EXACT_ROWS", 40_000)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(100_000, 3))
    y = (x.sum(axis=1) + rng.logistic(size=100_000) > 0).astype(float)
    run = descend.fit(x, y, loss="logistic")
    found = run.metrics["training"]
    assert "65,536 bins" in found.note
    assert found.to_dict()["note"] == found.note
    z = x @ run.weights[:-1] + run.weights[-1]
    assert found.values["roc_auc"] == pytest.approx(roc_auc_score(y, z), abs=1e-4)
    assert descend.fit(x[:900], y[:900], loss="logistic").metrics["training"].note is None
