# SPDX-License-Identifier: MIT
"""The experiments' baselines against plain loops, their tasks against their definitions, and a command that goes on."""

import contextlib
import io
import sys
import tempfile
import unittest
from pathlib import Path

try:
    import torch
except ImportError:
    raise unittest.SkipTest("torch is not there") from None

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "experiments"))
import mixers
import recall
import report
import training
import word_problem

seed = torch.seed() % 2**31
torch.manual_seed(seed)


class Baselines(unittest.TestCase):
    def test_the_delta_rule_in_chunks_is_one_reflection_after_another(self):
        q, v = torch.randn(2, 3, 41, 4).double(), torch.randn(2, 3, 82, 4).double()
        k = torch.nn.functional.normalize(torch.randn(2, 3, 82, 4).double(), dim=-1)
        b = 2 * torch.rand(2, 3, 82).double()
        state, wanted = torch.zeros(2, 3, 4, 4).double(), []
        for i in range(82):
            key, beta = k[:, :, i, :, None], b[:, :, i, None, None]
            state = state - beta * key @ (key.mT @ state) + beta * key @ v[:, :, i, None]
            if i % 2 == 1:
                wanted.append((q[:, :, i // 2, None] @ state)[:, :, 0])
        for chunk in (2, 17, 64, 200):
            torch.testing.assert_close(mixers.delta_rule(q, k, v, b, 2, chunk), torch.stack(wanted, 2))

    def test_decays_of_the_negative_baseline_take_both_signs(self):
        layer, x = mixers.NegativeMamba(8, mixers.KLAConfig(d_state=4)), torch.randn(2, 9, 16)
        v, step, k, q = (torch.randn(2, 9, n) for n in (16, 16, 4, 4))
        step = step.exp()
        decay = layer.decay(10 * x, step)
        self.assertTrue(decay.min() < 0 < decay.max() and decay.abs().max() < 1)
        h, wanted = 0.0, []
        for t in range(9):
            h = decay[:, t] * h + (step * v)[:, t, :, None] * k[:, t, None, :]
            wanted.append((h * q[:, t, None, :]).sum(-1))
        torch.testing.assert_close(mixers.gla(step * v, k, q, decay)[0], torch.stack(wanted, 1))

    def test_all_models_have_the_parameters_of_kla_and_all_of_them_learn(self):
        goal = mixers.size(mixers.equal_net("kla", 60, 32, 1, 4, 64))
        for name in mixers.MIXERS:
            net = mixers.equal_net(name, 60, 32, 1, 4, 64)
            self.assertLess(abs(mixers.size(net) - goal) / goal, 0.005, name)
            net(torch.randint(60, (4, 9))).square().mean().backward()
            for what, p in net.named_parameters():
                self.assertTrue(p.grad is not None and p.grad.isfinite().all(), f"{name}: {what}")


class Tasks(unittest.TestCase):
    def batch(self, task, *size):
        return [t.tolist() for t in task.batch(*size, torch.Generator().manual_seed(seed))]

    def options(self, **changed):
        return training.arguments("", ["a5"], device="cpu", **changed).parse_args([])

    def test_targets_of_words_are_products_of_permutations(self):
        elements = word_problem.permutations(5, True)
        for x, y in zip(*self.batch(word_problem.Words("a5", self.options()), 5, 30)):
            product = tuple(range(5))
            for letter, target in zip(x, y):
                product = tuple(product[j] for j in elements[letter])
                self.assertEqual(elements[target], product)
        words = {len(word_problem.permutations(*g)) for g in word_problem.GROUPS.values()}
        self.assertEqual(words, {2, 6, 24, 60})

    def test_copying_asks_for_the_letters_in_their_order(self):
        for x, y in zip(*self.batch(recall.Copying("copying", self.options(length=128)), 5, 200)):
            sign = x.index(15)
            self.assertEqual([letter for letter in x[:sign] if letter != 14], y[sign + 1 :])
            self.assertEqual((len(y[sign + 1 :]), set(x[sign + 1 :]), set(y[: sign + 1])), (16, {14}, {-1}))

    def test_recall_asks_for_what_a_key_was_paired_with(self):
        noise = 0
        for x, y in zip(*self.batch(recall.Recall("recall", self.options()), 50, 128)):
            value = {}
            for key, paired, target, after in zip(x[::2], x[1::2], y[::2], y[1::2]):
                self.assertEqual(after, -1)
                self.assertEqual(target, value.get(key, -1))
                if key < 16:
                    self.assertTrue(key < 8 <= paired < 16 and value.get(key, paired) == paired)
                    value[key] = paired
                noise += key >= 16
        self.assertTrue(0.15 < noise / (50 * 64) < 0.25)


class Training(unittest.TestCase):
    def test_a_command_that_was_stopped_goes_on_and_reports(self):
        with tempfile.TemporaryDirectory() as folder:
            options = dict(steps=2, length=4, batch=3, width=16, states=4, hidden=8, tests=4, at_once=2, device="cpu")
            parser = training.arguments("", ["s3"], out=Path(folder) / "r.jsonl", mixers=["kla", "gla"], **options)
            for seeds in ("1", "3"):
                args, said = parser.parse_args(["--seeds", seeds]), io.StringIO()
                with contextlib.redirect_stdout(said):
                    training.train_all(args, word_problem.Words)
            self.assertNotIn("seeds [0", said.getvalue())
            self.assertIn("| kla | ", said.getvalue())
            results = report.read(args.out)
            trained = sorted((r["mixer"], r["seed"]) for r in results)
            self.assertEqual(trained, [(m, s) for m in ("gla", "kla") for s in range(3)])
            self.assertEqual(set(results[0]["accuracy"]), {"4", "8", "16", "64"})
            self.assertEqual(report.picture(results).count("<polyline"), 2)


if __name__ == "__main__":
    unittest.main()
