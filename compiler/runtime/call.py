"""The native call: from a vector of Python objects to the results, without a line of Python in between.

One function serves all compiled functions. What it has to do for one of them, and for arguments of certain types and
shapes, stands in a table of numbers and addresses (layout.py); it tries the tables it is given in turn, and hands the
call to Python where none fits.
"""

from __future__ import annotations

from compiler.runtime import layout as at
from compiler.runtime.builder import Function, Module, Value

IMPORTS = {
    "Py_IncRef": ("void", "ptr"),
    "Py_DecRef": ("void", "ptr"),
    "PyEval_SaveThread": ("ptr",),
    "PyEval_RestoreThread": ("void", "ptr"),
    "PyObject_Vectorcall": ("ptr", "ptr", "ptr", "i64", "ptr"),
    "PyLong_AsLongLongAndOverflow": ("i64", "ptr", "ptr"),
    "PyLong_FromLongLong": ("ptr", "i64"),
    "PyList_New": ("ptr", "i64"),
    "PyList_SetItem": ("i32", "ptr", "i64", "ptr"),
    "PyTuple_New": ("ptr", "i64"),
    "PyTuple_SetItem": ("i32", "ptr", "i64", "ptr"),
    "PyDict_New": ("ptr",),
    "PyDict_SetItem": ("i32", "ptr", "ptr", "ptr"),
}
"""Python's functions that are called, each with its result and parameters."""

MISFIT = 1
"""In place of an object: the arguments are not the plan's."""


def write(m: Module) -> None:
    """The functions ``call`` and ``once`` (the entries from Python) and ``attempt`` (one plan)."""
    for name, (kind, *kinds) in IMPORTS.items():
        m.declare(kind, name, *kinds)
    m.declare("ptr", "PyArray_NewFromDescr", "ptr", "ptr", "i32", "ptr", "ptr", "ptr", "i32", "ptr")
    m.declare("ptr", "PyArray_Scalar", "ptr", "ptr", "ptr")
    m.declare("ptr", "PyDataMem_SetHandler", "ptr")
    m.external("PyArray_Type")
    m.variable("handler", "ptr", 8)
    m.declare("void", "llvm.memcpy.p0.p0.i64", "ptr", "ptr", "i64", "i1")
    with m.function("void", "pool_use", ("ptr", "handler")) as f:
        # from now on, results come from this NumPy handler if they are large
        f.symbol("handler").store(f.parameters[0])
        f.give()
    _write_new_array(m)
    _write_find(m)
    _write_attempt(m)
    parameters = (("ptr", "arguments"), ("ptr", "sizes"), ("ptr", "parallel"))
    with m.function("i64", "probe", *parameters) as f:
        # a kernel that hands its arguments back, eight bytes each, for the self-test
        arguments, sizes, _ = f.parameters
        count = sizes.load()
        with f.count(count) as k:
            arguments.item(count + k, "ptr").store(arguments.item(k, "ptr").load())
        f.give(sizes.load("i64", 8))
    vector = (("ptr", "self"), ("ptr", "args"), ("i64", "given"), ("ptr", "names"))
    with m.function("ptr", "call", *vector) as f:
        self, args, given, names = f.parameters
        plans = self.load("ptr", at.LIST_ITEMS)
        with f.count(self.load("i64", at.LENGTH), 1) as k:
            # The list may change while the plan is used, and with it the list's own memory.
            plan = plans.item(k, "ptr")
            f.call("void", "Py_IncRef", plan)
            table = plan.load("ptr", at.TUPLE_ITEMS).load("ptr", at.ARRAY_DATA)
            result = f.call("ptr", "attempt", table, args, given, names, table.item(at.POSITIONAL))
            f.call("void", "Py_DecRef", plan)
            with f.when(result.to("i64", "ptrtoint").is_not(MISFIT)):
                f.give(result)
        fallback = plans.item(0, "ptr")
        f.call("void", "Py_IncRef", fallback)
        result = f.call("ptr", "PyObject_Vectorcall", fallback, args, given, names)
        f.call("void", "Py_DecRef", fallback)
        f.give(result)
    with m.function("ptr", "once", *vector) as f:
        # a plan and all its arguments in their order; the function's `self` is returned where they do not fit
        self, args, given, names = f.parameters
        table = args.load("ptr").load("ptr", at.TUPLE_ITEMS).load("ptr", at.ARRAY_DATA)
        result = f.call("ptr", "attempt", table, args.at(at.WORD), given - 1, f.null, given)
        with f.when(result.to("i64", "ptrtoint").is_(MISFIT)):
            f.call("void", "Py_IncRef", self)
            f.give(self)
        f.give(result)


def _write_find(m: Module) -> None:
    """The argument with a name: where it would stand in the placeholders' order, or elsewhere, or null."""
    parameters = (("ptr", "args"), ("i64", "given"), ("ptr", "names"), ("ptr", "wanted"), ("i64", "guess"))
    with m.function("ptr", "find", *parameters, attributes="alwaysinline") as f:
        args, given, names, wanted, guess = f.parameters
        keys = names.at(at.TUPLE_ITEMS)
        with f.when(keys.item(guess - given, "ptr").is_(wanted)):
            f.give(args.item(guess, "ptr"))
        with f.count(names.load("i64", at.LENGTH)) as k, f.when(keys.item(k, "ptr").is_(wanted)):
            f.give(args.item(given + k, "ptr"))
        f.give(0)


def _write_new_array(m: Module) -> None:
    """A new array; a large one with memory of the pool."""
    with m.function("ptr", "new_array", ("ptr", "record")) as f:
        (record,) = f.parameters
        dtype = record.item(at.R_DTYPE, "ptr")
        rank = record.item(at.R_RANK).to("i32", "trunc")
        shape = record.item(at.R_SHAPE, "ptr")
        zero = f.number(0, "i32")
        f.call("void", "Py_IncRef", dtype)  # NewFromDescr takes it over
        given = (f.symbol("PyArray_Type"), dtype, rank, shape, f.null, f.null, zero, f.null)
        handler = f.symbol("handler").load("ptr")
        with f.when((record.item(at.R_BYTES) < at.LARGE) | handler.is_(0)):
            f.give(f.call("ptr", "PyArray_NewFromDescr", *given))
        old = f.call("ptr", "PyDataMem_SetHandler", handler)
        with f.when(old.is_(0)):
            f.call("void", "Py_DecRef", dtype)
            f.give(0)
        made = f.call("ptr", "PyArray_NewFromDescr", *given)
        # Where it fails, with an error set, restoring the handler still cannot fail: its context exists.
        ours = f.call("ptr", "PyDataMem_SetHandler", old)
        f.call("void", "Py_DecRef", old)
        with f.when(ours.is_not(0)):
            f.call("void", "Py_DecRef", ours)
        f.give(made)


def _write_attempt(m: Module) -> None:
    """One plan: its results, or null and an error, or MISFIT."""
    parameters = (("ptr", "table"), ("ptr", "args"), ("i64", "given"), ("ptr", "names"), ("i64", "most"))
    with m.function("ptr", "attempt", *parameters, attributes="noinline") as f:
        table, args, given, names, most = f.parameters
        misfit = f.number(MISFIT).to("ptr", "inttoptr")
        count = table.item(at.ARGUMENTS)
        named = f.variable("i64", 0)
        with f.when(names.is_not(0)):
            named.set(names.load("i64", at.LENGTH))
        with f.when((given + named.get()).is_not(count) | (given > most)):
            f.give(misfit)

        constants, arrays, numbers = (table.item(k) for k in (at.CONSTANTS, at.ARRAYS, at.NUMBERS))
        pointers = f.room(count + constants + arrays + numbers)
        slots = f.room(count + numbers)
        with f.count(count) as k:
            value = f.variable("ptr", 0)
            with f.when(k < given):
                value.set(args.item(k, "ptr"))
            record = table.at((table.item(at.ARGUMENTS_AT) + k * at.ARGUMENT) * at.WORD)
            with f.when(k >= given):
                value.set(f.call("ptr", "find", args, given, names, record.item(at.A_NAME, "ptr"), k))
                with f.when(value.get().is_(0)):
                    f.give(misfit)
            _read(f, record, value.get(), pointers, slots, k, misfit)

        results = table.item(at.VALUES) + table.item(at.GRADIENTS)
        objects = f.room(results)
        f.call("void", "llvm.memset.p0.i64", objects, f.number(0, "i8"), results * at.WORD, f.number(0, "i1"))
        outputs = count + constants
        with f.count(constants) as k:
            pointers.set_item(count + k, table.item(table.item(at.CONSTANTS_AT) + k))
        with f.count(numbers) as k:
            pointers.set_item(outputs + arrays + k, slots.at((count + k) * at.WORD))
        sources = pointers.at(outputs * at.WORD)
        with f.count(results) as k:
            record = _result(table, k)
            code = record.item(at.R_CODE)
            with f.when(code < at.NUMBER):
                made = f.call("ptr", "new_array", record)
                objects.set_item(k, made)
                with f.when(made.is_(0)):
                    f.give(f.call("ptr", "dropped", objects, results))
                with f.when(code.is_(at.NEW)):
                    sources.set_item(record.item(at.R_SOURCE), made.load("ptr", at.ARRAY_DATA))

        status = _run(f, table, pointers)
        with f.when(status.is_not(0)):
            f.call("ptr", "dropped", objects, results)
            raised = f.call("ptr", "call_one", table.item(at.FAIL, "ptr"), f.call("ptr", "PyLong_FromLongLong", status))
            with f.when(raised.is_(0)):
                f.give(0)
            f.call("void", "Py_DecRef", raised)
            f.give(misfit)  # the call is to be made again, and Python makes it
        with f.count(results) as k:
            record = _result(table, k)
            code = record.item(at.R_CODE)
            source = sources.item(record.item(at.R_SOURCE), "ptr")
            with f.when(code.is_(at.COPY)):
                data = objects.item(k, "ptr").load("ptr", at.ARRAY_DATA)
                f.call("void", "llvm.memcpy.p0.p0.i64", data, source, record.item(at.R_BYTES), f.number(0, "i1"))
            with f.when(code > at.COPY):
                made = f.call("ptr", "new_number", record, source)
                objects.set_item(k, made)
                with f.when(made.is_(0)):
                    f.give(f.call("ptr", "dropped", objects, results))
        f.give(f.call("ptr", "packed", table, objects))


def _result(table: Value, k: Value) -> Value:
    return table.at((table.item(at.RESULTS_AT) + k * at.RESULT) * at.WORD)


def _read(f: Function, record: Value, value: Value, pointers: Value, slots: Value, k: Value, misfit: Value) -> None:
    """Check an argument, and set the kernel's pointer to it."""
    with f.when(value.load("ptr", at.TYPE).is_not(record.item(at.A_TYPE, "ptr"))):
        f.give(misfit)
    code = record.item(at.A_CODE)
    with f.when(code.is_(at.IN_PLACE)):
        pointers.set_item(k, value.at(at.VALUE))
    with f.when(code.is_(at.ARRAY)):
        flags = value.load("i32", at.ARRAY_FLAGS) & at.CONTIGUOUS_AND_ALIGNED
        rank = value.load("i32", at.ARRAY_RANK).to("i64", "sext")
        wrong = flags.is_not(at.CONTIGUOUS_AND_ALIGNED) | rank.is_not(record.item(at.A_RANK))
        with f.when(wrong | value.load("ptr", at.ARRAY_DTYPE).is_not(record.item(at.A_DTYPE, "ptr"))):
            f.give(misfit)
        shape, wanted = value.load("ptr", at.ARRAY_SHAPE), record.item(at.A_SHAPE, "ptr")
        with f.count(rank) as axis, f.when(shape.item(axis).is_not(wanted.item(axis))):
            f.give(misfit)
        pointers.set_item(k, value.load("ptr", at.ARRAY_DATA))
    with f.when(code > at.ARRAY):
        slot = slots.at(k * at.WORD)
        pointers.set_item(k, slot)
        with f.when(code.is_(at.TO_FLOAT32)):
            slot.store(value.load("double", at.VALUE).to("float", "fptrunc"))
        with f.when(code >= at.INTEGER):
            overflow = f.reserve("i32")
            whole = f.call("i64", "PyLong_AsLongLongAndOverflow", value, overflow)
            outside = (whole < record.item(at.A_LOW)) | (whole > record.item(at.A_HIGH))
            with f.when(overflow.load("i32").is_not(0) | outside):
                f.give(misfit)
            slot.store(whole)  # its low bytes come first, so a shorter integer stands there too
            with f.when(code.is_(at.INTEGER_TO_FLOAT64)):
                slot.store(whole.to("double", "sitofp"))
            with f.when(code.is_(at.INTEGER_TO_FLOAT32)):
                slot.store(whole.to("double", "sitofp").to("float", "fptrunc"))


def _run(f: Function, table: Value, pointers: Value) -> Value:
    """Run the kernel; its status."""
    kernel, given = (
        table.item(at.KERNEL, "ptr"),
        (pointers, table.item(at.SIZES, "ptr"), table.item(at.PARALLEL, "ptr")),
    )
    status = f.variable("i64", 0)
    thread = f.variable("ptr", 0)
    long = table.item(at.LONG).is_not(0)
    with f.when(long):
        thread.set(f.call("ptr", "PyEval_SaveThread"))
    status.set(f.call("i64", kernel, *given))
    with f.when(long):
        f.call("void", "PyEval_RestoreThread", thread.get())
    return status.get()
