# SPDX-License-Identifier: MIT
"""torch's operators and layers: gradients, compiling, autocast, packed batches, decoding, the authors' conventions."""

import unittest

import numpy as np
import references

try:
    import torch
except ImportError:
    raise unittest.SkipTest("torch is not there") from None

import kalscan
import kalscan.torch as kt

seed = int(np.random.SeedSequence().entropy % 2**31)
torch.manual_seed(seed)
double = torch.float64
cuda = torch.cuda.is_available() and kalscan._library.has_device(2)


def built(dtype):
    """Whether the library has this storage type on a GPU."""
    try:
        kt.kla(
            *(torch.ones(1, 1, 1, dtype=dtype, device="cuda") for _ in range(4)),
            *(torch.ones(1, 1, dtype=double if dtype == double else torch.float32, device="cuda") for _ in range(2)),
        )
    except kalscan.NotBuilt:
        return False
    return True


devices = ["cpu"] + (["cuda"] if cuda and built(torch.bfloat16) else [])
double_devices = ["cpu"] + (["cuda"] if cuda and built(double) else [])


def draw(name, B, L, M, S, dtype=double, per_token=False, device="cpu"):
    """Leaves that require gradients, in the order of the function's arguments."""
    vector, lanes = name == "rotating_kla", (B, L, M, S) if per_token else (M, S)
    x = dict(
        v=torch.randn(B, L, M, *([3] if vector else [])),
        Lambda=torch.rand(B, L, M) + 0.1,
        r=torch.randn(B, L, M, 4) + torch.tensor([2.0, 0, 0, 0]),
        k=torch.randn(B, L, S),
        q=torch.randn(B, L, S),
        a=torch.rand(lanes) * 0.5 + 0.5,
        p=torch.rand(lanes) * 0.5 + 0.05,
        g=torch.rand(lanes),
    )
    names = {"kla": "v Lambda k q a p", "rotating_kla": "v Lambda r k q a p", "gla": "v k q g"}[name]
    return [x[n].to(device, dtype).requires_grad_() for n in names.split()]


def draw_state(name, N, M, S, device="cpu", dtype=double):
    mean = torch.randn(N, M, S, *([3] if name == "rotating_kla" else []), dtype=dtype, device=device)
    if name == "gla":
        return [mean.requires_grad_()]
    return [mean.requires_grad_(), (torch.rand(N, M, S, dtype=dtype, device=device) + 0.3).requires_grad_()]


def flat(results):
    """All tensors of a call's results."""
    return [y for x in results for y in (x if isinstance(x, tuple) else (x,))]


names = ("kla", "rotating_kla", "gla")


class Operators(unittest.TestCase):
    def test_values_are_the_recurrences(self):
        for device in double_devices:
            for name in names:
                x = draw(name, 2, 37, 5, 4, device=device)
                wanted = (references.gla if name == "gla" else references.kla)(
                    **dict(zip(getattr(kalscan, name).inputs, (t.detach().cpu().numpy() for t in x)))
                )
                for got, y in zip(flat(getattr(kt, name)(*x)), [w for w in wanted if w is not None]):
                    np.testing.assert_allclose(
                        got.detach().cpu().numpy(), y, atol=1e-10, err_msg=f"{name}, seed {seed}"
                    )

    def test_gradcheck_in_double(self):
        for device in double_devices:
            for name in names:
                for per_token in (False, True):
                    x, state = draw(name, 2, 5, 2, 3, per_token=per_token, device=device), draw_state(
                        name, 2, 2, 3, device
                    )
                    form = kalscan.Hidden if name == "gla" else kalscan.Moments

                    def call(*t):
                        return tuple(flat(getattr(kt, name)(*t[: len(x)], initial=form(*t[len(x) :]))))

                    self.assertTrue(torch.autograd.gradcheck(call, (*x, *state)))
        x, (mean, variance) = draw("kla", 2, 5, 2, 3), draw_state("kla", 2, 2, 3)

        def information(vector, precision, *t):
            y, yvar, state = kt.kla(
                *t, initial=kalscan.Information(precision, vector), form=kalscan.Information, predicted=True
            )
            return y, yvar, *state

        self.assertTrue(torch.autograd.gradcheck(information, (mean, variance, *x)))

    def test_inputs_without_gradients_are_left_out(self):
        x = draw("kla", 1, 20, 2, 3)
        whole = torch.autograd.grad(kt.kla(*x)[0].sum(), x)
        x[1].requires_grad_(False), x[4].requires_grad_(False)
        part = torch.autograd.grad(kt.kla(*x)[0].sum(), [x[0], x[5]])
        torch.testing.assert_close(part, (whole[0], whole[5]), rtol=0, atol=0)

    def test_double_backward_says_that_there_is_none(self):
        for name in names:
            x = draw(name, 1, 4, 2, 3)
            (gradient,) = torch.autograd.grad(getattr(kt, name)(*x)[0].square().sum(), x[0], create_graph=True)
            with self.assertRaisesRegex(RuntimeError, "has no second derivative"):
                gradient.sum().backward()

    def test_library_s_own_checks_of_operators(self):
        for name in ("kla", "predicted_kla", "rotating_kla", "predicted_rotating_kla", "gla"):
            x = dict(
                zip(
                    getattr(kalscan, name.removeprefix("predicted_")).inputs,
                    draw(name.removeprefix("predicted_"), 2, 5, 3, 4),
                )
            )
            arguments = [x.get(n) for n in ("v", "Lambda", "r", "k", "q", "a", "p", "g")]
            torch.library.opcheck(getattr(torch.ops.kalscan, name).default, (*arguments, None, None, None, False, True))

    def test_compiles_without_graph_breaks(self):
        for name in names:
            x = draw(name, 2, 9, 3, 4)

            def loss(*t):
                return getattr(kt, name)(*(z * 1.0 for z in t))[0].square().sum()

            compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
            torch.testing.assert_close(torch.autograd.grad(compiled(*x), x), torch.autograd.grad(loss(*x), x))

    def test_autocast_stores_sixteen_bits_and_keeps_parameters(self):
        for device in devices:
            x = draw("kla", 2, 30, 5, 4, torch.float32, device=device)
            with torch.autocast(device, dtype=torch.bfloat16):
                y, yvar, state = kt.kla(*x)
            self.assertEqual((y.dtype, yvar.dtype, state.mean.dtype), (torch.bfloat16, torch.bfloat16, torch.float32))
            stored = [t.bfloat16().float() for t in x[:4]]
            wanted = kt.kla(*stored, *x[4:])
            torch.testing.assert_close(y, wanted[0].bfloat16())
            torch.testing.assert_close(state.mean, wanted[2].mean)
            y.float().sum().backward()
            self.assertEqual((x[0].grad.dtype, x[4].grad.dtype), (torch.float32, torch.float32))

    def test_packed_sequences_have_the_values_and_gradients_of_separate_calls(self):
        offsets = [0, 3, 3, 17, 40]
        for device in double_devices:
            for name in names:
                x = draw(name, 1, 40, 3, 4, device=device)
                shared = 2 if name != "gla" else 1
                weight = torch.randn_like(x[0])
                packed = torch.autograd.grad((getattr(kt, name)(*x, offsets=offsets)[0] * weight).sum(), x)
                parts = [
                    (getattr(kt, name)(*(t[:, i:j] for t in x[:-shared]), *x[-shared:])[0] * weight[:, i:j]).sum()
                    for i, j in zip(offsets, offsets[1:])
                    if j > i
                ]
                torch.testing.assert_close(packed, torch.autograd.grad(sum(parts), x))

    @unittest.skipUnless(cuda, "no GPU, or a library without its code")
    def test_a_gpu_gives_what_the_cpu_gives(self):
        for name in names:
            for B, L, M, S, per_token, offsets in (
                (2, 300, 40, 16, False, None),
                (2, 65, 5, 3, True, None),
                (1, 200, 33, 8, False, [0, 1, 1, 150, 200]),
            ):
                x = draw(name, B, L, M, S, torch.float32, per_token)
                state = draw_state(name, B if offsets is None else 4, M, S, dtype=torch.float32)
                form = kalscan.Hidden if name == "gla" else kalscan.Moments
                results = []
                for device in ("cpu", "cuda"):
                    leaves = [t.detach().to(device).requires_grad_() for t in (*x, *state)]
                    out = flat(getattr(kt, name)(*leaves[: len(x)], initial=form(*leaves[len(x) :]), offsets=offsets))
                    loss = sum((y * torch.cos(torch.arange(y.numel(), device=device)).view(y.shape)).sum() for y in out)
                    results.append([t.detach().cpu() for t in (*out, *torch.autograd.grad(loss, leaves))])
                for on_cpu, on_gpu in zip(*results):
                    scale = 1 + on_cpu.abs().max().item()
                    torch.testing.assert_close(
                        on_gpu / scale, on_cpu / scale, atol=2e-4, rtol=0, msg=f"{name}, seed {seed}"
                    )

    @unittest.skipUnless(cuda, "no GPU, or a library without its code")
    def test_calls_outside_torch_run_in_its_current_stream(self):
        x = [t.detach() for t in draw("kla", 2, 300, 40, 16, torch.float32, device="cuda")]
        expected = kalscan.kla(*x).y
        torch.cuda.synchronize()
        with torch.cuda.stream(torch.cuda.Stream()):
            torch.cuda._sleep(100_000_000)  # what follows in another stream would not wait for it
            v = x[0].clone()
            y = kalscan.kla(v, *x[1:]).y.clone()
        torch.cuda.synchronize()
        torch.testing.assert_close(y, expected, atol=0, rtol=0)

    @unittest.skipUnless(cuda, "no GPU, or a library without its code")
    def test_layers_can_be_captured_into_a_graph(self):
        for layer in (kt.KLALayer, kt.RotatingKLALayer):
            net = layer(24, kt.KLAConfig(d_state=4)).cuda()
            x = torch.randn(2, 40, 24, device="cuda")

            def step():
                y = net(x)
                y = y[0] if isinstance(y, tuple) else y
                return y, *torch.autograd.grad(y.square().sum(), list(net.parameters()))

            stream, graph = torch.cuda.Stream(), torch.cuda.CUDAGraph()
            stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(stream):
                expected = [t.detach().clone() for t in step()]
            torch.cuda.synchronize()
            with torch.cuda.graph(graph, stream=stream):
                results = step()
            graph.replay()
            torch.cuda.synchronize()
            for a, b in zip(results, expected):
                torch.testing.assert_close(a, b, msg=f"{layer.__name__}, seed {seed}")

    @unittest.skipUnless(cuda, "no GPU, or a library without its code")
    def test_cupy_s_arrays_run_in_its_current_stream(self):
        try:
            import cupy
        except ImportError:
            raise unittest.SkipTest("CuPy is not there") from None
        x = [cupy.from_dlpack(t.detach()) for t in draw("kla", 2, 300, 40, 16, torch.float32, device="cuda")]
        expected = kalscan.kla(*x).y
        cupy.cuda.runtime.deviceSynchronize()
        busy = cupy.ones((6000, 6000), cupy.float32)
        with cupy.cuda.Stream(non_blocking=True):
            for _ in range(20):
                busy = busy @ busy * 1e-4
            y = kalscan.kla(x[0].copy(), *x[1:]).y.copy()
        cupy.cuda.runtime.deviceSynchronize()
        self.assertIsInstance(y, cupy.ndarray)
        self.assertTrue((y == expected).all())

    def test_errors_carry_the_library_s_message(self):
        x = draw("kla", 2, 5, 3, 4)
        with self.assertRaisesRegex(ValueError, r"Lambda is \[2, 5, 4, 1\], not \[2, 5, 3, 1\]"):
            kt.kla(x[0], torch.ones(2, 5, 4, dtype=double), *x[2:])
        with self.assertRaisesRegex(ValueError, "not a number >= 0"):
            kt.kla(x[0], -x[1], *x[2:])
        with self.assertRaisesRegex(ValueError, "one form"):
            kt.kla(*x, initial=kalscan.Information(*draw_state("kla", 2, 3, 4)))


class Layers(unittest.TestCase):
    def layers(self, **options):
        config = kt.KLAConfig(**(dict(d_state=4) | options))
        return kt.KLALayer(16, config), kt.RotatingKLALayer(16, config)

    def test_all_parameters_learn(self):
        for layer in self.layers():
            layer(torch.randn(2, 9, 16)).square().sum().backward()
            for name, p in layer.named_parameters():
                self.assertTrue(p.grad is not None and p.grad.isfinite().all() and p.grad.abs().max() > 0, name)

    def test_decoding_equals_the_whole(self):
        for options in (
            {},
            dict(use_conv=False),
            dict(use_gating=False, bias=True),
            dict(zero_process_noise=True),
            dict(discretization="zoh", qk_norm=False),
            dict(lambda_skip_mode="vector", expand=1.5),
            dict(value_rank="conv", var_rank="dt"),
            dict(clip_value=5.0, obs_var_max=10.0),
            vars(kt.KLAConfig.latest(d_state=4)) | dict(clip_value=5.0),
        ):
            for layer in self.layers(**options):
                self.decode(layer)
        for layer in self.layers(decode_from_prior=True):
            self.decode(layer)

    def decode(self, layer):
        x = torch.randn(2, 11, 16)
        with torch.no_grad():
            whole, end = layer(x, return_state=True)
            state, parts = layer.init_state(2), []
            for t in [*range(5), None]:
                y, state = layer(x[:, t : t + 1] if t is not None else x[:, 5:], state=state)
                parts.append(y)
        torch.testing.assert_close(torch.cat(parts, 1), whole, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(state.ssm[1], end.ssm[1], atol=1e-5, rtol=1e-4)

    def test_packed_batches_do_not_see_each_other(self):
        for layer in self.layers():
            x, offsets = torch.randn(1, 20, 16), [0, 2, 11, 20]
            packed = layer(x, offsets=offsets)
            for i, j in zip(offsets, offsets[1:]):
                torch.testing.assert_close(packed[:, i:j], layer(x[:, i:j]), atol=1e-5, rtol=1e-4)

    def test_variance_comes_out(self):
        for layer in self.layers(return_variance=True):
            y, variance = layer(torch.randn(2, 9, 16))
            self.assertEqual(y.shape, variance.shape)
            self.assertTrue((variance >= 0).all())

    def test_autocast_and_compile(self):
        for layer in self.layers():
            x = torch.randn(2, 9, 16)
            with torch.autocast("cpu", dtype=torch.bfloat16):
                torch.testing.assert_close(layer(x).float(), layer(x.bfloat16()).float(), atol=0.05, rtol=0.05)
            compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
            torch.testing.assert_close(compiled(x), layer(x))

    def test_a_rotating_layer_tells_words_apart_that_do_not_commute(self):
        """Its memory turns: swapping two early tokens changes a late output, by far more than rounding."""
        layer = kt.RotatingKLALayer(16, kt.KLAConfig(d_state=4, use_conv=False))
        x = torch.randn(1, 8, 16)
        swapped = x[:, [1, 0, *range(2, 8)]]
        self.assertGreater((layer(x) - layer(swapped))[:, -1].abs().max().item(), 1e-5)


class AuthorsConventions(unittest.TestCase):
    def test_scan_and_step_have_their_arguments_and_states(self):
        x = [t.detach() for t in draw("kla", 2, 12, 5, 4)]
        state = kt.KLAState(torch.rand(2, 5, 4, dtype=double) + 0.5, torch.randn(2, 5, 4, dtype=double))
        for prior in (False, True):
            y, yvar, end = kt.kla_scan(
                *x, initial_state=state, decode_from_prior=prior, backend="auto", scan_impl="doubling"
            )
            now = state
            for t in range(12):
                yt, vt, now = kt.kla_step(*(z[:, t] for z in x[:4]), *x[4:], now, decode_from_prior=prior)
                torch.testing.assert_close((yt, vt), (y[:, t], yvar[:, t]))
            torch.testing.assert_close(tuple(now), tuple(end))
        numbers = [t.numpy() for t in x]
        _, _, mean, variance = references.kla(
            *numbers, mean=(state.eta / state.lam).numpy(), variance=(1 / state.lam).numpy()
        )
        np.testing.assert_allclose(end.lam, 1 / variance, rtol=1e-10)
        np.testing.assert_allclose(end.eta, mean / variance, rtol=1e-8, atol=1e-10)
        with self.assertRaises(ValueError):
            kt.kla_scan(*x, backend="nope")

    def test_a_layer_has_their_parameters(self):
        layer = kt.KLALayer(d_model=32, config=kt.KLAConfig(d_state=8))
        shapes = {name: tuple(p.shape) for name, p in layer.state_dict().items()}
        self.assertEqual(
            shapes,
            {
                "delta": (64, 8),
                "lambda_log": (64, 8),
                "process_noise": (64, 8),
                "lambda_skip": (),
                "in_proj.weight": (128, 32),
                "conv.weight": (64, 1, 4),
                "conv.bias": (64,),
                "sensor_proj.weight": (144, 64),
                "out_proj.weight": (32, 64),
            },
        )

    def test_noises_start_as_the_options_say(self):
        softplus = torch.nn.functional.softplus
        latest = kt.KLAConfig.latest(d_state=4)
        for layer in (kt.KLALayer(8, latest), kt.RotatingKLALayer(8, latest)):
            steps, z = softplus(layer.delta), torch.randn(2, 7, layer.d_inner)
            torch.testing.assert_close(layer.process_noise_rate(), 3 * torch.exp(layer.lambda_log) * steps)
            precision = layer.sensors(z)[1]
            torch.testing.assert_close(precision, torch.full_like(precision, 4))
            precision.sum().backward()
            self.assertGreater(layer.obs_noise_bias.grad.abs().sum().item(), 0)
            self.assertGreater(layer.var_expand.weight.grad.abs().sum().item(), 0)
        for rank in ("full", "auto", 2):
            layer = kt.KLALayer(8, kt.KLAConfig(d_state=4, var_rank=rank, bias=True, obs_noise_init=0.5))
            _, precision, k, q = layer.sensors(torch.randn(2, 7, 16))
            torch.testing.assert_close(precision, torch.full_like(precision, 2))
            self.assertGreater(min(k.abs().min(), q.abs().min()).item(), 0)  # the other rows are as they were
        for mode in ("learned", "fixed", "zero"):
            for param, name in (("raw", "process_noise"), ("log", "p_log")):
                options = dict(process_noise_mode=mode, process_noise_param=param, process_noise_init=0.02)
                layer = kt.KLALayer(8, kt.KLAConfig(d_state=4, **options))
                self.assertEqual(name in dict(layer.named_parameters()), mode == "learned")
                self.assertEqual(name in dict(layer.named_buffers()), mode != "learned")
                wanted = 0.0 if mode == "zero" else 0.02
                torch.testing.assert_close(layer.process_noise_rate(), torch.full((16, 4), wanted))
                a, p = layer.dynamics()
                torch.testing.assert_close(p, wanted / 2 * (1 - a.square()), atol=1e-6, rtol=1e-3)
        for wrong in (
            *(dict(process_noise_init=x) for x in (-1, 0, float("nan"), float("inf"), "constant", True)),
            *(dict(obs_noise_init=x) for x in (0.0, float("nan"), "none", 1e-5)),
            dict(obs_noise_init=0.5, obs_var_max=0.2),
            dict(process_noise_mode="none"),
            dict(process_noise_param="none"),
        ):
            with self.assertRaisesRegex(ValueError, next(iter(wrong))):
                kt.KLALayer(8, kt.KLAConfig(**wrong))

    def test_the_layer_is_the_paper_s_formulas(self):
        layer = kt.KLALayer(8, kt.KLAConfig(d_state=4)).double()
        x = torch.randn(2, 10, 8, dtype=double)
        z, gate = (x @ layer.in_proj.weight.T).chunk(2, -1)
        padded = torch.nn.functional.pad(z, (0, 0, 3, 0))
        z = torch.nn.functional.silu(sum(padded[:, i : i + 10] * layer.conv.weight[:, 0, i] for i in range(4)))
        v, noise, k, q = (z @ layer.sensor_proj.weight.T).split([16, 16, 4, 4], -1)
        k, q = k / k.norm(dim=-1, keepdim=True), q / q.norm(dim=-1, keepdim=True)
        delta = torch.nn.functional.softplus(layer.delta)
        a, p = torch.exp(-delta), layer.process_noise / 2 * (1 - torch.exp(-2 * delta))
        precision = 1 / (torch.nn.functional.softplus(noise) + 1e-4)
        y = references.kla(*(t.detach().numpy() for t in (v, precision, k, q, a, p)))[0]
        wanted = ((torch.from_numpy(y) - z) * torch.nn.functional.silu(gate)) @ layer.out_proj.weight.T
        torch.testing.assert_close(layer(x), wanted, atol=1e-5, rtol=1e-4)


if __name__ == "__main__":
    unittest.main()
