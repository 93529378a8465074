"""Debian's Chromium without a window, and what it logged and asked for."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

if TYPE_CHECKING:
    from selenium.webdriver import Chrome
    from selenium.webdriver.remote.webelement import WebElement

T = TypeVar("T")

PATIENCE = 30
"""Seconds until something that does not come is a failure."""


class Browser:
    """A page in a browser. ``log`` and ``requests`` tell what came since they were last asked."""

    def __init__(self, driver: Chrome) -> None:
        self.driver = driver

    def open(self, address: str) -> None:
        """Load a page anew, without what the last one kept."""
        self.driver.get("about:blank")
        self.driver.get(address)

    def run(self, script: str, *values: object) -> Any:
        """What a script returns."""
        return self.driver.execute_script(script, *values)

    @contextmanager
    def before_pages(self, script: str) -> Iterator[None]:
        """Run a script in every page to come, before its own."""
        added = self.command("Page.addScriptToEvaluateOnNewDocument", source=script)
        try:
            yield
        finally:
            self.command("Page.removeScriptToEvaluateOnNewDocument", **added)

    def command(self, name: str, **values: object) -> Any:
        """A command of Chrome's DevTools."""
        return self.driver.execute_cdp_cmd(name, values)

    def all(self, selector: str) -> list[WebElement]:
        """The elements of a CSS selector."""
        return self.driver.find_elements("css selector", selector)

    def one(self, selector: str) -> WebElement:
        """The first element of a selector that is shown, waited for."""
        return self.until(lambda: next((e for e in self.all(selector) if e.is_displayed()), None))

    def texts(self, selector: str) -> list[str]:
        """The texts of elements, as they are in the page."""
        script = "return [...document.querySelectorAll(arguments[0])].map((e) => e.textContent)"
        return self.run(script, selector)

    def keys(self, *keys: str) -> None:
        """Press keys, wherever the focus is."""
        from selenium.webdriver import ActionChains

        ActionChains(self.driver).send_keys(*keys).perform()

    def until(self, found: Callable[[], T | None]) -> T:
        """What is found, once it is."""
        from selenium.common.exceptions import StaleElementReferenceException
        from selenium.webdriver.support.ui import WebDriverWait

        ignored = (StaleElementReferenceException,)
        waiting = WebDriverWait(self.driver, PATIENCE, 0.05, ignored_exceptions=ignored)
        return waiting.until(lambda driver: found())

    def log(self) -> list[str]:
        """What pages wrote to the console, refusals of their security policy among it."""
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def requests(self) -> list[str]:
        """The addresses that pages asked for."""
        entries = (json.loads(e["message"])["message"] for e in self.driver.get_log("performance"))
        return [
            entry["params"]["request"]["url"]
            for entry in entries
            if entry["method"] == "Network.requestWillBeSent"
        ]

    def emulate(self, width: int, height: int, *, dark: bool = False, scale: float = 1) -> None:
        """A screen's size in CSS pixels, its pixels to one of those, and the colours asked for."""
        screen = {"width": width, "height": height, "deviceScaleFactor": scale, "mobile": False}
        self.command("Emulation.setDeviceMetricsOverride", **screen)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.command("Emulation.setEmulatedMedia", features=[scheme])


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser; the test is skipped where it is not installed."""
    selenium = pytest.importorskip("selenium.webdriver", reason="selenium drives the browser")
    browser, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if browser is None or driver is None:
        pytest.skip("no chromium and chromedriver; apt install chromium chromium-driver")
    options = selenium.ChromeOptions()
    options.binary_location = browser
    for word in ("headless=new", "no-sandbox", "disable-dev-shm-usage", "hide-scrollbars"):
        options.add_argument(f"--{word}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    made = selenium.Chrome(options, selenium.ChromeService(driver))
    try:
        made.set_page_load_timeout(PATIENCE)
        yield Browser(made)
    finally:
        made.quit()
