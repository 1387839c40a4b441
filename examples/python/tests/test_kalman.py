# SPDX-License-Identifier: MIT
"""filter, smooth and log_likelihood against the textbook's filter in float64."""

import unittest

import kalscan
import numpy as np
import references

seed = np.random.SeedSequence().entropy % 2**32
rng = np.random.default_rng(seed)


def covariance(n):
    x = rng.normal(size=(n, n + 2))
    return x @ x.T


def contraction(n):
    """States that grow would take the digits of the reference, which inverts covariances."""
    x = rng.normal(size=(n, n))
    return 0.95 * x / np.linalg.norm(x, 2)


def draw(n, m, T, varies):
    one = (lambda make: np.stack([make() for _ in range(T)])) if varies else (lambda make: make())
    F = one(lambda: contraction(n))
    model = kalscan.Model(
        F,
        one(lambda: covariance(n)),
        one(lambda: rng.normal(size=(m, n))),
        one(lambda: covariance(m)),
        kalscan.Prior(rng.normal(size=n), covariance(n), before_first_step=bool(rng.integers(2))),
    )
    y = rng.normal(size=(T, m)) * 3
    y[rng.random((T, m)) < 0.2] = np.nan
    return model, y


def expected(model, y):
    prior = model.prior
    return references.matrix_filter(
        model.F, model.Q, model.H, model.R, prior.mean, prior.covariance, y, prior.before_first_step
    )


class Kalman(unittest.TestCase):
    def close(self, beliefs, wanted, tolerance):
        for t, (mean, covariance) in enumerate(wanted):
            scale = 1 + np.abs(covariance).max() + np.abs(mean).max()
            self.assertLess(np.abs(beliefs.mean[t] - mean).max() / scale, tolerance, f"step {t}, seed {seed}")
            self.assertLess(
                np.abs(beliefs.covariance[t] - covariance).max() / scale, tolerance, f"step {t}, seed {seed}"
            )

    def test_equals_the_textbook_for_models_of_all_kinds(self):
        for n, m, T in ((1, 1, 1), (1, 2, 7), (3, 1, 40), (4, 3, 50)):
            for varies in (False, True):
                for root in (False, True):
                    model, y = draw(n, m, T, varies)
                    model.square_root = root
                    filtered, predicted, total, smoothed = expected(model, y)
                    got = kalscan.smooth(model, y, predictions=True, innovations=True)
                    self.close(got, smoothed, 1e-9)
                    self.close(got.filtered, filtered, 1e-9)
                    self.close(got.filtered.predicted, predicted, 1e-9)
                    alone = kalscan.filter(model, y)
                    self.close(alone, filtered, 1e-9)
                    self.assertIsNone(alone.predicted)
                    for value in (
                        alone.log_likelihood,
                        alone.log_likelihood_terms.sum(),
                        kalscan.log_likelihood(model, y),
                    ):
                        self.assertAlmostEqual(value / (1 + abs(total)), total / (1 + abs(total)), 9)
                    H = model.H if model.H.ndim == 3 else np.broadcast_to(model.H, (T, m, n))
                    ahead = np.einsum("tij,tj->ti", H, got.filtered.predicted.mean)
                    np.testing.assert_allclose(got.filtered.innovation, y - ahead, atol=1e-9)

    def test_series_of_different_lengths_are_those_of_separate_calls(self):
        model, y = draw(3, 2, 30, False)
        many = kalscan.smooth(model, [y[:7], y[7:8], y[8:]])
        for got, part in zip(many, (y[:7], y[7:8], y[8:])):
            alone = kalscan.smooth(model, part)
            np.testing.assert_allclose(got.mean, alone.mean, atol=1e-12)
            self.assertAlmostEqual(got.filtered.log_likelihood, alone.filtered.log_likelihood, 9)
        self.assertEqual(len(kalscan.log_likelihood(model, [y[:7], y[7:]])), 2)

    def test_float_stays_float(self):
        model, y = draw(2, 1, 20, False)
        got = kalscan.filter(model, y.astype(np.float32))
        self.assertEqual(got.mean.dtype, np.float32)
        self.close(got, expected(model, y)[0], 1e-3)

    def test_the_square_root_form_is_taken_where_it_is_asked_for(self):
        """Covariances do not depend on the data: in float both forms are right, each with its own rounding."""
        F, Q, H, R = np.array([[1, 1.0], [0, 1]]), np.array([[0.25, 0.5], [0.5, 1]]) * 1e-6, np.array([[1.0, 0]]), np.eye(1)
        prior, y = kalscan.Prior(np.zeros(2), np.eye(2) * 1e4), np.zeros((400, 1), np.float32)
        wanted = references.matrix_filter(F, Q, H, R, prior.mean, prior.covariance, y)[0]
        variances = np.array([np.diag(P) for _, P in wanted])
        error = []
        for root in (False, True):
            got = kalscan.filter(kalscan.Model(F, Q, H, R, prior, square_root=root), y)
            error.append(np.abs(np.diagonal(got.covariance, axis1=1, axis2=2) / variances - 1).max())
        self.assertLess(max(error), 5e-5)
        self.assertNotEqual(error[0], error[1])

    def test_an_unknown_beginning_is_diffuse(self):
        level = kalscan.Model([[1.0]], [[1469.1]], [[1.0]], [[15099.0]])
        y = np.array([1120, 1160, 963, np.nan, 1160])
        got = kalscan.smooth(level, y)
        vague = kalscan.smooth(
            kalscan.Model(*(np.array([[x]]) for x in (1.0, 1469.1, 1.0, 15099.0)), kalscan.Prior([0.0], [[1e10]])), y
        )
        np.testing.assert_allclose(got.mean, vague.mean, rtol=1e-4)
        trend = kalscan.Model([[1.0, 1.0], [0, 1]], np.eye(2), [[1.0, 0]], [[1.0]])
        improper = kalscan.filter(trend, y).diffuse
        self.assertGreater(improper[0].max(), 0)
        self.assertEqual(improper[1:].max(), 0)
        partly = kalscan.Model(
            [[1.0, 1.0], [0, 1]],
            np.eye(2),
            [[1.0, 0]],
            [[1.0]],
            kalscan.Prior([0, 0], np.diag([0, 2.0]), diffuse=[True, False]),
        )
        self.assertEqual(kalscan.filter(partly, y).diffuse.max(), 0)

    def test_inputs_move_states_and_readings(self):
        T = 12
        model, y = draw(2, 1, T, False)
        model.B, model.D, model.u = rng.normal(size=(2, 3)), rng.normal(size=(1, 3)), rng.normal(size=(T, 3))
        model.prior.before_first_step = False
        shifted, known = y.copy(), np.zeros(2)
        for t in range(T):  # the part of the state that is known
            known = model.F @ known + model.B @ model.u[t] if t else known
            shifted[t] -= model.H @ known + model.D @ model.u[t]
        without = kalscan.Model(model.F, model.Q, model.H, model.R, model.prior)
        self.assertAlmostEqual(kalscan.log_likelihood(model, y), kalscan.log_likelihood(without, shifted), 8)

    def test_bad_input_names_the_argument(self):
        model, y = draw(2, 1, 5, False)
        good = dict(vars(model))
        for name, value, message in (
            ("H", np.ones((1, 3)), "H is 1 x 3, not 1 x 2"),
            ("Q", -np.eye(2), "Q has a negative variance"),
            ("F", np.ones(2), "F has the shape [2], not a matrix, or [T, rows, columns]"),
            ("R", np.ones((4, 1, 1)), "R is given for 4 steps, the data have 5"),
            ("prior", kalscan.Prior([0, 0, 0], np.eye(2)), "the prior's mean has size 3, not 2"),
            ("F", None, "F is not given"),
        ):
            with self.assertRaises(ValueError) as raised:
                kalscan.filter(kalscan.Model(**(good | {name: value})), y)
            self.assertIn(message, str(raised.exception))
        with self.assertRaisesRegex(ValueError, "y of series 1 has the shape"):
            kalscan.filter(model, [y, np.ones((3, 2))])
        with self.assertRaises(ValueError):
            kalscan.filter(model, np.zeros((0, 1)))

    def test_a_step_that_cannot_be_computed_is_a_filter_error(self):
        exact = kalscan.Model(np.eye(1), np.zeros((1, 1)), np.eye(1), np.zeros((1, 1)), kalscan.Prior([0.0], [[0.0]]))
        with self.assertRaisesRegex(kalscan.FilterError, "series 0, step 0"):
            kalscan.filter(exact, np.ones((3, 1)))


if __name__ == "__main__":
    unittest.main()
