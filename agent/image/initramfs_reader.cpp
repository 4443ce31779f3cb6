// SPDX-License-Identifier: Apache-2.0
#include "image/initramfs_reader.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace amilift::image {
namespace {

using core::Result;

/// Of a usual image all; their names and indexes take some MiB each.
constexpr std::size_t kRemembered = 4;
/// Files that one entry may load.
constexpr std::size_t kMaxInitrds = 16;

}  // namespace

Result<std::shared_ptr<const InitramfsRead>> InitramfsReader::read(
    const SafeRoot& root, const std::vector<std::string>& initrds) {
    const auto known = std::ranges::find(remembered_, initrds, &Remembered::first);
    if (known != remembered_.end()) return known->second;
    AMILIFT_TRY(auto unpacked, unpack(root, initrds));
    if (remembered_.size() == kRemembered) remembered_.pop_front();
    return remembered_
        .emplace_back(initrds, std::make_shared<const InitramfsRead>(std::move(unpacked)))
        .second;
}

Result<InitramfsRead> InitramfsReader::unpack(const SafeRoot& root,
                                              const std::vector<std::string>& initrds) {
    InitramfsRead found;
    auto& contents = found.contents;
    if (initrds.size() > kMaxInitrds) {
        contents.problem = fmt::format("the entry loads {} files, expected at most {}",
                                       initrds.size(), kMaxInitrds);
        return found;
    }
    for (const auto& path : initrds) {
        found.path = path;
        if (budget_ == 0) {
            contents.problem =
                "it was not looked at: the menu names more and larger files than are read";
            break;
        }
        const auto bytes = root.read(path, kInitramfsLimit);
        if (!bytes) {
            if (!is_content_problem(bytes.error())) return std::unexpected(bytes.error());
            contents.problem = bytes.error().what;
            break;
        }
        const auto before = contents.unpacked_bytes;
        read_further_initramfs(*bytes, kUnpackedLimit, contents);
        const auto cost = bytes->size() + contents.unpacked_bytes - before;
        budget_ -= std::min<std::uint64_t>(budget_, cost);
    }
    return found;
}

}  // namespace amilift::image
