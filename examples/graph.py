"""Looking at a graph: its networkx DAG, its text, and DOT before and after optimisation."""

import networkx as nx
import numpy as np

import symgraph as sg

x = sg.placeholder("x", shape=("n",), dtype="float64")
w = sg.placeholder("w", shape=("n",), dtype="float64")
f = sg.compile(np.sum(np.tanh(x * w + 1)))

if __name__ == "__main__":
    print("result:", f(x=np.arange(3.0), w=np.ones(3)))
    print("operations:", nx.number_of_nodes(f.graph), "nodes, longest path", nx.dag_longest_path_length(f.graph))
    print(f.source)
    print(f.to_dot())
