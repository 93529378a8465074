"""The page in a real browser: it shows what the retriever finds, to eyes, keys and readers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, urlencode, urlsplit

import numpy as np
import pytest

from examples.pictures import make_data
from examples.pictures.demo import DETECTOR_WORDS, IMRAM_WORDS
from itr_deploy import Gallery, Matcher, Regions, Retriever
from tests.support.browser import Browser, chromium
from tests.support.exports import Bundles
from tests.support.servers import running_server

pytestmark = pytest.mark.slow

COUNT = 14
QUERY = "a blue square and a red circle"
ODD = "odd/<img src=x onerror=\"document.title='hacked'\"> & 'ü'?#%2F.png"
ODD_WORD = "<img/src=x/onerror=alert(1)>"
KEY = "a-key.of:tests"
IMRAM = ("imram", *IMRAM_WORDS)
DETECTOR = ("regions", *DETECTOR_WORDS)


@dataclass(frozen=True)
class World:
    """A few pictures and their captions, encoded, and where the servers are found."""

    pictures: Path
    names: list[str]
    images: Retriever
    texts: Retriever

    def ids(self, **options) -> list[str]:
        return list(self.images.search(QUERY, **options).ids)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as made:
        yield made


@pytest.fixture(autouse=True)
def quiet(browser: Browser) -> Iterator[None]:
    """No page writes to the console or asks another host for anything."""
    browser.emulate(1280, 900)
    browser.log()
    browser.requests()
    yield
    assert browser.log() == []
    asked = {urlsplit(url) for url in browser.requests()}
    assert {part.hostname for part in asked if part.scheme.startswith("http")} <= {"127.0.0.1"}
    assert {part.scheme for part in asked} <= {"http", "data", "blob", "about"}


@pytest.fixture(scope="module")
def world(bundles: Bundles, tmp_path_factory: pytest.TempPathFactory) -> World:
    root = tmp_path_factory.mktemp("world")
    make_data.make_split("test", root, COUNT)
    pictures = make_data.pictures_of(root, "test")
    names = [f"test_{number:04}.png" for number in range(COUNT - 1)]
    (pictures / "odd").mkdir()
    (pictures / "test_0013.png").rename(pictures / ODD)
    names.append(ODD)

    bundle, detector = bundles.of(*IMRAM), bundles.of(*DETECTOR)
    matcher = Matcher.load(bundle, detector=detector)
    found = Gallery.create(root / "images", matcher)
    columns = {"price": [float(n) for n in range(COUNT)], "note": [ODD] * COUNT}
    found.add(names, [pictures / name for name in names], columns)
    captions = (root / "test_caps.txt").read_text().splitlines()
    texts = Gallery.create(root / "texts", matcher, "text")
    texts.add([f"{n}" for n in range(len(captions))], captions, {"text": captions})
    return World(
        pictures,
        names,
        Retriever.load(bundle, root / "images"),
        Retriever.load(bundle, root / "texts", detector=detector),
    )


@pytest.fixture(scope="module")
def page(world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A gallery of pictures with boxes."""
    log, bundle = tmp_path_factory.mktemp("page") / "log", world.images.matcher.bundle.path
    gallery = world.images.gallery.path
    with running_server(bundle, gallery, log, "--pictures", world.pictures) as server:
        yield f"{server.url}/"


@pytest.fixture(scope="module")
def texts_page(
    world: World, bundles: Bundles, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """A gallery of texts, searched with pictures."""
    log, bundle = tmp_path_factory.mktemp("texts") / "log", world.texts.matcher.bundle.path
    words = ("--detector", bundles.of(*DETECTOR))
    with running_server(bundle, world.texts.gallery.path, log, *words) as server:
        yield f"{server.url}/"


@pytest.fixture(scope="module")
def locked_page(world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A gallery without boxes, whose server asks for a key."""
    root, matcher = tmp_path_factory.mktemp("locked"), world.images.matcher
    gallery = Gallery.create(root / "gallery", matcher)
    features = np.random.default_rng(0).random((4, 36, 96), dtype=np.float32)
    gallery.add(world.names[:4], Regions(features))
    (root / "keys").write_text(f"{KEY}\n")
    words = ("--pictures", world.pictures, "--api-key-file", root / "keys")
    with running_server(matcher.bundle.path, gallery.path, root / "log", *words) as server:
        yield f"{server.url}/"


def asking(page: str, **asked: object) -> str:
    return f"{page}?{urlencode({'query': QUERY, 'k': 5, **asked})}"


def ids_shown(browser: Browser) -> list[str]:
    browser.one("a.hit")
    script = "return [...document.querySelectorAll('.hit .name')].map((e) => e.title)"
    return browser.run(script)


def open_hit(browser: Browser, place: int = 0) -> None:
    browser.one("a.hit")
    browser.all("a.hit")[place].click()
    browser.one("#matched .word")


def word(browser: Browser, text: str):
    return next(e for e in browser.all(".word") if e.text.split("\n")[0] == text)


def tab_to(browser: Browser, selector: str) -> None:
    for _ in range(20):
        if browser.run("return document.activeElement.matches(arguments[0])", selector):
            return
        browser.keys("\ue004")
    raise AssertionError(f"20 tabs do not lead to {selector}")


SOURCES = """
return [...document.querySelectorAll(".hit img")].map((one) => one.naturalWidth ? one.src : "");
"""


def test_a_query_shows_the_hits_of_the_retriever_in_order(
    browser: Browser, page: str, world: World
):
    browser.open(page)
    browser.one("#query").send_keys(QUERY, "\n")
    assert ids_shown(browser) == world.ids(k=12)
    hits = world.images.search(QUERY, k=12)
    assert browser.texts(".hit .score") == [f"score {hit.score:.4f}" for hit in hits]
    assert "12 hits of 14 pictures" in browser.one("#summary").text
    assert browser.one("#gallery").text.endswith("14 pictures · version 2")
    assert browser.texts("#timings dt")[:2] == ["queue", "encode"]
    browser.until(lambda: all(browser.run(SOURCES)))


def test_a_link_shows_the_same_search_and_back_and_forward_walk_through_them(
    browser: Browser, page: str, world: World
):
    where = "price < 9 and price > 1"
    browser.open(asking(page, where=where))
    assert ids_shown(browser) == world.ids(k=5, where=where)
    assert browser.one("#where").get_attribute("value") == where
    browser.one("#where").clear()
    browser.one("#k").clear()
    browser.one("#k").send_keys("3", "\n")
    browser.until(lambda: len(browser.all("a.hit")) == 3)
    link = browser.driver.current_url
    browser.driver.back()
    browser.until(lambda: len(browser.all("a.hit")) == 5)
    assert browser.one("#query").get_attribute("value") == QUERY
    browser.driver.forward()
    browser.until(lambda: len(browser.all("a.hit")) == 3)
    browser.open(link)
    assert ids_shown(browser) == world.ids(k=3)


def test_the_columns_are_named_and_a_wrong_filter_is_told_in_the_servers_words(
    browser: Browser, page: str
):
    browser.open(asking(page, where="colour = 'red'"))
    assert "there is no column 'colour'" in browser.one("#problem").text
    assert browser.one("#columns").text == "Columns: id, price double, note string"
    assert browser.all("a.hit") == []
    assert any("422" in line for line in browser.log())


def test_what_the_filter_keeps_none_of_and_unknown_words_are_told(browser: Browser, page: str):
    browser.open(asking(page, query="a frisbee", where="price > 99"))
    told = browser.one("#summary:not(:empty)").text
    assert told.startswith("No hits: the filter keeps none of 14 pictures")
    assert "does not know: frisbee." in told


def test_a_hit_shows_its_words_and_lights_their_regions(browser: Browser, page: str, world: World):
    browser.open(asking(page))
    open_hit(browser)
    top = world.ids(k=1)[0]
    told = world.images.explain(QUERY, top)
    assert browser.texts(".word > span:first-child") == list(told.words)
    word(browser, "blue").click()
    assert word(browser, "blue").get_attribute("aria-pressed") == "true"
    place = told.words.index("blue")
    strongest = told.strongest(place, 6)
    weights = told.attention[place]
    lit = [int(region) for region in strongest if weights[region] >= 0.15 * weights[strongest[0]]]
    drawn = browser.run(
        "return [...document.querySelectorAll('.box')].map((b) => b.dataset.region)"
    )
    assert [int(region) for region in drawn[::-1]] == lit
    assert browser.one(".picture .label").text == f"{100 * weights[lit[0]]:.0f} %"
    assert told.placed is not None
    x1, y1, x2, y2 = told.placed.boxes[lit[0]]
    script = "const b = arguments[0].getBBox(); return [b.x, b.y, b.width, b.height]"
    box = browser.run(script, browser.all(".box .line")[-1])
    np.testing.assert_allclose(box, [x1, y1, x2 - x1, y2 - y1], rtol=1e-4)
    assert parse_qs(urlsplit(browser.driver.current_url).query)["hit"] == [top]
    assert "Not exact" in browser.one("#matched").text
    assert not told.exact


def test_a_word_lights_up_under_the_pointer_and_a_region_lights_its_words(
    browser: Browser, page: str, world: World
):
    from selenium.webdriver import ActionChains

    browser.open(asking(page))
    open_hit(browser)
    told = world.images.explain(QUERY, world.ids(k=1)[0])
    ActionChains(browser.driver).move_to_element(word(browser, "circle")).perform()
    browser.until(lambda: "now" in word(browser, "circle").get_attribute("class"))
    assert browser.one(".says").text.startswith("circle: relevance")

    word(browser, "blue").click()
    region = int(told.strongest(told.words.index("blue"))[0])
    assert told.placed is not None
    shares = told.placed.boxes[region].reshape(2, 2).mean(0) / told.placed.picture_size - 0.5
    frame = browser.one(".picture")
    by = [
        int(share * frame.size[side])
        for share, side in zip(shares, ("width", "height"), strict=True)
    ]
    ActionChains(browser.driver).move_to_element_with_offset(frame, *by).perform()
    said = browser.until(lambda: (t := browser.one(".says").text).startswith("Region") and t)
    shown = int(said.split()[1])
    best = told.words[int(told.attention[:, shown].argmax())]
    assert f": {best} " in said
    assert (
        word(browser, best).text.split("\n")[1] == f"{100 * told.attention[:, shown].max():.0f} %"
    )


def test_steps_are_chosen_and_the_table_has_all_weights(browser: Browser, page: str, world: World):
    browser.open(asking(page))
    open_hit(browser)
    options = browser.texts("#step option")
    assert options[0] == "1: words attend to regions"
    assert "1: regions attend to words" in options
    top = world.ids(k=1)[0]
    for text, attends in ((options[0], "text"), ("1: regions attend to words", "image")):
        next(e for e in browser.all("#step option") if e.text == text).click()
        told = world.images.explain(QUERY, top, step=1, attends=attends)
        first = [f"{score:.2f}".replace("-", "\N{MINUS SIGN}") for score in told.word_scores]
        browser.until(lambda want=first: browser.texts(".matched td") == want)
    assert len(browser.texts(".weights tbody tr")) == 1 + told.regions
    row = browser.texts(".weights tbody tr:nth-child(2) td")
    weights = 100 * told.attention[:, 0]
    assert row == ["<1" if 0 < w < 1 else f"{int(w + 0.5)}" for w in weights]


def test_a_link_to_a_hit_opens_it_and_back_closes_it(browser: Browser, page: str, world: World):
    second = world.ids(k=5)[1]
    browser.open(asking(page, hit=second))
    assert browser.one("#matched-title").text == second
    browser.keys("\ue00c")  # Escape
    browser.until(lambda: not browser.all("dialog[open]"))
    assert "hit=" not in browser.driver.current_url
    open_hit(browser, 2)
    browser.driver.back()
    browser.until(lambda: not browser.all("dialog[open]"))
    browser.driver.forward()
    browser.until(lambda: browser.one("#matched-title").text == world.ids(k=5)[2])


def test_everything_is_done_by_keys_alone(browser: Browser, page: str, world: World):
    from selenium.webdriver.common.keys import Keys

    browser.open(page)
    browser.until(lambda: browser.one("#gallery").text)
    browser.keys("/")
    browser.keys(QUERY, Keys.ENTER)
    names = ids_shown(browser)
    tab_to(browser, "a.hit")
    browser.keys(Keys.ARROW_RIGHT, Keys.ENTER)
    browser.one("#matched .word")
    assert browser.one("#matched-title").text == names[1]
    browser.keys(Keys.ARROW_RIGHT)
    browser.until(lambda: browser.one("#matched-title").text == names[2])
    browser.one("#matched .word")
    tab_to(browser, ".word:nth-child(3)")
    assert "now" in browser.all(".word")[2].get_attribute("class")
    outline = "return getComputedStyle(document.activeElement).outlineStyle"
    assert browser.run(outline) == "solid"
    browser.keys(Keys.ENTER)
    assert browser.all(".word")[2].get_attribute("aria-pressed") == "true"
    browser.keys(Keys.ESCAPE)
    browser.until(lambda: not browser.all("dialog[open]"))
    assert browser.run("return document.activeElement.querySelector('.name').title") == names[2]


def test_ids_words_and_values_of_any_characters_are_shown_as_text(
    browser: Browser, page: str, world: World
):
    where = "id LIKE 'odd/%'"
    browser.open(asking(page, query=f"{QUERY} {ODD_WORD}", where=where))
    assert ids_shown(browser) == [ODD]
    browser.until(lambda: browser.run("return document.querySelector('.hit img').naturalWidth > 0"))
    open_hit(browser)
    assert browser.one("#matched-title").text == ODD
    assert ODD in browser.texts(".facts dd")
    link = browser.driver.current_url
    browser.open(link)
    assert browser.one("#matched-title").text == ODD
    browser.one("#matched .word")
    assert browser.all("img[src=x]") == []
    assert browser.driver.title.startswith(QUERY)


def test_a_picture_is_searched_with_from_a_file_the_clipboard_or_dropped(
    browser: Browser, texts_page: str, world: World
):
    browser.open(texts_page)
    browser.until(lambda: browser.one("#gallery").text.endswith("70 texts · version 2"))
    browser.all("#file")[0].send_keys(str(world.pictures / "test_0003.png"))
    found = world.texts.search(image=world.pictures / "test_0003.png", k=12)
    browser.one("a.hit")
    assert browser.texts(".hit .name") == [hit.metadata["text"] for hit in found]
    assert browser.one("#picked").text == "test_0003.png"
    for event, name in (("paste", "clipboardData"), ("drop", "dataTransfer")):
        other = {"paste": 5, "drop": 7}[event]
        file = world.pictures / f"test_{other:04}.png"
        browser.run(GIVE, event, name, list(file.read_bytes()), file.name)
        browser.until(lambda name=file.name: browser.one("#picked").text == name)
        found = world.texts.search(image=file, k=12)
        expected = [hit.metadata["text"] for hit in found]
        browser.until(lambda want=expected: browser.texts(".hit .name") == want)
    browser.driver.back()
    browser.until(lambda: browser.one("#picked").text == "test_0005.png")
    browser.driver.refresh()
    assert "A picture is not part of a link" in browser.one("#summary:not(:empty)").text


GIVE = """
const [event, field, bytes, name] = arguments;
const data = new DataTransfer();
data.items.add(new File([new Uint8Array(bytes)], name, { type: "image/png" }));
const made = event === "paste"
  ? new ClipboardEvent(event, { clipboardData: data, bubbles: true, cancelable: true })
  : new DragEvent(event, { dataTransfer: data, bubbles: true, cancelable: true });
document.body.dispatchEvent(made);
"""


def test_why_no_picture_can_be_searched_with_is_said(browser: Browser, page: str):
    browser.open(page)
    browser.until(lambda: browser.one("#gallery").text)
    browser.one("#choose").click()
    assert "No search by picture: the gallery holds images" in browser.one("#notice").text


def test_a_hit_of_a_picture_says_why_nothing_is_told_of_words(
    browser: Browser, texts_page: str, world: World
):
    browser.open(texts_page)
    browser.until(lambda: browser.one("#gallery").text)
    browser.all("#file")[0].send_keys(str(world.pictures / "test_0003.png"))
    browser.one("a.hit").click()
    assert "The gallery holds texts" in browser.one("#matched .matching").text


def test_the_key_is_asked_for_kept_for_the_tab_and_sent_for_pictures_too(
    browser: Browser, locked_page: str
):
    browser.open(asking(locked_page, k=4))
    browser.one("#key").send_keys("wrong", "\n")
    browser.until(lambda: "does not know this key" in browser.one("#key-dialog").text)
    browser.one("#key").send_keys(KEY, "\n")
    assert len(ids_shown(browser)) == 4
    browser.until(lambda: all(browser.run(SOURCES)))
    assert {source.partition(":")[0] for source in browser.run(SOURCES)} == {"blob"}
    open_hit(browser)
    # No boxes are known: the table says it all.
    assert browser.all(".picture") == []
    assert browser.one(".weights .table").is_displayed()
    assert KEY not in "".join(browser.requests())
    assert all("401" in line for line in browser.log())
    browser.driver.refresh()
    browser.one("#matched .word")
    assert browser.all("#key-dialog[open]") == []
    assert browser.log() == []


ANSWERS = """
window.asked = [];
const real = window.fetch;
window.fetch = (path, options) => {
  if (path !== "v1/search") return real(path, options);
  asked.push(options);
  if (asked.length > 1) return real(path, options);
  return %s;
};
"""
BUSY = """Promise.resolve(Response.json(
  { error: { code: "queue_full", message: "64 requests wait", hint: null, request_id: "r" } },
  { status: 429, headers: { "Retry-After": "1" } }))"""
NEVER = """new Promise((resolve, reject) =>
  options.signal.addEventListener("abort", () => reject(options.signal.reason)))"""


def test_a_busy_server_is_asked_again_when_it_says_so(browser: Browser, page: str, world: World):
    with browser.before_pages(ANSWERS % BUSY):
        browser.open(asking(page))
        assert "64 requests wait. Trying again in 1 s." in browser.one("#notice p").text
        assert ids_shown(browser) == world.ids(k=5)
        assert browser.texts("#notice p") == []
        assert browser.run("return asked.length") == 2


def test_the_latest_query_wins(browser: Browser, page: str, world: World):
    with browser.before_pages(ANSWERS % NEVER):
        browser.open(asking(page, query="three green objects"))
        browser.until(lambda: browser.run("return asked.length") == 1)
        assert browser.all("#results[aria-busy=true]")
        browser.one("#query").clear()
        browser.one("#query").send_keys(QUERY, "\n")
        assert ids_shown(browser) == world.ids(k=5)
        assert browser.run("return asked[0].signal.aborted")
        assert not browser.all("#results[aria-busy=true]")


CONTRAST = """
const canvas = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
function over(colours) {
  canvas.clearRect(0, 0, 1, 1);
  for (const colour of colours) { canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1); }
  return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3).map((value) => value / 255);
}
function light(rgb) {
  const [r, g, b] = rgb.map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}
const low = [];
let looked = 0;
for (const one of document.querySelectorAll(arguments[0])) {
  const said = [...one.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
  if (!said || !one.checkVisibility() || one.closest("[aria-disabled=true]")) continue;
  const grounds = [];
  for (let at = one; at; at = at.parentElement) {
    grounds.unshift(getComputedStyle(at).backgroundColor);
  }
  const [a, b] = [light(over(grounds)), light(over([...grounds, getComputedStyle(one).color]))];
  const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  looked += 1;
  if (ratio < 4.5) low.push(`${one.tagName}.${one.className} ${one.textContent}: ${ratio}`);
}
return [looked, low];
"""


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_light_or_dark_as_the_reader_prefers_and_all_texts_stand_out(
    browser: Browser, page: str, dark: bool
):
    browser.emulate(1280, 900, dark=dark)
    browser.open(asking(page, query=f"{QUERY} frisbee"))
    browser.one("a.hit")
    ground = browser.run("return getComputedStyle(document.body).backgroundColor")
    assert (int(ground.split("(")[1].split(",")[0]) < 60) == dark
    looked, low = browser.run(CONTRAST, "body > :not(dialog) *")
    assert (looked > 40, low) == (True, [])
    open_hit(browser)
    browser.one(".weights summary").click()
    looked, low = browser.run(CONTRAST, "#matched *")
    assert (looked > 300, low) == (True, [])


FITS = """
const one = document.querySelector(arguments[0]);
return one.scrollWidth <= one.clientWidth;
"""


@pytest.mark.parametrize("width", [320, 360, 768, 1440])
def test_nothing_is_cut_off_at_any_width(browser: Browser, page: str, width: int):
    browser.emulate(width, 740)
    browser.open(asking(page))
    browser.one("a.hit")
    assert browser.run(FITS, "html")
    open_hit(browser)
    assert browser.run(FITS, "#matched .body")


NAMELESS = """
return [...document.querySelectorAll("a, button, input, select, dialog, img")].filter((one) => {
  if (!one.checkVisibility()) return false;
  if (one.tagName === "IMG") return !one.hasAttribute("alt");
  const named = one.getAttribute("aria-label") || one.textContent.trim() || one.labels?.length;
  return !named && !one.getAttribute("aria-labelledby");
}).map((one) => one.outerHTML);
"""


def test_everything_has_a_name_and_the_page_has_landmarks(browser: Browser, page: str):
    browser.open(asking(page))
    browser.one("a.hit")
    assert browser.run(NAMELESS) == []
    for landmark in ("header", "main", "[role=search]", "html[lang]", "#summary[role=status]"):
        assert len(browser.all(landmark)) >= 1, landmark
    open_hit(browser)
    assert browser.run(NAMELESS) == []


def test_who_prefers_less_motion_sees_none(browser: Browser, page: str):
    reduced = [{"name": "prefers-reduced-motion", "value": "reduce"}]
    browser.command("Emulation.setEmulatedMedia", features=reduced)
    browser.open(asking(page))
    browser.one("a.hit")
    moving = "return getComputedStyle(document.querySelector('.hit')).transitionDuration"
    assert browser.run(moving) in ("0s", "1e-05s")
