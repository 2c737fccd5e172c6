"""Time per call, compile time, memory and accuracy of symgraph's two modes, NumPy, and what people use instead.

    python -m benchmarks [--rows PATTERN] [--peers jax,torch,...] [--dtype float64] [--main] [--quick] [--json FILE]
    python -m benchmarks compile     # seconds to compile chains of 10 to 100,000 operations
    python -m benchmarks memory      # the most memory that a call holds
    python -m benchmarks.faults      # whether errors name the user's line
    python -m benchmarks readme      # the README's table, from the numbers of a run

What is computed stands in `workloads`, who computes it in `competitors`; each is a list with one entry per item.
"""
