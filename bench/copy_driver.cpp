// SPDX-License-Identifier: Apache-2.0
// The copy of a conversion and nothing else, for measurements: reads the superblock, maps the used
// extents, copies them, flushes. Prints one JSON object.
#include <fcntl.h>
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdio>
#include <optional>
#include <string>

#include "dev/copy_engine.hpp"
#include "dev/mount.hpp"
#include "dev/used_extents.hpp"

namespace {

namespace core = amilift::core;
namespace dev = amilift::dev;

struct Options {
    std::string source;
    std::string target;
    std::string journal;
    dev::CopyPlan plan;
    dev::CopyQueue queue;
};

core::Result<> copy(Options options) {
    const auto start = std::chrono::steady_clock::now();
    AMILIFT_TRY(const auto source, dev::BlockDevice::open(options.source, dev::Access::read_only));
    AMILIFT_TRY(const auto info, dev::read_filesystem_info(source, 0));
    std::optional<dev::Mount> mounted;
    if (info.type == dev::Filesystem::xfs) {
        AMILIFT_TRY(mounted, dev::Mount::mount(options.source, info.type, dev::Access::read_only));
    }
    AMILIFT_TRY(auto map,
                dev::map_used_extents(source, info, mounted ? &mounted->root() : nullptr));
    if (mounted) AMILIFT_CHECK(mounted->unmount());
    const std::chrono::duration<double> mapping = std::chrono::steady_clock::now() - start;

    AMILIFT_TRY(const auto target, dev::BlockDevice::open(options.target, dev::Access::read_write));
    options.plan.extents = std::move(map.used);
    std::optional<dev::CopyJournal> journal;
    if (!options.journal.empty()) {
        AMILIFT_TRY(auto file, core::open_file(options.journal, O_RDWR | O_CREAT, 0600));
        AMILIFT_TRY(auto opened,
                    dev::CopyJournal::open(std::move(file), options.journal, {"source", "target"}));
        journal.emplace(std::move(opened));
        options.plan.journal = &*journal;
    }
    AMILIFT_TRY(const auto stats,
                dev::copy_extents(source, target, options.plan, {}, core::Cancel()));
    fmt::print(R"({{"filesystem":"{}","method":"{}","extents":{},"used_bytes":{},"read_bytes":{},)"
               R"("written_bytes":{},"zero_bytes":{},"engine":"{}","map_seconds":{:.4f},)"
               R"("copy_seconds":{:.4f},"verify_seconds":{:.4f}}})"
               "\n",
               dev::to_string(info.type), map.method, options.plan.extents.size(), map.used_bytes,
               stats.read_bytes, stats.written_bytes, stats.zero_bytes, stats.engine,
               mapping.count(), stats.seconds, stats.verify_seconds);
    return {};
}

}  // namespace

int main(int argc, char** argv) {
    Options options;
    bool threads = false;
    bool unknown_target = false;
    CLI::App app("Copies the used bytes of a filesystem from one device to another");
    app.add_option("source", options.source, "device with an ext or XFS filesystem")->required();
    app.add_option("target", options.target, "device or file of at least that size")->required();
    app.add_option("--offset", options.plan.target_offset, "on the target, bytes");
    auto* depth = app.add_option("--queue-depth", options.queue.depth, "chunks under way at once");
    auto* block = app.add_option("--block-bytes", options.queue.block_bytes, "size of a chunk");
    app.add_flag("--verify", options.plan.verify, "read the target back and compare");
    app.add_option("--journal", options.journal, "file in which the copy notes how far it is");
    app.add_flag("--threads", threads, "threads instead of io_uring");
    app.add_flag("--unknown-target", unknown_target, "write zeros too");
    CLI11_PARSE(app, argc, argv);
    if (*depth || *block) options.plan.queue = options.queue;
    if (threads) options.plan.engine = dev::CopyEngine::threads;
    options.plan.target_content =
        unknown_target ? dev::TargetContent::unknown : dev::TargetContent::zeros;
    const auto done = copy(std::move(options));
    if (done) return 0;
    fmt::print(stderr, "amilift-copybench: {}\n", done.error().message());
    return 1;
}
