"""Plain NumPy programs in the style in which people write them, each with example inputs.

They know nothing of symgraph. The first part is meant to run on symbols as it stands; the second part asks symbols for
what they do not have, and each program there names the advice that the error gives.
"""

# ruff: noqa: E741  (mathematics has its own names)

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.special import erf, expit, xlogy

Fn = Callable[..., Any]


@dataclass(frozen=True)
class Program:
    """A function, example inputs by parameter, and, where it cannot be traced, what the error says."""

    fn: Fn
    inputs: dict[str, Any]
    error: str = ""
    smooth: bool = field(default=True)
    """Whether differences approximate its gradient at the inputs."""

    @property
    def name(self) -> str:
        return self.fn.__name__


PROGRAMS: list[Program] = []
REFUSED: list[Program] = []
rng = np.random.default_rng(7)


def program(smooth: bool = True, **inputs: Any) -> Callable[[Fn], Fn]:
    def keep(fn: Fn) -> Fn:
        PROGRAMS.append(Program(fn, inputs, smooth=smooth))
        return fn

    return keep


def refused(error: str, **inputs: Any) -> Callable[[Fn], Fn]:
    def keep(fn: Fn) -> Fn:
        REFUSED.append(Program(fn, inputs, error))
        return fn

    return keep


# -- machine learning --------------------------------------------------------------------------------------------------


@program(x=rng.normal(size=(4, 6)))
def softmax(x):
    x = x - np.max(x, axis=-1, keepdims=True)
    e = np.exp(x)
    return e / e.sum(axis=-1, keepdims=True)


@program(x=rng.normal(size=(4, 6)))
def softmax_in_place(x):
    x -= np.max(x, axis=1)[:, np.newaxis]
    np.exp(x, out=x)
    x /= x.sum(axis=1)[:, np.newaxis]
    return x


@program(w=rng.normal(size=3), b=0.3, X=rng.normal(size=(8, 3)), y=rng.integers(0, 2, 8).astype(float))
def logistic_loss(w, b, X, y):
    z = X.dot(w) + b
    p = 1 / (1 + np.exp(-z))
    eps = 1e-12
    loss = -np.mean(y * np.log(p + eps) + (1 - y) * np.log(1 - p + eps))
    return loss + 0.5 * 0.1 * np.sum(w**2)


@program(x=rng.normal(size=(5, 7)), gamma=rng.normal(size=7), beta=rng.normal(size=7))
def layer_norm(x, gamma, beta, eps=1e-5):
    mu = x.mean(axis=-1, keepdims=True)
    var = x.var(axis=-1, keepdims=True)
    return gamma * (x - mu) / np.sqrt(var + eps) + beta


@program(x=rng.normal(size=(3, 5)))
def gelu(x):
    return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * np.power(x, 3))))


@program(y_true=rng.normal(size=9), y_pred=rng.normal(size=9) * 3)
def huber(y_true, y_pred, delta=1.0):
    r = np.abs(y_true - y_pred)
    quadratic = np.minimum(r, delta)
    linear = r - quadratic
    return np.mean(0.5 * quadratic**2 + delta * linear)


@program(x=rng.normal(size=(6, 4)), W1=rng.normal(size=(4, 5)), b1=rng.normal(size=5), W2=rng.normal(size=(5, 3)),
         b2=rng.normal(size=3))  # fmt: skip
def mlp_forward(x, W1, b1, W2, b2):
    layers = [(W1, b1), (W2, b2)]
    h = x
    for i, (W, b) in enumerate(layers):
        h = h @ W + b
        if i < len(layers) - 1:
            h = np.maximum(0, h)
    return h


@program(logits=rng.normal(size=(6, 4)), labels=rng.integers(0, 4, 6))
def cross_entropy_one_hot(logits, labels):
    one_hot = (labels[:, None] == np.arange(4)).astype(float)
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return -(one_hot * log_p).sum(axis=1).mean()


@program(q=rng.normal(size=(5, 4)), k=rng.normal(size=(6, 4)), v=rng.normal(size=(6, 3)))
def attention_head(q, k, v):
    d = q.shape[-1]
    scores = q @ k.T / np.sqrt(d)
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    weights = weights / weights.sum(axis=-1, keepdims=True)
    return weights @ v


@program(q=rng.normal(size=(2, 5, 4)), k=rng.normal(size=(2, 5, 4)), v=rng.normal(size=(2, 5, 3)))
def causal_attention(q, k, v):
    n, d = q.shape[1:]
    scores = np.einsum("bqd,bkd->bqk", q, k) / np.sqrt(d)
    mask = np.triu(np.ones((n, n), dtype=bool), k=1)
    scores = np.where(mask, -1e9, scores)
    w = np.exp(scores - np.amax(scores, axis=-1, keepdims=True))
    w /= np.sum(w, axis=-1, keepdims=True)
    return np.einsum("bqk,bkd->bqd", w, v)


@program(x=rng.normal(size=4), h=rng.normal(size=3), c=rng.normal(size=3), W=rng.normal(size=(12, 7)),
         b=rng.normal(size=12))  # fmt: skip
def lstm_cell(x, h, c, W, b):
    def sigmoid(t):
        return 1.0 / (1.0 + np.exp(-t))

    z = np.dot(W, np.concatenate([h, x])) + b
    i, f, o, g = np.split(z, 4)
    c_new = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    h_new = sigmoid(o) * np.tanh(c_new)
    return h_new, c_new


@program(X=rng.normal(size=(5, 3)), h0=np.zeros(4), Wx=rng.normal(size=(3, 4)), Wh=rng.normal(size=(4, 4)))
def rnn_states(X, h0, Wx, Wh):
    states = []
    h = h0
    for x in X:
        h = np.tanh(x @ Wx + h @ Wh)
        states.append(h)
    return np.stack(states)


@program(x=rng.normal(size=12), kernel=rng.normal(size=3))
def conv1d(x, kernel):
    n = len(x) - len(kernel) + 1
    return sum(kernel[j] * x[j : j + n] for j in range(len(kernel)))


@program(img=rng.normal(size=(6, 7)), K=rng.normal(size=(3, 3)))
def conv2d_same(img, K):
    h, w = img.shape
    padded = np.pad(img, ((1, 1), (1, 1)))
    out = np.zeros_like(img)
    for i in range(3):
        for j in range(3):
            out += K[i, j] * padded[i : i + h, j : j + w]
    return out


@program(x=rng.normal(size=(2, 4, 6)))
def max_pool(x):
    b, h, w = x.shape
    return x.reshape(b, h // 2, 2, w // 2, 2).max(axis=(2, 4))


@program(x=rng.normal(size=(6, 4)), gamma=rng.normal(size=4), beta=rng.normal(size=4))
def batch_norm(x, gamma, beta):
    mean, var = np.mean(x, axis=0), np.var(x, axis=0)
    x_hat = (x - mean) / np.sqrt(var + 1e-5)
    return {"out": gamma * x_hat + beta, "mean": mean, "var": var}


@program(p=rng.normal(size=5), g=rng.normal(size=5), m=rng.normal(size=5), v=rng.random(5))
def adam_step(p, g, m, v, t=3, lr=1e-2, b1=0.9, b2=0.999, eps=1e-8):
    m = b1 * m + (1 - b1) * g
    v = b2 * v + (1 - b2) * g**2
    m_hat = m / (1 - b1**t)
    v_hat = v / (1 - b2**t)
    return p - lr * m_hat / (np.sqrt(v_hat) + eps), m, v


@program(X=rng.normal(size=(7, 2)), centers=rng.normal(size=(3, 2)))
def kmeans_loss(X, centers):
    d = ((X[:, None, :] - centers[None, :, :]) ** 2).sum(-1)
    nearest = np.argmin(d, axis=1)
    return np.min(d, axis=1).mean(), nearest


@program(X=rng.normal(size=(6, 2)), pi=np.array([0.3, 0.7]), mu=rng.normal(size=(2, 2)), sigma=np.array([0.5, 1.5]))
def gmm_log_likelihood(X, pi, mu, sigma):
    d = X.shape[1]
    total = []
    for k in range(len(pi)):
        sq = np.sum((X - mu[k]) ** 2, axis=1) / sigma[k] ** 2
        total.append(np.log(pi[k]) - 0.5 * sq - d * np.log(sigma[k]) - 0.5 * d * np.log(2 * np.pi))
    lp = np.stack(total)
    m = lp.max(axis=0)
    return np.sum(m + np.log(np.exp(lp - m).sum(axis=0)))


@program(X=rng.normal(size=(5, 3)), Y=rng.normal(size=(4, 3)))
def pairwise_distances(X, Y):
    sq = np.sum(X**2, axis=1)[:, None] + np.sum(Y**2, axis=1)[None, :] - 2 * np.dot(X, Y.T)
    return np.sqrt(np.maximum(sq, 0.0))


@program(X=rng.normal(size=(5, 2)))
def rbf_kernel(X, length=0.8):
    diff = X[:, np.newaxis] - X[np.newaxis, :]
    K = np.exp(-0.5 * np.einsum("ijk,ijk->ij", diff, diff) / length**2)
    return K + 1e-6 * np.eye(len(X))


@program(a=rng.normal(size=(4, 3)), b=rng.normal(size=(4, 3)))
def cosine_similarity(a, b):
    return (a * b).sum(1) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1))


@program(w=rng.normal(size=4), X=rng.normal(size=(6, 4)), y=np.sign(rng.normal(size=6)))
def hinge_loss(w, X, y, C=2.0):
    margins = 1 - y * (X @ w)
    return 0.5 * w.dot(w) + C * np.clip(margins, 0, None).sum()


@program(p=np.array([0.2, 0.5, 0.3]), q=np.array([0.1, 0.6, 0.3]))
def kl_and_entropy(p, q):
    kl = np.sum(np.where(p != 0, p * np.log(p / q), 0))
    return kl, -np.sum(xlogy(p, p))


@program(x=rng.normal(size=8))
def leaky_relu_masked(x):
    out = x.copy()
    out[out < 0] = 0
    return out + 0.01 * np.minimum(x, 0)


@program(scores=rng.normal(size=(4, 4)))
def contrastive_loss(scores):
    n = scores.shape[0]
    log_softmax = scores - np.log(np.sum(np.exp(scores), axis=1, keepdims=True))
    return -np.trace(log_softmax) / n, np.diag(log_softmax)


@program(P=rng.random((4, 3)), labels=np.array([0, 2, 1, 1]))
def picked_probabilities(P, labels):
    return -np.log(P[np.arange(len(labels)), labels]).mean()


# -- test functions of optimisation ------------------------------------------------------------------------------------


@program(x=rng.normal(size=5))
def rosenbrock(x):
    return np.sum(100.0 * (x[1:] - x[:-1] ** 2.0) ** 2.0 + (1 - x[:-1]) ** 2.0)


@program(x=rng.normal(size=3))
def ackley(x, a=20, b=0.2, c=2 * np.pi):
    n = len(x)
    s1 = np.sum(x**2)
    s2 = np.sum(np.cos(c * x))
    return -a * np.exp(-b * np.sqrt(s1 / n)) - np.exp(s2 / n) + a + np.exp(1)


@program(x=rng.normal(size=4))
def rastrigin(x):
    A = 10
    return A * x.size + np.sum(x**2 - A * np.cos(2 * np.pi * x))


@program(xy=np.array([1.0, 2.5]))
def himmelblau(xy):
    x, y = xy
    return (x**2 + y - 11) ** 2 + (x + y**2 - 7) ** 2


@program(x=rng.normal(size=6))
def styblinski_tang(x):
    return 0.5 * sum(xi**4 - 16 * xi**2 + 5 * xi for xi in x)


@program(x=1.2, y=0.4)
def beale(x, y):
    return (1.5 - x + x * y) ** 2 + (2.25 - x + x * y**2) ** 2 + (2.625 - x + x * y**3) ** 2


@program(x=rng.normal(size=4))
def griewank(x):
    i = np.arange(1, len(x) + 1)
    return 1 + np.sum(x**2) / 4000 - np.prod(np.cos(x / np.sqrt(i)))


@program(x=rng.normal(size=4))
def levy(x):
    w = 1 + (x - 1) / 4
    middle = (w[:-1] - 1) ** 2 * (1 + 10 * np.sin(np.pi * w[:-1] + 1) ** 2)
    return np.sin(np.pi * w[0]) ** 2 + middle.sum() + (w[-1] - 1) ** 2 * (1 + np.sin(2 * np.pi * w[-1]) ** 2)


@program(x=np.array([0.3, -0.4]), y=np.array([-0.7, 0.2]))
def goldstein_price(x, y):
    a = 1 + (x + y + 1) ** 2 * (19 - 14 * x + 3 * x**2 - 14 * y + 6 * x * y + 3 * y**2)
    b = 30 + (2 * x - 3 * y) ** 2 * (18 - 32 * x + 12 * x**2 + 48 * y - 36 * x * y + 27 * y**2)
    return a * b


# -- physics and dynamical systems -------------------------------------------------------------------------------------


@program(state=np.array([1.0, 2.0, 3.0]))
def lorenz(state, t=0.0, sigma=10.0, rho=28.0, beta=8 / 3):
    x, y, z = state
    return np.array([sigma * (y - x), x * (rho - z) - y, x * y - beta * z])


@program(y=np.array([1.0, 0.5]))
def van_der_pol_rk4(y, h=0.05):
    def f(y):
        return np.array([y[1], 1.5 * (1 - y[0] ** 2) * y[1] - y[0]])

    for _ in range(4):
        k1 = f(y)
        k2 = f(y + h / 2 * k1)
        k3 = f(y + h / 2 * k2)
        k4 = f(y + h * k3)
        y = y + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
    return y


@program(theta=np.array([0.3, -0.2, 0.1, 0.4]))
def double_pendulum(theta, m1=1.0, m2=2.0, l1=1.0, l2=0.5, g=9.81):
    t1, t2, w1, w2 = theta
    d = t1 - t2
    den = 2 * m1 + m2 - m2 * np.cos(2 * d)
    a1 = (-g * (2 * m1 + m2) * np.sin(t1) - m2 * g * np.sin(t1 - 2 * t2)
          - 2 * np.sin(d) * m2 * (w2**2 * l2 + w1**2 * l1 * np.cos(d))) / (l1 * den)  # fmt: skip
    a2 = 2 * np.sin(d) * (w1**2 * l1 * (m1 + m2) + g * (m1 + m2) * np.cos(t1) + w2**2 * l2 * m2 * np.cos(d))
    return [w1, w2, a1, a2 / (l2 * den)]


@program(z=np.array([10.0, 5.0]))
def lotka_volterra_euler(z, dt=0.01):
    prey, predators = z
    history = [z]
    for _ in range(5):
        prey, predators = (
            prey + dt * (1.1 * prey - 0.4 * prey * predators),
            predators + dt * (0.1 * prey * predators - 0.4 * predators),
        )
        history.append(np.array([prey, predators]))
    return np.array(history)


@program(u=rng.normal(size=10))
def heat_step(u, alpha=0.1):
    un = u.copy()
    un[1:-1] = u[1:-1] + alpha * (u[2:] - 2 * u[1:-1] + u[:-2])
    return un


@program(u=rng.normal(size=9))
def heat_many_steps(u):
    for _ in range(6):
        u[1:-1] += 0.2 * (u[2:] - 2 * u[1:-1] + u[:-2])
        u[0] = u[-1] = 0
    return u


@program(u=rng.normal(size=8), u_prev=rng.normal(size=8))
def wave_step(u, u_prev, c=0.5):
    u_next = np.zeros_like(u)
    u_next[1:-1] = 2 * u[1:-1] - u_prev[1:-1] + c**2 * (u[2:] - 2 * u[1:-1] + u[:-2])
    u_next[0], u_next[-1] = 0.0, u_next[-2]
    return u_next, u


@program(u=rng.normal(size=(6, 5)))
def laplacian_2d(u, dx=0.1):
    lap = np.zeros_like(u)
    lap[1:-1, 1:-1] = (u[2:, 1:-1] + u[:-2, 1:-1] + u[1:-1, 2:] + u[1:-1, :-2] - 4 * u[1:-1, 1:-1]) / dx**2
    return lap


@program(U=rng.random((5, 5)), V=rng.random((5, 5)))
def gray_scott_step(U, V, Du=0.16, Dv=0.08, F=0.035, k=0.065):
    def lap(Z):
        return np.roll(Z, 1, 0) + np.roll(Z, -1, 0) + np.roll(Z, 1, 1) + np.roll(Z, -1, 1) - 4 * Z

    uvv = U * V * V
    U += Du * lap(U) - uvv + F * (1 - U)
    V += Dv * lap(V) + uvv - (F + k) * V
    return U, V


@program(smooth=False, board=rng.integers(0, 2, (6, 6)))
def game_of_life(board):
    neighbours = sum(np.roll(np.roll(board, i, 0), j, 1) for i in (-1, 0, 1) for j in (-1, 0, 1) if (i, j) != (0, 0))
    return ((neighbours == 3) | ((board == 1) & (neighbours == 2))).astype(int)


@program(u=rng.normal(size=12))
def burgers_upwind(u, dt=0.01, dx=0.1):
    f = 0.5 * u**2
    flux = np.where(u > 0, f - np.roll(f, 1), np.roll(f, -1) - f)
    return u - dt / dx * flux


@program(p=rng.normal(size=(5, 5)), b=rng.normal(size=(5, 5)))
def pressure_poisson(p, b, dx=0.1):
    for _ in range(3):
        pn = p.copy()
        p[1:-1, 1:-1] = 0.25 * (pn[1:-1, 2:] + pn[1:-1, :-2] + pn[2:, 1:-1] + pn[:-2, 1:-1] - dx**2 * b[1:-1, 1:-1])
        p[:, -1] = p[:, -2]
        p[0, :] = p[1, :]
        p[:, 0] = p[:, 1]
        p[-1, :] = 0
    return p


@program(pos=rng.normal(size=(4, 3)), mass=rng.random(4) + 0.5)
def n_body_potential(pos, mass, G=1.0, eps=0.01):
    energy = 0.0
    for i in range(len(mass)):
        for j in range(i + 1, len(mass)):
            r = np.sqrt(np.sum((pos[i] - pos[j]) ** 2) + eps**2)
            energy -= G * mass[i] * mass[j] / r
    return energy


@program(pos=rng.normal(size=(4, 3)), mass=rng.random(4) + 0.5)
def n_body_acceleration(pos, mass, softening=0.1):
    x, y, z = pos[:, 0:1], pos[:, 1:2], pos[:, 2:3]
    dx, dy, dz = x.T - x, y.T - y, z.T - z
    inv_r3 = (dx**2 + dy**2 + dz**2 + softening**2) ** (-1.5)
    return np.hstack(((dx * inv_r3) @ mass[:, None], (dy * inv_r3) @ mass[:, None], (dz * inv_r3) @ mass[:, None]))


@program(x=rng.normal(size=(6, 2)))
def spring_chain_energy(x, k=2.0, rest=0.7):
    d = np.diff(x, axis=0)
    length = np.hypot(d[:, 0], d[:, 1])
    return 0.5 * k * np.sum((length - rest) ** 2)


@program(r=rng.random((5, 3)) * 3)
def lennard_jones(r, eps=1.0, sig=0.5):
    i, j = np.triu_indices(len(r), k=1)
    d = r[i] - r[j]
    s6 = (sig**2 / (d * d).sum(axis=-1)) ** 3
    return 4 * eps * np.sum(s6**2 - s6)


@program(q=np.array([0.9, 0.1, -0.3, 0.2]), v=rng.normal(size=3))
def quaternion_rotate(q, v):
    q = q / np.linalg.norm(q)
    w, u = q[0], q[1:]
    t = 2 * np.cross(u, v)
    return v + w * t + np.cross(u, t)


@program(axis=rng.normal(size=3), angle=0.7)
def rodrigues_matrix(axis, angle):
    x, y, z = axis / np.sqrt(np.dot(axis, axis))
    K = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * K + (1 - np.cos(angle)) * (K @ K)


@program(yaw=0.3, pitch=-0.2, roll=0.5)
def euler_matrix(yaw, pitch, roll):
    cy, sy, cp, sp, cr, sr = np.cos(yaw), np.sin(yaw), np.cos(pitch), np.sin(pitch), np.cos(roll), np.sin(roll)
    Rz = np.array([[cy, -sy, 0], [sy, cy, 0], [0, 0, 1]])
    Ry = np.array([[cp, 0, sp], [0, 1, 0], [-sp, 0, cp]])
    Rx = np.array([[1, 0, 0], [0, cr, -sr], [0, sr, cr]])
    return Rz @ Ry @ Rx


@program(theta=np.array([0.4, -0.8, 1.1]))
def forward_kinematics(theta):
    T = np.eye(4)
    for t, (a, d) in zip(theta, [(1.0, 0.1), (0.8, 0.0), (0.3, 0.2)], strict=True):
        c, s = np.cos(t), np.sin(t)
        T = T @ np.array([[c, -s, 0, a * c], [s, c, 0, a * s], [0, 0, 1, d], [0, 0, 0, 1]])
    return T[:3, 3]


@program(x=rng.normal(size=4), P=np.eye(4) * 0.3, z=rng.normal(size=1))
def kalman_step(x, P, z, dt=0.1, q=0.01, r=0.2):
    F = np.eye(4) + dt * np.diag(np.ones(3), k=1)
    H = np.array([[1.0, 0, 0, 0]])
    x = F @ x
    P = F @ P @ F.T + q * np.eye(4)
    S = H @ P @ H.T + r
    K = P @ H.T / S
    x = x + K @ (z - H @ x)
    P = (np.eye(4) - K @ H) @ P
    return x, P


# -- numerical methods -------------------------------------------------------------------------------------------------


@program(coeffs=rng.normal(size=5), x=rng.normal(size=6))
def horner(coeffs, x):
    result = 0
    for c in reversed(coeffs):
        result = result * x + c
    return result


@program(points=rng.normal(size=(4, 2)), t=0.3)
def de_casteljau(points, t):
    pts = [p for p in points]  # noqa: C416
    while len(pts) > 1:
        pts = [(1 - t) * a + t * b for a, b in zip(pts[:-1], pts[1:], strict=True)]  # noqa: RUF007
    return pts[0]


@program(points=rng.normal(size=(4, 2)))
def bezier_curve(points):
    t = np.linspace(0, 1, 7)[:, None]
    n = len(points) - 1
    return sum(math.comb(n, i) * t**i * (1 - t) ** (n - i) * p for i, p in enumerate(points))


@program(x=rng.random(5) * 2 - 1)
def legendre(x, n=5):
    P = [np.ones_like(x), x]
    for k in range(1, n):
        P.append(((2 * k + 1) * x * P[k] - k * P[k - 1]) / (k + 1))
    return np.array(P)


@program(x=rng.random(5) * 2 - 1)
def chebyshev_clenshaw(x):
    c = [0.3, -0.2, 0.7, 0.1]
    b1 = b2 = 0.0
    for ck in c[:0:-1]:
        b1, b2 = 2 * x * b1 - b2 + ck, b1
    return c[0] + x * b1 - b2


@program(y=rng.normal(size=9), x=np.sort(rng.random(9)))
def trapezoid_rule(y, x):
    return np.sum((y[1:] + y[:-1]) / 2 * np.diff(x)), np.trapezoid(y, x)


@program(a=0.0, b=1.5)
def simpson(a, b, n=8):
    x = np.linspace(a, b, n + 1)
    y = np.exp(-(x**2))
    h = (b - a) / n
    return h / 3 * (y[0] + 4 * np.sum(y[1:-1:2]) + 2 * np.sum(y[2:-2:2]) + y[-1])


@program(x=rng.normal(size=10))
def moving_average(x, w=3):
    return np.stack([x[i : i + w].mean() for i in range(len(x) - w + 1)])


@program(x=rng.normal(size=10))
def smooth_convolve(x):
    return np.convolve(x, np.ones(4) / 4, mode="valid")


@program(x=rng.normal(size=10))
def exponential_smoothing(x, alpha=0.3):
    s = [x[0]]
    for value in x[1:]:
        s.append(alpha * value + (1 - alpha) * s[-1])
    return np.array(s)


@program(x=rng.normal(size=7))
def welford(x):
    mean, m2 = 0.0, 0.0
    for n, value in enumerate(x, start=1):
        delta = value - mean
        mean += delta / n
        m2 += delta * (value - mean)
    return mean, m2 / (len(x) - 1)


@program(x=rng.normal(size=8))
def dft_real(x):
    n = np.arange(len(x))
    angle = 2 * np.pi * np.outer(n, n) / len(x)
    re, im = np.cos(angle) @ x, -np.sin(angle) @ x
    return np.sqrt(re**2 + im**2)


@program(x=rng.normal(size=8))
def haar_wavelet(x):
    out = []
    while len(x) > 1:
        out.append((x[0::2] - x[1::2]) / np.sqrt(2))
        x = (x[0::2] + x[1::2]) / np.sqrt(2)
    out.append(x)
    return np.concatenate(out[::-1])


@program(x=rng.random(4) + 0.5)
def newton_sqrt(x):
    y = x
    for _ in range(6):
        y = 0.5 * (y + x / y)
    return y


@program(A=np.diag([4.0, 5.0, 6.0]) + rng.normal(size=(3, 3)), b=rng.normal(size=3))
def jacobi_iteration(A, b):
    D = np.diag(A)
    R = A - np.diagflat(D)
    x = np.zeros_like(b)
    for _ in range(8):
        x = (b - R @ x) / D
    return x


@program(A=np.diag([4.0, 5.0, 6.0]) + 0.5, b=rng.normal(size=3))
def conjugate_gradient(A, b):
    x = np.zeros_like(b)
    r = b - A @ x
    p = r
    for _ in range(2):
        Ap = A @ p
        alpha = r @ r / (p @ Ap)
        x = x + alpha * p
        r_new = r - alpha * Ap
        p = r_new + (r_new @ r_new) / (r @ r) * p
        r = r_new
    return x


@program(A=np.diag([4.0, 5.0, 6.0]) + 0.5, b=rng.normal(size=3))
def gaussian_elimination(A, b):
    n = len(b)
    for k in range(n):
        for i in range(k + 1, n):
            factor = A[i, k] / A[k, k]
            A[i, k:] -= factor * A[k, k:]
            b[i] -= factor * b[k]
    x = np.zeros_like(b)
    for i in range(n - 1, -1, -1):
        x[i] = (b[i] - A[i, i + 1 :] @ x[i + 1 :]) / A[i, i]
    return x


@program(A=np.diag([4.0, 5.0, 6.0]) + 0.5)
def cholesky_loop(A):
    n = A.shape[0]
    L = np.zeros_like(A)
    for i in range(n):
        for j in range(i + 1):
            s = A[i, j] - np.dot(L[i, :j], L[j, :j])
            L[i, j] = np.sqrt(s) if i == j else s / L[j, j]
    return L


@program(d=np.array([4.0, 5.0, 4.5, 5.5]), l=rng.normal(size=3), u=rng.normal(size=3), b=rng.normal(size=4))
def thomas_algorithm(d, l, u, b):
    d, b = d.copy(), b.copy()
    for i in range(1, len(d)):
        w = l[i - 1] / d[i - 1]
        d[i] -= w * u[i - 1]
        b[i] -= w * b[i - 1]
    x = np.empty_like(b)
    x[-1] = b[-1] / d[-1]
    for i in reversed(range(len(d) - 1)):
        x[i] = (b[i] - u[i] * x[i + 1]) / d[i]
    return x


@program(A=rng.normal(size=(4, 4)))
def power_iteration(A):
    v = np.ones(4)
    for _ in range(5):
        v = A @ v
        v = v / np.linalg.norm(v)
    return v @ A @ v


@program(V=rng.normal(size=(3, 4)))
def gram_schmidt(V):
    basis = []
    for v in V:
        w = v - sum(np.dot(v, b) * b for b in basis)
        basis.append(w / np.sqrt(np.sum(w**2)))
    return np.array(basis)


@program(f=rng.normal(size=(4, 5)))
def slopes(f):
    gy, gx = np.gradient(f, 0.5)
    return np.sqrt(gx**2 + gy**2)


@program(img=rng.normal(size=(4, 5)))
def bilinear(img, r=1.25, c=2.5):
    i, j = int(r), int(c)
    a, b = r - i, c - j
    top = (1 - b) * img[i, j] + b * img[i, j + 1]
    bottom = (1 - b) * img[i + 1, j] + b * img[i + 1, j + 1]
    return (1 - a) * top + a * bottom


@program(smooth=False, x=rng.normal(size=6))
def centre_and_scale(x):
    x = x - x.mean()
    x /= x.std(ddof=1)
    return x.round(3)


# -- geometry, finance, statistics, signals ----------------------------------------------------------------------------


@program(lat1=48.1, lon1=11.6, lat2=52.5, lon2=13.4)
def haversine(lat1, lon1, lat2, lon2, radius=6371.0):
    lat1, lon1, lat2, lon2 = map(np.radians, [lat1, lon1, lat2, lon2])
    a = np.sin((lat2 - lat1) / 2) ** 2 + np.cos(lat1) * np.cos(lat2) * np.sin((lon2 - lon1) / 2) ** 2
    return 2 * radius * np.arcsin(np.sqrt(a))


@program(xyz=rng.normal(size=(5, 3)))
def to_spherical(xyz):
    x, y, z = xyz.T
    r = np.sqrt(x**2 + y**2 + z**2)
    return np.stack([r, np.arccos(z / r), np.arctan2(y, x)], axis=-1)


@program(poly=rng.normal(size=(5, 2)))
def shoelace_area(poly):
    x, y = poly[:, 0], poly[:, 1]
    return 0.5 * np.abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1)))


@program(a=rng.normal(size=3), b=rng.normal(size=3), c=rng.normal(size=3))
def triangle_normal(a, b, c):
    n = np.cross(b - a, c - a)
    area = np.linalg.norm(n) / 2
    return n / (2 * area), area


@program(smooth=False, re=np.linspace(-1, 1, 4), im=np.linspace(-1, 1, 4))
def mandelbrot_count(re, im, iterations=6):
    cr, ci = np.meshgrid(re, im)
    zr, zi = np.zeros_like(cr), np.zeros_like(ci)
    count = np.zeros_like(cr)
    for _ in range(iterations):
        zr, zi = zr * zr - zi * zi + cr, 2 * zr * zi + ci
        count += zr * zr + zi * zi < 4
    return count


@program(rgb=rng.random((3, 4, 3)))
def rgb_to_gray(rgb):
    return np.dot(rgb[..., :3], [0.2989, 0.5870, 0.1140])


@program(smooth=False, img=rng.normal(size=(4, 4)))
def threshold_image(img):
    out = img.copy()
    out[img > 0.5] = 1.0
    out[img < -0.5] = -1.0
    return out


@program(S=np.array([90.0, 100.0, 110.0]), K=100.0, T=0.5, r=0.03, sigma=0.25)
def black_scholes(S, K, T, r, sigma):
    d1 = (np.log(S / K) + (r + sigma**2 / 2) * T) / (sigma * np.sqrt(T))
    d2 = d1 - sigma * np.sqrt(T)

    def cdf(x):
        return 0.5 * (1 + erf(x / np.sqrt(2)))

    return S * cdf(d1) - K * np.exp(-r * T) * cdf(d2)


@program(w=np.array([0.2, 0.5, 0.3]), returns=rng.normal(size=(8, 3)))
def portfolio_sharpe(w, returns):
    mu = returns.mean(axis=0)
    centred = returns - mu
    cov = centred.T @ centred / (len(returns) - 1)
    return (w @ mu) / np.sqrt(w.T @ cov @ w)


@program(x=rng.normal(size=8), y=rng.normal(size=8))
def pearson(x, y):
    xm, ym = x - x.mean(), y - y.mean()
    return (xm * ym).sum() / np.sqrt((xm**2).sum() * (ym**2).sum())


@program(x=rng.normal(size=8), y=rng.normal(size=8))
def simple_regression(x, y):
    A = np.vstack([x, np.ones(len(x))]).T
    M, v = A.T @ A, A.T @ y
    det = M[0, 0] * M[1, 1] - M[0, 1] * M[1, 0]
    slope = (M[1, 1] * v[0] - M[0, 1] * v[1]) / det
    return slope, (M[0, 0] * v[1] - M[1, 0] * v[0]) / det


@program(x=np.array([1.0, np.nan, 3.0, 2.0]), smooth=False)
def nan_statistics(x):
    m = np.nanmean(x)
    return m, np.nansum((x - m) ** 2), np.where(np.isnan(x), m, x), np.count_nonzero(~np.isnan(x))


@program(x=rng.normal(size=6), mu=0.1, log_sigma=-0.2)
def normal_log_pdf(x, mu, log_sigma):
    s = np.exp(log_sigma)
    return np.sum(-0.5 * ((x - mu) / s) ** 2 - np.log(s) - 0.5 * np.log(2 * np.pi))


@program(x=rng.normal(size=5))
def scipy_special(x):
    return expit(x) * erf(x) + np.logaddexp(0, x)


@program(x=np.linspace(-2.2, 4.1, 7))
def piecewise_select(x):
    return np.select([x < 0, x < 1.5], [x**2, np.sin(x)], default=1 / (1 + x))


@program(t=np.linspace(0.05, 1, 6))
def damped_oscillation(t, A=2.0, gamma=0.5, omega=6.0, phi=0.1):
    envelope = A * np.exp(-gamma * t)
    return np.column_stack((envelope * np.cos(omega * t + phi), envelope, -envelope))


@program(x=np.linspace(0.1, 0.9, 6))
def window_and_sinc(x):
    return (0.54 - 0.46 * np.cos(2 * np.pi * x)) * np.sinc(4 * (x - 0.43))


@program(A=rng.normal(size=(3, 3)))
def matrix_exponential(A):
    term = result = np.eye(3)
    for k in range(1, 8):
        term = term @ A / k
        result = result + term
    return result


@program(P=np.array([[0.9, 0.1], [0.4, 0.6]]))
def markov_power(P):
    return np.linalg.matrix_power(P, 5)[0]


@program(psi=rng.normal(size=4))
def quantum_expectation(psi):
    psi = psi / np.sqrt(np.vdot(psi, psi))
    X, Z = np.array([[0, 1], [1, 0]]), np.diag([1, -1])
    return psi @ np.kron(X, Z) @ psi


@program(log_a=np.log(np.full((3, 3), 1 / 3)), log_b=rng.normal(size=(3, 4)))
def hmm_forward(log_a, log_b):
    alpha = log_b[:, 0] - np.log(3)
    for t in range(1, log_b.shape[1]):
        m = alpha[:, None] + log_a
        top = m.max(axis=0)
        alpha = log_b[:, t] + top + np.log(np.exp(m - top).sum(axis=0))
    return np.logaddexp.reduce(alpha)


@program(D=rng.random((4, 4)))
def floyd_warshall(D):
    D = D.copy()
    np.fill_diagonal(D, 0)
    for k in range(len(D)):
        D = np.minimum(D, D[:, k, None] + D[None, k, :])
    return D


@program(smooth=False, a=np.array([3.0, 1.0, 2.0, 0.5]))
def bubble_sort_network(a):
    a = a.copy()
    for i in range(len(a)):
        for j in range(len(a) - 1 - i):
            low, high = np.minimum(a[j], a[j + 1]), np.maximum(a[j], a[j + 1])
            a[j], a[j + 1] = low, high
    return a


@program(x=rng.normal(size=(3, 3)))
def symmetrise(x):
    x += x.T.copy()
    x[np.diag_indices(3)] /= 2
    return x


@program(counts=np.array([4.0, 1.0, 5.0]), T=rng.random((3, 3)))
def normalise_rows(counts, T):
    T /= T.sum(axis=1)[:, None]
    row = T[0]
    row *= 2
    p = counts / counts.sum()
    return T, p @ T


# -- what symbols refuse: each names the advice that its error gives ---------------------------------------------------


@refused(r"np\.zeros_like\(x\)|np\.zeros\(3, like=x\)", x=np.array([1.0, 2.0, 3.0]))
def prefix_sums(x):
    out = np.zeros(len(x))
    out[0] = x[0]
    for i in range(1, len(x)):
        out[i] = out[i - 1] + x[i]
    return out


@refused(r"a = a \+ x instead of a \+= x", X=rng.normal(size=(3, 2)))
def scatter_matrix(X):
    S = np.zeros((2, 2))
    for x in X:
        S += np.outer(x, x)
    return S


@refused(r"sg\.constant\(table\)\[i\]", codes=np.array([0, 2, 1]))
def look_up(codes):
    table = np.array([0.5, 1.5, 2.5])
    return table[codes].sum()


@refused(r"np\.where\(condition, x, y\)", x=0.7)
def branch_on_value(x):
    if x > 0:
        return np.sqrt(x)
    return -x


@refused(r"np\.where\(condition, x, y\)", x=1.3)
def iterate_until_converged(x):
    y = x
    while abs(y * y - x) > 1e-9:
        y = 0.5 * (y + x / y)
    return y


@refused(r"np\.where\(condition, x, y\)", x=np.array([0.2, 0.9]))
def python_maximum(x):
    return max(x[0], x[1])


@refused("NumPy's function instead of the math module's", x=0.7)
def math_module(x):
    return math.sin(x) ** 2


@refused(r"numpy\.linalg\.solve is not available", A=np.eye(2), b=np.ones(2))
def least_squares_solve(A, b):
    return np.linalg.solve(A.T @ A, A.T @ b)


@refused(r"numpy\.linalg\.inv is not available", A=np.eye(2))
def mahalanobis(A):
    return np.ones(2) @ np.linalg.inv(A) @ np.ones(2)


@refused(r"numpy\.linalg\.eigh is not available", A=np.eye(2))
def spectral_gap(A):
    w, _ = np.linalg.eigh(A)
    return w[1] - w[0]


@refused(r"numpy\.cumsum is not available", x=np.ones(4))
def drawdown(x):
    total = np.cumsum(x)
    return np.max(total) - total[-1]


@refused(r"\.cumsum is not available on symbols", x=np.ones(4))
def cumulative_method(x):
    return x.cumsum()


@refused(r"numpy\.sort is not available", x=np.ones(4))
def trimmed_mean(x):
    return np.sort(x)[1:-1].mean()


@refused(r"numpy\.median is not available", x=np.ones(4))
def median_deviation(x):
    return np.median(np.abs(x - np.median(x)))


@refused(r"numpy\.interp is not available", x=np.ones(4))
def linear_interpolation(x):
    return np.interp(x, [0.0, 1.0, 2.0], [3.0, 5.0, 4.0])


@refused(r"numpy\.fft\.fft is not available", x=np.ones(4))
def power_spectrum(x):
    return np.abs(np.fft.fft(x)) ** 2


@refused(r"leave np\.asarray out", x=np.ones(4))
def defensive_conversion(x):
    x = np.asarray(x, dtype=float)
    return x.sum()


@refused(r"np\.where\(mask, x, 0\)", x=np.array([1.0, -2.0, 3.0]))
def masked_values(x):
    positive = x[x > 0]
    return positive.sum()


@refused(r"np\.where\(mask, x, 0\)", x=np.array([1.0, -2.0, 3.0]))
def masked_scaling(x):
    x[x < 0] *= 0.1
    return x


@refused(r"give all three arguments", x=np.array([1.0, -2.0, 3.0]))
def positions_where(x):
    return np.where(x > 0)[0]


@refused(r"np\.where\(condition, x, y\)", x=np.array([1.0, -2.0, 3.0]))
def vectorised_branch(x):
    return np.vectorize(lambda t: t * t if t > 0 else 0.0)(x)


@refused(r"a formula gives arrays", x=np.array([1.0, -2.0, 3.0]))
def formatted(x):
    return f"{x.sum()}"


@refused(r"a function that needs numbers got an ndarray of symbols", x=np.array([1.0, 2.0, 3.0]))
def random_normal(x):
    return np.random.default_rng(0).normal(x, 0.1)


@refused(r"np\.stack\(\[x, y\]\)", S0=100.0, vol=0.2, z=rng.normal(size=(6, 4)))
def asian_option(S0, vol, z, r=0.01, T=1.0):
    dt = T / z.shape[1]
    s = S0
    path = []
    for k in range(z.shape[1]):
        s = s * np.exp((r - 0.5 * vol**2) * dt + vol * np.sqrt(dt) * z[:, k])
        path.append(s)
    payoff = np.maximum(np.mean(path, axis=0) - 100.0, 0)
    return np.exp(-r * T) * payoff.mean()
