"""A real browser for the pages that symgraph writes, and what a page may not do in it."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip


def find(*names: str) -> str:
    """The first of these programs that there is. Without one, tests fail in CI, and are skipped elsewhere."""
    for name in names:
        path = shutil.which(name)
        if path is not None:
            return path
    reason = f"no {names[0]} was found; install Debian's chromium and chromium-driver"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


@contextmanager
def open_browser(width: int = 1280, height: int = 800) -> Iterator[Any]:
    """A headless Chromium that keeps a record of its console and of its requests."""
    browser, driver = find("chromium", "chromium-browser", "google-chrome"), find("chromedriver")
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = browser
    for flag in (*FLAGS, f"--window-size={width},{height}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    opened = webdriver.Chrome(options=options, service=Service(driver))
    try:
        yield opened
    finally:
        opened.quit()


def show(browser: Any, path: Path, *, dark: bool = False, width: int = 1280, height: int = 800) -> None:
    """Open a file, on a screen of this size, in light or dark."""
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
    browser.get_log("browser"), browser.get_log("performance")  # forget what pages before have done
    browser.get(path.as_uri())


def complaints(browser: Any) -> list[str]:
    """What the page has written to the console: errors, and what its policy has forbidden."""
    return [entry["message"] for entry in browser.get_log("browser")]


def requests(browser: Any) -> list[str]:
    """The addresses that the page has asked for, beside its own."""
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    sent = [e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"]
    return [url for url in sent if not url.startswith("file:") and url != "about:srcdoc"]
