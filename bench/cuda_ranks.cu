// SPDX-License-Identifier: MIT
// One sequence over the GPUs of this machine, a thread each, by NCCL: KLA forward and backward on 1, 2, 4, ... of them.
// Time, speedup, how long ranks wait for carries and gradients, bits that differ from one GPU's, and a model beside it.
//     bench_cuda_ranks [tokens [channels [chunk]]]        1048576 1024 8192, with 16 states
//     bench_cuda_ranks stream [tokens [channels [chunk]]]
//         forward over all GPUs, and in pieces through one: final states
//     bench_cuda_ranks filter [steps]                     100000000
//         the Kalman filter and smoother, 4 states and 2 sensors in double, constant model
//     bench_cuda_ranks scan [steps]                       400000000
//         the states of a scalar filter in float, 16 bytes a step; and the sum of as many integers
//
// The model of R ranks: all absorb at once, the state takes R - 1 hops, all replay at once; so in each pass over time,
// of which backward without checkpoints makes two. Then the sums of all chunks are gathered, over both parameters.
//     time(R) = time(1) / R + passes * (R - 1) * hop + bytes / bandwidth
// A hop is a message, measured, and the carry through a rank's chunks, 10 us. Where GPUs are not there to measure it, a
// message takes 15 us within a machine and 25 us between machines; a gather goes at 200 and 40 GB/s.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <kalscan/cuda/kalman_ranks.cuh>
#include <kalscan/cuda/kla_ranks.cuh>
#include <kalscan/cuda/scan_ranks.cuh>
#include <kalscan/kalman/functions/model.hpp>
#include <kalscan/kalman/scalar/filter.hpp>
#include <kalscan/kla/kla.hpp>
#include <kalscan/monoids/affine.hpp>
#include <kalscan/ranks/nccl.cuh>
#include <kalscan/ranks/threads.hpp>
#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "cuda_kla.hpp"

namespace {

using bench::device_memory;
using bench::ok;
using kalscan::kla;
using kalscan::tensor;
using one_gpu = kalscan::cuda_for<kalscan::mixer_kernels{.states = 16, .parameters_vary = false}>;
constexpr std::int64_t S = 16;

struct sizes {
  std::int64_t L = 1 << 20, M = 1024, chunk = 8192;
};

/// Number i of an array depends on its seed and i alone, whoever makes it.
__global__ void fill(float* x, std::int64_t n, std::int64_t first, float low, float high, std::uint64_t seed) {
  for (std::int64_t i = blockIdx.x * std::int64_t(blockDim.x) + threadIdx.x; i < n;
       i += std::int64_t(gridDim.x) * blockDim.x) {
    std::uint64_t z = (static_cast<std::uint64_t>(first + i) + seed * 0x9e3779b97f4a7c15U) * 0xbf58476d1ce4e5b9U;
    z = (z ^ z >> 27) * 0x94d049bb133111ebU;
    z ^= z >> 31;
    x[i] = low + (high - low) * static_cast<float>(z >> 40) * 0x1p-24F;
  }
}
__global__ void count_differences(const unsigned* x, const unsigned* y, std::int64_t n, unsigned long long* count) {
  unsigned long long mine = 0;
  for (std::int64_t i = blockIdx.x * std::int64_t(blockDim.x) + threadIdx.x; i < n;
       i += std::int64_t(gridDim.x) * blockDim.x)
    mine += x[i] != y[i] ? 1 : 0;
  if (mine > 0) atomicAdd(count, mine);
}

/// What a call leaves, by array: its numbers a token (0: the same for all tokens), and how many there are of those.
struct result {
  device_memory<float> memory{0};
  std::int64_t a_token, shared;
};
struct results {
  std::vector<result> all;
  int device = 0;
  explicit results(const sizes& s, std::int64_t tokens, bool backward) {
    ok(cudaGetDevice(&device));
    const auto add = [&](std::int64_t a_token, std::int64_t shared) {
      all.push_back({device_memory<float>(a_token * tokens + shared), a_token, shared});
      ok(cudaMemset(all.back().memory.data, 0xff,
                    static_cast<std::size_t>(a_token * tokens + shared) * sizeof(float)));
    };
    add(s.M, 0), add(s.M, 0);            // y, yvar
    add(0, s.M * S), add(0, s.M * S);    // final mean and variance
    if (!backward) return;
    add(s.M, 0), add(s.M, 0), add(S, 0), add(S, 0);  // the adjoints of v, Lambda, k, q
    for (int i = 0; i < 4; ++i) add(0, s.M * S);     // of a, p, of the initial mean and variance
  }
  float* operator[](std::size_t i) const { return all[i].memory.data; }
};
constexpr std::size_t final_results[] = {2, 3}, initial_results[] = {10, 11};

/// The arrays of tokens [from, to), and the calls.
struct stretch {
  sizes s;
  std::int64_t from, to;
  std::vector<device_memory<float>> in;
  results out;

  stretch(const sizes& s_, std::int64_t from_, std::int64_t to_, bool backward)
      : s(s_), from(from_), to(to_), out(s, to - from, backward) {
    const std::int64_t n = to - from;
    const auto add = [&](std::int64_t a_token, std::int64_t shared, float low, float high) {
      const std::int64_t count = a_token * n + shared;
      in.emplace_back(count);
      fill<<<4096, 256>>>(in.back().data, count, a_token * from, low, high, in.size());
      ok(cudaGetLastError());
    };
    add(s.M, 0, -1, 1), add(s.M, 0, 0.1F, 2), add(S, 0, -1, 1), add(S, 0, -1, 1);  // v, Lambda, k, q
    add(0, s.M * S, 0.9F, 0.999F), add(0, s.M * S, 0.001F, 0.1F);                  // a, p
    add(0, s.M * S, -1, 1), add(0, s.M * S, 0.1F, 1);                              // the initial mean and variance
    if (backward) {
      add(0, s.M * S, -1, 1), add(0, s.M * S, -1, 1);  // the adjoints of the final ones
      add(s.M, 0, -1, 1), add(s.M, 0, -1, 1);          // of y and yvar
    }
    ok(cudaDeviceSynchronize());
  }
  kalscan::mixer_shape shape() const { return {1, to - from, s.M, S}; }
  tensor<const float> token(std::size_t i, std::int64_t m, std::int64_t states) const {
    return {in[i].data, 1, to - from, m, states};
  }
  tensor<const float> shared(std::size_t i) const { return {in[i].data, 1, 1, s.M, S}; }
  tensor<float> token_result(std::size_t i, std::int64_t m, std::int64_t states) const {
    return {out[i], 1, to - from, m, states};
  }
  tensor<float> shared_result(std::size_t i) const { return {out[i], 1, 1, s.M, S}; }
  kalscan::kla_inputs<tensor<const float>> inputs() const {
    return {token(0, s.M, 1), token(1, s.M, 1), token(2, 1, S), token(3, 1, S), shared(4), shared(5)};
  }
  template <class P>
  void forward(const P& policy) const {
    kalscan::forward(policy, kla{}, shape(), inputs(),
                     kalscan::kla_outputs{token_result(0, s.M, 1), token_result(1, s.M, 1)},
                     {.initial = kalscan::belief<tensor<const float>>{shared(6), shared(7)},
                      .final = kalscan::belief<tensor<float>>{shared_result(2), shared_result(3)}});
  }
  template <class P>
  void backward(const P& policy) const {
    kalscan::backward(
        policy, kla{}, shape(), inputs(), kalscan::kla_outputs{token(10, s.M, 1), token(11, s.M, 1)},
        kalscan::kla_inputs{token_result(4, s.M, 1), token_result(5, s.M, 1), token_result(6, 1, S),
                            token_result(7, 1, S), shared_result(8), shared_result(9)},
        {.initial = kalscan::belief<tensor<const float>>{shared(6), shared(7)},
         .final_bar = kalscan::belief<tensor<const float>>{shared(8), shared(9)},
         .initial_bar = kalscan::belief<tensor<float>>{shared_result(10), shared_result(11)}});
  }
  template <class P>
  std::size_t workspace(const P& policy, bool backward) const {
    const std::size_t forward = kalscan::forward_workspace(policy, kla{}, shape());
    return backward ? (std::max)(forward, kalscan::backward_workspace(policy, kla{}, shape(), inputs())) : forward;
  }
};

/// Whether the arrays of so many tokens fit on the current device, beside what is there.
bool fits(const sizes& s, std::int64_t tokens) {
  std::size_t free = 0, all = 0;
  ok(cudaMemGetInfo(&free, &all));
  const double numbers = static_cast<double>(tokens) *
                         static_cast<double>(8 * s.M + 6 * S + s.M * S * 2 / 16 + 2 * S * (s.M / 32 + 1));
  return 4 * numbers * 1.02 + 1e9 < static_cast<double>(free);
}

struct event {
  cudaEvent_t get;
  event() { ok(cudaEventCreate(&get)); }
  event(const event&) = delete;
  event& operator=(const event&) = delete;
  ~event() { cudaEventDestroy(get); }
  double since(const event& earlier) const {
    float ms = 0;
    ok(cudaEventElapsedTime(&ms, earlier.get, get));
    return ms;
  }
};

/// NCCL, with events before and after what a rank waits for.
struct timed {
  struct log {
    std::vector<std::pair<std::unique_ptr<event>, std::unique_ptr<event>>> carries, gathers;
    template <class List>
    static double sum(const List& list) {
      double ms = 0;
      for (const auto& [begin, end] : list) ms += end->since(*begin);
      return ms;
    }
  };
  kalscan::nccl_communicator comm;
  std::shared_ptr<log> times = std::make_shared<log>();

  template <class Call>
  static void record(decltype(log::carries)& list, cudaStream_t stream, Call call) {
    auto& [begin, end] = list.emplace_back(std::make_unique<event>(), std::make_unique<event>());
    ok(cudaEventRecord(begin->get, stream));
    call();
    ok(cudaEventRecord(end->get, stream));
  }
  int rank() const { return comm.rank(); }
  int size() const { return comm.size(); }
  void all_gather(std::span<const std::byte> in, std::span<std::byte> out) const { comm.all_gather(in, out); }
  void all_gather(std::span<const std::byte> in, std::span<std::byte> out, cudaStream_t stream) const {
    record(times->gathers, stream, [&] { comm.all_gather(in, out, stream); });
  }
  void send(std::span<const std::byte> in, int to, cudaStream_t stream) const { comm.send(in, to, stream); }
  void receive(std::span<std::byte> out, int from, cudaStream_t stream) const {
    record(times->carries, stream, [&] { comm.receive(out, from, stream); });
  }
};

/// The most of all ranks' numbers, on all of them.
double most(const kalscan::thread_communicator& threads, double mine) {
  std::vector<double> all(static_cast<std::size_t>(threads.size()));
  threads.all_gather(std::as_bytes(std::span(&mine, 1)), std::as_writable_bytes(std::span(all)));
  return *std::max_element(all.begin(), all.end());
}
double least(const kalscan::thread_communicator& threads, double mine) { return -most(threads, -mine); }
double sum(const kalscan::thread_communicator& threads, double mine) {
  std::vector<double> all(static_cast<std::size_t>(threads.size()));
  threads.all_gather(std::as_bytes(std::span(&mine, 1)), std::as_writable_bytes(std::span(all)));
  double x = 0;
  for (const double one : all) x += one;
  return x;
}

/// The median over calls of the longest time of any rank, all of which begin together.
template <class Call>
double time_of(const kalscan::thread_communicator& threads, const kalscan::nccl_communicator& comm, cudaStream_t stream,
               int calls, Call call) {
  const device_memory<std::byte> meeting(64 + 64 * threads.size());
  std::vector<double> times;
  for (int i = 0; i < calls + 1; ++i) {
    const event begin, end;
    most(threads, 0);
    comm.all_gather({meeting.data, 64}, {meeting.data + 64, static_cast<std::size_t>(64 * threads.size())}, stream);
    ok(cudaEventRecord(begin.get, stream));
    call();
    ok(cudaEventRecord(end.get, stream));
    ok(cudaStreamSynchronize(stream));
    const double ms = most(threads, end.since(begin));
    if (i > 0) times.push_back(ms);  // the first one warms up
  }
  std::sort(times.begin(), times.end());
  return times[times.size() / 2];
}

/// Numbers of a rank's results that differ from those of one device.
double differences(const stretch& x, const results& whole, bool first, bool last) {
  constexpr std::int64_t piece = 1 << 26;
  const device_memory<unsigned> buffer(piece);
  const device_memory<unsigned long long> count(1);
  ok(cudaMemset(count.data, 0, sizeof(unsigned long long)));
  for (std::size_t i = 0; i < x.out.all.size(); ++i) {
    const bool is_final = i == final_results[0] || i == final_results[1],
               is_initial = i == initial_results[0] || i == initial_results[1];
    if ((is_final && !last) || (is_initial && !first)) continue;
    const auto& mine = x.out.all[i];
    const std::int64_t size = mine.a_token * (x.to - x.from) + mine.shared, offset = mine.a_token * x.from;
    for (std::int64_t at = 0; at < size; at += piece) {
      const std::int64_t n = (std::min)(piece, size - at);
      ok(cudaMemcpyPeer(buffer.data, x.out.device, whole[i] + offset + at, whole.device,
                        static_cast<std::size_t>(n) * sizeof(float)));
      count_differences<<<1024, 256>>>(reinterpret_cast<const unsigned*>(mine.memory.data + at), buffer.data, n,
                                       count.data);
      ok(cudaGetLastError());
      ok(cudaDeviceSynchronize());
    }
  }
  unsigned long long here = 0;
  ok(cudaMemcpy(&here, count.data, sizeof(here), cudaMemcpyDeviceToHost));
  return static_cast<double>(here);
}

/// The time of a state's message from rank to rank, in ms.
double hop_time(const kalscan::thread_communicator& threads, const kalscan::nccl_communicator& comm,
                cudaStream_t stream, const sizes& s) {
  if (comm.size() == 1) return 0;
  const device_memory<std::byte> message(s.M * S * 8);
  const std::span<std::byte> bytes(message.data, static_cast<std::size_t>(s.M * S * 8));
  const double chain = time_of(threads, comm, stream, 21, [&] {
    if (comm.rank() > 0) comm.receive(bytes, comm.rank() - 1, stream);
    if (comm.rank() + 1 < comm.size()) comm.send(bytes, comm.rank() + 1, stream);
  });
  return chain / (comm.size() - 1);
}

struct row {
  int ranks = 0;
  double forward = 0, backward = 0, carry[2] = {}, gather = 0, hop = 0, differ = -1;
};

class communicators {
 public:
  explicit communicators(int ranks) : all_(static_cast<std::size_t>(ranks)) {
    if (ncclCommInitAll(all_.data(), ranks, nullptr) != ncclSuccess) throw std::runtime_error("ncclCommInitAll failed");
  }
  communicators(const communicators&) = delete;
  communicators& operator=(const communicators&) = delete;
  ~communicators() {
    for (const auto comm : all_) ncclCommDestroy(comm);
  }
  ncclComm_t operator[](int rank) const { return all_[static_cast<std::size_t>(rank)]; }

 private:
  std::vector<ncclComm_t> all_;
};

/// The bounds of ranks' tokens: even, in whole chunks.
std::int64_t bound(const sizes& s, int rank, int ranks) {
  const std::int64_t chunks = (s.L + s.chunk - 1) / s.chunk;
  return (std::min)(s.L, chunks * rank / ranks * s.chunk);
}

/// A thread for each of so many GPUs: run(threads, comm, stream).
template <class Run>
void on_gpus(int ranks, Run run) {
  const communicators comms(ranks);
  kalscan::run_on_threads(ranks, [&](const kalscan::thread_communicator& threads) {
    const int r = threads.rank();
    ok(cudaSetDevice(r));
    cudaStream_t stream;
    ok(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
    run(threads, timed{kalscan::nccl_communicator(comms[r])}, stream);
    ok(cudaStreamDestroy(stream));
  });
}

row measure(const sizes& s, int ranks, std::optional<results>& whole) {
  row x;
  x.ranks = ranks;
  on_gpus(ranks, [&](const auto& threads, const timed& comm, cudaStream_t stream) {
    const int r = threads.rank();
    stretch mine(s, bound(s, r, ranks), bound(s, r + 1, ranks), true);
    kalscan::ranks policy{comm, one_gpu{{.stream = stream, .chunk = s.chunk}}};
    const auto steps = kalscan::agree_on_steps(policy, kla{}, mine.shape());
    policy.steps = steps;
    const kalscan::cuda_workspace memory(mine.workspace(policy, true));
    policy.inner.workspace = memory;
    const double hop = hop_time(threads, comm.comm, stream, s);
    const auto both = [&](auto call, double& carry, double& gather) {
      const double ms = time_of(threads, comm.comm, stream, 5, [&] {
        *comm.times = {};
        call();
      });
      carry = most(threads, timed::log::sum(comm.times->carries));
      gather = most(threads, timed::log::sum(comm.times->gathers));
      return ms;
    };
    row mine_row = x;
    mine_row.hop = hop;
    mine_row.forward = both([&] { mine.forward(policy); }, mine_row.carry[0], mine_row.gather);
    mine_row.backward = both([&] { mine.backward(policy); }, mine_row.carry[1], mine_row.gather);
    if (whole) mine_row.differ = sum(threads, differences(mine, *whole, r == 0, r + 1 == ranks));
    if (r == 0) {
      x = mine_row;
      if (ranks == 1) whole.emplace(std::move(mine.out));
    }
  });
  return x;
}

/// One GPU with the chunk that the library chooses.
row by_default(const sizes& s) {
  row x;
  x.ranks = 1;
  ok(cudaSetDevice(0));
  const stretch all(s, 0, s.L, true);
  one_gpu policy{};
  const kalscan::cuda_workspace memory(all.workspace(policy, true));
  policy.workspace = memory;
  x.forward = bench::median_ms([&] { all.forward(policy); });
  x.backward = bench::median_ms([&] { all.backward(policy); });
  return x;
}

void print_row(const row& x, const row& one, const char* what) {
  std::printf("| %-22s | %9.3f | %9.3f | %9.3f | %6.2f | %9.3f | %9.3f | %9.3f | %6.1f | ", what, x.forward, x.backward,
              x.forward + x.backward, (one.forward + one.backward) / (x.forward + x.backward), x.carry[0], x.carry[1],
              x.gather, 100 * (x.carry[0] + x.carry[1] + x.gather) / (x.forward + x.backward));
  if (x.differ >= 0) {
    std::printf("%.0f |\n", x.differ);
  } else {
    std::printf("- |\n");
  }
}
row model(const sizes& s, const row& one, int ranks, double message, double bandwidth) {
  row x;
  x.ranks = ranks;
  const double hops = (ranks - 1) * (message + 0.010);
  const double bytes = 2.0 * 4 * static_cast<double>((s.L + s.chunk - 1) / s.chunk * s.M * S);
  x.carry[0] = hops, x.carry[1] = 2 * hops, x.gather = bytes / bandwidth * 1e-6;
  x.forward = one.forward / ranks + hops;
  x.backward = one.backward / ranks + 2 * hops + x.gather;
  return x;
}

void table(const sizes& s, int devices) {
  std::printf("KLA over ranks, 1 x %lld x %lld, 16 states, chunks of %lld; ms; share: of what ranks wait for, %%\n",
              static_cast<long long>(s.L), static_cast<long long>(s.M), static_cast<long long>(s.chunk));
  std::printf("| GPUs | forward | backward | both | speedup | carries of forward | of backward | gather | share | "
              "numbers that differ |\n|---|---|---|---|---|---|---|---|---|---|\n");
  std::optional<results> whole;
  std::optional<row> one;
  ok(cudaSetDevice(0));
  const bool whole_fits = fits(s, s.L);
  if (whole_fits) {
    const row own = by_default(s);
    print_row(own, own, "1, its own chunks");
    std::fflush(stdout);
  }
  double message = 0;
  for (int k = 1; k <= devices; k *= 2) {
    ok(cudaSetDevice(0));
    if (!fits(s, bound(s, 1, k))) {
      std::printf("| %d | does not fit |\n", k);
      continue;
    }
    const row x = measure(s, k, whole);
    if (!one) {
      one = x;  // where one GPU has no room: as if the fewest that have were perfect
      one->forward *= k, one->backward *= k;
    }
    if (x.hop > 0) message = x.hop;
    print_row(x, *one, std::to_string(k).c_str());
    const std::string of_model = "  model, message " + std::to_string(static_cast<int>(1e3 * x.hop)) + " us";
    if (k > 1) print_row(model(s, *one, k, x.hop, 200), *one, of_model.c_str());
    std::fflush(stdout);
  }
  if (!one) return;
  print_row(model(s, *one, 8, message > 0 ? message : 0.015, 200), *one, "8 of a machine, model");
  print_row(model(s, *one, 64, 0.025, 40), *one, "64 of 8 machines, model");
  print_row(model(s, *one, 512, 0.025, 40), *one, "512 of 64, model");
  print_row(model(s, *one, 1024, 0.025, 40), *one, "1024 of 128, model");
}

/// Forward over all GPUs, each of which keeps nothing but its stretch, and the same in pieces through one.
void stream_through_one(const sizes& s, int devices) {
  std::vector<float> over_ranks(static_cast<std::size_t>(s.M * S)), through_one(over_ranks);
  double ms = 0;
  on_gpus(devices, [&](const auto& threads, const timed& timed_comm, cudaStream_t stream) {
    const int r = threads.rank();
    const auto& comm = timed_comm.comm;
    const stretch mine(s, bound(s, r, devices), bound(s, r + 1, devices), false);
    kalscan::ranks policy{comm, one_gpu{{.stream = stream, .chunk = s.chunk}}};
    const auto steps = kalscan::agree_on_steps(policy, kla{}, mine.shape());
    policy.steps = steps;
    const kalscan::cuda_workspace memory(mine.workspace(policy, false));
    policy.inner.workspace = memory;
    const double time = time_of(threads, comm, stream, 3, [&] { mine.forward(policy); });
    if (r + 1 == devices)
      ok(cudaMemcpy(over_ranks.data(), mine.out[2], over_ranks.size() * sizeof(float), cudaMemcpyDeviceToHost));
    if (r == 0) ms = time;
  });
  ok(cudaSetDevice(0));
  std::vector<float> mean, variance;
  for (int piece = 0; piece < devices; ++piece) {
    stretch x(s, bound(s, piece, devices), bound(s, piece + 1, devices), false);
    if (piece > 0) {
      ok(cudaMemcpy(x.in[6].data, mean.data(), mean.size() * sizeof(float), cudaMemcpyHostToDevice));
      ok(cudaMemcpy(x.in[7].data, variance.data(), variance.size() * sizeof(float), cudaMemcpyHostToDevice));
    }
    one_gpu policy{{.chunk = s.chunk}};
    const kalscan::cuda_workspace memory(x.workspace(policy, false));
    policy.workspace = memory;
    x.forward(policy);
    ok(cudaDeviceSynchronize());
    mean.resize(static_cast<std::size_t>(s.M * S)), variance.resize(mean.size());
    ok(cudaMemcpy(mean.data(), x.out[2], mean.size() * sizeof(float), cudaMemcpyDeviceToHost));
    ok(cudaMemcpy(variance.data(), x.out[3], variance.size() * sizeof(float), cudaMemcpyDeviceToHost));
  }
  double worst = 0, largest = 0;
  for (std::size_t i = 0; i < mean.size(); ++i) {
    worst = (std::max)(worst, std::abs(static_cast<double>(mean[i]) - static_cast<double>(over_ranks[i])));
    largest = (std::max)(largest, std::abs(static_cast<double>(mean[i])));
  }
  std::printf("KLA forward, 1 x %lld x %lld, over %d GPUs: %.3f ms; final means differ by at most %.3g of %.3g from "
              "those of the same sequence in %d pieces through one GPU\n",
              static_cast<long long>(s.L), static_cast<long long>(s.M), devices, ms, worst, largest, devices);
}

/// A position in the plane, seen with noise, whose velocity is a random walk.
auto plane_model() {
  kalscan::small_matrix<double, 4, 4> F{};
  kalscan::small_symmetric<double, 4> Q{};
  kalscan::small_matrix<double, 2, 4> H{};
  kalscan::small_symmetric<double, 2> R{};
  kalscan::small_belief<double, 4> prior{};
  for (int i = 0; i < 4; ++i) F(i, i) = 1, prior.covariance(i, i) = 1;
  for (int i = 0; i < 2; ++i) {
    F(i, i + 2) = 0.1, Q(i, i) = 1e-4, Q(i + 2, i) = 5e-4, Q(i + 2, i + 2) = 0.01;
    H(i, i) = 1, R(i, i) = 0.25;
  }
  return kalscan::model_of<double, 4, 2>(F, Q, H, R, prior);
}
__global__ void fill_readings(double* y, std::int64_t n, std::int64_t first) {
  for (std::int64_t i = blockIdx.x * std::int64_t(blockDim.x) + threadIdx.x; i < n;
       i += std::int64_t(gridDim.x) * blockDim.x) {
    const std::uint64_t z = (static_cast<std::uint64_t>(first + i) * 0xbf58476d1ce4e5b9U ^ 0x9e3779b97f4a7c15U) *
                            0x94d049bb133111ebU;
    y[i] = static_cast<double>(z >> 40) * 0x1p-23 - 1;
  }
}

/// log p(y), the means of all steps, and the smoothed ones in their place: ms. For bits the log-likelihood, the mean of
/// the last step and the smoothed one of the first.
struct filter_row {
  double log_likelihood_ms = 0, filter_ms = 0, smoother_ms = 0, gather_ms = 0;
  double bits[9] = {};
};
filter_row measure_filter(std::int64_t length, int ranks, std::int64_t chunk) {
  filter_row x;
  const auto model = plane_model();
  using model_type = std::remove_cvref_t<decltype(model)>;
  const std::int64_t block = kalscan::filter_block<model_type>(kalscan::cuda{.chunk = chunk}, length, ranks);
  const std::int64_t blocks = (length + block - 1) / block;
  on_gpus(ranks, [&](const auto& threads, const timed& comm, cudaStream_t stream) {
    const int r = threads.rank();
    const std::int64_t from = (std::min)(length, blocks * r / ranks * block),
                       to = (std::min)(length, blocks * (r + 1) / ranks * block), n = to - from;
    const device_memory<double> y(2 * n), mean(4 * n), covariance(16 * n), last(4), sum(1);
    fill_readings<<<4096, 256>>>(y.data, 2 * n, 2 * from);
    ok(cudaDeviceSynchronize());
    kalscan::ranks policy{comm, kalscan::cuda{.stream = stream, .chunk = chunk}};
    const auto steps = kalscan::agree_on_steps<model_type>(policy, n);
    policy.steps = steps;
    const kalscan::cuda_workspace memory(kalscan::filter_workspace<model_type>(policy, n));
    policy.inner.workspace = memory;
    const auto span = [](const device_memory<double>& of, std::int64_t size) {
      return std::span<double>(of.data, static_cast<std::size_t>(size));
    };
    const std::span<const double> readings = span(y, 2 * n);
    const kalscan::filter_arrays<double> beliefs{.mean = span(mean, 4 * n), .covariance = span(covariance, 16 * n)};
    filter_row mine;
    const auto time = [&](auto call) {
      return time_of(threads, comm.comm, stream, 5, [&] {
        *comm.times = {};
        call();
      });
    };
    mine.log_likelihood_ms = time([&] { kalscan::log_likelihood(policy, model, readings, span(sum, 1)); });
    mine.gather_ms = least(threads, timed::log::sum(comm.times->gathers));
    mine.filter_ms = time([&] {
      kalscan::filter(policy, model, readings, {.mean = span(mean, 4 * n), .final_mean = span(last, 4)});
    });
    kalscan::filter(policy, model, readings, beliefs);
    const device_memory<double> smoothed(4 * n), smoothed_covariance(16 * n);
    mine.smoother_ms = time([&] {
      kalscan::smooth(policy, model, readings, beliefs, {span(smoothed, 4 * n), span(smoothed_covariance, 16 * n)});
    });
    if (r == 0) {
      ok(cudaMemcpy(mine.bits, sum.data, sizeof(double), cudaMemcpyDeviceToHost));
      ok(cudaMemcpy(mine.bits + 1, smoothed.data, 4 * sizeof(double), cudaMemcpyDeviceToHost));
      x = mine;
    }
    most(threads, 0);
    if (r + 1 == ranks) ok(cudaMemcpy(x.bits + 5, last.data, 4 * sizeof(double), cudaMemcpyDeviceToHost));
  });
  return x;
}
void filter_table(std::int64_t length, int devices) {
  using model_type = decltype(plane_model());
  int most_gpus = 1;
  while (2 * most_gpus <= devices) most_gpus *= 2;
  const std::int64_t block = kalscan::filter_block<model_type>(kalscan::cuda{}, length, most_gpus),
                     threads = kalscan::filter_block<model_type>(kalscan::cuda{.chunk = 1}, length);
  // Of every block the smoother's last one too: whole blocks, so that stretches are cut alike from both ends.
  length = length / block * block;
  std::printf("Kalman filter and smoother over ranks, %lld steps, 4 states, 2 sensors, double; ms; gathers: those of "
              "the log-likelihood, on the rank that waits least\n"
              "| GPUs | steps of a chunk | log-likelihood | speedup | gathers | with means | speedup | smoother | "
              "speedup | same bits |\n|---|---|---|---|---|---|---|---|---|---|\n",
              static_cast<long long>(length));
  std::optional<filter_row> one, same;
  const auto print = [&](int gpus, std::int64_t chunk) {
    const filter_row x = measure_filter(length, gpus, chunk);
    if (!one) one = x;
    if (chunk > 0 && !same) same = x;
    std::printf("| %d | %lld | %.3f | %.2f | %.3f | %.3f | %.2f | %.3f | %.2f | %s |\n", gpus,
                static_cast<long long>(
                    kalscan::filter_block<model_type>(kalscan::cuda{.chunk = chunk}, length, gpus) / threads),
                x.log_likelihood_ms, one->log_likelihood_ms / x.log_likelihood_ms, x.gather_ms, x.filter_ms,
                one->filter_ms / x.filter_ms, x.smoother_ms, one->smoother_ms / x.smoother_ms,
                chunk == 0                                           ? ""
                : std::memcmp(x.bits, same->bits, sizeof(x.bits)) == 0 ? "yes"
                                                                     : "NO");
    std::fflush(stdout);
  };
  for (int k = 1; k <= devices; k *= 2) print(k, 0);
  for (int k = 1; k <= devices; k *= 2) print(k, block / threads);
}

__global__ void fill_observations(kalscan::scalar_observation<float>* x, std::int64_t n, std::int64_t first) {
  for (std::int64_t i = blockIdx.x * std::int64_t(blockDim.x) + threadIdx.x; i < n;
       i += std::int64_t(gridDim.x) * blockDim.x) {
    const std::uint64_t z = (static_cast<std::uint64_t>(first + i) * 0xbf58476d1ce4e5b9U ^ 0x9e3779b97f4a7c15U) *
                            0x94d049bb133111ebU;
    x[i] = {static_cast<float>(z >> 40) * 0x1p-24F, static_cast<float>(z & 0xffff) * 0x1p-16F - 0.5F};
  }
}
struct scan_row {
  double scan_ms = 0, chunks_ms = 0, reduce_ms = 0;
  kalscan::belief<float> last[2] = {};
  unsigned sum = 0;
};
scan_row measure_scan(std::int64_t length, int ranks) {
  using observation = kalscan::scalar_observation<float>;
  using state = kalscan::belief<float>;
  constexpr std::int64_t chunk = 4096;
  const kalscan::scalar_filter<float> filter{0.99F, 0.01F};
  const kalscan::affine_monoid<unsigned> maps{};
  scan_row x;
  on_gpus(ranks, [&](const auto& threads, const timed& comm, cudaStream_t stream) {
    const int r = threads.rank();
    const std::int64_t chunks = (length + chunk - 1) / chunk, from = (std::min)(length, chunks * r / ranks * chunk),
                       to = (std::min)(length, chunks * (r + 1) / ranks * chunk), n = to - from;
    const device_memory<observation> in(n);
    const device_memory<state> out(n), initial(1), final(1);
    const device_memory<kalscan::affine_map<unsigned>> total(1);
    fill_observations<<<4096, 256>>>(in.data, n, from);
    const state start{0, 1};
    ok(cudaMemcpy(initial.data, &start, sizeof(start), cudaMemcpyHostToDevice));
    ok(cudaDeviceSynchronize());
    kalscan::ranks policy{comm, kalscan::cuda{.stream = stream}}, by_chunks = policy;
    by_chunks.inner.chunk = chunk;
    const auto steps = kalscan::agree_on_steps(policy, filter, n);
    policy.steps = by_chunks.steps = steps;
    const kalscan::cuda_workspace memory((std::max)({kalscan::scan_workspace(policy, filter, n),
                                                     kalscan::scan_workspace(by_chunks, filter, n),
                                                     kalscan::scan_workspace(policy, maps, n)}));
    policy.inner.workspace = by_chunks.inner.workspace = memory;
    const auto states = [&](const auto& p) {
      kalscan::scan_states(p, filter, kalscan::sequences<const observation>(in.data, 1, n, 1),
                           kalscan::sequences<state>(out.data, 1, n, 1), std::span<const state>(initial.data, 1),
                           std::span<state>(final.data, 1));
    };
    scan_row mine;
    mine.scan_ms = time_of(threads, comm.comm, stream, 5, [&] { states(policy); });
    ok(cudaMemcpy(&mine.last[0], final.data, sizeof(state), cudaMemcpyDeviceToHost));
    mine.chunks_ms = time_of(threads, comm.comm, stream, 5, [&] { states(by_chunks); });
    ok(cudaMemcpy(&mine.last[1], final.data, sizeof(state), cudaMemcpyDeviceToHost));
    const auto* elements = reinterpret_cast<const kalscan::affine_map<unsigned>*>(in.data);
    mine.reduce_ms = time_of(threads, comm.comm, stream, 5, [&] {
      kalscan::reduce(policy, maps, std::span(elements, static_cast<std::size_t>(n)), std::span(total.data, 1));
    });
    kalscan::affine_map<unsigned> all;
    ok(cudaMemcpy(&all, total.data, sizeof(all), cudaMemcpyDeviceToHost));
    mine.sum = all.offset;
    if (r == 0) x = mine;
  });
  return x;
}
void scan_table(std::int64_t length, int devices) {
  std::printf("Scans over ranks, %lld steps: the states of a scalar filter in float, and the product of as many maps "
              "of 8 bytes; ms\n| GPUs | states | speedup | with chunks of 4096 | speedup | same bits | product | "
              "speedup | same |\n|---|---|---|---|---|---|---|---|---|\n",
              static_cast<long long>(length));
  std::optional<scan_row> one;
  for (int k = 1; k <= devices; k *= 2) {
    const scan_row x = measure_scan(length, k);
    if (!one) one = x;
    std::printf("| %d | %.3f | %.2f | %.3f | %.2f | %s | %.3f | %.2f | %s |\n", k, x.scan_ms, one->scan_ms / x.scan_ms,
                x.chunks_ms, one->chunks_ms / x.chunks_ms,
                std::memcmp(&x.last[1], &one->last[1], sizeof(x.last[1])) == 0 ? "yes" : "NO", x.reduce_ms,
                one->reduce_ms / x.reduce_ms, x.sum == one->sum ? "yes" : "NO");
    std::fflush(stdout);
  }
}

}  // namespace

int main(int argc, char** argv) try {
  setenv("NCCL_NVLS_ENABLE", "0", 0);  // no multicast over NVLink, unless the caller wants it
  int devices = 0, at = 1;
  ok(cudaGetDeviceCount(&devices));
  sizes s;
  if (argc > 1 && std::strcmp(argv[1], "filter") == 0) {
    filter_table(argc > 2 ? std::atoll(argv[2]) : 100'000'000, devices);
    return 0;
  }
  if (argc > 1 && std::strcmp(argv[1], "scan") == 0) {
    scan_table(argc > 2 ? std::atoll(argv[2]) : 400'000'000, devices);
    return 0;
  }
  const bool stream = argc > 1 && std::strcmp(argv[1], "stream") == 0;
  if (stream) ++at;
  for (std::int64_t* x : {&s.L, &s.M, &s.chunk}) {
    if (at < argc && argv[at][0] != '-') *x = std::atoll(argv[at++]);
  }
  if (stream) {
    stream_through_one(s, devices);
  } else {
    table(s, devices);
  }
} catch (const std::exception& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
