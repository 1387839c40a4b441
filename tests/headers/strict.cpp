// SPDX-License-Identifier: MIT
// Never linked: the headers, and what a consumer makes of them, under more warnings than the library asks of itself,
// with the macros of <windows.h>, and with all names of kalscan and std at hand. See CMakeLists.txt for the warnings. The
// matrix filter, which takes long to compile, passes them in tests/allocations.

// Everything that comes from elsewhere first: it has no more warnings to give, and the macros below are not for it.
#include <Eigen/Dense>
#include <algorithm>
#include <chrono>
#include <functional>
#include <iomanip>
#include <iostream>
#include <memory>
#include <numeric>
#include <random>
#include <ranges>
#include <sstream>
#include <vector>

#define min(a, b) ((a) < (b) ? (a) : (b))
#define max(a, b) ((a) > (b) ? (a) : (b))

using namespace std;
namespace kalscan {}
using namespace kalscan;

#include <kalscan/compare.hpp>
#include <kalscan/kalscan.hpp>

// A second unit of the same program, as a unity build would have it.
#include <kalscan/kalscan.hpp>

namespace {

template <class P>
void use_scans(const P& p) {
  vector<affine_map<double>> x(3), y(3);
  const affine_monoid<double> m;
  [[maybe_unused]] const bool same = reduce(p, m, x) == x[0];
  inclusive_scan(p, m, x, y);
  exclusive_scan(p, m, x, y);
  inclusive_suffix_scan(p, m, x, y);
  exclusive_suffix_scan(p, m, x, y);
  const sequences in(x.data(), 1, 3, 1), out(y.data(), 1, 3, 1);
  inclusive_scan(p, m, in, out);
  const scalar_filter<float> r{};
  vector<scalar_filter<float>::input_type> inputs(3);
  vector<scalar_filter<float>::state_type> states(3);
  scan_states(p, r, inputs, states, states[0]);
}

template <class Mixer, class P, class In, class Out, class InBar, class OutBar>
void use_mixer(const P& p, const In& in, const Out& out, const InBar& in_bar, const OutBar& out_bar) {
  const mixer_shape shape{1, 1, 1, 1};
  forward(p, Mixer{}, shape, in, out);
  step(p, Mixer{}, shape, in, out, {});
  backward(p, Mixer{}, shape, in, out_bar, in_bar);
}

}  // namespace

// Has external linkage, so that all of the above is instantiated.
void use_everything() {
  use_scans(seq{});
  use_scans(omp{});
  using in = tensor<const float>;
  using out = tensor<float>;
  use_mixer<kla>(omp{}, kla_inputs<in>{}, kla_outputs<out>{}, kla_inputs<out>{}, kla_outputs<in>{});
  use_mixer<gla>(seq{}, gla_inputs<in>{}, gla_outputs<out>{}, gla_inputs<out>{}, gla_outputs<in>{});
  forward(seq{}, gla{}, mixer_shape{1, 1, 1, 1}, gla_inputs<tensor<const bfloat16>>{}, gla_outputs<tensor<float16>>{});
  const auto draw = [](mt19937_64&) { return affine_map<float>{}; };
  print_table(cout, compare(affine_monoid<float>{}, draw, relative(1e-3), {1}));
  const auto draw_exactly = [](mt19937_64&) { return affine_map<unsigned>{}; };
  [[maybe_unused]] const law_report laws = check_monoid(affine_monoid<unsigned>{}, draw_exactly, exact);
}
