// SPDX-License-Identifier: Apache-2.0
#include "modules/grow.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "modules/grow_filesystem.hpp"
#include "modules/partition.hpp"

namespace amilift::modules {
namespace {

using core::Errc;
using core::fail;
using core::Result;

double gibibytes(std::uint64_t bytes) {
    return static_cast<double>(bytes) / static_cast<double>(1U << 30);
}

Result<> apply(ApplyContext& context, const dev::FilesystemInfo& filesystem,
               std::uint64_t root_bytes) {
    AMILIFT_CHECK(context.cancel().check());
    const auto& disk = context.target();
    if (filesystem.type == dev::Filesystem::xfs) {
        return grow_xfs(disk, kRootOffset, root_bytes, filesystem);
    }
    if (filesystem.type == dev::Filesystem::btrfs) {
        return grow_btrfs(disk, kRootOffset, root_bytes);
    }
    return grow_ext(context.commands(), disk, kRootOffset, root_bytes);
}

Result<std::vector<Step>> plan(const PlanContext& context) {
    const auto& filesystem = context.filesystem;
    AMILIFT_TRY(const auto disk, plan_disk(context.options, filesystem, context.target_bytes));
    const auto root_bytes = disk.root_bytes();
    if (context.options.size_gib == 0 || filesystem.block_bytes == 0 ||
        root_bytes - filesystem.size_bytes < filesystem.block_bytes) {
        return std::vector<Step>{};
    }
    const bool by_kernel = !dev::is_ext(filesystem.type);
    return std::vector<Step>{
        {"grow",
         fmt::format("grow {} from {:.2f} GiB to its partition of {:.2f} GiB ({})",
                     dev::to_string(filesystem.type), gibibytes(filesystem.size_bytes),
                     gibibytes(root_bytes),
                     by_kernel ? "by the kernel" : "e2fsck -f -p, resize2fs"),
         [filesystem, root_bytes](ApplyContext& apply_context) {
             return apply(apply_context, filesystem, root_bytes);
         }}};
}

Result<std::vector<std::string>> verify(const VerifyContext& context) {
    if (context.options.size_gib == 0) return std::vector<std::string>{};
    AMILIFT_TRY(const auto disk,
                plan_disk(context.options, context.filesystem, context.target.size_bytes()));
    AMILIFT_TRY(const auto grown, dev::read_filesystem_info(context.target, kRootOffset));
    const auto size = grown.size_bytes;
    if (size < context.filesystem.size_bytes || size > disk.root_bytes() ||
        disk.root_bytes() - size >= largest_rest(grown)) {
        return fail(Errc::corrupt,
                    fmt::format("filesystem on '{}' has {} bytes, its partition {}",
                                context.target.path(), size, disk.root_bytes()),
                    "convert without a size, and grow the filesystem on the instance");
    }
    return std::vector<std::string>{fmt::format("{} has {:.2f} GiB of the partition's {:.2f} GiB",
                                                dev::to_string(grown.type), gibibytes(size),
                                                gibibytes(disk.root_bytes()))};
}

constexpr Module kModule{"grow", plan, verify};

}  // namespace

const Module& grow_module() {
    return kModule;
}

}  // namespace amilift::modules
