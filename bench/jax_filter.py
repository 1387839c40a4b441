#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The peer of the matrix filter on a device: JAX's associative_scan with the filtering element's combine.

    bench/jax_filter.py            a row for each size: ms, median of 20 calls, and the largest error against a loop

Two forms: `solve`, with batched matrices and jnp.linalg.solve, as one writes it; and `unrolled`, with every number of a
matrix an array over time, which XLA fuses into a few loops. Float, constant models, means and covariances out.
"""
import time

import jax
import jax.numpy as jnp
import numpy as np


def model(n, m):
    """Constant velocity in m directions (n = 2 m), or a local trend (n 2, m 1)."""
    F = np.eye(n)
    F[:m, m:] += 0.1 * np.eye(n - m)[:m] if n == 2 * m else 0
    Q = 0.02 * np.eye(n) + 0.01
    H = np.eye(m, n)
    R = 0.5 * np.eye(m)
    return [x.astype(np.float32) for x in (F, Q, H, R)]


def leaves_of(F, Q, H, R):
    S = H @ Q @ H.T + R
    K = Q @ H.T @ np.linalg.inv(S)
    I = np.eye(len(F), dtype=np.float32)
    G = F.T @ H.T @ np.linalg.inv(S)
    return (I - K @ H) @ F, K, (I - K @ H) @ Q, G, G @ H @ F


def first_leaf(F, Q, H, R):
    """From N(0, I) before the first step: a belief as an element, whose A and J are 0."""
    P = F @ F.T + Q
    K = P @ H.T @ np.linalg.inv(H @ P @ H.T + R)
    return K, (np.eye(len(F), dtype=np.float32) - K @ H) @ P


def solve_form(F, Q, H, R):
    A0, K0, C0, G0, J0 = leaves_of(F, Q, H, R)
    K1, C1 = first_leaf(F, Q, H, R)
    I = jnp.eye(len(F), dtype=jnp.float32)

    def combine(x, y):
        A1, b1, C1, e1, J1 = x
        A2, b2, C2, e2, J2 = y
        t = lambda z: jnp.swapaxes(z, -1, -2)
        D = t(jnp.linalg.solve(t(I + C1 @ J2), t(A2)))  # A2 (I + C1 J2)^-1
        E = t(jnp.linalg.solve(I + C1 @ J2, A1))  # A1' (I + J2 C1)^-1
        v = lambda M, z: (M @ z[..., None])[..., 0]
        return D @ A1, v(D, b1 + v(C1, e2)) + b2, D @ C1 @ t(A2) + C2, v(E, e2 - v(J2, b1)) + e1, E @ J2 @ A1 + J1

    def run(y):
        T = y.shape[0]
        all_ = lambda X: jnp.broadcast_to(X, (T,) + X.shape)
        A = all_(A0).at[0].set(0)
        C = all_(C0).at[0].set(C1)
        J = all_(J0).at[0].set(0)
        b = (y @ K0.T).at[0].set(K1 @ y[0])
        e = (y @ G0.T).at[0].set(0)
        _, mean, cov, _, _ = jax.lax.associative_scan(combine, (A, b, C, e, J))
        return mean, cov

    return jax.jit(run)


def unrolled_form(F, Q, H, R):
    n = len(F)
    A0, K0, C0, G0, J0 = leaves_of(F, Q, H, R)
    K1, C1_ = first_leaf(F, Q, H, R)

    def mul(X, Y):
        return [[sum(X[i][k] * Y[k][j] for k in range(n)) for j in range(n)] for i in range(n)]

    def vec(X, z):
        return [sum(X[i][k] * z[k] for k in range(n)) for i in range(n)]

    def tr(X):
        return [[X[j][i] for j in range(n)] for i in range(n)]

    def add(X, Y):
        return [[X[i][j] + Y[i][j] for j in range(n)] for i in range(n)]

    def inverse(M):
        """Gauss and Jordan, without pivots: I + C J has none that are small."""
        M = [[*M[i], *[jnp.ones_like(M[0][0]) if i == j else jnp.zeros_like(M[0][0]) for j in range(n)]] for i in range(n)]
        for k in range(n):
            r = 1 / M[k][k]
            M[k] = [x * r for x in M[k]]
            for i in range(n):
                if i != k:
                    f = M[i][k]
                    M[i] = [x - f * z for x, z in zip(M[i], M[k])]
        return [row[n:] for row in M]

    def combine(x, y):
        A1, b1, C1, e1, J1 = x
        A2, b2, C2, e2, J2 = y
        CJ = mul(C1, J2)
        W = inverse([[CJ[i][j] + (i == j) for j in range(n)] for i in range(n)])
        D = mul(A2, W)
        E = mul(tr(A1), tr(W))
        c = vec(C1, e2)
        j = vec(J2, b1)
        b = vec(D, [p + q for p, q in zip(b1, c)])
        e = vec(E, [p - q for p, q in zip(e2, j)])
        return (mul(D, A1), [p + q for p, q in zip(b, b2)], add(mul(mul(D, C1), tr(A2)), C2),
                [p + q for p, q in zip(e, e1)], add(mul(mul(E, J2), A1), J1))

    def run(y):
        T = y.shape[0]
        first = lambda X, x0: [[jnp.full(T, X[i][j]).at[0].set(x0[i][j]) for j in range(n)] for i in range(n)]
        zero = np.zeros((n, n), np.float32)
        ys = [y[:, i] for i in range(y.shape[1])]
        lin = lambda K, k1: [
            sum(K[i][j] * ys[j] for j in range(len(ys))).at[0].set(sum(k1[i][j] * ys[j][0] for j in range(len(ys))))
            for i in range(n)]
        x = (first(A0, zero), lin(K0, K1), first(C0, C1_), lin(G0, np.zeros_like(G0)), first(J0, zero))
        _, mean, cov, _, _ = jax.lax.associative_scan(combine, x)
        return jnp.stack(mean, -1), jnp.stack([jnp.stack(row, -1) for row in cov], -2)

    return jax.jit(run)


def loop(F, Q, H, R, y):
    F, Q, H, R = [x.astype(np.float64) for x in (F, Q, H, R)]
    m, P, means = np.zeros(len(F)), np.eye(len(F)), []
    for v in y:
        m, P = F @ m, F @ P @ F.T + Q
        K = P @ H.T @ np.linalg.inv(H @ P @ H.T + R)
        m, P = m + K @ (v - H @ m), P - K @ H @ P
        means.append(m)
    return np.array(means)


def main():
    print(f"jax {jax.__version__}, {jax.devices()[0].device_kind}")
    for T in (10_000, 1_000_000):
        for n, m in ((2, 1), (4, 2)):
            parts = model(n, m)
            y = jnp.asarray(np.random.default_rng(1).normal(size=(T, m)).astype(np.float32))
            exact = loop(*parts, np.asarray(y[:2000], dtype=np.float64))
            for name, form in (("solve", solve_form), ("unrolled", unrolled_form)):
                run = form(*parts)
                mean, _ = jax.block_until_ready(run(y))
                error = float(np.abs(np.asarray(mean[:2000]) - exact).max())
                times = []
                for _ in range(20):
                    begin = time.perf_counter()
                    jax.block_until_ready(run(y))
                    times.append(time.perf_counter() - begin)
                print(f"T {T:8d} n {n} m {m} {name:9s} {1e3 * sorted(times)[10]:9.3f} ms   error {error:.1e}", flush=True)


if __name__ == "__main__":
    main()
