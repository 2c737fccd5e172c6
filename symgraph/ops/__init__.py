"""The table of operations. Import a row from here, or look it up in :data:`symgraph.op.REGISTRY`."""

from symgraph.ops import array, control, elementwise, filters, guard, observe, random, reduction, update, windows

__all__ = ["array", "control", "elementwise", "filters", "guard", "observe", "random", "reduction", "update", "windows"]
