"""How quickly the inspector's page loads and moves: ``python -m benchmarks.inspector``.

Besides the time on the clock, which other work on the machine makes longer, the time of the page's own thread counts.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from compiler.inspector.page import page
from tests.browser import open_browser, show

# Zooms in and out with every frame; how many frames there were in how many milliseconds.
MOVE = """
const [frames, done] = arguments;
const canvas = document.getElementById("canvas");
document.getElementById("fit").click();
let count = 0;
const start = performance.now();
(function frame() {
  const deltaY = count % 60 < 30 ? -8 : 8;
  canvas.dispatchEvent(new WheelEvent("wheel", { deltaY, clientX: 400, clientY: 400, cancelable: true }));
  if (++count < frames) requestAnimationFrame(frame);
  else done(performance.now() - start);
})();
"""
FRAMES = 180
LOADED = "const t = performance.getEntriesByType('navigation')[0]; return t.loadEventEnd - t.startTime"


def large(count: int) -> dict[str, Any]:
    """Data of a page with a graph of this many nodes, each of which has two arguments."""
    rng = np.random.default_rng(0)
    args: list[list[int]] = [[], []]
    for node in range(2, count):
        first, second = rng.choice(min(node, 60), 2, replace=False)
        args.append([int(node - 1 - first), int(node - 1 - second)])
    names = [f"n{k}" for k in range(count)]
    station = {
        "title": "large", "note": "", "kernels": [], "label": names, "text": names, "type": [0] * count,
        "shape": [""] * count, "dtype": [""] * count, "bytes": [None] * count, "inline": [0] * count, "args": args,
        "role": [0, 0, *[2] * (count - 2)], "places": [[]] * count, "scope": [[]] * count, "kernel": [[]] * count,
        "outputs": [count - 1], "gives": {}, "bodies": {}, "groups": {},
    }  # fmt: skip
    return {
        "title": "large", "formula": "", "about": [], "roles": ["input", "constant", "forward", "backward"],
        "types": [""], "places": [], "stations": [station],
    }  # fmt: skip


def measure(browser: Any, path: Path) -> dict[str, float]:
    """Milliseconds to load a page, frames per second while it moves, and milliseconds of its thread for each."""
    browser.execute_cdp_cmd("Performance.enable", {"timeDomain": "threadTicks"})
    show(browser, path)
    loaded = browser.execute_script(LOADED)
    time.sleep(1)  # what is drawn after the page has loaded
    spent = _spent(browser)
    took = browser.execute_async_script(MOVE, FRAMES)
    return {
        "load": loaded,
        "load thread": spent,
        "frames": FRAMES / took * 1e3,
        "frame thread": (_spent(browser) - spent) / FRAMES,
    }


def _spent(browser: Any) -> float:
    """Milliseconds that the page's thread has worked."""
    metrics = browser.execute_cdp_cmd("Performance.getMetrics", {})["metrics"]
    return next(m["value"] for m in metrics if m["name"] == "TaskDuration") * 1e3


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.inspector", description=__doc__)
    parser.add_argument("--nodes", type=int, nargs="+", default=[100, 1000, 10_000], help="sizes of the graphs")
    args = parser.parse_args()
    print(f"{'nodes':>8} {'MB':>6} {'load, ms':>9} {'of thread':>9} {'frames/s':>9} {'ms of thread each':>18}")
    with tempfile.TemporaryDirectory() as folder, open_browser() as browser:
        browser.set_script_timeout(120)
        for nodes in args.nodes:
            path = Path(folder) / f"{nodes}.html"
            path.write_text(page(large(nodes)), encoding="utf-8")
            found = measure(browser, path)
            print(
                f"{nodes:8,} {path.stat().st_size / 1e6:6.2f} {found['load']:9.0f} {found['load thread']:9.0f} "
                f"{found['frames']:9.1f} {found['frame thread']:18.2f}"
            )


if __name__ == "__main__":
    main()
