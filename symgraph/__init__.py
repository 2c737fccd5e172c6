from symgraph.expr import *
from symgraph.expr import placeholder, constant, Expr
from symgraph.grad import grad
from symgraph.functions import *
def __getattr__(name):
    if name in ("compile","Function"):
        import compiler
        return getattr(compiler, "compile")
    raise AttributeError(name)
