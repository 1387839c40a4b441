// SPDX-License-Identifier: MIT
// What it costs to share a sequence out over ranks: time, bytes on the wire and efficiency for 1, 2 and 4 threads as
// ranks, beside a model of the cost, what the model says of more, and `omp` alone with as many threads. Under mpirun,
// for the processes that there are. Then what a call costs that has nothing to compute: a step a rank.
//
// The model of R ranks: each absorbs and replays n / R steps; a gather of R messages takes latency * log2(R) + bytes *
// R / bandwidth; then each rank carries the states through R elements a lane. The first rank's absorb is its replay.
//     time(R) = n / R * (absorb + step) + gather(R) + lanes * R * act          time(1) = n * step
// Costs of steps are measured here, latency and bandwidth too, over memory; for machines of a network the last rows
// take 5 us and 25 GB/s.

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <kalscan/backend/omp.hpp>
#include <kalscan/kalman/scalar/filter.hpp>
#include <kalscan/kla/forward.hpp>
#include <kalscan/kla/kla.hpp>
#include <kalscan/ranks/mixer.hpp>
#include <kalscan/ranks/ranks.hpp>
#include <kalscan/ranks/threads.hpp>
#include <random>
#include <span>
#include <thread>
#include <vector>

#if __has_include(<mpi.h>) && !defined(WITHOUT_MPI)
#include <kalscan/ranks/mpi.hpp>
#endif

namespace {

std::atomic<std::int64_t> wire{0};  // bytes that rank 0 has received

template <class C>
struct counting {
  C comm;
  int rank() const { return comm.rank(); }
  int size() const { return comm.size(); }
  void all_gather(std::span<const std::byte> in, std::span<std::byte> out) const {
    if (rank() == 0) wire += std::ssize(out);
    comm.all_gather(in, out);
  }
};

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

/// The least time of some calls, each begun by all ranks together.
template <class C, class Call>
double least_time(const C& comm, int calls, Call call) {
  double least = 1e9;
  std::vector<std::byte> in(1), out(static_cast<std::size_t>(comm.size()));
  for (int i = 0; i < calls; ++i) {
    comm.all_gather(in, out);
    const double begin = now();
    call();
    least = std::min(least, now() - begin);
  }
  return least;
}

using filter = kalscan::scalar_filter<float>;
using observation = kalscan::scalar_observation<float>;

/// One lane of the scalar filter.
struct one_lane {
  static constexpr const char* name = "scalar filter, 1 lane";
  static constexpr double lanes = 1, element = sizeof(kalscan::filtering_element<float>);
  std::int64_t n = 1 << 22;
  filter model{1, 0};  // whose elements do not fade to denormal numbers, which take many times longer

  template <class P>
  auto prepare(const P&, std::int64_t steps) const {
    std::vector<observation> x(static_cast<std::size_t>(steps), observation{1e-3F, 5e-4F});
    std::vector<kalscan::belief<float>> y(x.size());
    return [x, y, m = model](const P& p) mutable { kalscan::scan_states(p, m, x, y, {0, 1}); };
  }
  /// Seconds of an absorb of one step.
  double absorb_time() const {
    auto e = model.monoid().identity();
    const double begin = now();
    for (std::int64_t t = 0; t < n; ++t) e = model.absorb(e, observation{1e-3F, 5e-4F * e.A});
    const double time = (now() - begin) / static_cast<double>(n);
    return e.C > -1 ? time : 0;
  }
};

/// Kalman Linear Attention, forward.
struct kla_layer {
  static constexpr const char* name = "KLA forward, 128 channels x 16 states";
  static constexpr std::int64_t M = 128, S = 16;
  static constexpr double lanes = M * S, element = sizeof(kalscan::filtering_element<float>);
  std::int64_t n = 1 << 13;

  template <class P>
  auto prepare(const P&, std::int64_t steps) const {
    const auto vector = [](std::int64_t size) { return std::vector<float>(static_cast<std::size_t>(size), 0.5F); };
    auto channels = vector(steps * M), precisions = vector(steps * M), keys = vector(steps * S),
         queries = vector(steps * S), decays = std::vector<float>(M * S, 1.0F),
         noises = std::vector<float>(M * S, 0.0F), y = vector(steps * M), variance = vector(steps * M);
    return [=](const P& p) mutable {
      using kalscan::tensor;
      const auto tokens = [&](std::vector<float>& x, std::int64_t m, std::int64_t s) {
        return tensor<float>(x.data(), 1, steps, m, s);
      };
      const auto read = [&](std::vector<float>& x, std::int64_t m, std::int64_t s) {
        return tensor<const float>(x.data(), 1, steps, m, s);
      };
      const kalscan::kla_inputs<tensor<const float>> in{read(channels, M, 1),
                                                        read(precisions, M, 1),
                                                        read(keys, 1, S),
                                                        read(queries, 1, S),
                                                        tensor<const float>(decays.data(), 1, 1, M, S),
                                                        tensor<const float>(noises.data(), 1, 1, M, S)};
      kalscan::forward(p, kalscan::kla{}, {1, steps, M, S}, in,
                       kalscan::kla_outputs<tensor<float>>{tokens(y, M, 1), tokens(variance, M, 1)});
    };
  }
  /// Of all lanes; measured for a mixer as a step: it has no read-out, and more terms.
  double absorb_time() const { return -1; }
};

struct costs {
  double step, absorb, latency, bandwidth, act = 2e-9;
};
template <class W>
double model_time(const W& w, const costs& c, double ranks) {
  const double n = static_cast<double>(w.n);
  if (ranks == 1) return n * c.step;
  const double bytes = W::lanes * W::element;
  return n / ranks * (c.absorb + c.step) + 3 * c.latency * std::log2(ranks) + bytes * ranks / c.bandwidth +
         W::lanes * ranks * c.act;
}

/// The median time of a call with one step a rank.
template <class C>
double call_time(const C& comm) {
  const kalscan::ranks policy{comm, kalscan::omp{1}};
  auto call = one_lane{}.prepare(policy, 1);
  std::vector<double> times;
  for (int i = 0; i < 301; ++i) times.push_back(least_time(comm, 1, [&] { call(policy); }));
  std::nth_element(times.begin(), times.begin() + 150, times.end());
  return times[150];
}

template <class W, class C>
double measure(const W& w, const C& comm) {
  const std::int64_t r = comm.rank(), R = comm.size();
  const kalscan::ranks policy{comm, kalscan::omp{1}};
  auto call = w.prepare(policy, w.n * (r + 1) / R - w.n * r / R);
  return least_time(comm, 5, [&] { call(policy); });
}

template <class C>
void measure_wire(const C& comm, costs& c) {
  const auto size = static_cast<std::size_t>(comm.size());
  std::vector<std::byte> in(1 << 22), out(in.size() * size);
  const double small =
      least_time(comm, 200, [&] { comm.all_gather(std::span(in).first(64), std::span(out).first(64 * size)); });
  const double large = least_time(comm, 5, [&] { comm.all_gather(in, out); });
  if (comm.rank() != 0) return;
  c.latency = small / std::max(1.0, std::log2(comm.size()));
  c.bandwidth = static_cast<double>(out.size()) / large;
}

void row(const char* what, double ranks, double time, double one, double bytes, double predicted) {
  if (time > 0) {
    std::printf("  %-9s %5.0f  %10.3f ms  %5.2f x  %5.1f %%  %10.0f B  model %10.3f ms  %5.1f %%\n", what, ranks,
                1e3 * time, one / time, 100 * one / time / ranks, bytes, 1e3 * predicted,
                100 * one / predicted / ranks);
  } else {
    std::printf("  %-9s %5.0f  %40s  %10.0f B  model %10.3f ms  %5.1f %%\n", what, ranks, "", bytes, 1e3 * predicted,
                100 * one / predicted / ranks);
  }
}

template <class W>
costs costs_of_steps(const W& w) {
  costs c{};
  auto call = w.prepare(kalscan::omp{1}, w.n);
  double least = 1e9;
  for (int i = 0; i < 3; ++i) {
    const double begin = now();
    call(kalscan::omp{1});
    least = std::min(least, now() - begin);
  }
  c.step = least / static_cast<double>(w.n);
  c.absorb = w.absorb_time() < 0 ? c.step : w.absorb_time();
  return c;
}

template <class W>
void predict(const W& w, const costs& here) {
  costs network = here;
  network.latency = 5e-6, network.bandwidth = 25e9;
  for (const double ranks : {8.0, 64.0, 1024.0})
    row("network", ranks, 0, model_time(w, network, 1), W::lanes * W::element * ranks, model_time(w, network, ranks));
}

template <class W>
void on_threads(const W& w) {
  std::printf("%s, %lld steps; threads as ranks\n", W::name, static_cast<long long>(w.n));
  costs c = costs_of_steps(w);
  double one = 0;
  for (const int ranks : {1, 2, 4}) {
    double time = 0;
    kalscan::run_on_threads(ranks, [&](const kalscan::thread_communicator& threads) {
      const counting<kalscan::thread_communicator> comm{threads};
      measure_wire(comm, c);
      if (comm.rank() == 0) wire = 0;
      const double t = measure(w, comm);
      if (comm.rank() == 0) time = t;
    });
    if (ranks == 1) one = time;
    row("measured", ranks, time, one, static_cast<double>(wire) / 5, model_time(w, c, ranks));
  }
  for (const int threads : {1, 2, 4}) {
    if (threads > static_cast<int>(std::thread::hardware_concurrency())) continue;
    auto call = w.prepare(kalscan::omp{threads}, w.n);
    double least = 1e9;
    for (int i = 0; i < 5; ++i) {
      const double begin = now();
      call(kalscan::omp{threads});
      least = std::min(least, now() - begin);
    }
    std::printf("  %-9s %5d  %10.3f ms  %5.2f x\n", "omp alone", threads, 1e3 * least, one / least);
  }
  predict(w, c);
}

#if __has_include(<mpi.h>) && !defined(WITHOUT_MPI)
template <class W>
void on_processes(const W& w) {
  const counting<kalscan::mpi_communicator> comm{kalscan::mpi_communicator()};
  costs c = costs_of_steps(w);
  measure_wire(comm, c);
  wire = 0;
  const double time = measure(w, comm);
  if (comm.rank() != 0) return;
  std::printf("%s, %lld steps; processes of MPI\n", W::name, static_cast<long long>(w.n));
  row("measured", comm.size(), time, static_cast<double>(w.n) * c.step, static_cast<double>(wire) / 5,
      model_time(w, c, comm.size()));
}
#endif

template <class C>
void print_call_time(const C& comm) {
  const double time = call_time(comm);
  if (comm.rank() == 0) std::printf("a call of one step a rank, %d ranks: %.1f us\n", comm.size(), 1e6 * time);
}

}  // namespace

int main(int argc, char** argv) {
#if __has_include(<mpi.h>) && !defined(WITHOUT_MPI)
  MPI_Init(&argc, &argv);
  const int size = kalscan::mpi_communicator().size();
  if (size > 1) {
    on_processes(one_lane{});
    on_processes(kla_layer{});
    print_call_time(kalscan::mpi_communicator());
  }
  MPI_Finalize();
  if (size > 1) return 0;
#endif
  static_cast<void>(argc), static_cast<void>(argv);
  on_threads(one_lane{});
  on_threads(kla_layer{});
  for (const int ranks : {2, 4})
    kalscan::run_on_threads(ranks, [](const kalscan::thread_communicator& comm) { print_call_time(comm); });
}
