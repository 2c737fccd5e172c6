"""The README is true: its code gives what it claims, its commands are CI's, its links lead somewhere."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str, text: str = README) -> list[tuple[int, str]]:
    """The fenced blocks of a language, each with the line it starts on."""
    found = re.finditer(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [(text.count("\n", 0, m.start(1)) + 1, m[1]) for m in found]


def statements(code: str) -> Iterator[tuple[ast.stmt, str | None]]:
    """Each statement, and what a comment ``# -> text`` on its last line claims for its value."""
    lines = code.splitlines()
    for statement in ast.parse(code).body:
        assert statement.end_lineno is not None
        rest = lines[statement.end_lineno - 1][statement.end_col_offset :]
        claim = re.fullmatch(r"\s*# -> (.*)", rest)
        yield statement, claim[1] if claim else None


def run(code: str, start: int, namespace: dict[str, Any]) -> list[str]:
    """Run a block; the claims that do not hold."""
    wrong = []
    for statement, claim in statements(code):
        line = start + statement.lineno - 1
        if not isinstance(statement, ast.Expr):
            assert claim is None, f"README.md:{line}: only an expression can claim a value"
            exec(compile(ast.Module([statement], []), f"README.md:{line}", "exec"), namespace)
            continue
        value = eval(compile(ast.Expression(statement.value), f"README.md:{line}", "eval"), namespace)
        if claim is not None and repr(value) != claim:
            wrong.append(f"README.md:{line}: {ast.unparse(statement)} -> {value!r}, not {claim}")
    return wrong


def test_blocks_run_in_order_and_give_what_they_claim() -> None:
    namespace: dict[str, Any] = {}
    wrong = [fault for start, code in blocks("python") for fault in run(code, start, namespace)]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("page", ["docs/pictures.md", "docs/inspector.md"])
def test_other_pages_give_what_they_claim(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # where they write files
    namespace: dict[str, Any] = {}
    text = (ROOT / page).read_text(encoding="utf-8")
    wrong = [fault for start, code in blocks("python", text) for fault in run(code, start, namespace)]
    assert not wrong, "\n".join(wrong)


def test_the_check_sees_a_wrong_claim() -> None:
    assert run("x = 1\nx + 1  # -> 2\nx + 1  # -> 3", 10, {}) == ["README.md:12: x + 1 -> 2, not 3"]
    with pytest.raises(ZeroDivisionError):
        run("1 / 0", 1, {})


def commands(line: str) -> list[str]:
    """The parts of a line joined by ``&&``, in one spelling."""
    return [shlex.join(part for part in shlex.split(command) if part != "--quiet") for command in line.split("&&")]


def test_the_two_commands_are_those_of_ci() -> None:
    demo, tests = (commands(code) for _, code in blocks("bash"))
    ci = [
        commands(line.strip().removeprefix("check "))[0]
        for line in (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
        if ".venv" in line
    ]
    for command in tests:
        assert command in ci
    assert demo[-1].endswith("-m symgraph demo")
    assert any(line.startswith(demo[-1]) for line in ci)


@pytest.mark.parametrize(
    "page",
    ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs/architecture.md", "docs/errors.md", "docs/pictures.md"],
)
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
