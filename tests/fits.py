"""Fits of one table that every engine must make to the bit, and signals to its workers on the way."""

from __future__ import annotations

import json
import os
import re

import descend
from descend.engines import remote

FITS = {
    "line exact": ("line", "exact", {}),
    "line descent": ("line", "gradient-descent", {"steps": 4}),
    "two newton": ("two", "newton", {}),
    "two lbfgs": ("two", "lbfgs", {}),
    "two descent": ("two", "gradient-descent", {"steps": 4}),
    "three newton": ("three", "newton", {"steps": 3}),
    "three lbfgs": ("three", "lbfgs", {"steps": 4}),
    "three descent": ("three", "gradient-descent", {"steps": 4}),
    "counts newton": ("two", "newton", {"loss": "poisson"}),
    "counts descent": ("two", "gradient-descent", {"loss": "poisson", "steps": 4}),
    "line l1": ("line", "auto", {"penalty": descend.L1(0.05)}),
    "two elastic net": ("two", "auto", {"penalty": descend.ElasticNet(0.02, 0.5)}),
    "three l1": ("three", "proximal-gradient", {"penalty": descend.L1(0.02), "steps": 9}),
    "outliers lbfgs": ("line", "lbfgs", {"loss": descend.HuberLoss(0.3), "steps": 4}),
}


def fitted(data, name, engine, **more):
    target, optimizer, how = FITS[name]
    drop = [other for other in ("line", "two", "three") if other != target]
    columns = descend.Columns(drop=drop)
    return descend.fit(
        data, target=target, optimizer=optimizer, engine=engine, columns=columns, valid=0.2, **how, **more
    )


def same(a, b):
    """Whether two runs have the same bits."""
    histories = (a.history.loss, b.history.loss), (a.history.validation_loss, b.history.validation_loss)
    return a.weights.tobytes() == b.weights.tobytes() and all(
        x.tobytes() == y.tobytes() for x, y in histories
    )


def without_times(found):
    """What was found, in JSON, but for the seconds that it took."""
    return re.sub(r'"seconds": [^,]*|took [^ ]* s', "", json.dumps(found, sort_keys=True))


def strike(monkeypatch, started, at, which, what):
    """Send a signal to one of the processes when the `at`-th task goes out."""
    count, send = 0, remote.Round._send

    def sending(self, worker, numbers):
        nonlocal count
        count += 1
        send(self, worker, numbers)
        if count == at:
            os.kill(started[which].pid, what)

    monkeypatch.setattr(remote.Round, "_send", sending)
