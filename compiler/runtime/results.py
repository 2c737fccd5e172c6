"""What the native call does with results: numbers as Python objects, and the structure they are returned in."""

from __future__ import annotations

from compiler.runtime import layout as at
from compiler.runtime.builder import Module


def write(m: Module) -> None:
    """The functions that make and pack results."""
    m.declare("void", "llvm.memset.p0.i64", "ptr", "i8", "i64", "i1")
    with m.function("ptr", "call_one", ("ptr", "callable"), ("ptr", "argument")) as f:
        # takes the argument over
        function, argument = f.parameters
        with f.when(argument.is_(0)):
            f.give(0)
        place = f.reserve("ptr")
        place.store(argument)
        result = f.call("ptr", "PyObject_Vectorcall", function, place, 1, f.null)
        f.call("void", "Py_DecRef", argument)
        f.give(result)

    with m.function("ptr", "dropped", ("ptr", "objects"), ("i64", "count")) as f:
        # gives up what was made so far
        objects, count = f.parameters
        with f.count(count) as k:
            made = objects.item(k, "ptr")
            with f.when(made.is_not(0)):
                f.call("void", "Py_DecRef", made)
        f.give(0)

    with m.function("ptr", "new_number", ("ptr", "record"), ("ptr", "source"), attributes="alwaysinline") as f:
        record, source = f.parameters
        with f.when(record.item(at.R_CODE).is_(at.SINGLETON)):
            f.give(f.call("ptr", "PyArray_Scalar", source, record.item(at.R_DTYPE, "ptr"), f.null))
        made = f.call("ptr", record.item(at.R_ALLOCATE, "ptr"), record.item(at.R_TYPE, "ptr"), 0)
        with f.when(made.is_(0)):
            f.give(0)
        place, size = made.at(at.VALUE), record.item(at.R_BYTES)
        for bits in (64, 32, 16, 8):
            with f.when(size.is_(bits // 8)):
                place.store(source.load(f"i{bits}"))
        f.give(made)

    with m.function("ptr", "packed", ("ptr", "table"), ("ptr", "objects"), attributes="alwaysinline") as f:
        table, objects = f.parameters
        values, gradients = table.item(at.VALUES), table.item(at.GRADIENTS)
        value, grads = f.variable("ptr", 0), f.variable("ptr", 0)
        pack = table.item(at.PACK, "ptr")
        with f.when(values.is_not(0)):
            value.set(objects.item(0, "ptr"))
            with f.when(pack.is_not(0)):
                items = f.call("ptr", "PyList_New", values)
                with f.when(items.is_(0)):
                    f.give(f.call("ptr", "dropped", objects, values + gradients))
                with f.count(values) as k:
                    f.call("i32", "PyList_SetItem", items, k, objects.item(k, "ptr"))  # takes it over
                value.set(f.call("ptr", "call_one", pack, items))
                with f.when(value.get().is_(0)):
                    f.give(f.call("ptr", "dropped", objects.at(values * at.WORD), gradients))
        with f.when(table.item(at.DIFFERENTIATED).is_(0)):
            f.give(value.get())
        grads.set(f.call("ptr", "PyDict_New"))
        with f.when(grads.get().is_not(0)), f.count(gradients) as k:
            name = table.item(table.item(at.NAMES_AT) + k, "ptr")
            failed = f.call("i32", "PyDict_SetItem", grads.get(), name, objects.item(values + k, "ptr"))
            with f.when(failed.is_not(0)):
                f.call("void", "Py_DecRef", grads.get())
                grads.set(0)
            f.leave(failed.is_not(0))
        f.call("ptr", "dropped", objects.at(values * at.WORD), gradients)
        pair = f.variable("ptr", 0)
        with f.when(grads.get().is_not(0)):
            with f.when(values.is_(0)):
                f.give(grads.get())
            pair.set(f.call("ptr", "PyTuple_New", 2))
        with f.when(pair.get().is_(0)):
            for held in (value, grads):
                with f.when(held.get().is_not(0)):
                    f.call("void", "Py_DecRef", held.get())
            f.give(0)
        f.call("i32", "PyTuple_SetItem", pair.get(), 0, value.get())
        f.call("i32", "PyTuple_SetItem", pair.get(), 1, grads.get())
        f.give(pair.get())
