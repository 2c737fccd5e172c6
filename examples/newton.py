"""Newton's method for the minimum of x⁴ - 2x²: the second derivative is the gradient of the gradient."""

import symgraph as sg

x = sg.placeholder("x")
y = x**4 - 2 * x**2
(slope,) = sg.grad(y, [x])
(curvature,) = sg.grad(slope, [x])
step = sg.compile(x - slope / curvature)

if __name__ == "__main__":
    value = 2.0
    for k in range(8):
        print(k, float(value))
        value = step(x=value)
