// SPDX-License-Identifier: MIT
// KLA whose lanes turn: its monoids, its passes as those of any mixer, and what is its own: that it is the Kalman
// filter of a vector in space, beliefs of precision 0, and quaternions of all kinds.
#include <doctest/doctest.h>

#include <Eigen/Dense>
#include <algorithm>
#include <cmath>
#include <kalscan/kla/check_mixer.hpp>
#include <kalscan/kla/rotating_kla.hpp>
#include <limits>
#include <random>

#include "../errors.hpp"
#include "../instrument.hpp"
#include "../laws/random.hpp"
#include "passes.hpp"
#include "regimes.hpp"
#include "shared.hpp"

namespace rotating_tests {
using namespace kla_test;
using kalscan::rotating_kla;
using kalscan::seq;
using predicted = kalscan::rotating_kla_mixer<kalscan::readout::predicted>;

namespace {

double uniform(std::mt19937_64& e, double low, double high) {
  return std::uniform_real_distribution<double>(low, high)(e);
}
template <class T>
kalscan::quaternion<T> unit_quaternion(std::mt19937_64& e) {
  std::normal_distribution<double> normal;
  const double w = normal(e), x = normal(e), y = normal(e), z = normal(e);
  const double n = std::sqrt(w * w + x * x + y * y + z * z);
  return {static_cast<T>(w / n), static_cast<T>(x / n), static_cast<T>(y / n), static_cast<T>(z / n)};
}
kalscan::vector3<double> vector(std::mt19937_64& e) {
  return {uniform(e, -1, 1), uniform(e, -1, 1), uniform(e, -1, 1)};
}
kalscan::rotating_kla_inputs<double> inputs(std::mt19937_64& e) {
  return {uniform(e, -2, 2), uniform(e, -2, 2), uniform(e, -2, 2), uniform(e, 0.1, 3),
          uniform(e, -1, 1), uniform(e, -1, 1), uniform(e, -1, 1), uniform(e, -1, 1),
          uniform(e, -1, 1), uniform(e, -1, 1), uniform(e, -1, 1), uniform(e, 0.1, 1)};
}
kalscan::isotropic_belief<double> belief(std::mt19937_64& e) {
  return {uniform(e, -1, 1), uniform(e, -1, 1), uniform(e, -1, 1), uniform(e, 0.1, 3)};
}

TEST_CASE_TEMPLATE("rotations are a monoid, and of length 1 after a million", T, float, double) {
  const auto report =
      kalscan::check_monoid(kalscan::rotation_monoid<T>{}, unit_quaternion<T>,
                            kalscan::relative(64 * std::numeric_limits<T>::epsilon()), usual);
  CHECK_MESSAGE(report, report.message());
  std::mt19937_64 engine(1);
  kalscan::quaternion<T> product = kalscan::rotation_monoid<T>::identity();
  kalscan::quaternion<long double> exact = kalscan::rotation_monoid<long double>::identity();
  const int steps = unless_slow(1000000, 20000);
  for (int t = 0; t < steps; ++t) {
    const auto r = unit_quaternion<T>(engine);
    product = kalscan::rotation_monoid<T>{}(product, r);
    exact = kalscan::rotation_monoid<long double>{}(
        exact, kalscan::nearly_unit(kalscan::quaternion<long double>{r.w, r.x, r.y, r.z}));
  }
  const long double w = product.w, x = product.x, y = product.y, z = product.z;
  const auto epsilon = static_cast<long double>(std::numeric_limits<T>::epsilon());
  CHECK(static_cast<double>(std::abs(w * w + x * x + y * y + z * z - 1)) < static_cast<double>(8 * epsilon));
  // The sine of half the angle between the two.
  const auto apart = kalscan::conjugate(exact) * kalscan::quaternion<long double>{w, x, y, z};
  const long double angle = 2 * std::sqrt(apart.x * apart.x + apart.y * apart.y + apart.z * apart.z);
  CHECK(static_cast<double>(angle) < static_cast<double>(4 * epsilon * std::sqrt(static_cast<long double>(steps))));
}

TEST_CASE("the elements of turning filters and of their adjoints are monoids") {
  const auto element = [](std::mt19937_64& e) {
    return kalscan::rotating_element<double>{uniform(e, -1, 1), unit_quaternion<double>(e), vector(e), uniform(e, 0, 2),
                                             vector(e),         uniform(e, 0, 2)};
  };
  const auto elements = kalscan::check_monoid(kalscan::rotating_monoid<double>{}, element, kalscan::relative(1e-13), usual);
  CHECK_MESSAGE(elements, elements.message());
  const auto map = [](std::mt19937_64& e) {
    return kalscan::rotating_adjoint_map<double>{uniform(e, -1, 1), unit_quaternion<double>(e), vector(e), vector(e),
                                                 uniform(e, -1, 1)};
  };
  const auto maps = kalscan::check_monoid(kalscan::rotating_adjoint_monoid<double>{}, map, kalscan::relative(1e-13), usual);
  CHECK_MESSAGE(maps, maps.message());
}

TEST_CASE_TEMPLATE("a lane keeps the laws of a recurrence and of a mixer", M, rotating_kla, predicted) {
  const auto lane =
      kalscan::check_recurrence(kalscan::mixer_lane<M, double>{}, inputs, belief, kalscan::relative(1e-12), usual);
  CHECK_MESSAGE(lane, lane.message());
  const auto report = kalscan::check_mixer(
      M{}, [](auto& e) { return kalscan::mixer_trial<M>{belief(e), inputs(e)}; }, kalscan::relative(1e-6), usual);
  CHECK_MESSAGE(report, report.message());
}

const std::int64_t most_states = unless_slow(17, 3), most_channels = unless_slow(40, 5);

TEST_CASE("forward: omp gives what seq gives in long double") {
  std::uint64_t seed = 0;
  for (const given g : {given::fixed, given::per_token, given::per_token_state}) {
    for (const auto& size : {ragged_shapes[0], ragged_shapes[1]}) {
      ++seed;
      check_forward(random_problem<rotating_kla, double>(size[0], size[1], size[2], size[3], seed, g, seed % 2 == 0),
                    1e-12);
    }
  }
  check_forward(random_problem<rotating_kla, float>(2, 70, most_channels, most_states, 90), 1e-5);
}

TEST_CASE("backward: omp gives what seq gives in long double") {
  std::uint64_t seed = 0;
  for (const given g : {given::fixed, given::per_token}) {
    for (const auto& size : {ragged_shapes[0], ragged_shapes[1]}) {
      ++seed;
      check_backward(random_problem<rotating_kla, double>(size[0], size[1], size[2], size[3], seed, g, seed % 2 == 0),
                     1e-11);
    }
  }
  check_backward(random_problem<rotating_kla, float>(2, 70, most_channels, most_states, 90), 4e-5);
  check_backward(random_problem<rotating_kla, double>(1, 90, 21, 3, 92, given::fixed, false, {0, 5, 5, 6, 60, 90}), 1e-11);
}

TEST_CASE("every adjoint is the derivative, for every kind of parameter") { check_derivatives<rotating_kla>(); }

TEST_CASE("a sequence in pieces, and sequences packed, have the bits of the whole and of separate calls") {
  check_streamed<rotating_kla>(given::per_token);
  const std::vector<std::int64_t> offsets = {0, 5, 5, 6, 90, 90, 123, 124, 124};
  check_packed<rotating_kla>(seq{}, offsets, given::fixed);
  for (const omp& policy : policies) check_packed<rotating_kla>(policy, offsets, given::fixed);
}

/// One head with one state; values, quaternions and results are arrays [L, 3], [L, 4] and [L, 4].
struct one_head {
  std::int64_t length;
  std::vector<double> v, Lambda, r, k, q, y, yvar;
  double a = 0.95, p = 0.1;

  explicit one_head(std::int64_t L, std::uint64_t seed) : length(L) {
    std::mt19937_64 e(seed);
    const auto fill = [&](std::vector<double>& x, std::int64_t n, double low, double high) {
      for (std::int64_t i = 0; i < n; ++i) x.push_back(uniform(e, low, high));
    };
    fill(v, 3 * L, -1, 1), fill(Lambda, L, 0.1, 2), fill(r, 4 * L, -1, 1), fill(k, L, -1, 1), fill(q, L, 0.5, 1);
    y.resize(static_cast<std::size_t>(3 * L)), yvar.resize(static_cast<std::size_t>(L));
  }
  kalscan::mixer_shape shape() const { return {1, length, 1, 1, {}}; }
  auto in() const {
    const auto [vx, vy, vz] = kalscan::components<3>(v.data(), 1, length, 1);
    const auto [rw, rx, ry, rz] = kalscan::components<4>(r.data(), 1, length, 1);
    const auto one = [&](const std::vector<double>& x) { return tensor<const double>(x.data(), 1, length, 1, 1); };
    return kalscan::rotating_kla_inputs<tensor<const double>>{
        vx, vy, vz, one(Lambda), rw, rx, ry, rz, one(k), one(q), {&a, 1, 1, 1, 1}, {&p, 1, 1, 1, 1}};
  }
  auto out() {
    const auto [x, y_, z] = kalscan::components<3>(y.data(), 1, length, 1);
    return kalscan::rotating_kla_outputs<tensor<double>>{x, y_, z, tensor<double>(yvar.data(), 1, length, 1, 1)};
  }
  template <class P>
  void run(const P& policy) {
    kalscan::forward(policy, rotating_kla{}, shape(), in(), out());
  }
};

TEST_CASE_TEMPLATE("step, token by token and in place, is the forward pass", M, rotating_kla, predicted) {
  auto p = random_problem<M, float>(3, 20, 21, 4, 5);
  const auto whole = run_forward<M>(omp{2}, p);
  std::vector<array<float>> state = p.initial;
  const kalscan::isotropic_belief<tensor<float>> states{state[0].view(), state[1].view(), state[2].view(),
                                                        state[3].view()};
  for (std::int64_t t = 0; t < 20; ++t) {
    const auto token = part_of(p, t, t + 1, p.initial);
    array<float> x(3, 1, 21, 1), y(3, 1, 21, 1), z(3, 1, 21, 1), variance(3, 1, 21, 1);
    kalscan::step(omp{2}, M{}, token.shape, token.in_views(),
                  kalscan::rotating_kla_outputs{x.view(), y.view(), z.view(), variance.view()}, states);
    const array<float>* components[] = {&x, &y, &z, &variance};
    for (std::size_t i = 0; i < 4; ++i) CHECK(components[i]->view()(2, 0, 20, 0) == whole.out[i].view()(2, t, 20, 0));
  }
  CHECK(same_bits(state, whole.final));
}

TEST_CASE("it is the Kalman filter of a vector that turns, in dense matrices") {
  one_head x(300, 5);
  x.run(omp{2, 40});
  Eigen::Vector3d m = Eigen::Vector3d::Zero();
  Eigen::Matrix3d P = Eigen::Matrix3d::Identity();
  const Eigen::Matrix3d I = Eigen::Matrix3d::Identity();
  double worst = 0;
  for (std::int64_t t = 0; t < x.length; ++t) {
    const auto i = static_cast<std::size_t>(t);
    const Eigen::Quaterniond r(x.r[4 * i], x.r[4 * i + 1], x.r[4 * i + 2], x.r[4 * i + 3]);
    const Eigen::Matrix3d F = x.a * r.normalized().toRotationMatrix();
    m = F * m, P = F * P * F.transpose() + x.p * I;
    const Eigen::Matrix3d S = x.k[i] * x.k[i] * P + I / x.Lambda[i], K = x.k[i] * P * S.inverse();
    const Eigen::Vector3d v(x.v[3 * i], x.v[3 * i + 1], x.v[3 * i + 2]);
    m += K * (v - x.k[i] * m);
    P = (I - x.k[i] * K) * P * (I - x.k[i] * K).transpose() + K * K.transpose() / x.Lambda[i];
    for (std::size_t c = 0; c < 3; ++c)
      worst = std::max(worst, std::abs(x.y[3 * i + c] - x.q[i] * m(static_cast<Eigen::Index>(c))));
    worst = std::max(worst, std::abs(x.yvar[i] - x.q[i] * x.q[i] * P(1, 1)));
  }
  CHECK(worst < 1e-14);
}

/// The largest errors of means and variances, of one head, k = q = 1. In a frame that turns along, the coordinates of a
/// vector are three states of KLA: the paper's recurrence, in long double.
template <class Policy>
errors errors_in(const regime& r, std::int64_t L, std::uint64_t seed, const Policy& policy) {
  auto p = random_problem<rotating_kla, float>(1, L, 1, 1, seed);
  std::mt19937_64 engine(seed);
  std::uniform_real_distribution<double> u(0, 1);
  for (const int i : {8, 9}) p.in[static_cast<std::size_t>(i)].each([](float& x) { x = 1; });
  p.in[10].each([&](float& x) { x = static_cast<float>(r.a); });
  p.in[11].each([&](float& x) { x = static_cast<float>(r.p); });
  bool gap = false;
  for (std::int64_t t = 0; t < L; ++t) {
    if (t % 100 == 0) gap = u(engine) < r.gaps && t > 0;
    float& Lambda = p.in[3].view()(0, t, 0, 0);
    Lambda = gap ? 0 : static_cast<float>(r.least_phi * std::pow(r.most_phi / r.least_phi, u(engine)));
    for (std::size_t i = 0; i < 3; ++i) {
      p.in[i].view()(0, t, 0, 0) =
          Lambda > 0 ? static_cast<float>(r.largest_r * (2 * u(engine) - 1) / (r.largest_r > 1e3 ? Lambda : 1)) : 0;
    }
  }
  const auto result = run_forward<rotating_kla>(policy, p);
  using number = long double;
  const auto at = [&](const auto& arrays, std::size_t i, std::int64_t t) {
    return static_cast<number>(arrays[i].view()(0, t, 0, 0));
  };
  const number before = 1 / at(p.initial, 3, 0);
  std::vector<paper_filter> coordinates;
  for (std::size_t i = 0; i < 3; ++i) coordinates.push_back({before, before * at(p.initial, i, 0)});
  auto turned = kalscan::rotation_monoid<number>::identity();
  errors e;
  for (std::int64_t t = 0; t < L; ++t) {
    const kalscan::quaternion<number> q{at(p.in, 4, t), at(p.in, 5, t), at(p.in, 6, t), at(p.in, 7, t)};
    const number length = std::sqrt(q.w * q.w + q.x * q.x + q.y * q.y + q.z * q.z);
    turned = kalscan::rotation_monoid<number>{}(turned, {q.w / length, q.x / length, q.y / length, q.z / length});
    const kalscan::quaternion<number> back{turned.w, -turned.x, -turned.y, -turned.z};
    const auto v = kalscan::rotated(back, kalscan::vector3<number>{at(p.in, 0, t), at(p.in, 1, t), at(p.in, 2, t)});
    const number phi = at(p.in, 3, t), seen[] = {v.x, v.y, v.z};
    for (std::size_t i = 0; i < 3; ++i)
      coordinates[i].step(at(p.in, 10, 0), at(p.in, 11, 0), phi, phi * seen[i]);
    const auto mean = kalscan::rotated(
        turned, kalscan::vector3<number>{coordinates[0].mean(), coordinates[1].mean(), coordinates[2].mean()});
    const number variance = coordinates[0].variance(), scale = std::sqrt(variance) + std::sqrt(kalscan::dot(mean, mean));
    constexpr number range = 1e-35L;  // what is smaller, float keeps with few digits or not at all
    const number expected[] = {mean.x, mean.y, mean.z};
    for (std::size_t i = 0; i < 3; ++i) {
      const number y = at(result.out, i, t);
      e.finite = e.finite && std::isfinite(y);
      e.y = std::max(e.y, static_cast<double>(std::abs(y - expected[i]) / (scale + range)));
    }
    const number yvar = at(result.out, 3, t);
    e.finite = e.finite && std::isfinite(yvar);
    e.yvar = std::max(e.yvar, static_cast<double>(std::abs(yvar - variance) / (variance + range)));
  }
  return e;
}

TEST_CASE("no regime of KLA makes float lose more where lanes turn, whole or in chunks") {
  std::uint64_t seed = 300;
  for (const regime& r : regimes) {
    CAPTURE(std::string(r.name));
    for (const std::int64_t L : {1, 20, unless_slow(10000, 200)}) {
      CAPTURE(L);
      ++seed;
      const errors sequential = errors_in(r, L, seed, seq{});
      for (const errors& e : {sequential, errors_in(r, L, seed, omp{2, L}), errors_in(r, L, seed, omp{2, (L + 4) / 5})}) {
        CHECK(e.finite);
        const double bound = r.bounded ? 1e-5 : 1e-6;
        CHECK(e.y <= std::max(bound, 4 * sequential.y));
        CHECK(e.yvar <= std::max(bound, 4 * sequential.yvar));
      }
      if (r.bounded) CHECK(std::max(sequential.y, sequential.yvar) < 2e-5);  // 1.2e-5 where nothing is forgotten
    }
  }
}

TEST_CASE("the length of a quaternion does not matter, none at all is the identity, NaN is passed on") {
  one_head x(40, 6);
  x.run(seq{});
  const auto y = x.y;
  one_head scaled = x;
  for (std::size_t i = 0; i < scaled.r.size(); ++i) scaled.r[i] *= i % 8 < 4 ? 0x1p1000 : 0x1p-1000;
  scaled.run(omp{2, 10});
  for (std::size_t i = 0; i < y.size(); ++i) CHECK(scaled.y[i] == doctest::Approx(y[i]).epsilon(1e-13));

  one_head none = x, identity = x;
  for (std::size_t i = 0; i < none.r.size(); ++i) none.r[i] = i % 3 == 0 ? 0.0 : 1e-310, identity.r[i] = i % 4 == 0;
  none.run(seq{}), identity.run(seq{});
  CHECK(none.y == identity.y);
  std::vector<double> r_bar(160, 1.0), y_bar(120, 1.0);
  const auto [rw, rx, ry, rz] = kalscan::components<4>(r_bar.data(), 1, 40, 1);
  const auto [bx, by, bz] = kalscan::components<3>(std::as_const(y_bar).data(), 1, 40, 1);
  kalscan::rotating_kla_inputs<tensor<double>> in_bar{};
  in_bar.rw = rw, in_bar.rx = rx, in_bar.ry = ry, in_bar.rz = rz;
  kalscan::backward(omp{2}, rotating_kla{}, none.shape(), none.in(),
                    kalscan::rotating_kla_outputs<tensor<const double>>{bx, by, bz, {}}, in_bar);
  CHECK(std::all_of(r_bar.begin(), r_bar.end(), [](double g) { return g == 0; }));

  for (const double bad : {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity()}) {
    one_head broken = x;
    broken.r[4 * 7 + 2] = bad;
    broken.run(seq{});
    CHECK(broken.y[3 * 6] == y[3 * 6]);
    for (std::size_t c = 0; c < 3; ++c) CHECK(std::isnan(broken.y[3 * 7 + c]));
    const auto message = message_of([&] {
      kalscan::forward(seq{}, rotating_kla{}, broken.shape(), broken.in(), broken.out(), {}, kalscan::nan_check::on);
    });
    CHECK(message.find("ry") != std::string::npos);
  }
}

TEST_CASE("beliefs in information form: precision 0, any vector, forward and backward") {
  // A head without a prior, and one observation later the belief of that observation alone.
  const std::int64_t L = 6;
  auto p = random_problem<rotating_kla, double>(1, L, 3, 2, 7);
  std::vector<array<double>> information = p.initial;
  const auto states = [&](auto& x) {
    return kalscan::isotropic_information<tensor<const double>>{
        std::as_const(x[3]).view(), std::as_const(x[0]).view(), std::as_const(x[1]).view(), std::as_const(x[2]).view()};
  };
  // The same prior in both forms.
  for (std::size_t i = 0; i < 6; ++i) {
    for (std::size_t c = 0; c < 3; ++c) information[c].values[i] = p.initial[c].values[i] / p.initial[3].values[i];
    information[3].values[i] = 1 / p.initial[3].values[i];
  }
  const auto outputs = [&](const auto& policy) {
    std::vector<array<double>> y(4, array<double>(1, L, 3, 1));
    kalscan::forward(policy, rotating_kla{}, p.shape, p.in_views(),
                     p.writable<kalscan::rotating_kla_outputs<tensor<double>>>(y), {.initial = states(information)});
    return y;
  };
  CHECK(difference(outputs(seq{}), run_forward<rotating_kla>(seq{}, p).out) < 1e-13);

  // Derivatives in precision and vector at precision 0, by one-sided and central differences of the forward pass.
  information[3].each([](double& x) { x = 0; });
  CHECK(difference(outputs(omp{2, 3}), outputs(seq{})) < 1e-13);
  std::vector<array<double>> bar(4, array<double>(1, 1, 3, 2));
  kalscan::rotating_kla_inputs<tensor<double>> none{};
  for (const int chunk : {0, 2}) {
    const kalscan::mixer_adjoints<rotating_kla, double> given{
        .initial = states(information),
        .initial_bar = kalscan::isotropic_information<tensor<double>>{bar[3].view(), bar[0].view(), bar[1].view(),
                                                                      bar[2].view()}};
    kalscan::backward(omp{2, chunk}, rotating_kla{}, p.shape, p.in_views(), p.out_bar_views(), none, given);
    const auto objective_at = [&](std::size_t c, std::size_t i, double h) {
      const double kept = information[c].values[i];
      information[c].values[i] = kept + h;
      const auto y = outputs(seq{});
      information[c].values[i] = kept;
      double sum = 0;
      for (std::size_t o = 0; o < 4; ++o)
        for (std::size_t j = 0; j < y[o].values.size(); ++j) sum += y[o].values[j] * p.out_bar[o].values[j];
      return sum;
    };
    for (std::size_t i = 0; i < 6; ++i) {
      for (std::size_t c = 0; c < 3; ++c) {
        const double h = 1e-4, d = (objective_at(c, i, h) - objective_at(c, i, -h)) / (2 * h);
        CHECK(bar[c].values[i] == doctest::Approx(d).epsilon(1e-6));
      }
      const double h = 1e-6, at = objective_at(3, i, 0),
                   d = (4 * objective_at(3, i, h) - objective_at(3, i, 2 * h) - 3 * at) / (2 * h);
      CHECK(bar[3].values[i] == doctest::Approx(d).epsilon(1e-5));
    }
  }
}

TEST_CASE("short storage, arithmetic in float") {
  using kalscan::bfloat16;
  const auto p = random_problem<rotating_kla, float>(2, 50, 20, 4, 8);
  std::vector<array<bfloat16>> stored;
  auto rounded = p;
  for (std::size_t i = 0; i < 10; ++i) {
    stored.push_back(p.in[i].as<bfloat16>());
    rounded.in[i] = stored[i].as<float>();
  }
  std::vector<array<bfloat16>> y(4, array<bfloat16>(2, 50, 20, 1));
  const auto in = [&](std::size_t i) { return std::as_const(stored[i]).view(); };
  const kalscan::rotating_kla_inputs inputs{in(0), in(1), in(2), in(3), in(4),          in(5),
                                            in(6), in(7), in(8), in(9), p.in[10].view(), p.in[11].view()};
  kalscan::forward(omp{2}, rotating_kla{}, p.shape, inputs,
                   kalscan::rotating_kla_outputs{y[0].view(), y[1].view(), y[2].view(), y[3].view()},
                   {.initial = p.initial_views()});
  CHECK(difference(y, run_forward<rotating_kla>(omp{2}, rounded).out) < 0x1p-8);
}

TEST_CASE("bad states are refused by name") {
  auto p = random_problem<rotating_kla, double>(1, 5, 2, 2, 9);
  p.initial[3].values[1] = -1;
  CHECK(message_of([&] { run_forward<rotating_kla>(seq{}, p); }).find("initial variance") != std::string::npos);
}

}  // namespace
}  // namespace rotating_tests
