"""How formulas are written as mathematics: a form for each operation, in LaTeX and in Unicode text.

What has no form of its own is written as a call. Operations that only arrange axes for broadcasting are not shown.
"""

from __future__ import annotations

from typing import NamedTuple

ATOM = 20
POWER = 10
FRACTION = 9.5
SIGN = 7.5
PRODUCT = 8
SUM = 7
RELATION = 2
LOOSEST = 0


class Form(NamedTuple):
    """How an operation is written.

    Attributes:
        template: with #1, #2, ... for the arguments, and #name for a parameter.
        level: how strongly it binds.
        needs: for each argument how strongly it must bind to stand without brackets.
    """

    template: str
    level: float
    needs: tuple[float, ...] = (LOOSEST, LOOSEST, LOOSEST)


def _relation(sign: str) -> Form:
    return Form(f"#1 {sign} #2", RELATION, (RELATION + 1, RELATION + 1))


def _joined(sign: str, level: float) -> Form:
    return Form(f"#1 {sign} #2", level, (level, level + 1))


TRANSPARENT = Form("#1", ATOM, (LOOSEST,))
"""The argument itself, as strongly bound as it is."""

_BOTH: dict[str, Form] = {
    "add": _joined("+", SUM),
    "neg": Form("-#1", SIGN, (PRODUCT,)),
    "pos": Form("+#1", SIGN, (PRODUCT,)),
    "greater": _relation(">"),
    "less": _relation("<"),
    "equal": _relation("="),
    **dict.fromkeys(
        (
            "expand_dims",
            "squeeze",
            "broadcast_to",
            "broadcast_like",
            "unbroadcast",
            "of_rank",
            "contiguous",
            "stop_gradient",
            "named",
            "printed",
            "stopped_at",
        ),
        TRANSPARENT,
    ),
}

LATEX_FORMS: dict[str, Form] = {
    **_BOTH,
    "sub": _joined("-", SUM),
    "mul": _joined(r"\cdot", PRODUCT),
    "fma": Form(r"#1 \cdot #2 + #3", SUM, (PRODUCT, PRODUCT + 1, SUM + 1)),
    "matmul": _joined(r"\,", PRODUCT),
    "div": Form(r"\frac{#1}{#2}", FRACTION),
    "reciprocal": Form(r"\frac{1}{#1}", FRACTION),
    "floordiv": Form(r"\left\lfloor \frac{#1}{#2} \right\rfloor", ATOM),
    "mod": _joined(r"\bmod", PRODUCT),
    "pow": Form("{#1}^{#exponent}", POWER, (POWER + 1,)),
    "power": Form("{#1}^{#2}", POWER, (POWER + 1, LOOSEST)),
    "float_power": Form("{#1}^{#2}", POWER, (POWER + 1, LOOSEST)),
    "square": Form("{#1}^{2}", POWER, (POWER + 1,)),
    "sqrt": Form(r"\sqrt{#1}", ATOM),
    "cbrt": Form(r"\sqrt[3]{#1}", ATOM),
    "exp": Form("e^{#1}", POWER),
    "exp2": Form("2^{#1}", POWER),
    "expm1": Form("e^{#1} - 1", SUM),
    "log1p": Form(r"\log\left(1 + #1\right)", ATOM, (SUM + 1,)),
    "log2": Form(r"\log_{2}\left(#1\right)", ATOM),
    "log10": Form(r"\log_{10}\left(#1\right)", ATOM),
    "expit": Form(r"\sigma\left(#1\right)", ATOM),
    "abs": Form(r"\left|#1\right|", ATOM),
    "fabs": Form(r"\left|#1\right|", ATOM),
    "floor": Form(r"\left\lfloor #1 \right\rfloor", ATOM),
    "ceil": Form(r"\left\lceil #1 \right\rceil", ATOM),
    "maximum": Form(r"\max\left(#1, #2\right)", ATOM),
    "minimum": Form(r"\min\left(#1, #2\right)", ATOM),
    "not_equal": _relation(r"\neq"),
    "less_equal": _relation(r"\leq"),
    "greater_equal": _relation(r"\geq"),
    "logical_and": Form(r"#1 \land #2", 1.5, (1.6, 1.6)),
    "logical_or": Form(r"#1 \lor #2", 1.4, (1.5, 1.5)),
    "logical_not": Form(r"\lnot #1", SIGN, (SIGN,)),
    "bitwise_and": Form(r"#1 \land #2", 1.5, (1.6, 1.6)),
    "bitwise_or": Form(r"#1 \lor #2", 1.4, (1.5, 1.5)),
    "where": Form(r"\begin{cases} #2 & \text{if } #1 \\ #3 & \text{otherwise} \end{cases}", ATOM),
    "sum": Form(r"\sum#axis #1", PRODUCT, (PRODUCT,)),
    "prod": Form(r"\prod#axis #1", PRODUCT, (PRODUCT,)),
    "max": Form(r"\max#axis #1", PRODUCT, (PRODUCT,)),
    "min": Form(r"\min#axis #1", PRODUCT, (PRODUCT,)),
    "transpose": Form(r"{#1}^{\top}", POWER, (POWER + 1,)),
}

UNICODE_FORMS: dict[str, Form] = {
    **_BOTH,
    "sub": _joined("−", SUM),
    "neg": Form("−#1", SIGN, (PRODUCT,)),
    "mul": Form("#1·#2", PRODUCT, (PRODUCT, PRODUCT + 1)),
    "fma": Form("#1·#2 + #3", SUM, (PRODUCT, PRODUCT + 1, SUM + 1)),
    "matmul": _joined("@", PRODUCT),
    "div": Form("#1/#2", PRODUCT, (PRODUCT, PRODUCT + 1)),
    "reciprocal": Form("1/#1", PRODUCT, (PRODUCT + 1,)),
    "floordiv": Form("⌊#1/#2⌋", ATOM, (PRODUCT, PRODUCT + 1)),
    "mod": _joined("mod", PRODUCT),
    "pow": Form("#1#raised", POWER, (POWER + 1,)),
    "power": Form("#1^#2", POWER, (POWER + 1, POWER + 1)),
    "float_power": Form("#1^#2", POWER, (POWER + 1, POWER + 1)),
    "square": Form("#1²", POWER, (POWER + 1,)),
    "sqrt": Form("√#1", POWER, (ATOM,)),
    "cbrt": Form("∛#1", POWER, (ATOM,)),
    "log1p": Form("log(1 + #1)", ATOM, (SUM + 1,)),
    "log2": Form("log₂(#1)", ATOM),
    "log10": Form("log₁₀(#1)", ATOM),
    "expit": Form("σ(#1)", ATOM),
    "abs": Form("|#1|", ATOM),
    "fabs": Form("|#1|", ATOM),
    "floor": Form("⌊#1⌋", ATOM),
    "ceil": Form("⌈#1⌉", ATOM),
    "maximum": Form("max(#1, #2)", ATOM),
    "minimum": Form("min(#1, #2)", ATOM),
    "not_equal": _relation("≠"),
    "less_equal": _relation("≤"),
    "greater_equal": _relation("≥"),
    "logical_and": Form("#1 ∧ #2", 1.5, (1.6, 1.6)),
    "logical_or": Form("#1 ∨ #2", 1.4, (1.5, 1.5)),
    "logical_not": Form("¬#1", SIGN, (SIGN,)),
    "bitwise_and": Form("#1 ∧ #2", 1.5, (1.6, 1.6)),
    "bitwise_or": Form("#1 ∨ #2", 1.4, (1.5, 1.5)),
    "where": Form("#2 if #1 else #3", LOOSEST, (1, 1, 1)),
    "sum": Form("∑#axis #1", PRODUCT, (PRODUCT,)),
    "prod": Form("∏#axis #1", PRODUCT, (PRODUCT,)),
    "transpose": Form("#1ᵀ", POWER, (POWER + 1,)),
}

GREEK = dict(zip(
    ["alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa", "lambda_", "mu", "nu", "xi",
     "pi", "rho", "sigma", "tau", "upsilon", "phi", "chi", "psi", "omega", "Gamma", "Delta", "Theta", "Lambda", "Xi",
     "Pi", "Sigma", "Phi", "Psi", "Omega"],
    "αβγδεζηθικλμνξπρστυφχψωΓΔΘΛΞΠΣΦΨΩ", strict=True,
))  # fmt: skip
"""Letters by their names, as placeholders may be called."""
