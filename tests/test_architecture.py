"""The house rules that code can break without failing otherwise: who imports whom, and that rows are complete."""

from __future__ import annotations

import ast
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hatchling.builders.wheel import WheelBuilder

import symgraph as sg
from compiler.inspector.page import SCRIPTS
from symgraph.op import NONE, REGISTRY, Op

ROOT = Path(__file__).resolve().parent.parent
LAZY_DOORS = {"__init__.py", "__main__.py", "demo.py", "trace.py"}
"""Files of symgraph that may import the compiler, inside functions."""


def sources(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def imports(tree: ast.Module, package: str) -> Iterator[tuple[str, bool, int]]:
    """(module, whether it is imported when the file is, line) of every import; ``if TYPE_CHECKING`` does not run."""
    stack: list[tuple[ast.AST, bool]] = [(tree, True)]
    while stack:
        node, runs = stack.pop()
        if isinstance(node, ast.Import):
            yield from ((alias.name, runs, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield (node.module or "") if not node.level else f"{package}.{node.module or ''}", runs, node.lineno
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            runs = False
        if isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
            stack.extend((child, False) for child in node.body)
            stack.extend((child, runs) for child in node.orelse)
            continue
        stack.extend((child, runs) for child in ast.iter_child_nodes(node))


def imports_of(path: Path) -> list[tuple[str, bool, int]]:
    package = path.relative_to(ROOT).parts[0]
    return [(m.split(".")[0], runs, line) for m, runs, line in imports(ast.parse(path.read_text("utf-8")), package)]


def test_imports_are_told_apart() -> None:
    code = "import a\nfrom . import b\nif TYPE_CHECKING: import c\ndef f(): from d.e import g\nclass C: import h"
    found = {(module, runs) for module, runs, _ in imports(ast.parse(code), "p")}
    assert found == {("a", True), ("p.", True), ("c", False), ("d.e", False), ("h", True)}


def test_symgraph_reaches_the_compiler_by_lazy_doors_only() -> None:
    wrong = [
        f"{path.relative_to(ROOT)}:{line}"
        for path in sources("symgraph")
        for module, runs, line in imports_of(path)
        if module == "compiler" and (runs or path.parent.name != "symgraph" or path.name not in LAZY_DOORS)
    ]
    assert not wrong


def test_symgraph_stands_on_numpy_alone() -> None:
    allowed = {"symgraph", "numpy", *sys.stdlib_module_names}
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports {module}"
        for path in sources("symgraph")
        for module, runs, line in imports_of(path)
        if runs and module not in allowed
    ]
    assert not wrong


def test_the_compiler_stands_on_the_three_dependencies() -> None:
    # llvmlite is Numba's own foundation, and comes with it.
    allowed = {"compiler", "symgraph", "numpy", "networkx", "numba", "llvmlite", *sys.stdlib_module_names}
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports {module}"
        for path in sources("compiler")
        for module, _, line in imports_of(path)
        if module not in allowed
    ]
    assert not wrong


def test_nothing_shipped_imports_tests_or_benchmarks() -> None:
    shipped = [*sources("symgraph"), *sources("compiler")]
    assert shipped
    assert not [path for path in shipped for module, _, _ in imports_of(path) if module in ("tests", "benchmarks")]


@pytest.mark.parametrize("absent", ["numba", "networkx", "compiler", "llvmlite", "scipy"])
def test_importing_symgraph_leaves_out(absent: str) -> None:
    code = f"import sys, symgraph; sys.exit({absent!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_kernels_need_neither_numba_nor_networkx() -> None:
    code = (
        "import sys, symgraph as sg\n"
        "x = sg.placeholder('x'); assert sg.compile(x * x).grad(x=3.0) == {'x': 6.0}\n"
        "sys.exit('numba' in sys.modules or 'networkx' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_formulas_and_gradients_need_no_compiler() -> None:
    code = (
        "import sys, numpy as np, symgraph as sg\n"
        "x = sg.placeholder('x'); sg.grad(np.sin(x) * x, [x])\n"
        "v = sg.Variable(np.array(2.0)); y = v * v; y.backward(); assert v.grad.data == 4\n"
        "sys.exit('numba' in sys.modules or 'networkx' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


# -- rows --------------------------------------------------------------------------------------------------------------

KINDS = {"elementwise", "reduction", "view", "contraction", "gather", "scatter", "source", "control", "part"}
ROWS = list(REGISTRY.values())


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_row_is_complete(row: Op) -> None:
    assert row.name.isidentifier()
    assert row.label
    assert row.kind in KINDS
    assert callable(row.impl)
    assert callable(row.infer)
    assert isinstance(row.onnx, str)
    assert row.grad == NONE or callable(row.grad) or (isinstance(row.grad, tuple) and row.grad)
    assert all(low <= high for low, high in row.domain)


@pytest.mark.parametrize("row", [row for row in ROWS if row.kind == "elementwise"], ids=lambda row: row.name)
def test_an_elementwise_row_has_a_scalar_rule_and_a_gradient_per_argument(row: Op) -> None:
    assert callable(row.lower)
    if isinstance(row.grad, tuple):
        assert len(row.grad) == len(row.domain)
        assert all(rule is None or callable(rule) for rule in row.grad)


def test_a_row_that_lacks_a_field_fails() -> None:
    with pytest.raises(TypeError, match="lower"):
        Op(name="half", kind="elementwise", impl=abs, grad=NONE, infer=lambda types, params: types[0], onnx="",
           domain=())  # type: ignore[call-arg]  # fmt: skip


# -- what is shipped ---------------------------------------------------------------------------------------------------


def test_the_wheel_holds_the_two_packages_and_their_types(tmp_path: Path) -> None:
    (wheel,) = WheelBuilder(str(ROOT)).build(directory=str(tmp_path), versions=["standard"])
    assert Path(wheel).name.startswith(f"symgraph_compiler-{sg.__version__}-")
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"symgraph", "compiler"}
    assert {"symgraph/py.typed", "compiler/py.typed"} <= set(names)
    page = {f"compiler/inspector/{part}" for part in ("page.html", "page.css", *SCRIPTS)}
    assert page <= set(names)
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_public_names_are_documented() -> None:
    public = {name: value for name, value in vars(sg).items() if not name.startswith("_") and callable(value)}
    assert len(public) > 100
    assert not [name for name, value in public.items() if not (value.__doc__ or "").strip()]


def test_the_changelog_tells_of_this_version() -> None:
    assert f"## {sg.__version__}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
