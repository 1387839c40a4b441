// SPDX-License-Identifier: MIT
// One sequence over the GPUs of this machine, a thread each, by NCCL: KLA forward and backward on 1, 2, 4, ... of them.
// Time, speedup, how long ranks wait for carries and gradients, bits that differ from one GPU's, and a model beside it.
//     bench_cuda_ranks [tokens [channels [chunk]]]        1048576 1024 8192, with 16 states
//     bench_cuda_ranks stream [tokens [channels [chunk]]]
//         forward over all GPUs, and in pieces through one: final states
//     bench_cuda_ranks filter [steps]                     100000000
//         the Kalman filter, 4 states and 2 sensors in double, constant model
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
#include <kalscan/kalman/functions/model.hpp>
#include <kalscan/kla/kla.hpp>
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

row measure(const sizes& s, int ranks, std::optional<results>& whole) {
  row x;
  x.ranks = ranks;
  const communicators comms(ranks);
  kalscan::run_on_threads(ranks, [&](const kalscan::thread_communicator& threads) {
    const int r = threads.rank();
    ok(cudaSetDevice(r));
    cudaStream_t stream;
    ok(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
    const timed comm{kalscan::nccl_communicator(comms[r])};
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
    ok(cudaStreamDestroy(stream));
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
}

/// Forward over all GPUs, each of which keeps nothing but its stretch, and the same in pieces through one.
void stream_through_one(const sizes& s, int devices) {
  const communicators comms(devices);
  std::vector<float> over_ranks(static_cast<std::size_t>(s.M * S)), through_one(over_ranks);
  double ms = 0;
  kalscan::run_on_threads(devices, [&](const kalscan::thread_communicator& threads) {
    const int r = threads.rank();
    ok(cudaSetDevice(r));
    cudaStream_t stream;
    ok(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
    const kalscan::nccl_communicator comm(comms[r]);
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
    ok(cudaStreamDestroy(stream));
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

/// log p(y), and the means of all steps: ms, the log-likelihood, and the mean of the last step.
struct filter_row {
  double log_likelihood_ms = 0, filter_ms = 0, log_likelihood = 0, last[4] = {};
};
filter_row measure_filter(std::int64_t length, int ranks) {
  filter_row x;
  const communicators comms(ranks);
  const auto model = plane_model();
  using model_type = std::remove_cvref_t<decltype(model)>;
  const std::int64_t block = kalscan::filter_block<model_type>(kalscan::cuda{}, length);
  const std::int64_t blocks = (length + block - 1) / block;
  kalscan::run_on_threads(ranks, [&](const kalscan::thread_communicator& threads) {
    const int r = threads.rank();
    ok(cudaSetDevice(r));
    cudaStream_t stream;
    ok(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
    const std::int64_t from = (std::min)(length, blocks * r / ranks * block),
                       to = (std::min)(length, blocks * (r + 1) / ranks * block);
    const device_memory<double> y(2 * (to - from)), mean(4 * (to - from)), last(4), sum(1);
    fill_readings<<<4096, 256>>>(y.data, 2 * (to - from), 2 * from);
    ok(cudaDeviceSynchronize());
    const kalscan::nccl_communicator comm(comms[r]);
    kalscan::ranks policy{comm, kalscan::cuda{.stream = stream}};
    const auto steps = kalscan::agree_on_steps<model_type>(policy, to - from);
    policy.steps = steps;
    const kalscan::cuda_workspace memory(kalscan::filter_workspace<model_type>(policy, to - from));
    policy.inner.workspace = memory;
    const std::span<const double> readings(y.data, static_cast<std::size_t>(2 * (to - from)));
    const std::span<double> total(sum.data, 1);
    const double alone = time_of(threads, comm, stream, 5,
                                 [&] { kalscan::log_likelihood(policy, model, readings, total); });
    const double all = time_of(threads, comm, stream, 5, [&] {
      kalscan::filter(policy, model, readings,
                      {.mean = {mean.data, static_cast<std::size_t>(4 * (to - from))},
                       .final_mean = {last.data, 4},
                       .log_likelihood = total});
    });
    if (r == 0) {
      x.log_likelihood_ms = alone, x.filter_ms = all;
      ok(cudaMemcpy(&x.log_likelihood, sum.data, sizeof(double), cudaMemcpyDeviceToHost));
    }
    if (r + 1 == ranks) ok(cudaMemcpy(x.last, last.data, sizeof(x.last), cudaMemcpyDeviceToHost));
    ok(cudaStreamDestroy(stream));
  });
  return x;
}
void filter_table(std::int64_t length, int devices) {
  std::printf("Kalman filter over ranks, %lld steps, 4 states, 2 sensors, double\n"
              "| GPUs | log-likelihood, ms | speedup | with means, ms | speedup | same bits of both |\n"
              "|---|---|---|---|---|---|\n",
              static_cast<long long>(length));
  std::optional<filter_row> one;
  for (int k = 1; k <= devices; k *= 2) {
    const filter_row x = measure_filter(length, k);
    if (!one) one = x;
    const bool same = std::memcmp(&x.log_likelihood, &one->log_likelihood, sizeof(double)) == 0 &&
                      std::memcmp(x.last, one->last, sizeof(x.last)) == 0;
    std::printf("| %d | %.3f | %.2f | %.3f | %.2f | %s |\n", k, x.log_likelihood_ms,
                one->log_likelihood_ms / x.log_likelihood_ms, x.filter_ms, one->filter_ms / x.filter_ms,
                same ? "yes" : "NO");
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
