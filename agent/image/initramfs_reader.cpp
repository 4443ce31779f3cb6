// SPDX-License-Identifier: Apache-2.0
#include "image/initramfs_reader.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace amilift::image {
namespace {

using core::Result;

/// Files that one entry may load.
constexpr std::size_t kMaxInitrds = 16;

/// About what it takes in memory.
std::size_t bytes_of(const InitramfsContents& contents) {
    constexpr std::size_t kNodeBytes = 96;
    std::size_t bytes = 0;
    for (const auto& [name, type] : contents.members) bytes += name.size() + kNodeBytes;
    for (const auto* texts : {&contents.settings, &contents.module_indexes}) {
        for (const auto& [name, text] : *texts) bytes += name.size() + text.size() + kNodeBytes;
    }
    return bytes;
}

}  // namespace

Result<std::shared_ptr<const InitramfsRead>> InitramfsReader::read(
    const SafeRoot& root, const std::vector<std::string>& initrds) {
    const auto known = std::ranges::find(remembered_, initrds, &Remembered::initrds);
    if (known != remembered_.end()) return known->read;
    AMILIFT_TRY(auto unpacked, unpack(root, initrds));
    const auto bytes = bytes_of(unpacked.contents);
    auto read = std::make_shared<const InitramfsRead>(std::move(unpacked));
    // Who comes next may have more left to read.
    if (left_ == 0) return read;
    remembered_.push_back({initrds, read, bytes});
    remembered_bytes_ += bytes;
    while (remembered_bytes_ > limits_.remembered_bytes) {
        remembered_bytes_ -= remembered_.front().bytes;
        remembered_.pop_front();
    }
    return read;
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
        if (left_ == 0) {
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
        left_ -= std::min(left_, cost);
    }
    return found;
}

}  // namespace amilift::image
