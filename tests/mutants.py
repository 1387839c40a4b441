#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Plants faults one by one and says which tests see them: a test that cannot fail is a defect.

    tests/mutants.py              all mutants, a row each; ends with 1 if one survives or no longer applies
    tests/mutants.py omp law      those whose name contains one of the words
    tests/mutants.py --list       names and sources, nothing is built

Works on a copy of the tree, with the compiler in CXX (g++), through ccache where there is one; without optimization, and
only the named test sources. Before any mutant is believed, its sources must pass as they are. Not part of CI: a few
minutes on one core.
"""
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
K = "include/kalscan/"

GROWTH = ["kalman/families.cpp: states that no sensor reads*,ordinary series*"]

# Name, file, what stands there exactly once, what the fault makes of it, the test sources that should see it: all their
# tests, or those named after a colon.
MUTANTS = [
    # Scans.
    ("tasks: the last exception", K + "backend/time_split.hpp", "task < task_) task_ = task", "task > task_) task_ = task",
     ["conformance/range.cpp"]),
    ("scans carry an overflow", K + "backend/run_sweep.hpp",
     "if (went_out_of_range(before, *after)) after.reset();", "", ["conformance/range.cpp"]),
    ("engine: subnormal gains stay", K + "backend/time_split.hpp", "const no_new_subnormals guard;", "",
     ["conformance/range.cpp"]),
    ("series: no state after a chunk", K + "kalman/series/chains.hpp", "s = replay.after();", "",
     ["kalman/function_filter.cpp"]),
    ("series: the rest of a chunk is not filtered", K + "kalman/series/filter_traversal.hpp",
     "lead_to(x, after_steps(i, t, last, before));", "", ["kalman/function_filter.cpp"]),
    ("series: memory fades too early", K + "kalman/series/step.hpp",
     "std::abs(A(i, j)) < faded_bound<T>", "std::abs(A(i, j)) < T(1e-2)", ["kalman/function_filter.cpp"]),
    ("engine: a piece is replayed twice", K + "backend/time_split.hpp", "x.replayed = true;", "",
     ["conformance/range.cpp"]),
    ("engine: a carry is skipped", K + "backend/time_split.hpp", "if (auto after = c_.act(i, k, *x.element, before)) {",
     "if (auto after = std::optional(before)) {", ["conformance/scan.cpp"]),
    ("scans absorb a step twice", K + "backend/run_sweep.hpp", "each_step<S>(std::move(lane), first + 1, last",
     "each_step<S>(std::move(lane), first, last", ["conformance/scan.cpp"]),
    ("scans drop a chunk's last step", K + "backend/run_sweep.hpp",
     "absorb_steps<S>(sweep.lane(i), begin(k), begin(k + 1))",
     "absorb_steps<S>(sweep.lane(i), begin(k), std::max(begin(k) + 1, begin(k + 1) - 1))", ["conformance/scan.cpp"]),
    ("running swaps the operands of act", K + "recurrence.hpp", "return combine(state, element);",
     "return combine(element, state);", ["conformance/scan.cpp"]),
    ("exclusive scan is inclusive", K + "scan.hpp",
     "detail::write(out[t], s);\n        s = sweep->recurrence.step(s, input);",
     "s = sweep->recurrence.step(s, input);\n        detail::write(out[t], s);", ["conformance/scan.cpp"]),
    ("reversed does not reverse", K + "monoids/reversed.hpp", "return inner(later, earlier);",
     "return inner(earlier, later);", ["laws/adaptors.cpp"]),
    ("segmented forgets the earlier start", K + "monoids/segmented.hpp",
     "{inner(earlier.value, later.value), earlier.starts}", "{inner(earlier.value, later.value), false}",
     ["laws/adaptors.cpp"]),
    # Laws.
    ("laws: associativity with itself", K + "laws.hpp", "sides(m(m(a, b), c), m(a, m(b, c)))",
     "sides(m(m(a, b), c), m(m(a, b), c))", ["laws/laws.cpp"]),
    ("laws: lift with itself", K + "laws.hpp",
     "states(r.act(r.lift(each), before), r.step(before, each))",
     "states(r.act(r.lift(each), before), r.act(r.lift(each), before))", ["laws/laws.cpp"]),
    ("laws: one NaN is enough", K + "laws/tolerance.hpp", "(std::isnan(l) && std::isnan(r))",
     "(std::isnan(l) || std::isnan(r))", ["laws/laws.cpp"]),
    ("laws: consequences of what holds", K + "laws/trials.hpp", "consequence && e && !e->result.holds",
     "consequence && e && e->result.holds", ["laws/laws.cpp"]),
    ("laws: shrunk to what holds", K + "laws/trials.hpp", "if (still_fails()) {", "if (!still_fails()) {",
     ["laws/laws.cpp"]),
    # Kalman.
    ("element: sign in eta", K + "kalman/scalar/filtering_element.hpp", "A1 * (d * eta2 - dJ * b1) + eta1",
     "A1 * (d * eta2 + dJ * b1) + eta1", ["laws/scalar_filter.cpp"]),
    ("element: A2 once in C", K + "kalman/scalar/filtering_element.hpp", "A2 * A2 * dC + C2", "A2 * dC + C2",
     ["laws/scalar_filter.cpp"]),
    ("element: act without eta", K + "kalman/scalar/filtering_element.hpp",
     "x.A * (d * before.mean + dP * x.eta) + x.b", "x.A * (d * before.mean) + x.b", ["laws/scalar_filter.cpp"]),
    ("absorb: eta without the prediction", K + "kalman/scalar/filter.hpp", "x.eta + A * (r - phi * bm)",
     "x.eta + A * r", ["laws/scalar_filter.cpp"]),
    ("absorb: overflow unsaid", K + "kalman/scalar/filter.hpp", " + T(0) * phiC", "",
     ["conformance/range.cpp", "kla/gains.cpp"]),
    ("map: r with the wrong variance", K + "kalman/scalar/information_map.hpp", "detail::fused(r, v, a * x.w)",
     "detail::fused(r, x.v, a * x.w)", ["laws/scalar_filter.cpp"]),
    ("map: product drops a term", K + "kalman/scalar/information_map.hpp", "wu2 * uu1 + wv2 * vu1 + ww2 * wu1",
     "wu2 * uu1 + wv2 * vu1", ["laws/scalar_filter.cpp"]),
    ("matrix element: sign of an observation of b1", K + "kalman/elements/filtering_element.hpp", "w(k) - h.dot(x.b)",
     "w(k) + h.dot(x.b)", ["laws/matrix_elements.cpp"]),
    ("matrix element: eta without the rest", K + "kalman/elements/filtering_element.hpp",
     "x.eta += times(detail::transposed(x.A), rest);", "", ["laws/matrix_elements.cpp"]),
    ("matrix element: C of the later stretch", K + "kalman/elements/filtering_element.hpp",
     "detail::sum(detail::congruence(later.A, x.C), later.C)", "detail::congruence(later.A, x.C)", ["laws/matrix_elements.cpp"]),
    ("information: pivots are never chosen", K + "kalman/small/filtering.hpp",
     "return steady ? x : readings_by_pivots(eta, J);", "return x;", ["kalman/small.cpp: information of any rank*"]),
    ("vague: joined at once", K + "kalman/small/diffuse_belief.hpp", "if (small || regular) join(x);", "join(x);",
     ["kalman/function_diffuse.cpp: where the first reading*"]),
    ("vague: never reduced", K + "kalman/small/diffuse_readings.hpp", "  reduce_vague(x, seen.K, told.vague);\n", "",
     ["kalman/small.cpp: stretches under a diffuse*"]),
    ("vague: what is read without noise is not cleared", K + "kalman/small/diffuse_readings.hpp",
     "    if (equal(d, T(0))) clear_along(x, h);\n", "",
     ["kalman/function_diffuse.cpp: what readings without noise*"]),
    ("vague: rounding of the gain is spread", K + "kalman/small/diffuse_readings.hpp",
     "along = times<residues::rounded>(x.directions, a)", "along = times(x.directions, a)",
     ["kalman/function_diffuse.cpp: what readings without noise*"]),
    ("vague: rounding is kept as a column", K + "kalman/small/diffuse_readings.hpp",
     "sum_of_two<residues::rounded>(own.q(i), -deviation * seen.K(i))", "own.q(i) - deviation * seen.K(i)",
     ["kalman/function_diffuse.cpp: what readings without noise*"]),
    ("vague: each column has its own rounding", K + "kalman/small/diffuse_readings.hpp",
     "rounding_of_sums<T, N> * terms_of_vague", "rounding_of_sums<T, N> * terms",
     ["kalman/function_diffuse.cpp: what readings without noise*"]),
    ("observe: rounding through the gain is a variance", K + "kalman/small/observe.hpp", "    rounding *= 1 + terms / x.s;\n",
     "    (void)terms;\n", ["kalman/function_diffuse.cpp: what readings without noise*"]),
    ("vague: rounding is told apart", K + "kalman/small/directions.hpp", "is_vague ? rounding_of_sums<T, N> :", "is_vague ? T(0) :",
     ["kalman/function_diffuse.cpp: of a state that is known*"]),
    ("directions depend on each other", K + "kalman/small/directions.hpp", "  make_independent(moved, terms);\n", "",
     ["kalman/function_diffuse.cpp: what later data*"]),
    ("diffuse smoother: equations in any order", K + "kalman/small/diffuse_smoothing.hpp",
     "    equations.gather(equations.best_told(x, r), r);\n", "", ["kalman/function_diffuse.cpp: what later data*"]),
    ("diffuse smoother: rounding tells of directions", K + "kalman/small/diffuse_smoothing.hpp",
     "act_backward<detail::residues_of<small_diffuse_belief<T, N>>>(", "act_backward(",
     ["kalman/function_diffuse.cpp: what later data*"]),
    ("diffuse smoother: information without digits", K + "kalman/device/diffuse_smoother.hpp",
     "if (makes_equations(own.later.J)) return", "if (true) return",
     ["kalman/function_diffuse.cpp: what later data*"]),
    ("diffuse smoother: information of few digits", K + "kalman/small/diffuse_smoothing.hpp",
     "-x(k, k) * J(k, k) <= most", "-x(k, k) * J(k, k) <= 1 / (most * std::numeric_limits<T>::epsilon())",
     ["kalman/function_diffuse.cpp: in float*"]),
    ("diffuse smoother: hardly known steps by information", K + "kalman/device/diffuse_smoother.hpp",
     "little = little || variance(i, step, j) > ", "little = little && variance(i, step, j) > ",
     ["kalman/function_diffuse.cpp: in float*"]),
    ("sharp: a shared shock does not count", K + "kalman/steps/observation.hpp",
     "times > more && shares_noise<T, N>(Q, last, 1 / more)", "false", ["kalman/families.cpp: a sensor far more*"]),
    ("beginning: a transition's noise is forgotten on the way back", K + "kalman/diffuse/smoother.hpp",
     "E_ = narrowed(side_by_side<T>(E_, fresh));", "", ["kalman/diffuse.cpp: a diffuse prior*"]),
    ("beginning: a reading tells nothing on the way back", K + "kalman/diffuse/smoother.hpp",
     "times_update(*x, f, o.noise);", "(void)*x;", ["kalman/diffuse.cpp: a diffuse prior*"]),
    ("beginning: a reading's own noise is not left", K + "kalman/diffuse/conditional_filter.hpp",
     "update_root(U_, o.f, o.d);", "update_root(U_, o.f, T(0));", ["kalman/diffuse.cpp: sensors far*"]),
    ("diffuse start: a quarter turn tells of a state", K + "kalman/diffuse/rounding.hpp",
     " + (i == k ? turn(F, i) : T(0))", "", ["kalman/diffuse.cpp: the cosine of*"]),
    ("diffuse smoother: what is not finite tells nothing", K + "kalman/small/diffuse_smoothing.hpp",
     "readings.w(0) += x.eta(i) * T(0);", "", ["kalman/function_diffuse.cpp: information that a reading*"]),
    ("diffuse smoother: equations of another chunk", K + "kalman/device/diffuse_smoother.hpp",
     "before(k - chunks);", "before(k - chunks - 1);",
     ["kalman/function_diffuse.cpp: one reading tells*"]),
    ("diffuse smoother: information from another origin", K + "kalman/device/diffuse_smoother.hpp",
     "if (t == last) return x.unknown_of(i, from).origin;", "",
     ["kalman/function_diffuse.cpp: a diffuse prior*"]),
    ("diffuse smoother: filtered means that are gone", K + "kalman/device/diffuse_smoother.hpp",
     "(smoothed ? x.out.mean.data() : x.mean)", "x.mean", ["kalman/function_diffuse.cpp: a diffuse prior*"]),
    ("plan: eta without its gains", K + "kalman/series/settled.hpp", "        eta(i) += v * g(i, k);\n", "",
     ["kalman/planned.cpp"]),
    ("plan: covariances that have not settled", K + "kalman/device/constant_plan.hpp", "plan->filter.hold && same_but_rounding(",
     "plan->filter.hold || same_but_rounding(", ["kalman/planned.cpp"]),
    ("plan: filtered covariances taken as settled", K + "kalman/device/constant_plan.hpp", "filtered_known = same_but_rounding(",
     "filtered_known = true || same_but_rounding(", ["kalman/planned.cpp"]),
    ("plan: slow ones never come close", K + "kalman/device/constant_plan.hpp", "4 * epsilon / (1 - shrinks * shrinks)", "T(0)",
     ["kalman/planned.cpp"]),
    ("plan: short chunks overlap", K + "kalman/device/chunks.hpp", "(past < inner ? past : inner) * (chunk - short_steps)",
     "past * (chunk - short_steps)", ["kalman/planned.cpp"]),
    ("vague: chunks of the beginning are summed up", K + "kalman/series/filter_traversal.hpp",
     "first == 0 || first < beginning", "first == 0", ["kalman/function_diffuse.cpp: where the first reading*"]),
    ("square root: rounding is taken for a variance", K + "kalman/steps/square_root_steps.hpp",
     "if (!update.tells() || (equal(o.d(i), 0) && update.s <= error)) {", "if (!update.tells()) {",
     ["kalman/families.cpp"]),
    ("square root: what is read again corrects nothing", K + "kalman/steps/square_root_steps.hpp",
     "      mean += v * K;\n      const Eigen::Vector<T, N> told", "      const Eigen::Vector<T, N> told",
     ["kalman/families.cpp"]),
    ("beginning: one part for all steps", K + "kalman/diffuse/sweep.hpp",
     "if (noiseless && t + 1 < steps.length) x.begin_part(history);", "",
     ["kalman/diffuse.cpp: what is read exactly through*"]),
    ("beginning: what is read again corrects nothing", K + "kalman/diffuse/start.hpp",
     "unknowns_.reduce(given_.read_again(h, o.v.value, o.terms));", "", ["kalman/families.cpp: exact readings of one or*"]),
    ("beginning: a root's rounding is not taken away", K + "kalman/diffuse/start.hpp",
     "unknowns_.reduce(given_.read_again(h, o.v.value, o.terms));", "given_.read_again(h, o.v.value, o.terms);",
     ["kalman/prior.cpp: and in models*"]),
    ("beginning: rounding is taken for a variance", K + "kalman/diffuse/start.hpp",
     "of_state.variance <= 4 * given_.rounding_along(h)", "!(of_state.variance > 0)", ["kalman/prior.cpp: and in models*"]),
    ("beginning: rounding under the gain of a part", K + "kalman/diffuse/start.hpp",
     "given_.follow(h, of_state.gain, o.terms);", "if (o.s > 0) given_.follow(h, o.gain, o.terms);",
     ["kalman/families.cpp: exact readings of one or*"]),
    ("beginning: rounding of a root is taken for its row", K + "kalman/diffuse/conditional_filter.hpp",
     "own(i) * own(i) <= E_(i, i)", "own(i) * own(i) < 0", ["kalman/diffuse.cpp: where exact readings tell*"]),
    ("beginning: what is left of a bound has no rounding", K + "kalman/diffuse/conditional_filter.hpp",
     "      E(i, i) += rounding() * terms * terms;\n", "", ["kalman/prior.cpp: and in models*"]),
    ("root smoother: a step's prediction may be any size", K + "kalman/steps/square_root_smoother.hpp",
     "wide(steps->model.Q[t](i, i))), moved(i));", "wide(steps->model.Q[t](i, i))), wide(0));",
     ["kalman/families.cpp: what is read without noise some*"]),
    ("beginning: later data are not heard", K + "kalman/diffuse/end_spread.hpp", "all.add(told.col(i), v(i));",
     "all.add(told.col(i), T(0));",
     ["kalman/families.cpp: one shock and a diffuse*"]),
    ("beginning: unknowns are never given likely values", K + "kalman/diffuse/start.hpp",
     "    if (!noiseless_) unknowns_.move_origin(given_.b(), history);\n", "", ["kalman/families.cpp: the first steps of states far from 0*"]),
    ("beginning: a part forgets the rounding before it", K + "kalman/diffuse/start.hpp",
     "history.directions_rounding, true, rounding());", "history.directions_rounding, true, matrix());",
     ["kalman/prior.cpp: and in models*"]),
    ("beginning: a part forgets what its directions are off by", K + "kalman/diffuse/start.hpp",
     "history.directions, history.directions_rounding, true", "history.directions, matrix(), true",
     ["kalman/diffuse.cpp: a sum that exact readings*"]),
    ("prior after a result: directions are as good as their numbers", K + "kalman/model/prior_after.hpp",
     "    prior.directions_rounding = detail::to_eigen<directions>(beginning.directions_rounding);\n", "",
     ["kalman/prior.cpp: what readings tell apart*"]),
    ("prior after a result: mean and root are as good as their numbers", K + "kalman/model/prior_after.hpp",
     "    prior.rest = detail::to_eigen<directions>(detail::side_by_side<T>(beginning.end_mean_rest, root.rest));\n", "",
     ["kalman/prior.cpp: what readings tell apart*"]),
    ("diffuse start: the mean is as good as its numbers", K + "kalman/diffuse/start.hpp",
     "    if (rest.cols > 0) std::copy_n(rest.data, rest.rows, given_.b().rest.data());\n", "",
     ["kalman/prior.cpp: what readings tell apart*"]),
    ("compensated: a root is narrowed with the digits of its numbers", K + "kalman/linalg/compensated.hpp",
     "pass < 2; ++pass", "pass < 1; ++pass", ["kalman/prior.cpp: what readings tell apart*"]),
    ("prior after a result: a covariance of rounding beside its root", K + "kalman/model/prior_after.hpp",
     "    prior.covariance = detail::times(prior.root, detail::transposed(prior.root));\n", "",
     ["kalman/prior.cpp: a series under a diffuse prior*"]),
    ("beginning: a vague unknown is not kept apart from what is read", K + "kalman/diffuse/unknowns.hpp",
     "T most = 64 * deviation;", "T most = infinity<T>;", ["kalman/families.cpp: sums of states that are read ten*"]),
    ("beginning: what is known of unknowns stays in old coordinates", K + "kalman/diffuse/information.hpp",
     "rows_(i, j) += rows_(i, pivot) * change(j);", "{}", ["kalman/families.cpp: sums of states that are read ten*"]),
    ("beginning: roots wait for regular covariances", K + "kalman/diffuse/sweep.hpp",
     "(steps.roots ? x.gained() <= std::log(steps.enough) : x.safe(filtered))", "x.safe(filtered)",
     ["kalman/families.cpp: a wide or diffuse prior*"]),
    ("beginning: the smoother does not hear of a vague unknown's change", K + "kalman/diffuse/unknowns.hpp",
     "history.add_change(pivot, change, T(0));\n      information_.know(pivot, change);", "information_.know(pivot, change);",
     ["kalman/families.cpp: sums of states that are read ten*"]),
    ("beginning: a root is as good as its numbers", K + "kalman/diffuse/unknowns.hpp",
     "    std::copy_n(root_rest.data, n * root_rest.cols, A_.rest.data() + n * flat);\n", "",
     ["kalman/prior.cpp: what readings tell apart*"]),
    ("beginning: none under a vague prior", K + "kalman/diffuse/sweep.hpp",
     " || (!stepper.noiseless && vague.is_vague(prior.covariance))", "",
     ["kalman/families.cpp: sums of states that are read ten*"]),
    ("diffuse start: what may be rounding is not eliminated", K + "kalman/diffuse/unknowns.hpp",
     "      if (j == pivot) continue;\n", "      if (j == pivot || !(sizes_(j) > 0)) continue;\n",
     ["kalman/prior.cpp: what readings tell apart*"]),
    ("beginning: what has no variance is not forgotten", K + "kalman/diffuse/unknowns.hpp",
     "if (largest * largest < (std::numeric_limits<T>::min)()) clear_column(moved_, j);", "",
     ["kalman/diffuse.cpp: what is forgotten until*"]),
    ("smoother: of the next step no rest is left", K + "kalman/smoother_sweep.hpp",
     "add_outer(covariance, 1, given.rest, given.rest);", "", ["kalman/families.cpp: states that are read after*"]),
    ("filter: a stretch forgets its start too early", K + "kalman/linalg/fixed.hpp",
     "faded_bound<typename Matrix::Scalar>", "typename Matrix::Scalar(1e-3)", ["kalman/filter_smoother.cpp"]),
    ("beginning: parts are smoothed alone", K + "kalman/diffuse/smoother.hpp",
     "    mean_ = next.mean;\n    root_ = next.root;\n", "", ["kalman/diffuse.cpp"]),
    ("prior: the root is not handed on", K + "kalman/model/prior_after.hpp",
     "prior.root = detail::to_eigen<directions>(root.value);", "", ["kalman/prior.cpp"]),
    ("smoother: N of the later data once", K + "kalman/smoother_sweep.hpp",
     "sum(congruence(transposed(x.L), s.N_), x.N)", "congruence(transposed(x.L), s.N_)", ["kalman/filter_smoother.cpp"]),
    ("smoother: lost digits are kept", K + "kalman/smoother_sweep.hpp",
     "taken = take_from_next(t, (*cancelled)[static_cast<std::size_t>(t)], taken);", "", ["kalman/families.cpp"]),
    ("smoother: digits lost at the next step are not missed", K + "kalman/smoother_sweep.hpp",
     "(*cancelled)[static_cast<std::size_t>(t)], taken);", "(*cancelled)[static_cast<std::size_t>(t)], false);",
     ["kalman/families.cpp: before steps*"]),
    ("beginning: any unknown solves a reading without noise", K + "kalman/diffuse/unknowns.hpp",
     "orthonormal_ ? T(1) : ", "", ["kalman/diffuse.cpp: a reading without noise*"]),
    ("ranks: digits lost on the next rank are not missed", K + "ranks/kalman.hpp", "        taken[i] = true;\n", "",
     ["ranks/kalman.cpp: what cancels*"]),
    ("ranks: sharp models go as covariances", K + "ranks/kalman.hpp", "if (reads_sharply(models[i])) {", "if (false) {",
     ["ranks/kalman.cpp: models that are carried*"]),
    ("ranks: results lose their roots", K + "ranks/kalman.hpp", "if (filtered[i].covariance_root.empty()) continue;",
     "continue;", ["ranks/kalman.cpp: results with roots*"]),
    ("ranks: growth is not told", K + "ranks/kalman.hpp", "if (all[r].outgrown[i]) {", "if (false) {",
     ["ranks/kalman.cpp: a series that is outgrown*"]),
    ("ranks: growth beside one rank's noise", K + "ranks/kalman.hpp", "most = most.cwiseMax(of_rank.noise[k]).eval();",
     "most = of_rank.noise[k];", ["ranks/kalman.cpp: a series is not outgrown*"]),
    ("ranks: growth beside no prior", K + "ranks/kalman.hpp",
     "results[i].first_variances = all_begun[start].variances[i];\n", "",
     ["ranks/kalman.cpp: a series is not outgrown*"]),
    ("ranks: vague beside one rank's readings", K + "ranks/kalman.hpp",
     "precision = precision.cwiseMax(of_rank.precision[k]).eval();", "precision = have[0].precision[k];",
     ["ranks/kalman.cpp: a prior that is vague*"]),
    ("ranks: the prior is the first rank's alone", K + "ranks/kalman.hpp",
     "if (!arrives(i) && (me == start || !scales.begins_series(i))) continue;",
     "if (!arrives(i) && me == start) continue;", ["ranks/kalman.cpp: one series may end*"]),
    ("ranks: series that end early are not smoothed", K + "ranks/kalman.hpp", "if (lengths[i] == 0) continue;\n      lane",
     "if (!edges[i].has_after) continue;\n      lane", ["ranks/kalman.cpp: series that end*"]),
    ("square root: Q of a step is rooted in float", K + "kalman/steps/square_root_steps.hpp",
     "root_of(model.Q[t].template cast<wide>()).template cast<X>()", "root_of(model.Q[t].template cast<X>())",
     ["kalman/square_root.cpp: in float a Q*"]),
    ("online: a changed Q has the rounding of the first", K + "kalman/online_filter.hpp",
     "root_steps_.rounding_of_root(t)", "root_steps_.noise_rounding(t)", ["kalman/online.cpp: a Q that is changed*"]),
    ("online: no roots under a vague prior", K + "kalman/online_filter.hpp", "has_root(x) || is_vague(prior.covariance)", "has_root(x)",
     ["kalman/online.cpp: under a prior that is vague*"]),
    ("online: no root after a beginning that is vague still", K + "kalman/online_filter.hpp",
     "result.beginning.size() == last + 1 && is_vague(x.covariance)", "result.beginning.size() == last + 1 && false",
     ["kalman/online.cpp"]),
    ("square root: a row next to underflow is scaled", K + "kalman/linalg/roots.hpp",
     "if (largest < (std::numeric_limits<T>::min)()) {", "if (largest < 0) {",
     ["kalman/square_root.cpp: a row next to underflow*"]),
    ("square root: later data tell no more than exact ones", K + "kalman/steps/square_root_smoother.hpp",
     "sweep->noiseless ? narrow : epsilon", "narrow",
     ["kalman/square_root.cpp: what only all of the data*"]),
    ("square root: information grows without bound", K + "kalman/steps/square_root_smoother.hpp",
     "      bound(i, x);\n", "",
     ["kalman/square_root.cpp: an unstable state*"]),
    ("small roots: a reflection keeps its sign", K + "kalman/small/roots.hpp", "X(i, k) *= sign;", "",
     ["kalman/small_roots.cpp: small roots are*"]),
    ("small roots: a null row ends a column", K + "kalman/small/roots.hpp", "X(i, k) *= sign;",
     "X(i, k) *= none ? T(0) : sign;", ["kalman/small_roots.cpp: small roots are*"]),
    ("small roots: rounding of Q is noise", K + "kalman/small/roots.hpp",
     "T(4 + N) * std::numeric_limits<T>::epsilon()", "T(0)", ["kalman/small_roots.cpp: small roots are*"]),
    ("small roots: what is known exactly is read again", K + "kalman/small/roots.hpp",
     "if (size_of(f(j)) <= rounding * terms) f(j) = 0;", "", ["kalman/small_roots.cpp: readings without*"]),
    ("small roots: elements are in float", K + "support/numbers.hpp",
     "std::conditional_t<(sizeof(T) < sizeof(double)), double, T>", "T",
     ["kalman/small_roots.cpp: 20*,what only all*"]),
    ("small roots: later data are not taken", K + "kalman/small/square_root.hpp",
     "    detail::take_likelihood<Residues>(x, small_root_likelihood<T, N>{later.Z, later.w});\n", "",
     ["kalman/small_roots.cpp: the square-root operator*"]),
    ("small roots: a reading tells nothing of the state before", K + "kalman/small/square_root.hpp",
     "  add_equation<Residues>(x.Z, x.w, row, seen.v * seen.scale);\n", "", ["kalman/small_roots.cpp: chunks of filter*"]),
    ("small roots: information grows without bound", K + "kalman/small/square_root.hpp",
     "  detail::bound_information(later, x.root);\n", "", ["kalman/small_roots.cpp: beside an unstable*"]),
    ("small roots: information grows to infinity", K + "kalman/small/roots.hpp", "if (largest > most) {",
     "if (false) {", ["kalman/small_roots.cpp: an unstable state*"]),
    ("small roots: a constant Q has no root", K + "kalman/functions/square_root.hpp",
     "      noise_.own = detail::as<T>(noise_.of_elements);\n", "", ["kalman/small_roots.cpp: a Q that*"]),
    ("sharp readings take covariances", K + "kalman/steps/filter_step.hpp", "sharp(!noiseless && reads_sharply(model))",
     "sharp(false)", ["kalman/families.cpp: several sensors far more*"]),
    ("sharp readings: only of a step's own noise", K + "kalman/steps/observation.hpp",
     "k = t; k < t + model.states(); ++k)", "k = t; k < t + 1; ++k)", ["kalman/irregular.cpp: noise that transitions*"]),
    ("sharp readings: not when they are read", K + "kalman/steps/filter_step.hpp",
     "told_sharply = told_sharply || tells_sharply<T, N>(h, o.d(i), seen, P);", "",
     ["kalman/families.cpp: a series is carried as roots*"]),
    ("chunks: what has faded is guessed far from 0", K + "kalman/elements/stretch.hpp",
     "std::abs(w(k)) > near ? w(k) : T(0)", "w(k)", ["kalman/families.cpp: components that fade*"]),
    ("beginning: unseen directions keep rounding", K + "kalman/diffuse/information.hpp",
     "    clear_rounding(triangle, k);\n", "", ["kalman/diffuse.cpp: what exact readings tell in the end*"]),
    ("chunks: the state before is near 0", K + "kalman/elements/stretch.hpp",
     "if (is_finite(likely.x)) guess += likely.x;\n", "", ["kalman/irregular.cpp: chunks of time*"]),
    ("exact readings: what was before leaves its rounding", K + "kalman/linalg/roots.hpp",
     "    grow(row_squares(U));\n    take_along(h, K);\n", "    take_along(h, K);\n    grow(row_squares(U));\n",
     ["kalman/irregular.cpp: an exact reading*"]),
    ("growth: nothing is seen", K + "kalman/steps/filter_sweep.hpp", "if (told_sharply || outgrown(P, seen.limit))", "if (false)",
     GROWTH),
    ("growth: of all variances", K + "kalman/steps/growth.hpp", "  if (!grown) return false;\n", "",
     GROWTH),
    ("growth: the first noise is the largest", K + "kalman/steps/growth.hpp",
     "(std::max)(noise.back()(i), model.Q[t](i, i))", "noise.back()(i)",
     ["kalman/families.cpp: ordinary series*"]),
    ("growth: not step by step", K + "kalman/online_filter.hpp", "if (step_.noiseless || step_.sharp || has_outgrown(x)) {\n      x.root",
     "if (step_.noiseless || step_.sharp) {\n      x.root", GROWTH),
    ("growth: a result does not hand on how it began", K + "kalman/online_filter.hpp",
     "if (result.first_variances.size() > 0) x.first_variances = result.first_variances;", "",
     ["kalman/online.cpp: growth since*"]),
    # The device's index arithmetic.
    ("device: a thread keeps another's sum", K + "mixer/device/layout.hpp",
     "2 * (g & 1) + (group > 2 ? g >> 1 & 1 : 0)", "(g & 3) % group", ["kla/device_indices.cpp"]),
    ("device: staged steps overlap", K + "mixer/device/layout.hpp", "thread / channels() * channel_units() * 4",
     "thread / channels() * 4", ["kla/device_indices.cpp"]),
    ("device: a row of sums has one part", K + "mixer/device/layout.hpp",
     "parts(rows < block_threads ? block_threads / rows : 1)", "parts(1)", ["kla/device_indices.cpp"]),
    ("device: the last chunk is as long as the others", K + "mixer/device/time_cuts.hpp",
     "x.k + 1 == x.chunks ? x.length : x.from + chunk", "x.from + chunk", ["kla/device_indices.cpp"]),
    ("device: a slot in the sequence before it", K + "mixer/device/time_cuts.hpp", "(first_slot[middle] <= slot ?",
     "(first_slot[middle] < slot ?", ["kla/device_indices.cpp"]),
    ("device: chunks of any number of steps", K + "kalman/device/chunks.hpp",
     "chunk = 4 * (std::max)(quarter, std::int64_t{1});", "chunk = (std::max)(4 * quarter - 1, std::int64_t{4});",
     ["kalman/device_cuts.cpp"]),
    ("device: fewer chunks than fit", K + "kalman/device/chunks.hpp", "longest * count + 4 * chunks - 1",
     "longest * count + 4 * chunks", ["kalman/device_cuts.cpp"]),
    ("device: a shorter last chunk is not", K + "mixer/device/time_cuts.hpp", "100 * (chunks - 1) + fill.last_chunk",
     "100 * chunks", ["kla/device_indices.cpp: a last chunk*"]),
    ("even cuts: rounded down", K + "mixer/device/time_cuts.hpp", "(x.length + chunks - 1) / chunks + 15) / 16 * 16",
     "(x.length + chunks - 1) / chunks) / 16 * 16", ["kla/device_indices.cpp: even cuts*"]),
    ("even cuts: a tile more than there must be", K + "mixer/device/time_cuts.hpp",
     "(x.length + chunks - 1) / chunks + 15) / 16 * 16", "(x.length + chunks - 1) / chunks + 16) / 16 * 16",
     ["kla/device_indices.cpp: even cuts*"]),
    ("even cuts: longer ones", K + "mixer/device/time_cuts.hpp", "if (chunk < x.chunk) x.chunk = chunk;",
     "x.chunk = chunk;", ["kla/device_indices.cpp: even cuts*"]),
    ("even cuts: of packed sequences", K + "mixer/device/time_cuts.hpp",
     "if (x.offsets != nullptr || x.slots == 0 || x.length == 0) return x;",
     "if (x.slots == 0 || x.length == 0) return x;", ["kla/device_indices.cpp: even cuts*"]),
    ("device: the last tile closes a bundle", K + "cuda/scan/tiles.hpp", "x.in_bundle == fan - 1 && !x.last",
     "x.in_bundle == fan - 1", ["kla/device_indices.cpp"]),
    ("device: mirrored tiles are one off", K + "cuda/scan/tiles.hpp", "backward ? tiles - 1 - x.index",
     "backward ? tiles - x.index", ["kla/device_indices.cpp"]),
    # Kalman Linear Attention and its like.
    ("seq: the sum over states begins anew with the second", K + "mixer/host/seq.hpp",
     "sums = s == 0 ? M::readout(state, u)", "sums = s <= 1 ? M::readout(state, u)", ["kla/forward.cpp"]),
    ("lines: the sum over states has none but the last", K + "mixer/host/line.hpp", "if constexpr (first()) {",
     "if constexpr (first() || true) {", ["kla/forward.cpp"]),
    ("kla: extend with a wrong r", K + "kla/kla.hpp",
     "kalscan::extend(x, u.a, u.aa, u.p, u.Lambda * u.kk, u.vLambda * u.k)",
     "kalscan::extend(x, u.a, u.aa, u.p, u.Lambda * u.kk, u.vLambda)", ["kla/check_mixer.cpp"]),
    ("kla: extend in four with a wrong power of a", K + "kalman/scalar/information_map.hpp", "i == 2 ? r * a :",
     "i == 2 ? r * aa :", ["kla/check_mixer.cpp"]),
    ("kla: a run is never large", K + "kla/kla.hpp", "return x.uu > large;", "return x.uu > x.uu * large;",
     ["kla/device_formulas.cpp"]),
    ("kla: act of a run without w", K + "kla/kla.hpp", "return {w * i + none, v * i + none};",
     "return {v * i + none, v * i + none};", ["kla/check_mixer.cpp"]),
    ("kla: sign of the adjoint of p", K + "kla/kla.hpp", "result.inputs.p = Pmb;", "result.inputs.p = -Pmb;",
     ["kla/check_mixer.cpp"]),
    ("kla: prediction without noise", K + "kla/kla.hpp",
     "detail::fused(u.aa, counted(u.aa, x.variance), u.p)", "u.aa * counted(u.aa, x.variance)", ["kla/check_mixer.cpp"]),
    ("kla: adjoint monoid swapped", K + "kalman/scalar/belief_adjoint.hpp", "x1 * c2 + c1, y1 * c2 + x1 * x1 * d2 + d1",
     "x2 * c1 + c2, y2 * c1 + x2 * x2 * d1 + d2", ["kla/check_mixer.cpp"]),
    ("rotating: torque with the wrong sign", K + "kla/vector_kla.hpp",
     "const vector3<T> torque = cross(x.mean(), carried);", "const vector3<T> torque = cross(carried, x.mean());",
     ["kla/rotating.cpp"]),
    ("gradients: strips of channels by the batch", K + "mixer/host/run.hpp", "strip = lines_of_strip(plan)",
     "strip = std::clamp<std::int64_t>(plan.lines * call.shape.batch / 16, 1, 8)", ["kla/schedule.cpp"]),
    ("rotating: the general step rounds in its own way", K + "kla/vector_kla.hpp",
     "if (detail::equal(before.variance, detail::infinity<T>) ||", "if (true ||", ["kla/schedule.cpp"]),
    ("rotating: eta is not turned back", K + "kalman/scalar/rotating_element.hpp",
     "rotated(conjugate(earlier.rotation), eta) + earlier.eta", "rotated(earlier.rotation, eta) + earlier.eta",
     ["kla/rotating.cpp"]),
    ("rotating: quaternions drift", K + "monoids/rotation.hpp", "return nearly_unit(later * earlier);",
     "return later * earlier;", ["kla/rotating.cpp"]),
    ("rotating: the adjoint of the variance three times", K + "kla/vector_kla.hpp",
     "after.mean_y, later.mean_y, T(0), bar.yy, T(0));", "after.mean_y, later.mean_y, later.variance, bar.yy, T(0));",
     ["kla/rotating.cpp"]),
    ("gla: adjoint element without the gate", K + "kla/gla.hpp", "return {u.g, u.g * (u.q * bar.y)};",
     "return {u.g, u.q * bar.y};", ["kla/check_mixer.cpp"]),
    ("mixers: overflow where none is", K + "mixer/host/chains.hpp", "if (!holds(x, to, s, w)) to.set",
     "if (holds(x, to, s, w)) to.set", ["kla/gains.cpp"]),
    ("mixers: the adjoint takes the chunks from the first one on", K + "mixer/host/chains.hpp",
     "time_direction::forward ? k : pieces(i) - 1 - k", "time_direction::forward ? k : k", ["kla/gains.cpp"]),
    ("mixers: half the lanes in a gradient", K + "mixer/host/gradients.hpp", "half = W / 2; half > 0; half /= 2",
     "half = W / 2; half > 1; half /= 2", ["kla/backward.cpp"]),
    ("mixers: a tile is not taken back", K + "mixer/host/line.hpp",
     "if (advance == 0) std::copy_n(saved, length, state);", "", ["kla/forward.cpp", "kla/regimes.cpp"]),
]


class Tree:
    """A copy of the sources, and the programs built from it."""

    def __init__(self, where):
        self.where = pathlib.Path(where)
        for folder in ("include", "tests", "examples"):
            shutil.copytree(ROOT / folder, self.where / folder)
        eigen = os.environ.get("EIGEN3_INCLUDE_DIR", "/usr/include/eigen3")
        ccache = ["ccache"] if shutil.which("ccache") else []
        self.compile = ccache + [os.environ.get("CXX", "g++"), "-std=c++20", "-O0", "-w", "-fopenmp", "-Iinclude",
                                 "-Itests", "-isystem", eigen, f'-DKALSCAN_SOURCE_DIR="{ROOT}"']

    def run(self, command, seconds):
        environment = dict(os.environ, OMP_WAIT_POLICY="passive", CCACHE_BASEDIR=str(self.where))
        return subprocess.run(command, cwd=self.where, env=environment, timeout=seconds, text=True,
                              capture_output=True, check=False)

    def test(self, source):
        """None where all tests of a source pass, or those named after a colon, else the name of the first that fails."""
        source, _, cases = source.partition(": ")
        files = ["main.cpp", source]
        if source.startswith("kalman/"):  # what these share
            files += ["kalman/shared.cpp", "kalman/oracle.cpp"]
            if '#include "by_functions.hpp"' in (self.where / "tests" / source).read_text():
                files += ["kalman/by_functions.cpp"]
        if '#include "shared.hpp"' in (self.where / "tests" / source).read_text() and source.startswith("kla/"):
            files += ["kla/shared.cpp"]
        objects = [file.replace("/", "_") + ".o" for file in files]
        for file, made in zip(files, objects):
            built = self.run(self.compile + ["-c", f"tests/{file}", "-o", made], 600)
            if built.returncode:
                return "does not compile: " + first_match(r"error: (.*)", built.stderr)
        linked = self.run(self.compile + objects + ["-o", "program"], 60)
        if linked.returncode:
            return "does not link"
        try:
            ran = self.run(["./program", "--no-colors", "--test-case=" + cases], 300)
        except subprocess.TimeoutExpired:
            return "(does not end)"
        if ran.returncode == 0:
            return None
        return first_match(r"TEST CASE:\s*(.*)", ran.stdout) or f"(ends with {ran.returncode})"


def first_match(pattern, text):
    found = re.search(pattern, text)
    return found.group(1).strip() if found else ""


def verdict(tree, healthy, mutant):
    _, file, before, after, sources = mutant
    text = (ROOT / file).read_text()
    if text.count(before) != 1:
        return f"NO LONGER APPLIES: its text stands {text.count(before)} times in {file}"
    for source in sources:
        if source not in healthy:
            healthy[source] = tree.test(source)
        if healthy[source]:
            return f"CANNOT BE JUDGED: {source} fails as it is: {healthy[source]}"
    try:
        (tree.where / file).write_text(text.replace(before, after))
        for source in sources:
            seen = tree.test(source)
            if seen and seen.startswith("does not compile"):
                return "NO MUTANT: " + seen
            if seen:
                return f"{source}: {seen}"
        return "SURVIVES " + ", ".join(sources)
    finally:
        (tree.where / file).write_text(text)


def main(arguments):
    if any(a.startswith("-") and a != "--list" for a in arguments):
        print(__doc__)
        return 2
    words = [a for a in arguments if not a.startswith("-")]
    chosen = [m for m in MUTANTS if not words or any(w in m[0] for w in words)]
    width = max((len(m[0]) for m in chosen), default=0)
    if "--list" in arguments:
        for name, file, _, _, sources in chosen:
            print(f"{name:{width}}  {file.removeprefix(K):34}  {' '.join(sources)}")
        return 0
    bad = 0
    with tempfile.TemporaryDirectory() as where:
        tree, healthy = Tree(where), {}
        print(f"{'mutant':{width}}  killed by")
        for mutant in chosen:
            answer = verdict(tree, healthy, mutant)
            bad += answer.split()[0].isupper()
            print(f"{mutant[0]:{width}}  {answer[:110]}", flush=True)
    print(f"{len(chosen) - bad} of {len(chosen)} killed")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
