"""Makes the pictures of this folder from the code as it is: `make pictures`. Needs chromium and playwright."""

from __future__ import annotations

import io
import shutil
import tempfile
import warnings
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, sync_playwright

import descend
from descend.pictures.film import Film

HERE = Path(__file__).parent
PENGUINS = HERE.parent.parent / "examples" / "penguins.csv"


def films() -> dict[str, tuple[Film, int, str, float]]:
    """Name, film, width of the window, colour scheme, and how far through the film."""
    x, y = descend.make_line(100, weights=(3, 2), seed=0)
    line = descend.fit(
        x, y, intercept=False, start=(-1, 1), optimizer=descend.GradientDescent(0.1), steps=100
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", descend.DescendWarning)
        diverged = descend.fit(
            x, y, intercept=False, start=(-1, 1), optimizer=descend.GradientDescent(1.02), steps=1_000
        )
        mass = descend.fit(PENGUINS, target="body_mass_g", valid=0.2)
        columns = descend.Columns(features=("body_mass_g", "bill_depth_mm"))
        sex = descend.fit(
            PENGUINS, target="sex", columns=columns, optimizer=descend.GradientDescent(), steps=200
        )
    line.animate().save(HERE / "line.gif")
    picture = descend.diagnose(line).surface().figure
    picture.savefig(HERE / "directions.png", dpi=120)
    return {
        "line": (line.animate(), 900, "light", 0.14),
        "line-phone": (line.animate(), 360, "dark", 0.14),
        "too-large": (diverged.animate(), 900, "light", 1.0),
        "body-mass": (mass.animate(), 1500, "light", 0.3),
        "two-classes": (sex.animate(), 900, "dark", 0.1),
    }


def shoot(browser: Browser, film: Film, width: int, scheme: str, share: float) -> bytes:
    """A picture of the player at a moment of a film."""
    context = browser.new_context(
        viewport={"width": width, "height": 2_000},
        color_scheme=scheme,  # type: ignore[arg-type]
        reduced_motion="reduce",
        offline=True,
    )
    page = context.new_page()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "film.html"
        film.save(path)
        page.goto(path.as_uri())
        page.evaluate(
            """share => { const slider = document.querySelector(".dp-bar input");
                 slider.value = Math.round(share * slider.max); slider.dispatchEvent(new Event("input")); }""",
            share,
        )
        picture = page.locator(".dp").screenshot()
    context.close()
    return picture


def main() -> None:
    made = films()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--headless", "--no-sandbox", "--disable-gpu"]
        )
        for name, (film, width, scheme, share) in made.items():
            image = Image.open(io.BytesIO(shoot(browser, film, width, scheme, share))).convert("RGB")
            image.quantize(256, kmeans=2, dither=Image.Dither.NONE).save(HERE / f"{name}.png", optimize=True)
        browser.close()


if __name__ == "__main__":
    main()
