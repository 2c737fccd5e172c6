"""The inspector's page: its data, and that nothing in it can become markup or code."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import symgraph as sg
from compiler.inspector.data import inspected
from compiler.inspector.page import as_json, page
from tests.browser import find

HOSTILE = "</script><script>hacked = 1</script><!-- \u2028 @data@ \" ' & <img src=x onerror=hacked=2>"


def network() -> Any:
    x, w = sg.placeholder("x", ("n", 3), "float64"), sg.placeholder("w", (3, 2), "float64")
    with sg.scope("hidden"):
        h = np.tanh(x @ w)
    with sg.scope("loss/mean"):
        loss = np.mean(h**2)
    return sg.compile({"loss": loss, "h": h}, wrt=[w])


def sine(terms: int = 20) -> sg.Variable:
    x = sg.placeholder("x", (), "float64")
    y = term = x
    for k in range(1, terms):
        term = term * (-x * x / (2 * k * (2 * k + 1)))
        y = y + term
    return sg.compile(y)


def test_stations_are_before_and_after_with_and_without_gradient() -> None:
    data = inspected(network())
    assert [s["title"] for s in data["stations"]] == [
        "value, before", "value, after", "value + gradient, before", "value + gradient, after",
    ]  # fmt: skip
    before, after = data["stations"][2:]
    assert not before["kernels"] and after["kernels"]
    assert {data["roles"][k] for k in after["role"]} >= {"input", "forward", "backward"}


def test_columns_are_of_one_length_and_refer_to_what_is_there() -> None:
    data = inspected(network())
    for station in data["stations"]:
        count = len(station["label"])
        for name in ("text", "type", "shape", "dtype", "bytes", "role", "inline", "args", "places", "scope", "kernel"):
            assert len(station[name]) == count, name
        for node, args in enumerate(station["args"]):
            assert all(arg < node for arg in args)
        assert all(k < len(data["types"]) for k in station["type"])
        assert all(k < len(data["places"]) for places in station["places"] for k in places)
        assert all(k < len(station["kernels"]) for kernels in station["kernel"] for k in kernels)
        for groups in station["groups"].values():
            assert len(groups["of"]) == count
            assert all(parent < group for group, parent in enumerate(groups["parent"]))


def test_what_is_computed_has_a_kernel_whose_code_is_shown() -> None:
    f = network()
    f.value_and_grad(x=np.ones((4, 3)), w=np.ones((3, 2)))
    after = inspected(f)["stations"][-1]
    tanh = after["label"].index("Tanh")
    (kernel,) = after["kernel"][tanh]
    assert "tanh" in after["kernels"][kernel]["code"]
    assert after["bytes"][tanh] == 4 * 2 * 8  # n is known from the call
    assert all(isinstance(k["bytes"], int) and isinstance(k["weight"], int) for k in after["kernels"])


def test_measured_times_are_shown() -> None:
    f = network()
    f(x=np.ones((4, 3)), w=np.ones((3, 2)))
    ((_, variant),) = f.variants()
    assert all(k["seconds"] is None for k in inspected(f)["stations"][1]["kernels"])
    variant.measured = [1e-6 * k for k in range(len(variant.program.steps))], {"n": 4}
    assert [k["seconds"] for k in inspected(f)["stations"][1]["kernels"]] == variant.measured[0]


def test_sizes_that_are_not_known_are_formulas() -> None:
    before = inspected(network())["stations"][0]
    assert before["bytes"][before["label"].index("Tanh")] == "16*n"


def test_outputs_are_called_by_what_they_are() -> None:
    data = inspected(network())
    assert [name for names in data["stations"][3]["gives"].values() for name in names] == [
        "result['loss']", "result['h']", "gradient of w",
    ]  # fmt: skip


def test_scopes_are_groups_in_groups() -> None:
    groups = inspected(network())["stations"][0]["groups"]["scope"]
    named = dict(zip(groups["title"], groups["parent"], strict=True))
    assert named["hidden"] == -1
    assert groups["title"][named["loss/mean"]] == "loss"


def test_repeated_blocks_are_one_group() -> None:
    station = inspected(sine())["stations"][0]
    groups = station["groups"]["repetition"]
    outer = [title for title, parent in zip(groups["title"], groups["parent"], strict=True) if parent < 0]
    assert any(title.startswith("×19") for title in outer)
    assert len(outer) + groups["of"].count(-1) < 15 < len(station["label"])


def test_repetitions_inside_repetitions_are_groups_in_groups() -> None:
    h: Any = sg.placeholder("h", (8,), "float64")
    for layer in range(4):
        w = sg.placeholder(f"w{layer}", (8, 8), "float64")
        for _ in range(5):
            h = np.tanh(h @ w)
        h = np.sqrt(h * h + 1)
    groups = inspected(sg.compile(h), compiled=False)["stations"][0]["groups"]["repetition"]
    outer, inner = groups["title"][:2]
    assert outer.startswith("×4: ") and inner.startswith("×5: ")
    assert groups["parent"][:2] == [-1, 0]


def test_a_function_of_integers_has_no_station_with_gradient() -> None:
    k = sg.placeholder("k", ("n",), "int64")
    assert [s["title"] for s in inspected(sg.compile(k + 1))["stations"]] == ["value, before", "value, after"]


def test_nothing_is_compiled_where_that_is_not_wanted() -> None:
    f = network()
    (station,) = inspected(f, compiled=False)["stations"]
    assert station["label"] and not f.dispatch.kernels


def test_two_kernels_are_told_apart_by_their_types() -> None:
    x = sg.placeholder("x")
    f = sg.compile(x + 1)
    f(x=2), f(x=np.ones(3, "float32"))
    titles = [s["title"] for s in inspected(f)["stations"]]
    assert len(set(titles)) == len(titles)
    assert "value of (x: int64()), before" in titles


def test_the_page_is_the_same_in_every_run() -> None:
    assert page(inspected(network())) == page(inspected(network()))


def test_without_a_browser_tests_fail_in_ci_and_are_skipped_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="install Debian's chromium"):
        find("no-such-browser")
    monkeypatch.delenv("CI")
    with pytest.raises(pytest.skip.Exception, match="no no-such-browser was found"):
        find("no-such-browser")


# -- safety ------------------------------------------------------------------------------------------------------------


def block(text: str) -> str:
    """The page's data as a browser would find it: up to the first end of a script."""
    return text.split('<script type="application/json" id="data">')[1].split("</script>")[0]


@pytest.mark.parametrize("sign", ["<", ">", "&", "\u2028", "\u2029", "<!--", "</script>"])
def test_json_holds_nothing_that_html_or_scripts_know(sign: str) -> None:
    text = as_json({"name": f"a{sign}b"})
    assert sign not in text
    assert json.loads(text) == {"name": f"a{sign}b"}


def test_text_that_is_no_unicode_is_written() -> None:
    assert as_json("\ud800").encode("utf-8")


def test_hostile_texts_stay_data() -> None:
    x = sg.placeholder("x", ("n",), "float64")
    with sg.scope(HOSTILE.replace("/", "_")):
        f = sg.compile({HOSTILE: np.exp(x)})
    data = {**inspected(f), "title": HOSTILE}
    text = page(data)
    assert json.loads(block(text)) == json.loads(json.dumps(data))
    assert text.count("<script") == 2 == text.count("</script>")
    assert f"<title>{html.escape(HOSTILE)}</title>" in text


def test_the_policy_allows_the_page_its_own_script_and_style_alone() -> None:
    text = page(inspected(network()))
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', text)
    assert policy is not None
    parts = dict(part.strip().split(" ", 1) for part in policy[1].split(";"))
    assert parts["default-src"] == "'none'"
    script = text.split("<script>")[1].split("</script>")[0]
    style = text.split("<style>")[1].split("</style>")[0]
    for name, code in (("script-src", script), ("style-src", style)):
        digest = base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()
        assert parts[name] == f"'sha256-{digest}'"


def test_the_page_asks_for_nothing() -> None:
    text = page(inspected(network()))
    assert not re.search(r"https?:|//[a-z]|@import|url\(|\bsrc=|\bhref=|fetch\(|XMLHttp|import\(|eval\(", text)


def test_inspect_writes_the_file(tmp_path: Path) -> None:
    path = network().inspect(tmp_path / "graph.html")
    assert path == tmp_path / "graph.html"
    assert path.read_text(encoding="utf-8").startswith("<!doctype html>")


def test_graphs_inside_of_loops_and_branches_are_stations_of_their_own() -> None:
    x = sg.placeholder("x", (), "float64")
    y = sg.fori_loop(0, 3, lambda k, s: sg.cond(s > 1.0, lambda: np.sin(s), lambda: s * x), x)
    stations = inspected(sg.compile(y))["stations"]
    inner = [k for k, station in enumerate(stations) if station.get("inner")]
    assert inner[0] == sum(not station.get("inner") for station in stations)  # after all others
    opened = [(title, k) for station in stations for bodies in station["bodies"].values() for title, k in bodies]
    assert sorted(k for _, k in opened) == inner
    assert all(stations[k]["title"] == title for title, k in opened)
    assert {title for title, _ in opened} == {"each round", "branch 0", "branch 1"}
    assert [stations[inner[0]]["label"][k] for k in stations[inner[0]]["outputs"]] == ["Switch"]
