from symgraph.expr import *
from symgraph.expr import placeholder, constant, Expr
from symgraph.grad import grad
from symgraph.functions import *
