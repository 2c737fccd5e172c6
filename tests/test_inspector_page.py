"""The inspector's page in a real browser: clicks, keys, searching, folding, and that it asks for nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import symgraph as sg
from benchmarks.inspector import large
from compiler.inspector.data import inspected
from compiler.inspector.page import page
from tests.browser import complaints, open_browser, requests, show
from tests.test_inspector import HOSTILE, network, sine


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with open_browser() as opened:
        yield opened


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    return {name: make().inspect(folder / f"{name}.html") for name, make in (("net", network), ("sine", sine))}


class Page:
    """What a user does with the page, and sees of it."""

    def __init__(self, browser: Any, path: Path, **screen: Any) -> None:
        self.browser = browser
        show(browser, path, **screen)

    def run(self, script: str, *args: Any) -> Any:
        return self.browser.execute_script(script, *args)

    def element(self, name: str) -> Any:
        return self.browser.find_element("id", name)

    def choose(self, name: str, text: str) -> None:
        from selenium.webdriver.support.ui import Select

        Select(self.element(name)).select_by_visible_text(text)

    def press(self, *keys: str) -> None:
        from selenium.webdriver import ActionChains

        ActionChains(self.browser).send_keys(*keys).perform()

    def click(self, title: str, times: int = 1) -> None:
        """Click on the box with this title."""
        self.settle()
        x, y = self.run("return inspector.place(arguments[0])", title)
        for count in range(1, times + 1):
            for kind in ("mousePressed", "mouseReleased"):
                event = {"type": kind, "x": x, "y": y, "button": "left", "clickCount": count}
                self.browser.execute_cdp_cmd("Input.dispatchMouseEvent", event)

    def settle(self) -> None:
        """Wait until the camera stands still."""
        self.browser.execute_async_script(
            "const done = arguments[0]; let last = '';"
            "(function look() { const now = JSON.stringify(inspector.camera);"
            " if (now === last) done(); else { last = now; setTimeout(look, 60); } })();"
        )

    @property
    def details(self) -> str:
        return self.element("details").text

    @property
    def titles(self) -> list[str]:
        return self.run("return inspector.titles()")

    @property
    def state(self) -> dict[str, Any]:
        return self.run("return inspector.state")

    @property
    def station(self) -> str:
        return self.run("const s = document.getElementById('station'); return s.options[s.selectedIndex].text")

    def quiet(self) -> bool:
        return complaints(self.browser) == [] == requests(self.browser)


@pytest.fixture
def net(browser: Any, files: dict[str, Path]) -> Iterator[Page]:
    opened = Page(browser, files["net"])
    yield opened
    assert opened.quiet()


@pytest.fixture
def series(browser: Any, files: dict[str, Path]) -> Iterator[Page]:
    opened = Page(browser, files["sine"])
    yield opened
    assert opened.quiet()


def test_a_click_shows_formula_type_line_and_neighbours(net: Page) -> None:
    net.click("tanh(∙)")
    for text in ("tanh(x @ w)", "(n, 2)", "float64", "16*n", "hidden", "test_inspector.py", "h = np.tanh(x @ w)"):
        assert text in net.details
    assert "x @ w" in net.details.split("Arguments")[1]
    assert "∙ ** 2" in net.details.split("Used by")[1]


def test_a_link_in_the_details_leads_to_the_node(net: Page) -> None:
    net.click("tanh(∙)")
    net.browser.find_element("xpath", "//ul//button[contains(., 'x @ w')]").click()
    assert net.details.startswith("Matmul")


def test_a_click_beside_all_boxes_selects_nothing(net: Page) -> None:
    net.click("tanh(∙)")
    x, y = net.run("const [x, y] = inspector.place('tanh(∙)'); return [x, y + 30]")
    for kind in ("mousePressed", "mouseReleased"):
        event = {"type": kind, "x": x, "y": y, "button": "left", "clickCount": 1}
        net.browser.execute_cdp_cmd("Input.dispatchMouseEvent", event)
    assert net.state["node"] == -1


def test_escape_selects_nothing(net: Page) -> None:
    net.click("tanh(∙)")
    assert net.state["node"] >= 0
    net.press("\ue00c")
    assert net.state["node"] == -1


def test_the_mouse_pans_and_the_wheel_zooms(net: Page) -> None:
    from selenium.webdriver import ActionChains

    canvas, before = net.element("canvas"), net.run("return inspector.camera")
    ActionChains(net.browser).move_to_element_with_offset(canvas, 300, 200).click_and_hold().move_by_offset(
        -80, -60
    ).release().perform()
    moved = net.run("return inspector.camera")
    assert moved["x"] == pytest.approx(before["x"] + 80 / before["zoom"])
    assert moved["y"] == pytest.approx(before["y"] + 60 / before["zoom"])
    event = {"type": "mouseWheel", "x": 400, "y": 300, "deltaX": 0, "deltaY": -240}
    net.browser.execute_cdp_cmd("Input.dispatchMouseEvent", event)
    net.settle()
    assert net.run("return inspector.camera")["zoom"] > 1.2 * moved["zoom"]


def test_searching_jumps_and_enter_goes_on(net: Page) -> None:
    net.choose("station", "value + gradient, before")
    net.press("/")
    net.press("tanh")
    rows = net.browser.find_elements("css selector", "#results li[role=option]")
    assert rows[0].text.startswith("tanh(∙)")
    assert net.run("return inspector.matches") == len(rows) > 1  # its line wrote others as well
    net.press("\ue007")  # Enter
    first = net.state["node"]
    net.press("\ue007")
    assert net.state["node"] not in (-1, first)


def test_searching_for_nothing_there(net: Page) -> None:
    net.press("/", "nosuchnode", "\ue007")
    assert net.element("results").text == "no nodes"
    net.press("\ue00c")
    assert not net.element("results").is_displayed()


def test_the_arrow_keys_walk_along_edges(net: Page) -> None:
    net.click("tanh(∙)")
    net.press("\ue013")  # up
    assert net.details.startswith("Matmul")
    net.press("\ue015")  # down
    assert net.details.startswith("Tanh")


def test_the_keys_go_through_the_stations(net: Page) -> None:
    assert net.station == "value, before"
    net.press("s")
    assert net.station == "value, after"
    net.press("S", "S")
    assert net.station == "value + gradient, after"


def test_the_neighbourhood_of_a_node(net: Page) -> None:
    net.click("tanh(∙)")
    net.choose("steps", "1 step")
    assert set(net.titles) == {"x @ w", "tanh(∙)", "∙ ** 2"}
    net.press("]")
    assert {"x", "w"} < set(net.titles)
    net.choose("steps", "everything")
    assert len(net.titles) == net.run("return inspector.counts.items") > 5


def test_kernels_show_their_code_and_their_nodes(net: Page) -> None:
    net.choose("station", "value + gradient, after")
    net.element("tab-kernels").click()
    net.browser.find_element("css selector", "tr.pick").click()
    assert "Code of kernel 1" in net.details
    assert "matmul(" in net.browser.find_element("css selector", "#details pre").text
    assert net.state["kernel"] == 0


def test_colours_by_kernel_and_dtype_have_a_legend(net: Page) -> None:
    net.choose("station", "value, after")
    net.choose("colour", "kernel")
    assert "kernel 1" in net.element("legend").text
    net.choose("colour", "dtype")
    assert "float64" in net.element("legend").text
    net.choose("station", "value, before")
    assert net.state["colour"] == "dtype"


def test_scopes_fold_and_unfold(net: Page) -> None:
    net.choose("fold", "scopes")
    folded = net.titles
    assert {"hidden", "loss"} <= set(folded)
    net.element("expand").click()
    assert "tanh(∙)" in net.titles
    net.element("collapse").click()
    assert sorted(net.titles) == sorted(folded)
    net.choose("fold", "nothing")
    assert "hidden" not in net.titles


def test_repeated_blocks_open_step_by_step(series: Page) -> None:
    everything = series.run("return inspector.counts.items")
    series.choose("fold", "repetitions")
    (block,) = [title for title in series.titles if title.startswith("×19")]
    assert len(series.titles) < 8
    series.click(block, times=2)
    assert {"Mul ×19", "Add ×19"} <= set(series.titles) and block not in series.titles
    series.press("/", "∙ + ∙", "\ue007")  # what is folded opens when it is searched for
    assert series.details.startswith("Add")
    assert len(series.titles) > 20
    series.element("expand").click()
    assert len(series.titles) == everything
    series.press("c")
    assert len(series.titles) < 8


def test_a_double_click_unfolds(net: Page) -> None:
    net.choose("fold", "scopes")
    assert "tanh(∙)" not in net.titles
    net.click("hidden", times=2)
    assert "tanh(∙)" in net.titles


def test_help_lists_the_keys(net: Page) -> None:
    net.press("?")
    assert "search" in net.element("keys").text
    net.press("\ue00c")
    assert not net.element("keys").is_displayed()


def brightness(page: Page) -> float:
    """Of the picture's background, from 0 to 255."""
    return page.run("return document.getElementById('canvas').getContext('2d').getImageData(5, 60, 1, 1).data[0]")


def test_light_and_dark(browser: Any, files: dict[str, Path]) -> None:
    light = Page(browser, files["net"])
    light.settle()
    assert brightness(light) > 200
    light.element("theme").click()
    light.settle()
    assert brightness(light) < 60
    dark = Page(browser, files["net"], dark=True)
    dark.settle()
    assert brightness(dark) < 60 and dark.quiet()


def test_a_phone_shows_all_of_it(browser: Any, files: dict[str, Path]) -> None:
    phone = Page(browser, files["net"], width=390, height=780)
    assert phone.run("return document.documentElement.scrollWidth") <= 390
    for name in ("search", "station", "fold", "colour", "steps", "canvas", "details"):
        box = phone.element(name).rect
        assert box["width"] > 40 and box["x"] >= 0 and box["x"] + box["width"] <= 390, name
    phone.press("/", "tanh", "\ue007")
    phone.settle()
    x, y = phone.run("return inspector.place('tanh(∙)')")
    canvas = phone.element("canvas").rect
    assert canvas["x"] < x < canvas["x"] + canvas["width"] and canvas["y"] < y < canvas["y"] + canvas["height"]
    assert phone.quiet()


def test_hostile_texts_are_shown_as_texts(browser: Any, tmp_path: Path) -> None:
    x = sg.placeholder("x", ("n",), "float64")
    scope = HOSTILE.replace("/", "_")
    with sg.scope(scope):
        f = sg.compile({HOSTILE: np.exp(x) * 2})
    data = {**inspected(f), "title": HOSTILE, "formula": HOSTILE}
    for station in data["stations"]:
        station["text"] = [HOSTILE for _ in station["text"]]
        station["title"] += HOSTILE
    path = tmp_path / "hostile.html"
    path.write_text(page(data), encoding="utf-8")
    opened = Page(browser, path)
    opened.press("/", "script", "\ue007")
    for tab in ("tab-kernels", "tab-about", "tab-node"):
        opened.element(tab).click()
    opened.choose("fold", "scopes")
    assert opened.run("return [typeof window.hacked, document.querySelectorAll('img').length]") == ["undefined", 0]
    assert opened.browser.title.split() == HOSTILE.split()
    assert opened.quiet()


def test_the_policy_forbids_requests_and_foreign_scripts(browser: Any, files: dict[str, Path]) -> None:
    opened = Page(browser, files["net"])
    refused = "const done = arguments[0]; fetch('http://localhost:9/').then(() => done('sent'), () => done('refused'))"
    assert browser.execute_async_script(refused) == "refused"
    opened.run(
        "const made = document.createElement('script'); made.textContent = 'window.hacked = 1'; "
        "document.body.append(made); document.body.append(Object.assign(new Image(), {src: 'http://localhost:9/x.png'}))"
    )
    assert opened.run("return typeof window.hacked") == "undefined"
    assert sum("Content Security Policy" in text for text in complaints(browser)) >= 3


def test_two_fingers_zoom(browser: Any, files: dict[str, Path]) -> None:
    phone = Page(browser, files["net"], width=390, height=780)
    canvas, before = phone.element("canvas").rect, phone.run("return inspector.camera")
    x, y = canvas["x"] + canvas["width"] / 2, canvas["y"] + canvas["height"] / 2
    browser.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": True, "maxTouchPoints": 2})
    for kind, apart in (("touchStart", 40), ("touchMove", 60), ("touchMove", 80)):
        points = [{"x": x - apart, "y": y, "id": 0}, {"x": x + apart, "y": y, "id": 1}]
        browser.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    browser.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    browser.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": False})
    assert phone.run("return inspector.camera")["zoom"] == pytest.approx(2 * before["zoom"], rel=0.1)


def test_a_graph_inside_a_node_opens_and_leads_back(browser: Any, tmp_path: Path) -> None:
    x = sg.placeholder("x", (), "float64")
    path = sg.compile(sg.fori_loop(0, 9, lambda k, s: np.sin(s) * x, x)).inspect(tmp_path / "nested.html")
    opened = Page(browser, path)
    assert len(browser.find_elements("css selector", "#station option")) == 4
    titles = opened.titles
    opened.click(next(title for title in titles if title.startswith("fori_loop")), times=2)
    assert "sin(s0)" in opened.titles
    opened.element("crumbs").click()
    assert opened.titles == titles and not opened.element("crumbs").is_displayed()
    assert opened.quiet()


def test_ten_thousand_nodes_are_shown(browser: Any, tmp_path: Path) -> None:
    path = tmp_path / "large.html"
    path.write_text(page(large(10_000)), encoding="utf-8")
    opened = Page(browser, path)
    assert opened.run("return inspector.counts") == {"nodes": 10_000, "items": 10_000, "edges": 19_996}
    opened.press("/", "n9999", "\ue007")
    opened.settle()
    assert opened.state["node"] == 9999
    opened.press("0", "-", "-", "+")
    assert opened.quiet()


def test_a_large_graph_is_sharp_again_after_it_moved(browser: Any, tmp_path: Path) -> None:
    path = tmp_path / "large.html"
    path.write_text(page(large(2_000)), encoding="utf-8")
    opened = Page(browser, path)
    seen = opened.browser.execute_async_script(
        "const done = arguments[0], seen = [], canvas = document.getElementById('canvas'); let before;"
        "(function look() {"
        " if (inspector.sharp !== before && (seen.length || inspector.sharp)) seen.push(before = inspector.sharp);"
        " if (seen.length === 1) canvas.dispatchEvent(new WheelEvent('wheel', {deltaY: 5, cancelable: true}));"
        " if (seen.length === 3) done(seen); else setTimeout(look, 20);"
        "})();"
    )
    assert seen == [True, False, True]
    assert opened.quiet()
