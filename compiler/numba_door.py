"""Kernels inside functions that Numba compiles: a formula, or its gradients, called from a user's own jitted loop.

Numba compiles a function of a few lines that checks the arguments' sizes, makes arrays for the results and calls the
kernel at its address.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.errors import TypingError
from numba.extending import intrinsic
from numba.np.numpy_support import from_dtype

from compiler import runtime
from compiler.arguments import convert
from compiler.layout import memory_base, shape_of
from compiler.specialise import axis_name
from compiler.variant import Variant, returned_as_numbers
from symgraph import dims, errors
from symgraph.dims import Atom, Size
from symgraph.errors import ArgumentError
from symgraph.expr import Expr
from symgraph.types import Opaque

if TYPE_CHECKING:
    from compiler.function import Function

_kept: list[Variant] = []
"""Kernels that jitted code knows by address; what Numba compiled is never freed, so neither are they."""

_helpers: dict[str, Any] = {}


def njit(function: Function, examples: Sequence[Any], what: str) -> Any:
    """The function that `Function.njit` documents."""
    if len(examples) != len(function.inputs):
        names = ", ".join(function.signature.names)
        raise ArgumentError(f"njit: expected an example for each of {names}; got {len(examples)}")
    values = [convert(node, value) for node, value in zip(function.inputs, examples, strict=True)]
    variant = function.variant_for(what, values)
    _kept.append(variant)
    text, scope = _write(variant, function.inputs, what == "value" and len(function.outputs) == 1)
    exec(text, scope)  # the names in it are ours alone
    return numba.njit(nogil=True)(scope["formula"])


def _write(variant: Variant, inputs: Sequence[Expr], single: bool) -> tuple[str, dict[str, Any]]:
    """The text of the function, and the values of its names."""
    outputs = variant.steps[-1].outputs
    numbers = returned_as_numbers(outputs)
    arrays = list(dict.fromkeys(b for b in map(memory_base, outputs) if b not in numbers))
    scope: dict[str, Any] = {"empty": np.empty, "full": np.full, "contiguous": np.ascontiguousarray}
    lines: list[str] = []
    sizes: dict[str, str] = {}
    given = [f"x{k}" for k in range(len(inputs))]

    def check(condition: str, kind: type[Exception], message: str) -> None:
        name = f"m{len(scope)}"  # a message may hold users' names, so it is no part of the text
        scope[name], scope[f"e{name}"] = message, kind
        lines.append(f"    if {condition}: raise e{name}({name})")

    typed = variant.typed.inputs
    for x, node, declared in zip(given, typed, inputs, strict=True):
        if shape_of(node):
            lines.append(f"    {x} = contiguous({x})")
        names = [axis_name(node.name or "", axis) for axis in range(len(shape_of(node)))]
        if not isinstance(declared.type.shape, Opaque):
            names = [str(size) for size in declared.type.shape]
        for axis, name in enumerate(names):
            if name not in sizes:
                sizes[name] = f"n{len(sizes)}"
                lines.append(f"    {sizes[name]} = {x}.shape[{axis}]")
    for x, node in zip(given, typed, strict=True):
        for axis, size in enumerate(shape_of(node)):
            text = _size(size, sizes, scope)
            message = f"argument {node.name!r}: axis {axis} must be {size}"
            check(f"{x}.shape[{axis}] != {text}", ValueError, message)
            if isinstance(size, dims.Dim) and size.not_one:
                message = f"argument {node.name!r}: axis {axis} may not be 1, as it was not in the example"
                check(f"{text} == 1", ValueError, message)
    for r in variant.typed.requirements:
        left, right = _size(r.left, sizes, scope), _size(r.right, sizes, scope)
        text = f"{r.node.op.name}: shapes do not go together: {r.left} {r.relation} {r.right} does not hold"
        check(f"not {left} {r.relation} {right}", ValueError, errors.message(text, r.node.origins))
    results: dict[Expr, str] = {}
    for k, base in enumerate(arrays):
        scope[f"d{k}"] = base.type.dtype
        lines.append(f"    o{k} = empty({_shape(base, sizes, scope)}, d{k})")
        results[base] = f"o{k}"
    scope["kernel"] = _intrinsic(variant, inputs, numbers)
    operands = [*given, *results.values(), *(f"{_size(s, sizes, scope)}" for s in variant.sizes)]
    lines.append(f"    r = kernel(({', '.join([*operands, '0'])},))")
    check("r[0] < 0", MemoryError, "no memory for the intermediate values of a compiled function")
    for k, (kind, message) in enumerate(variant.program.errors):
        check(f"r[0] == {k + 1}", kind, message)
    results |= {base: f"r[{k + 1}]" for k, base in enumerate(numbers)}
    parts: list[str] = []
    for k, output in enumerate(outputs):
        base = memory_base(output)
        text = results[base]
        if base in numbers:
            text = f"full({_shape(output, sizes, scope)}, {text})" if shape_of(output) else text
        else:
            text += f".reshape({_shape(output, sizes, scope)})" if shape_of(output) != shape_of(base) else ""
            text += ".copy()" if base in map(memory_base, outputs[:k]) else ""  # results never share memory
        parts.append(text)
    lines.append(f"    return {parts[0]}" if single else f"    return ({', '.join(parts)},)")
    return "\n".join([f"def formula({', '.join(given)}):", *lines]), scope


def _shape(node: Expr, sizes: dict[str, str], scope: dict[str, Any]) -> str:
    return f"({''.join(f'{_size(s, sizes, scope)}, ' for s in shape_of(node))})"


def _size(size: Size, sizes: dict[str, str], scope: dict[str, Any]) -> str:
    """A size in Python."""
    if isinstance(size, int):
        return str(size)
    terms = []
    for monomial, coefficient in size.terms:
        factors = [str(coefficient)]
        for factor in monomial:
            if isinstance(factor, Atom):
                factors.append(sizes[factor.name])
            else:
                helper = f"size_{factor.function}"
                scope[helper] = _helpers.setdefault(helper, numba.njit(dims.FUNCTIONS[factor.function]))
                factors.append(f"{helper}({', '.join(_size(a, sizes, scope) for a in factor.args)})")
        terms.append("*".join(factors))
    return f"({' + '.join(terms)})"


def _intrinsic(variant: Variant, inputs: Sequence[Expr], numbers: Sequence[Expr]) -> Any:
    """What calls the kernel: it takes inputs, arrays of results and sizes; it gives the status and the numbers."""
    program = variant.program
    constants = [value.ctypes.data for _, value in program.constants]
    address = variant.complete().address  # what Numba compiles makes no call again
    type_of: Any = from_dtype  # its own types are too narrow in some versions of Numba
    singles = [type_of(base.type.dtype) for base in numbers]
    wanted = [type_of(buffer.dtype) for buffer in program.inputs]

    @intrinsic  # type: ignore[untyped-decorator]
    def kernel(typing_context: Any, arguments: Any) -> Any:
        kinds = list(arguments)
        for node, typed, kind, dtype in zip(inputs, variant.typed.inputs, kinds, wanted, strict=False):
            rank = len(shape_of(typed))
            if isinstance(kind, types.Array):
                fits = rank == kind.ndim and kind.dtype == dtype
            else:
                fits = not rank and typing_context.can_convert(kind, dtype) is not None
                fits = fits and typing_context.can_convert(kind, dtype) < numba.core.typeconv.Conversion.unsafe
            if not fits:
                expected = f"an array of {dtype} with {rank} axes" if rank else f"a number that {dtype} can hold"
                raise TypingError(f"argument {node.name!r} is {kind}, expected {expected}, as in the example")
        result = types.Tuple([types.int64, *singles])

        def codegen(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            def slot(value: Any) -> Any:
                return builder.bitcast(cgutils.alloca_once_value(builder, value), cgutils.voidptr_t)

            def outside(number: int) -> Any:  # an address: Numba keeps no code on disk that knows one
                return context.add_dynamic_addr(builder, number, info="symgraph")

            parts = [builder.extract_value(values[0], k) for k in range(len(kinds))]
            pointers = []
            count = len(kinds) - 1 - len(variant.sizes)
            for k, (kind, value) in enumerate(zip(kinds[:count], parts, strict=False)):
                if isinstance(kind, types.Array):
                    data = context.make_array(kind)(context, builder, value).data
                    pointers.append(builder.bitcast(data, cgutils.voidptr_t))
                else:
                    value = context.cast(builder, value, kind, wanted[k])
                    pointers.append(slot(context.get_value_as_data(builder, wanted[k], value)))
            pointers[len(inputs) : len(inputs)] = [outside(c) for c in constants]
            eight = ir.IntType(64)
            slots = [cgutils.alloca_once(builder, eight) for _ in singles]
            pointers += [builder.bitcast(s, cgutils.voidptr_t) for s in slots]
            given = cgutils.pack_array(builder, pointers, cgutils.voidptr_t)
            sizes = [
                context.cast(builder, v, t, types.int64) for v, t in zip(parts[count:], kinds[count:], strict=True)
            ]
            kind = ir.FunctionType(eight, [cgutils.voidptr_t] * 3)
            function = builder.bitcast(outside(address), kind.as_pointer())
            parallel = outside(runtime.load().addresses["parallel"])
            status = builder.call(function, [slot(given), slot(cgutils.pack_array(builder, sizes, eight)), parallel])
            found = []
            for dtype, place in zip(singles, slots, strict=True):
                data = builder.bitcast(place, context.get_data_type(dtype).as_pointer())
                found.append(context.data_model_manager[dtype].from_data(builder, builder.load(data)))
            return context.make_tuple(builder, signature.return_type, [status, *found])

        return result(arguments), codegen

    return kernel
