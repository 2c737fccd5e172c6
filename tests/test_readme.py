"""The README is true: its code gives what it claims, its commands are CI's, its links lead somewhere."""

from __future__ import annotations

import importlib
import pkgutil
import re
import shlex
from pathlib import Path
from types import ModuleType

import pytest

import symgraph as sg
from symgraph.op import Op
from tests.pages import ROOT, blocks, run, run_page

README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("page", ["README.md", "docs/pictures.md", "docs/inspector.md", "docs/tutorial.md"])
def test_blocks_run_in_order_and_give_what_they_claim(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # where they write files
    wrong = run_page(page)
    assert not wrong, "\n".join(wrong)


def test_figures_of_the_tutorial_are_those_that_it_draws() -> None:
    text = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")
    shown = re.findall(r"\]\(pictures/([\w-]+\.svg)\)", text)
    drawn = re.findall(r'"([\w-]+\.svg)"', "".join(code for _, code in blocks("python", text)))
    assert shown == drawn != []


def test_the_check_sees_a_wrong_claim() -> None:
    assert run("x = 1\nx + 1  # -> 2\nx + 1  # -> 3", "A.md", 10, {}) == ["A.md:12: x + 1 -> 2, not 3"]
    with pytest.raises(ZeroDivisionError):
        run("1 / 0", "A.md", 1, {})


def test_the_check_sees_another_error_or_none() -> None:
    assert run("1 / 0  # raises ZeroDivisionError: division by zero", "A.md", 1, {}) == []
    assert run("1 / 1  # raises OSError: x", "A.md", 3, {}) == ["A.md:3: 1 / 1 raises no error, not OSError: x"]


def test_the_check_sees_what_is_printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.pages.ROOT", tmp_path)
    page = "```python\nprint(1)\n```\n\n```text\n1\n```\n\n```python\nprint(2)\n```\n\n```text\n3\n```\n"
    (tmp_path / "A.md").write_text(page, encoding="utf-8")
    assert run_page("A.md") == ["A.md:10: prints\n2\nnot\n3\n"]


def commands(line: str) -> list[str]:
    """The parts of a line joined by ``&&``, in one spelling."""
    return [shlex.join(part for part in shlex.split(command) if part != "--quiet") for command in line.split("&&")]


def test_the_two_commands_are_those_of_ci() -> None:
    demo, tests = (commands(code) for _, code in blocks("bash", README))
    ci = [
        commands(line.strip().removeprefix("check "))[0]
        for line in (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
        if ".venv" in line
    ]
    for command in tests:
        assert command in ci
    assert demo[-1].endswith("-m symgraph demo")
    assert any(line.startswith(demo[-1]) for line in ci)


PAGES = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", *(f"docs/{p.name}" for p in sorted(ROOT.glob("docs/*.md")))]


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_to_files(page: str) -> None:
    path = ROOT / page
    targets = re.findall(r"\]\((?!https?://)([^)#]+)", path.read_text(encoding="utf-8"))
    missing = [target for target in targets if not (path.parent / target).exists()]
    assert not missing


def test_extras_that_the_texts_name_exist() -> None:
    extras = re.findall(r"^(\w+) = \[", (ROOT / "pyproject.toml").read_text().split("optional-dependencies")[1], re.M)
    for page in ("README.md", "CONTRIBUTING.md"):
        for group in re.findall(r"\.?\[([a-z,]+)\]\"", (ROOT / page).read_text(encoding="utf-8")):
            assert set(group.split(",")) <= set(extras)


def test_every_public_name_is_documented() -> None:
    names = set(
        re.findall(r"^ *(?:\.\. auto\w+:: )?(?:compiler\.)?(\w+)$", (ROOT / "docs" / "api.md").read_text("utf-8"), re.M)
    )
    public = {
        name
        for name in dir(sg)
        if not name.startswith("_")
        and (getattr(getattr(sg, name), "__module__", "").startswith(("symgraph", "compiler")))
    }
    rows = {name for name in public if isinstance(getattr(sg, name), Op)}  # the table of operations is made of them
    assert public - rows - names == set()


def test_a_public_name_is_no_module_by_accident() -> None:
    """A module of the package replaces the function of its name."""
    for module in pkgutil.walk_packages(sg.__path__, "symgraph."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    text = (ROOT / "symgraph" / "__init__.py").read_text(encoding="utf-8")
    names = set(re.findall(r"\bas (\w+)", text)) - {"_rows"}
    assert {n for n in names if isinstance(getattr(sg, n), ModuleType)} == {"nn", "optim", "random", "tree"}
    assert names <= set(dir(sg))
    assert not {"Any", "ModuleType", "annotations", "functions", "importlib"} & set(dir(sg))


def test_every_page_is_in_the_table_of_contents() -> None:
    listed = re.findall(r"^(\w+)$", (ROOT / "docs" / "index.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(listed) == sorted(p.stem for p in ROOT.glob("docs/*.md") if p.stem != "index")
