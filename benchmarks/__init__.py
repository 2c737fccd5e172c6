"""Time per call, compile time and accuracy of symgraph's two modes, NumPy, and the libraries people use instead.

    python -m benchmarks [--rows PATTERN] [--peers jax,torch,...] [--quick] [--out DIR]
    python -m benchmarks compile     # seconds to compile chains of 10 to 100,000 operations

What is computed stands in `workloads`, who computes it in `competitors`; each is a list with one entry per item.
"""
