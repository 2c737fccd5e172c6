"""The function that a kernel's module exports, as LLVM IR text: one signature for all kernels.

    i64 symgraph_kernel(ptr arguments, ptr sizes, ptr parallel)

`arguments` holds a pointer for each input, each constant and each output. A number lies behind its pointer as it lies
in arrays (a bool is a byte); an output of one element is a slot of eight bytes. `sizes` are int64. `parallel` is a
function ``void parallel(ptr body, ptr closure, i64 chunks)`` that calls ``void body(ptr closure, i64 chunk)`` for each
chunk; null: they run one after the other.
The result is 0, or the number of the first failed check, or -1 where memory ran out, or `AGAIN`.
"""

from __future__ import annotations

from compiler.emit_scalar import MISSED, memory_type, register_type
from compiler.program import Program
from compiler.runtime.interrupt import INTERRUPTED

ENTRY = "symgraph_kernel"

AGAIN = -2
"""There were far arguments, which the kernel does not compute: its results are void, and so are all that it gives from
then on. The same program is to be run by a kernel that does."""


def entry(program: Program, core: str, chunks: bool, near: bool) -> str:
    """The text of the exported function, which unpacks the arguments and calls the function named `core`.

    Args:
        program: the kernel's.
        core: the function to call.
        chunks: whether that runs any through its argument `parallel`.
        near: whether it is for near arguments alone, and notes others.
    """
    lines: list[str] = []
    operands: list[str] = []
    buffers = [*program.inputs, *(b for b, _ in program.constants), *dict.fromkeys(program.outputs)]
    for k, buffer in enumerate(buffers):
        lines.append(f"%at{k} = getelementptr inbounds ptr, ptr %arguments, i64 {k}")
        lines.append(f"%p{k} = load ptr, ptr %at{k}")
        if buffer.role != "scalar":
            operands.append(f"ptr %p{k}")
            continue
        lines.append(f"%x{k} = load {memory_type(buffer.dtype)}, ptr %p{k}")
        if buffer.dtype.kind == "b":
            lines.append(f"%b{k} = icmp ne i8 %x{k}, 0")
        operands.append(f"{register_type(buffer.dtype)} %{'b' if buffer.dtype.kind == 'b' else 'x'}{k}")
    run = "%run" if chunks else "%parallel"
    if chunks:
        lines.append("%alone = icmp eq ptr %parallel, null")
        lines.append("%run = select i1 %alone, ptr @in_turn, ptr %parallel")
    lines.append(f"%status = call i64 @{core}({', '.join([*operands, 'ptr %sizes', f'ptr {run}'])})")
    if near:
        lines.append(f"%missed = load atomic i8, ptr @{MISSED} monotonic, align 1")
        lines.append("%near = icmp eq i8 %missed, 0")
        lines.append(f"%ended = icmp eq i64 %status, {INTERRUPTED}")  # what a signal handler raised is not forgotten
        lines.append("%valid = or i1 %near, %ended")
        lines.append(f"%result = select i1 %valid, i64 %status, i64 {AGAIN}")
    lines.append(f"ret i64 %{'result' if near else 'status'}")
    body = "\n".join(f"  {line}" for line in lines)
    head = f"\ndefine i64 @{ENTRY}(ptr %arguments, ptr %sizes, ptr %parallel) nounwind {{"
    return f"{IN_TURN if chunks else ''}{head}\n{body}\n}}\n"


IN_TURN = """
define internal void @in_turn(ptr %body, ptr %closure, i64 %chunks) nounwind {
  br label %head
head:
  %k = phi i64 [0, %0], [%next, %one]
  %more = icmp slt i64 %k, %chunks
  br i1 %more, label %one, label %done
one:
  call void %body(ptr %closure, i64 %k)
  %next = add nsw i64 %k, 1
  br label %head
done:
  ret void
}
"""

FIRST, INSTEAD = "symgraph_first", "symgraph_instead"

FORWARDING = f"""
@by = internal global ptr @{ENTRY}

define i64 @{FIRST}(ptr %arguments, ptr %sizes, ptr %parallel) nounwind {{
  %kernel = load atomic ptr, ptr @by monotonic, align 8
  %status = musttail call i64 %kernel(ptr %arguments, ptr %sizes, ptr %parallel)
  ret i64 %status
}}

define void @{INSTEAD}(ptr %kernel) nounwind {{
  store atomic ptr %kernel, ptr @by monotonic, align 8
  ret void
}}
"""
"""What a kernel's module has more if the kernel is to be replaced: a function in its place, which calls it until the
other one has named another kernel that does the same."""
