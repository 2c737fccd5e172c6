"""Pages that are true: their Python blocks run in order and give what they claim.

``# -> text`` behind an expression is its repr; ``# raises text`` is the first line of the error that a statement ends
in, where `` …`` says that it goes on; a block of plain text that directly follows one of Python is what that prints. A
block whose first line is ``# name.py`` is a file of that name, which errors and explanations then speak of.
"""

from __future__ import annotations

import ast
import contextlib
import io
import linecache
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PRINTED = re.compile(r"^```\n\n```text\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(language: str, text: str) -> list[tuple[int, str]]:
    """The fenced blocks of a language, each with the line it starts on."""
    found = re.finditer(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [(text.count("\n", 0, m.start(1)) + 1, m[1]) for m in found]


def statements(code: str) -> Iterator[tuple[ast.stmt, str, str]]:
    """Each statement, and what a comment ``# -> text`` or ``# raises text`` on its last line claims of it."""
    lines = code.splitlines()
    for statement in ast.parse(code).body:
        assert statement.end_lineno is not None
        rest = lines[statement.end_lineno - 1].encode()[statement.end_col_offset :].decode()
        claim = re.fullmatch(r"\s*# (->|raises) (.*)", rest)
        yield statement, *(claim.groups() if claim else ("", ""))


def outcome(statement: ast.stmt, file: str, namespace: dict[str, Any]) -> Any:
    """Run one statement; the value, if it is an expression."""
    if isinstance(statement, ast.Expr):
        return eval(compile(ast.Expression(statement.value), file, "eval"), namespace)
    exec(compile(ast.Module([statement], []), file, "exec"), namespace)
    return None


def run(code: str, place: str, start: int, namespace: dict[str, Any]) -> list[str]:
    """Run a block of a page; the claims that do not hold."""
    named = re.match(r"# ([a-z]+\.py)\n", code)
    file = named[1] if named else place
    shift = 0 if named else start - 1
    linecache.cache[file] = (0, None, ["\n"] * shift + code.splitlines(keepends=True), file)
    wrong = []
    for statement, kind, claim in statements(code):
        at = f"{place}:{start + statement.lineno - 1}"
        ast.increment_lineno(statement, shift)
        if kind == "raises":
            try:
                outcome(statement, file, namespace)
            except Exception as error:
                first = f"{type(error).__name__}: {error}".splitlines()[0]
            else:
                first = "no error"
            if first != claim and not (claim.endswith(" …") and first.startswith(claim[:-1])):
                wrong.append(f"{at}: {ast.unparse(statement)} raises {first}, not {claim}")
            continue
        value = outcome(statement, file, namespace)
        assert not kind or isinstance(statement, ast.Expr), f"{at}: only an expression can claim a value"
        if kind and repr(value) != claim:
            wrong.append(f"{at}: {ast.unparse(statement)} -> {value!r}, not {claim}")
    return wrong


def run_page(page: str) -> list[str]:
    """Run the blocks of a page in one namespace; the claims that do not hold."""
    text = (ROOT / page).read_text(encoding="utf-8")
    namespace: dict[str, Any] = {"__name__": "__main__"}
    wrong = []
    for start, code in blocks("python", text):
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            wrong += run(code, page, start, namespace)
        after = "".join(text.splitlines(keepends=True)[start - 1 + code.count("\n") :])
        if (printed := PRINTED.match(after)) and said.getvalue().rstrip() != printed[1].rstrip():
            wrong.append(f"{page}:{start}: prints\n{said.getvalue()}not\n{printed[1]}")
    return wrong
