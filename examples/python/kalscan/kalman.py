# SPDX-License-Identifier: MIT
"""Kalman filter, smoother and log-likelihood of linear-Gaussian models with matrix states, on the CPU.

x_t = F_t x_(t-1) + B_t u_t + w_t, w_t ~ N(0, Q_t);   y_t = H_t x_t + D_t u_t + v_t, v_t ~ N(0, R_t)
"""

from ctypes import byref
from dataclasses import dataclass
from typing import Any, Optional

import numpy

from . import _arrays, _library
from ._library import library


@dataclass
class Prior:
    """The state at the first reading, or one step before it, is N(mean, covariance); `diffuse` names the components (a
    boolean each) of which nothing is known: their rows and columns of the covariance are 0."""

    mean: Any
    covariance: Any
    diffuse: Any = None
    before_first_step: bool = False


@dataclass
class Model:
    """n states, m sensors, k inputs, T steps. F, Q [n, n], H [m, n], R [m, m], optionally B [n, k], D [m, k] and inputs
    u [T, k]. A matrix with an axis more in front, [T, ...], is given one a step; F_t, Q_t and B_t lead to step t.
    Without a prior all components are diffuse.

    square_root   carry roots of covariances: for float32, and for long series with a singular Q"""

    F: Any
    Q: Any
    H: Any
    R: Any
    prior: Optional[Prior] = None
    B: Any = None
    D: Any = None
    u: Any = None
    square_root: bool = False


@dataclass
class Beliefs:
    """Of each step a Gaussian: mean [T, n], covariance [T, n, n]. Where a belief is improper, it is N(mean, covariance
    + kappa diffuse) with kappa growing without bound; `diffuse` is None under a proper prior."""

    mean: numpy.ndarray
    covariance: numpy.ndarray
    diffuse: Optional[numpy.ndarray] = None


@dataclass
class Filtered(Beliefs):
    """x_t given y up to t, log p(y) and its terms; on request the prediction of x_t from y up to t - 1, and y_t less
    its prediction with that covariance."""

    log_likelihood: float = 0.0
    log_likelihood_terms: Optional[numpy.ndarray] = None
    predicted: Optional[Beliefs] = None
    innovation: Optional[numpy.ndarray] = None
    innovation_covariance: Optional[numpy.ndarray] = None


@dataclass
class Smoothed(Beliefs):
    """x_t given all of y."""

    filtered: Optional[Filtered] = None


def _numbers(x):
    """As numpy's array, without a copy where that can be."""
    if isinstance(x, numpy.ndarray) or not hasattr(x, "__dlpack__"):
        return numpy.asarray(x)
    try:
        return numpy.from_dlpack(x)
    except (BufferError, RuntimeError, TypeError):
        return numpy.asarray(x)


class _Call:
    def __init__(self, model, y, threads, chunk):
        self.many = isinstance(y, (list, tuple)) and len(y) > 0 and numpy.ndim(y[0]) > 0
        series = [_numbers(x) for x in y] if self.many else [_numbers(y)]
        series = [x[:, None] if x.ndim == 1 else x for x in series]
        for i, x in enumerate(series):
            if x.ndim != 2 or x.shape[1] != series[0].shape[1]:
                raise ValueError(f"kalscan: y of series {i} has the shape {list(x.shape)}, not [T, m]")
        single = all(x.dtype == numpy.float32 for x in series)
        self.type = numpy.dtype(numpy.float32 if single else numpy.float64)
        y = series[0] if len(series) == 1 else numpy.concatenate(series)
        self.kept = []
        self.bounds = numpy.cumsum([0, *(len(x) for x in series)], dtype=numpy.int64)
        self.y, self.offsets = self.address("y", y.astype(self.type, copy=False)), self.address("offsets", self.bounds)
        self.run = _library.Run(threads, 0, chunk, 0, 0, 0)
        struct = _library.Model()
        for name in ("F", "Q", "H", "R", "B", "D", "u"):
            setattr(struct, name, self.matrix(name, getattr(model, name)))
        self.diffuse = model.prior is None
        if model.prior is not None:
            struct.prior_mean = self.matrix("the prior's mean", model.prior.mean)
            struct.prior_covariance = self.matrix("the prior's covariance", model.prior.covariance)
            struct.before_first_step = int(model.prior.before_first_step)
            if model.prior.diffuse is not None:
                flags = numpy.asarray(model.prior.diffuse, dtype=bool)
                self.diffuse = bool(flags.any())
                struct.diffuse = self.address("diffuse", flags.view(numpy.uint8))
        struct.square_root = int(model.square_root)
        self.model = struct
        F = numpy.shape(model.F)
        self.T, self.n, self.m = len(y), F[-1] if len(F) > 1 else 0, y.shape[1]

    def address(self, name, x):
        array = _arrays.of(name, x)
        self.kept.append(array)
        return array.address

    def matrix(self, name, x):
        if x is None:
            return None
        return self.address(name, _numbers(x).astype(self.type, copy=False))

    def new(self, struct, **shapes):
        """New arrays, with their addresses in a struct."""
        arrays = {name: numpy.empty(shape, self.type) for name, shape in shapes.items()}
        for name, x in arrays.items():
            setattr(struct, name, self.address(name, x))
        return arrays

    def beliefs(self, struct):
        shapes = dict(mean=(self.T, self.n), covariance=(self.T, self.n, self.n))
        if self.diffuse:
            shapes["diffuse"] = (self.T, self.n, self.n)
        return self.new(struct, **shapes)

    def split(self, arrays):
        """A dict of each series' part."""
        return [{name: x[a:b] for name, x in arrays.items()} for a, b in zip(self.bounds[:-1], self.bounds[1:])]

    def filtered(self, predictions, innovations):
        """The struct for what the filter returns, and a function that makes the results, one a series."""
        struct = _library.Filtered()
        steps = self.beliefs(struct.filtered)
        predicted = self.beliefs(struct.predicted) if predictions else {}
        steps.update(self.new(struct, log_likelihood_terms=(self.T,)))
        if innovations:
            steps.update(self.new(struct, innovation=(self.T, self.m), innovation_covariance=(self.T, self.m, self.m)))
        sums = self.new(struct, log_likelihood=(len(self.bounds) - 1,))["log_likelihood"]

        def results():
            parts = zip(self.split(steps), self.split(predicted), sums)
            return [
                Filtered(**part, log_likelihood=float(total), predicted=Beliefs(**ahead) if ahead else None)
                for part, ahead, total in parts
            ]

        return struct, results

    def returned(self, results):
        return results if self.many else results[0]


def filter(model, y, *, predictions=False, innovations=False, threads=0, chunk=0):
    """Filters a series y [T, m] (or [T] of one sensor), or each of a list of series, whose results are then a list. NaN
    is a missing reading. Numbers are float32 where y is, else float64."""
    call = _Call(model, y, threads, chunk)
    struct, results = call.filtered(predictions, innovations)
    _library.check(library.kalscan_filter(byref(call.model), call.y, call.offsets, byref(struct), byref(call.run)))
    return call.returned(results())


def log_likelihood(model, y, *, threads=0, chunk=0):
    """log p(y) of a series, or of each of a list of series. No beliefs are kept."""
    call = _Call(model, y, threads, chunk)
    sums = numpy.empty(len(call.bounds) - 1, call.type)
    _library.check(
        library.kalscan_log_likelihood(
            byref(call.model), call.y, call.offsets, call.address("sums", sums), byref(call.run)
        )
    )
    return call.returned([float(x) for x in sums])


def smooth(model, y, *, predictions=False, innovations=False, threads=0, chunk=0):
    """Filters and smooths; the filter's results are in the result."""
    call = _Call(model, y, threads, chunk)
    struct, results = call.filtered(predictions, innovations)
    smoothed = _library.Beliefs()
    arrays = call.beliefs(smoothed)
    _library.check(
        library.kalscan_smooth(byref(call.model), call.y, call.offsets, byref(smoothed), byref(struct), byref(call.run))
    )
    return call.returned([Smoothed(**part, filtered=f) for part, f in zip(call.split(arrays), results())])
