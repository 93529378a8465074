"""Take the pictures of the server's page that the documentation shows.

    python -m tools.page_screenshots

makes the gallery of `examples.pictures.demo`, starts ``itr-deploy serve`` on it and writes
``docs/images/page-*.webp``: the search and what matched, at a desktop's width and at a phone's.
Debian's chromium and chromium-driver must be installed.
"""

from __future__ import annotations

import argparse
import io
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlencode

from PIL import Image

from examples.pictures import make_data
from examples.pictures.demo import DETECTOR_WORDS, IMRAM_WORDS, SPLIT, World, itr_deploy
from itr_deploy import Gallery, Matcher
from tests.support.browser import Browser, chromium
from tests.support.servers import running_server

QUERY = "a purple ring to the right of a blue square"
WORD = "blue"
HITS = 12
SIZES = {"": (1280, 800, 1.0), "-phone": (390, 780, 1.5)}
"""What a file's name ends in; width and height in CSS pixels, and pixels to one of those."""

QUALITY = 85
"""Of WebP."""


def main() -> None:
    """Take the pictures."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.page_screenshots", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--output", type=Path, default=Path("docs/images"))
    parser.add_argument("--dark", action="store_true", help="as a browser in dark mode shows it")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory() as folder:
        root = Path(folder)
        pictures = make_gallery(root)
        server = running_server(
            root / "shapes", root / "gallery", root / "log", "--pictures", pictures
        )
        with server as running, chromium() as browser:
            for ending, (width, height, scale) in SIZES.items():
                browser.emulate(width, height, dark=options.dark, scale=scale)
                take(browser, running.url, options.output, ending)


def make_gallery(root: Path) -> Path:
    """Make ``shapes``, a bundle, and ``gallery``, all pictures of the test split; their folder."""
    make_data.make_split(SPLIT, root)
    world = World.read(root)
    bundle, detector = root / "shapes", root / "detector"
    itr_deploy("export", "regions", *DETECTOR_WORDS, "--output", detector)
    itr_deploy("export", "imram", *IMRAM_WORDS, "--output", bundle)
    gallery = Gallery.create(root / "gallery", Matcher.load(bundle, detector=detector))
    captions = world.captions[:: len(world.captions) // len(world.ids)]
    files = [world.pictures / name for name in world.ids]
    gallery.add(world.ids, files, {"caption": captions})
    return world.pictures


def take(browser: Browser, url: str, output: Path, ending: str) -> None:
    """Take the pictures of one width."""
    browser.open(f"{url}/?{urlencode({'query': QUERY, 'k': HITS})}")
    browser.one("a.hit")
    browser.until(lambda: browser.run(SEEN, "#hits"))
    save(browser, output / f"page-search{ending}.webp")
    browser.one("a.hit").click()
    browser.one("#matched .word")
    named = [word for word in browser.all("#matched .word") if word.text.split("\n")[0] == WORD]
    if named[0].get_attribute("aria-pressed") == "false":
        named[0].click()
    browser.until(lambda: browser.run(SEEN, "#matched"))
    browser.run("document.activeElement.blur()")
    save(browser, output / f"page-what-matched{ending}.webp")


SEEN = """
const shown = (one) => one.getBoundingClientRect().top > innerHeight || one.naturalWidth > 0;
return [...document.querySelectorAll(`${arguments[0]} img`)].every(shown);
"""


def save(browser: Browser, path: Path) -> None:
    """Write what the browser shows."""
    time.sleep(0.5)  # until colours have faded
    image = Image.open(io.BytesIO(browser.driver.get_screenshot_as_png()))
    image.convert("RGB").save(path, "WEBP", quality=QUALITY, method=6)
    print(f"{path}: {image.width} x {image.height}, {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
