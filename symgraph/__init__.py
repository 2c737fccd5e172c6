"""symgraph: write a formula once in NumPy's style; evaluate it, differentiate it, compile it, look at it.

The names below are the language. `compile` and `trace` import the compiler when they are first used, `nn` and `optim`
come likewise, so that importing symgraph stays cheap.
"""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import TYPE_CHECKING, Any

from symgraph import random as random, tree as tree
from symgraph.config import config as config, no_grad as no_grad, using_config as using_config
from symgraph.control import (
    cond as cond,
    fori_loop as fori_loop,
    map as map,
    scan as scan,
    switch as switch,
    while_loop as while_loop,
)
from symgraph.eager import (
    Function as Function,
    Variable as Variable,
    as_variable as as_variable,
    numerical_diff as numerical_diff,
)
from symgraph.errors import (
    ArgumentError as ArgumentError,
    CheckError as CheckError,
    CompileError as CompileError,
    DTypeError as DTypeError,
    FileError as FileError,
    GradientError as GradientError,
    InputError as InputError,
    LoopError as LoopError,
    NumericError as NumericError,
    OutOfBoundsError as OutOfBoundsError,
    RendererError as RendererError,
    ShapeError as ShapeError,
    SymbolError as SymbolError,
    SymgraphError as SymgraphError,
)
from symgraph.expr import Expr as Expr, constant as constant, placeholder as placeholder
from symgraph.fit import Batches as Batches, History as History, fit as fit
from symgraph.functions import (
    all as all,
    amax as amax,
    amin as amin,
    any as any,
    append as append,
    argmax as argmax,
    argmin as argmin,
    astype as astype,
    atleast_1d as atleast_1d,
    atleast_2d as atleast_2d,
    average as average,
    block as block,
    broadcast_arrays as broadcast_arrays,
    broadcast_to as broadcast_to,
    clip as clip,
    column_stack as column_stack,
    concatenate as concatenate,
    convolve as convolve,
    copy as copy,
    count_nonzero as count_nonzero,
    cross as cross,
    diag as diag,
    diagflat as diagflat,
    diagonal as diagonal,
    diff as diff,
    divmod as divmod,
    dot as dot,
    dstack as dstack,
    ediff1d as ediff1d,
    einsum as einsum,
    expand_dims as expand_dims,
    flip as flip,
    fliplr as fliplr,
    flipud as flipud,
    full_like as full_like,
    gradient as gradient,
    hstack as hstack,
    inner as inner,
    isclose as isclose,
    iscomplexobj as iscomplexobj,
    isrealobj as isrealobj,
    kron as kron,
    linspace as linspace,
    log_softmax as log_softmax,
    logsumexp as logsumexp,
    matrix_power as matrix_power,
    matrix_transpose as matrix_transpose,
    max as max,
    mean as mean,
    meshgrid as meshgrid,
    min as min,
    moveaxis as moveaxis,
    nan_to_num as nan_to_num,
    nanmean as nanmean,
    nansum as nansum,
    ndim as ndim,
    norm as norm,
    ones_like as ones_like,
    outer as outer,
    pad as pad,
    polyval as polyval,
    pow as pow,
    prod as prod,
    ptp as ptp,
    ravel as ravel,
    real as real,
    repeat as repeat,
    reshape as reshape,
    result_type as result_type,
    roll as roll,
    rot90 as rot90,
    round as round,
    select as select,
    shape as shape,
    sinc as sinc,
    size as size,
    softmax as softmax,
    split as split,
    squeeze as squeeze,
    stack as stack,
    std as std,
    sum as sum,
    swapaxes as swapaxes,
    take as take,
    tensordot as tensordot,
    tile as tile,
    transpose as transpose,
    trapezoid as trapezoid,
    tril as tril,
    triu as triu,
    vander as vander,
    var as var,
    vdot as vdot,
    vecdot as vecdot,
    vstack as vstack,
    where as where,
    xlogy as xlogy,
    zeros_like as zeros_like,
)
from symgraph.grad import grad as grad
from symgraph.latex import latex as latex, unicode as unicode
from symgraph.observe import breakpoint as breakpoint, named as named, print as print
from symgraph.op import operations as operations
from symgraph.ops import elementwise as _rows
from symgraph.ops.array import matmul as matmul
from symgraph.ops.elementwise import (
    abs as abs,
    add as add,
    arccos as arccos,
    arccosh as arccosh,
    arcsin as arcsin,
    arcsinh as arcsinh,
    arctan as arctan,
    arctan2 as arctan2,
    arctanh as arctanh,
    bitwise_and as bitwise_and,
    bitwise_or as bitwise_or,
    bitwise_xor as bitwise_xor,
    cbrt as cbrt,
    ceil as ceil,
    copysign as copysign,
    cos as cos,
    cosh as cosh,
    deg2rad as deg2rad,
    equal as equal,
    erf as erf,
    erfc as erfc,
    exp as exp,
    exp2 as exp2,
    expit as expit,
    expm1 as expm1,
    fabs as fabs,
    float_power as float_power,
    floor as floor,
    fma as fma,
    fmax as fmax,
    fmin as fmin,
    fmod as fmod,
    greater as greater,
    greater_equal as greater_equal,
    heaviside as heaviside,
    hypot as hypot,
    invert as invert,
    isfinite as isfinite,
    isinf as isinf,
    isnan as isnan,
    left_shift as left_shift,
    less as less,
    less_equal as less_equal,
    log as log,
    log1p as log1p,
    log2 as log2,
    log10 as log10,
    logaddexp as logaddexp,
    logaddexp2 as logaddexp2,
    logical_and as logical_and,
    logical_not as logical_not,
    logical_or as logical_or,
    logical_xor as logical_xor,
    maximum as maximum,
    minimum as minimum,
    mod as mod,
    not_equal as not_equal,
    rad2deg as rad2deg,
    reciprocal as reciprocal,
    right_shift as right_shift,
    rint as rint,
    sign as sign,
    signbit as signbit,
    sin as sin,
    sinh as sinh,
    softplus as softplus,
    sqrt as sqrt,
    square as square,
    stop_gradient as stop_gradient,
    tan as tan,
    tanh as tanh,
    trunc as trunc,
)
from symgraph.ops.random import ndtri as ndtri
from symgraph.origin import scope as scope
from symgraph.packed import Packed as Packed, packed as packed
from symgraph.pictures import (
    get_dot_graph as get_dot_graph,
    make_dot as make_dot,
    plot_dot_graph as plot_dot_graph,
)
from symgraph.state import (
    Parameter as Parameter,
    load_parameters as load_parameters,
    parameter as parameter,
    save_parameters as save_parameters,
)
from symgraph.trace import spec as spec, symbolic as symbolic, trace as trace

if TYPE_CHECKING:
    from compiler import (
        compile as compile,
        get_num_threads as get_num_threads,
        set_num_threads as set_num_threads,
    )
    from symgraph import nn as nn, optim as optim

__version__ = "0.1.0"

# NumPy's other names for the same operations
absolute = _rows.abs
acos = _rows.arccos
acosh = _rows.arccosh
asin = _rows.arcsin
asinh = _rows.arcsinh
atan = _rows.arctan
atan2 = _rows.arctan2
atanh = _rows.arctanh
bitwise_not = _rows.invert
degrees = _rows.rad2deg
divide = _rows.div
floor_divide = _rows.floordiv
multiply = _rows.mul
negative = _rows.neg
positive = _rows.pos
power = pow
radians = _rows.deg2rad
remainder = _rows.mod
sigmoid = _rows.expit
subtract = _rows.sub
true_divide = _rows.div


_DOORS = ("compile", "get_num_threads", "set_num_threads")
_PARTS = ("nn", "optim")


def __getattr__(name: str) -> Any:
    """The doors to the compiler and to what not everyone needs, opened when they are first used."""
    if name in _DOORS:
        import compiler

        globals()[name] = getattr(compiler, name)
        return globals()[name]
    if name in _PARTS:
        return importlib.import_module(f"symgraph.{name}")
    raise AttributeError(f"module 'symgraph' has no attribute {name!r}")


def __dir__() -> list[str]:
    """The names for users: neither modules nor what this file needs itself."""
    names = {name for name, value in globals().items() if not isinstance(value, ModuleType)}
    return sorted(names - {"Any", "ModuleType", "TYPE_CHECKING", "annotations"} | {*_DOORS, *_PARTS, "random", "tree"})
