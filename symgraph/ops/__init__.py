"""The table of operations. Import a row from here, or look it up in :data:`symgraph.op.REGISTRY`."""

from symgraph.ops import array, elementwise, filters, guard, random, reduction, update, windows

__all__ = ["array", "elementwise", "filters", "guard", "random", "reduction", "update", "windows"]
