// SPDX-License-Identifier: MIT
// A communicator of one's own, here files in a directory that all ranks see: three functions, of which one moves bytes.
// Three processes scan an operator that does not commute, each its stretch.

#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <kalscan/monoids/affine.hpp>
#include <kalscan/ranks/ranks.hpp>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

class files {
 public:
  files(std::filesystem::path directory, int rank, int size)
      : directory_(std::move(directory)), rank_(rank), size_(size) {}
  int rank() const { return rank_; }
  int size() const { return size_; }

  void all_gather(std::span<const std::byte> in, std::span<std::byte> out) const {
    const int round = (*round_)++;
    const auto unfinished = directory_ / ("unfinished." + std::to_string(rank_));
    std::ofstream(unfinished, std::ios::binary).write(reinterpret_cast<const char*>(in.data()), std::ssize(in));
    std::filesystem::rename(unfinished, name(round, rank_));  // now it is there, and complete
    for (int r = 0; r < size_; ++r) {
      wait_for(name(round, r), r);
      std::ifstream file(name(round, r), std::ios::binary);
      file.read(reinterpret_cast<char*>(out.data()) + r * std::ssize(in), std::ssize(in));
      if (file.gcount() != std::ssize(in)) throw std::runtime_error("rank " + std::to_string(r) + " gave fewer bytes");
    }
    if (round > 0) std::filesystem::remove(name(round - 1, rank_));  // all have read it: they are in this round
  }

 private:
  std::filesystem::path name(int round, int rank) const {
    return directory_ / (std::to_string(round) + '.' + std::to_string(rank));
  }
  static void wait_for(const std::filesystem::path& file, int rank) {
    const auto last = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (!std::filesystem::exists(file)) {
      if (std::chrono::steady_clock::now() > last)
        throw std::runtime_error("rank " + std::to_string(rank) + " is lost");
      std::this_thread::sleep_for(std::chrono::microseconds(200));
    }
  }

  std::filesystem::path directory_;
  int rank_, size_;
  std::shared_ptr<int> round_ = std::make_shared<int>(0);
};
static_assert(kalscan::communicator<files>);

int main() {
  using monoid = kalscan::affine_monoid<unsigned>;
  std::vector<kalscan::affine_map<unsigned>> x(1000), expected(x.size());
  for (std::size_t t = 0; t < x.size(); ++t) x[t] = {static_cast<unsigned>(2 * t + 1), static_cast<unsigned>(t)};
  const auto total = kalscan::inclusive_scan(kalscan::seq{}, monoid{}, x, expected);

  const auto directory = std::filesystem::temp_directory_path() / ("kalscan_ranks." + std::to_string(getpid()));
  std::filesystem::create_directory(directory);
  const std::size_t bounds[] = {0, 100, 700, 1000};
  for (int rank = 0; rank < 3; ++rank) {
    if (fork() != 0) continue;
    const std::span mine(x.data() + bounds[rank], x.data() + bounds[rank + 1]);
    std::vector<kalscan::affine_map<unsigned>> out(mine.size());
    const auto all = kalscan::inclusive_scan(kalscan::ranks{files(directory, rank, 3)}, monoid{}, mine, out);
    const bool right = all == total &&
                       std::equal(out.begin(), out.end(), expected.begin() + static_cast<std::ptrdiff_t>(bounds[rank]));
    _exit(right ? 0 : 1);
  }
  int failed = 0;
  for (int rank = 0, status = 0; rank < 3; ++rank) {
    wait(&status);
    failed += status != 0;
  }
  std::filesystem::remove_all(directory);
  std::cout << (failed ? "FAILED on " + std::to_string(failed) + " ranks"
                       : "three processes, one scan: every state as in one process")
            << '\n';
  return failed;
}
