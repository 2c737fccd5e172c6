"""Activation functions that the language lacks; np.tanh, sg.sigmoid, sg.softplus and sg.softmax it has."""

from __future__ import annotations

import math
from typing import Any

from symgraph.ops import elementwise as ew


def relu(x: Any) -> Any:
    """x where it is positive, else 0, and flat at 0; nan stays nan.

    >>> import numpy as np, symgraph as sg
    >>> sg.nn.relu(np.array([-1.0, 2.0]))
    array([0., 2.])
    """
    return ew.where(ew.less_equal(x, 0), 0.0, x)


def leaky_relu(x: Any, slope: float = 0.01) -> Any:
    """x where it is positive, else slope * x.

    >>> import numpy as np, symgraph as sg
    >>> sg.nn.leaky_relu(np.array([-1.0, 2.0]))
    array([-0.01,  2.  ])
    """
    return ew.where(ew.less_equal(x, 0), slope * x, x)


def elu(x: Any, alpha: float = 1.0) -> Any:
    """x where it is positive, else alpha * (exp(x) - 1).

    Source: Clevert, Unterthiner and Hochreiter, "Fast and accurate deep network learning by exponential linear units"
    (ICLR 2016).

    >>> import numpy as np, symgraph as sg
    >>> sg.nn.elu(np.array([-1.0, 2.0])).round(3)
    array([-0.632,  2.   ])
    """
    return ew.where(ew.less_equal(x, 0), alpha * ew.expm1(ew.minimum(x, 0.0)), x)


def gelu(x: Any) -> Any:
    """x times the normal distribution function of x.

    Source: Hendrycks and Gimpel, "Gaussian error linear units" (2016).

    >>> import numpy as np, symgraph as sg
    >>> sg.nn.gelu(np.array([-1.0, 2.0])).round(3)
    array([-0.159,  1.954])
    """
    return 0.5 * x * (1.0 + ew.erf(x * math.sqrt(0.5)))


def silu(x: Any) -> Any:
    """x * sigmoid(x).

    Source: Elfwing, Uchibe and Doya, "Sigmoid-weighted linear units" (2018).

    >>> import numpy as np, symgraph as sg
    >>> sg.nn.silu(np.array([-1.0, 2.0])).round(3)
    array([-0.269,  1.762])
    """
    return x * ew.expit(x)
