# SPDX-License-Identifier: MIT
"""What the tests hold kalscan against: the textbook recurrences, step by step, in numpy's float64."""

import numpy as np


def per_token(x, B, L):
    """A parameter as [B, L, M, S], whatever it was given as."""
    return np.broadcast_to(x if x.ndim == 4 else x[None, None], (B, L, *x.shape[-2:]))


def rotation(r):
    """Rotation matrices [..., 3, 3] of quaternions (w, x, y, z) of any length."""
    w, x, y, z = np.moveaxis(r / np.linalg.norm(r, axis=-1, keepdims=True), -1, 0)
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return np.stack([np.stack(row, -1) for row in rows], -2)


def kla(v, Lambda, k, q, a, p, mean=None, variance=None, predicted=False, r=None):
    """y, yvar, mean, variance. With r the values, means and y have a last axis of three that turns. Information form,
    as the paper has it, where the variance is finite and positive."""
    B, L, M = v.shape[:3]
    S = k.shape[2]
    a, p = per_token(a, B, L), per_token(p, B, L)
    turns = rotation(r) if r is not None else None
    if mean is None:
        mean, variance = np.zeros((B, M, S) + v.shape[3:]), np.ones((B, M, S))
    ys, yvars = [], []
    vector = v.ndim == 4
    of = (lambda x: x[..., None]) if vector else (lambda x: x)
    for t in range(L):
        turned = np.einsum("bmij,bmsj->bmsi", turns[:, t], mean) if vector else mean
        ahead = a[:, t] ** 2 * variance + p[:, t]
        phi = Lambda[:, t, :, None] * k[:, t, None, :] ** 2
        variance = ahead / (1 + phi * ahead)
        info = of(Lambda[:, t, :, None] * k[:, t, None, :]) * (v[:, t, :, None] if not vector else v[:, t, :, None, :])
        mean = of(variance) * (of(a[:, t] / np.where(ahead > 0, ahead, 1)) * turned + info)
        read, var = mean, variance
        if predicted:
            ahead = np.einsum("bmij,bmsj->bmsi", turns[:, t], mean) if vector else mean
            read, var = of(a[:, t]) * ahead, a[:, t] ** 2 * variance + p[:, t]
        ys.append((of(q[:, t, None, :]) * read).sum(2))
        yvars.append((q[:, t, None, :] ** 2 * var).sum(2))
    return np.stack(ys, 1), np.stack(yvars, 1), mean, variance


def gla(v, k, q, g, h=None):
    B, L, M = v.shape
    g = per_token(g, B, L)
    h = np.zeros((B, M, k.shape[2])) if h is None else h
    ys = []
    for t in range(L):
        h = g[:, t] * h + k[:, t, None, :] * v[:, t, :, None]
        ys.append((q[:, t, None, :] * h).sum(2))
    return np.stack(ys, 1), None, h, None


def matrix_filter(F, Q, H, R, mean, covariance, y, before=False):
    """Lists of filtered and predicted beliefs, the log-likelihood, and Rauch-Tung-Striebel's smoothed beliefs."""
    at = lambda x, t: x[t] if x.ndim == 3 else x
    filtered, predicted, total = [], [], 0.0
    for t in range(len(y)):
        if t > 0 or before:
            mean, covariance = at(F, t) @ mean, at(F, t) @ covariance @ at(F, t).T + at(Q, t)
        predicted.append((mean, covariance))
        seen = ~np.isnan(y[t])
        if seen.any():
            h = at(H, t)[seen]
            s = h @ covariance @ h.T + at(R, t)[np.ix_(seen, seen)]
            e = y[t][seen] - h @ mean
            gain = covariance @ h.T @ np.linalg.inv(s)
            total -= 0.5 * (e @ np.linalg.solve(s, e) + np.linalg.slogdet(2 * np.pi * s)[1])
            mean, covariance = mean + gain @ e, covariance - gain @ s @ gain.T
        filtered.append((mean, covariance))
    smoothed = [filtered[-1]]
    for t in range(len(y) - 2, -1, -1):
        (m, P), (m1, P1), (ms, Ps) = filtered[t], predicted[t + 1], smoothed[0]
        gain = P @ at(F, t + 1).T @ np.linalg.inv(P1)
        smoothed.insert(0, (m + gain @ (ms - m1), P + gain @ (Ps - P1) @ gain.T))
    return filtered, predicted, total, smoothed
