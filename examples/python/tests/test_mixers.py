# SPDX-License-Identifier: MIT
"""kla, rotating_kla and gla over numpy's arrays and DLPack, against step-by-step references in float64."""

import unittest

import kalscan
import numpy as np
import references

seed = np.random.SeedSequence().entropy % 2**32
rng = np.random.default_rng(seed)


class OnlyDLPack:
    """An array of which nothing is known but what the protocol says."""

    def __init__(self, x):
        self.x = x

    def __dlpack__(self, stream=None):
        return self.x.__dlpack__()

    def __dlpack_device__(self):
        return self.x.__dlpack_device__()


def draw(mixer, B, L, M, S, per_token=False):
    """Random inputs by name, in float64."""
    lanes = (B, L, M, S) if per_token else (M, S)
    vector = mixer is kalscan.rotating_kla
    x = dict(
        v=rng.normal(size=(B, L, M, 3) if vector else (B, L, M)),
        Lambda=rng.gamma(1.0, size=(B, L, M)),
        r=rng.normal(size=(B, L, M, 4)),
        k=rng.normal(size=(B, L, S)),
        q=rng.normal(size=(B, L, S)),
        a=rng.uniform(0.5, 1, lanes),
        p=rng.gamma(0.5, size=lanes),
        g=rng.uniform(0, 1, lanes),
    )
    return {name: x[name] for name in mixer.inputs}


def draw_state(mixer, N, M, S):
    if mixer is kalscan.gla:
        return kalscan.Hidden(rng.normal(size=(N, M, S)))
    vector = (3,) if mixer is kalscan.rotating_kla else ()
    return kalscan.Moments(rng.normal(size=(N, M, S) + vector), rng.gamma(1.0, size=(N, M, S)))


def reference(mixer, x, state=None, **options):
    numbers = () if state is None else tuple(state)
    return (references.gla if mixer is kalscan.gla else references.kla)(
        **x, **dict(zip(("h",) if mixer is kalscan.gla else ("mean", "variance"), numbers)), **options
    )


mixers = (kalscan.kla, kalscan.rotating_kla, kalscan.gla)


class Test(unittest.TestCase):
    def close(self, got, wanted, tolerance, what=""):
        if wanted is None:
            return self.assertIsNone(got)
        got = np.asarray(got, dtype=np.float64)
        self.assertEqual(got.shape, wanted.shape, what)
        scale = max(1.0, np.abs(wanted).max(initial=0))
        error = np.abs(got - wanted).max(initial=0) / scale
        self.assertTrue(error <= tolerance, f"{what}: error {error:.2e} of {tolerance:.0e}, seed {seed}")

    def raises(self, text, call, error=ValueError):
        with self.assertRaises(error) as raised:
            call()
        self.assertIn(text, str(raised.exception))


class Forward(Test):
    def test_equals_the_recurrence_for_all_lengths_and_types(self):
        for mixer in mixers:
            for L in (0, 1, 2, 15, 16, 17, 33, 101):
                x = draw(mixer, 2, L, int(rng.integers(1, 40)), int(rng.integers(1, 9)), per_token=L % 2 == 1)
                for dtype, tolerance in ((np.float64, 1e-12), (np.float32, 2e-4), (np.float16, 1e-1)):
                    number = np.float64 if dtype == np.float64 else np.float32
                    stored = {name: v.astype(number if name in "apg" else dtype) for name, v in x.items()}
                    got = mixer(*stored.values())
                    if L == 0:
                        self.assertEqual(got.y.shape, x["v"].shape)
                        continue
                    exact = {name: v.astype(np.float64) for name, v in stored.items()}
                    y, yvar, mean, variance = reference(mixer, exact)
                    rounding = tolerance if dtype != np.float16 else 2e-3
                    self.assertEqual(got.y.dtype, dtype)
                    self.close(got.y, y, rounding, f"{mixer.name} y, {dtype.__name__}")
                    self.close(got.yvar, yvar, rounding, f"{mixer.name} yvar")
                    self.close(got.final[0], mean, rounding, f"{mixer.name} final")

    def test_states_go_in_and_come_out_in_both_forms(self):
        for mixer in (kalscan.kla, kalscan.rotating_kla):
            x = draw(mixer, 3, 7, 5, 4)
            state = draw_state(mixer, 3, 5, 4)
            y, yvar, mean, variance = reference(mixer, x, state)
            wide = (lambda z: z[..., None]) if mixer is kalscan.rotating_kla else (lambda z: z)
            given = kalscan.Information(1 / state.variance, state.mean / wide(state.variance))
            for initial in (state, given):
                got = mixer(*x.values(), initial=initial, final=kalscan.Information)
                self.close(got.y, y, 1e-12)
                self.close(got.final.precision, 1 / variance, 1e-12)
                self.close(got.final.vector, mean / wide(variance), 1e-12)
        x, state = draw(kalscan.gla, 3, 7, 5, 4), draw_state(kalscan.gla, 3, 5, 4)
        self.close(kalscan.gla(*x.values(), initial=state).final.h, reference(kalscan.gla, x, state)[2], 1e-12)

    def test_precision_zero_is_exact(self):
        x = draw(kalscan.kla, 1, 5, 2, 3)
        none = kalscan.Information(np.zeros((1, 2, 3)), np.zeros((1, 2, 3)))
        vague = kalscan.Moments(np.zeros((1, 2, 3)), np.full((1, 2, 3), 1e14))
        got = kalscan.kla(*x.values(), initial=none)
        self.close(got.final.mean, kalscan.kla(*x.values(), initial=vague).final.mean, 1e-9)

    def test_predicted_readout_is_one_step_ahead(self):
        for mixer in (kalscan.kla, kalscan.rotating_kla):
            for per_token in (False, True):
                x = draw(mixer, 2, 9, 6, 4, per_token)
                y, yvar, *_ = reference(mixer, x, predicted=True)
                got = mixer(*x.values(), predicted=True)
                self.close(got.y, y, 1e-12)
                self.close(got.yvar, yvar, 1e-12)

    def test_steps_give_what_forward_gives(self):
        for mixer in mixers:
            x = draw(mixer, 2, 6, 5, 4)
            state = draw_state(mixer, 2, 5, 4)
            whole = mixer(*x.values(), initial=state)
            now = type(state)(*(z.copy() for z in state))
            for t in range(6):
                token = [z if name in "apg" else z[:, t : t + 1] for name, z in x.items()]
                y, _ = mixer.step(*token, state=now)
                self.close(y[:, 0], whole.y[:, t], 1e-12, f"{mixer.name} token {t}")
            self.close(now[0], whole.final[0], 1e-12)

    def test_packed_sequences_equal_separate_calls(self):
        for mixer in mixers:
            offsets = [0, 4, 4, 5, 23]
            x = draw(mixer, 1, 23, 5, 4)
            packed = mixer(*x.values(), offsets=offsets)
            for n, (i, j) in enumerate(zip(offsets, offsets[1:])):
                part = [z if name in "apg" else z[:, i:j] for name, z in x.items()]
                alone = mixer(*part)
                np.testing.assert_array_equal(packed.y[:, i:j], alone.y)
                np.testing.assert_array_equal(packed.final[0][n], alone.final[0][0])

    def test_strides_and_shared_elements_do_not_matter(self):
        for mixer in mixers:
            x = draw(mixer, 2, 9, 5, 4)
            strided = {}
            for name, z in x.items():
                room = np.full([3 * n + 1 for n in z.shape[::-1]], np.nan)
                spread = room.T[tuple(slice(1, None, 3) for _ in z.shape)]
                spread = spread[(slice(None), slice(None, None, -1))]
                spread[...] = z
                strided[name] = spread
            y = np.empty(x["v"].shape[::-1]).T
            got = mixer(*strided.values(), out=(y, None))
            self.assertIsNone(got.yvar)
            self.close(y, mixer(*x.values()).y, 0)
        x = draw(kalscan.kla, 2, 9, 5, 4)
        x["k"] = np.broadcast_to(x["k"][:1, :1], x["k"].shape)
        self.close(kalscan.kla(*x.values()).y, reference(kalscan.kla, x)[0], 1e-12)

    def test_anything_with_dlpack_is_an_array(self):
        x = draw(kalscan.kla, 2, 5, 3, 4)
        wrapped = [OnlyDLPack(z) for z in x.values()]
        wanted = kalscan.kla(*x.values())
        self.close(kalscan.kla(*wrapped).y, wanted.y, 0)
        y = np.empty_like(wanted.y)
        kalscan.kla(*wrapped, out=(OnlyDLPack(y), None))
        self.close(y, wanted.y, 0)


class Backward(Test):
    def test_gradients_equal_difference_quotients_of_the_recurrence(self):
        for mixer in mixers:
            for per_token in (False, True):
                self.one_gradient(mixer, per_token)
        for mixer in (kalscan.kla, kalscan.rotating_kla):
            self.one_gradient(mixer, True, predicted=True)

    def one_gradient(self, mixer, per_token, **options):
        B, L, M, S = 2, 19, 5, 4
        x, state = draw(mixer, B, L, M, S, per_token), draw_state(mixer, B, M, S)
        for name in {"Lambda", "p"} & set(x):  # far enough from 0 for a difference quotient
            x[name] += 0.05
        if mixer is not kalscan.gla:
            state = kalscan.Moments(state.mean, state.variance + 0.05)
        forward = mixer(*x.values(), initial=state, every=16, **options)
        bars = [None if z is None else rng.normal(size=z.shape) for z in (forward.y, forward.yvar, *forward.final)]
        loss = lambda inputs, start: sum(
            (z * bar).sum() for z, bar in zip(reference(mixer, inputs, start, **options), bars) if bar is not None
        )
        final_bar = type(state)(*bars[2:])
        for kept in (forward.checkpoints, None):
            got = mixer.backward(
                *x.values(),
                y_bar=bars[0],
                yvar_bar=bars[1],
                final_bar=final_bar,
                initial=state,
                checkpoints=kept,
                every=16 if kept else 0,
                **options,
            )
            for name, z in (*x.items(), *((f"initial {i}", z) for i, z in enumerate(state))):
                gradient = got.initial[int(name[-1])] if name.startswith("initial") else getattr(got, name)
                d, h = rng.normal(size=z.shape), 1e-6
                both = []
                for sign in (1, -1):
                    moved, start = dict(x), list(state)
                    if name.startswith("initial"):
                        start[int(name[-1])] = z + sign * h * d
                    else:
                        moved[name] = z + sign * h * d
                    both.append(loss(moved, type(state)(*start)))
                quotient, product = (both[0] - both[1]) / (2 * h), (gradient * d).sum()
                scale = max(1.0, abs(quotient), np.linalg.norm(gradient))
                self.assertLess(abs(quotient - product) / scale, 1e-5, f"{mixer.name} {name}, seed {seed}")

    def test_sixteen_bit_gradients_are_those_of_float_rounded(self):
        x = draw(kalscan.kla, 1, 9, 3, 4)
        half = [z.astype(np.float32 if name in "ap" else np.float16) for name, z in x.items()]
        full = [z.astype(np.float32) for z in half]
        y_bar = rng.normal(size=(1, 9, 3)).astype(np.float16)
        got = kalscan.kla.backward(*half, y_bar=y_bar)
        wanted = kalscan.kla.backward(*full, y_bar=y_bar.astype(np.float32))
        np.testing.assert_array_equal(got.v, wanted.v.astype(np.float16))
        np.testing.assert_array_equal(got.a, wanted.a)

    def test_only_what_is_asked_for_is_written(self):
        x = draw(kalscan.gla, 1, 5, 3, 2)
        y_bar, only = rng.normal(size=(1, 5, 3)), np.empty((1, 5, 3))
        got = kalscan.gla.backward(*x.values(), y_bar=y_bar, out={"v": only})
        self.assertIs(got.v, only)
        self.assertIsNone(got.k)
        self.close(only, kalscan.gla.backward(*x.values(), y_bar=y_bar).v, 0)


class Errors(Test):
    def setUp(self):
        self.x = draw(kalscan.kla, 2, 5, 3, 4)

    def call(self, mixer=kalscan.kla, options={}, **changes):
        return lambda: mixer(*(self.x | changes).values(), **options)

    def test_sizes_are_named_with_both_numbers(self):
        x = self.x
        self.raises("Lambda is [2, 5, 4, 1], not [2, 5, 3, 1]", self.call(Lambda=np.ones((2, 5, 4))))
        self.raises("k is [2, 6, 1, 4], not [2, 5, 1, 4]", self.call(k=np.ones((2, 6, 4))))
        self.raises("a has the shape [3], not [M, S] or [B, L, M, S]", self.call(a=np.ones(3)))
        self.raises("p is [1, 1, 4, 3]", self.call(p=np.ones((4, 3))))
        self.raises("v has the shape [2, 5], not [B, L, M]", self.call(v=np.ones((2, 5))))
        self.raises("y is [2, 5, 4, 1]", self.call(options=dict(out=(np.ones((2, 5, 4)), None))))
        self.raises(
            "initial mean is [1, 1, 3, 4]", self.call(options=dict(initial=kalscan.Moments(*np.ones((2, 1, 3, 4)))))
        )
        self.raises(
            "offsets[2] is 4, not the time 5",
            lambda: kalscan.kla(*(z if n in "ap" else z[:1] for n, z in x.items()), offsets=[0, 3, 4]),
        )
        self.raises("not [B, L, M, 3]", lambda: kalscan.rotating_kla(x["v"], *[x["v"]] * 6))

    def test_types_values_and_omissions_are_named(self):
        x = self.x
        self.raises("k is float32, but v is float64", self.call(k=x["k"].astype(np.float32)))
        self.raises("a is float32, not float64", self.call(a=x["a"].astype(np.float32)))
        self.raises("k is an array of", self.call(k=x["k"].astype(complex)), TypeError)
        negative = x["Lambda"].copy()
        negative[1, 2, 0] = -1
        self.raises("Lambda [1, 2, 0, 0] is -1, not a number >= 0", self.call(Lambda=negative))
        wrong = x["q"].copy()
        wrong[0, 0, 0] = np.inf
        self.raises("q [0, 0, 0, 0] is inf", self.call(q=wrong, options=dict(check_nan=True)))
        self.raises("q is not given", self.call(q=None))
        self.raises("kla takes v, Lambda, k, q, a, p, not 1 arrays", lambda: kalscan.kla(x["v"]), TypeError)
        self.raises("a state is Moments", self.call(options=dict(initial=x["v"])), TypeError)
        self.raises(
            "gla has no read-out of predictions", lambda: kalscan.gla(x["v"], x["k"], x["q"], x["a"], predicted=True)
        )
        self.raises("v is a dict, which has no __dlpack__", self.call(v={}), TypeError)
        self.raises(
            "step takes one token, not 5",
            lambda: kalscan.kla.step(*x.values(), state=kalscan.Moments(*np.ones((2, 2, 3, 4)))),
        )

    def test_what_is_written_has_memory_of_its_own(self):
        shared = np.lib.stride_tricks.as_strided(np.zeros(3), (2, 5, 3), (0, 0, 8))
        self.raises("y repeats its elements along axis 0", self.call(options=dict(out=(shared, None))))
        fixed = np.zeros((2, 5, 3))
        fixed.flags.writeable = False
        self.raises("y is to be written, but may only be read", self.call(options=dict(out=(fixed, None))))

    def test_a_refused_call_writes_nothing(self):
        y, negative = np.full((2, 5, 3), 7.0), self.x["Lambda"].copy()
        negative[1, 4, 2] = -1
        self.raises("Lambda [1, 4, 2, 0]", self.call(Lambda=negative, options=dict(out=(y, None))))
        self.assertTrue((y == 7).all())


if __name__ == "__main__":
    unittest.main()
