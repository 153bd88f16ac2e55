"""The lesson's run and a large logistic fit on a GPU, beside torch.optim's LBFGS and this machine's CPU.

    python benchmarks/gpu.py                  on "cuda", 20 million rows of 32 columns
    python benchmarks/gpu.py --device cpu --rows 200000

Prints a table with the card's name and the loss that each ends at; put it into docs/explanation/benchmarks.md. Needs torch built
for the card. On "cpu" it only shows that the script runs.
"""

from __future__ import annotations

import argparse
import platform

import torch
from timing import in_turns, markdown

import descend

COLUMNS, STEPS, PENALTY = 32, 20, 1e-6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--rows", type=int, default=20_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    card = torch.cuda.get_device_name(options.device) if options.device != "cpu" else platform.machine()
    x, y = (torch.from_numpy(column).to(options.device) for column in descend.make_line(100, seed=0))
    X, labels = large(options.rows, options.device)
    there, here = X.cpu().numpy(), labels.cpu().numpy()
    walks = {"descend": lambda: line(x, y), "torch loop": lambda: loop(x, y)}
    lesson = in_turns(walks, options.rounds)
    fits = {
        f"descend on {options.device}": lambda: logistic(X, labels),
        f"torch.optim.LBFGS on {options.device}": lambda: torch_lbfgs(X, labels),
        "descend on the CPU": lambda: logistic(there, here),
    }
    taken = in_turns(fits, options.rounds)
    print(f"{card}, torch {torch.__version__}, {options.rows:,} x {COLUMNS} float32")
    rows = [["lesson, 100 steps", name, str(times), f"{walks[name]():.9f}"] for name, times in lesson.items()]
    rows += [["logistic, L-BFGS", name, str(times), f"{fits[name]():.9f}"] for name, times in taken.items()]
    print(markdown(["run", "by", "time", "loss at the end"], rows))


def large(rows: int, device: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Normal columns, and classes drawn from a logistic model of them."""
    random = torch.Generator(device).manual_seed(0)
    X = torch.randn((rows, COLUMNS), generator=random, device=device)
    w = torch.randn(COLUMNS, generator=random, device=device) * 0.3
    return X, (torch.rand(rows, generator=random, device=device) < torch.sigmoid(X @ w)).long()


def line(x: torch.Tensor, y: torch.Tensor) -> float:
    """The lesson by descend."""
    optimizer = descend.GradientDescent(0.1)
    return descend.fit(x, y, intercept=False, start=(0.5, 0.75), optimizer=optimizer, steps=100).loss


def loop(x: torch.Tensor, y: torch.Tensor) -> float:
    """The lesson's loop."""
    a = torch.nn.Parameter(torch.tensor([0.5, 0.75], dtype=x.dtype, device=x.device))
    for _ in range(100):
        loss = ((x @ a - y) ** 2).mean()
        loss.backward()
        with torch.no_grad():
            a.sub_(0.1 * a.grad)
            a.grad.zero_()
    return ((x @ a - y) ** 2).mean().item()


def logistic(X: object, y: object) -> float:
    """L-BFGS by descend."""
    return descend.fit(X, y, loss="logistic", optimizer="lbfgs", penalty=PENALTY, steps=STEPS).loss


def torch_lbfgs(X: torch.Tensor, y: torch.Tensor) -> float:
    """L-BFGS by torch, in the dtype of the rows."""
    w = torch.zeros(COLUMNS + 1, device=X.device, dtype=X.dtype, requires_grad=True)
    optimizer = torch.optim.LBFGS([w], max_iter=STEPS, line_search_fn="strong_wolfe")
    targets = y.to(X.dtype)

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        z = X @ w[:-1] + w[-1]
        loss = torch.nn.functional.binary_cross_entropy_with_logits(z, targets)
        loss = loss + PENALTY / 2 * (w[:-1] ** 2).sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    return closure().item()


if __name__ == "__main__":
    main()
