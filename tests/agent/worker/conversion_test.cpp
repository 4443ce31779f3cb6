// SPDX-License-Identifier: Apache-2.0
// Conversions of real filesystems on loop devices: what comes of them. Needs root.
#include "worker/conversion.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <fstream>
#include <set>

#include "core/fd.hpp"
#include "dev/mount.hpp"
#include "modules/partition.hpp"
#include "tests/agent/worker/bare_conversion.hpp"

namespace amilift::worker {
namespace {

namespace fs = std::filesystem;
using core::Errc;
using modules::kRootOffset;
using test::Conversion;
using test::describe_tree;
using test::Notes;
using test::read_text;
using test::TestMount;
using test::write_text;

/// What the manifest says must be exactly what differs between the two trees.
void expect_only_manifest_differs(const std::string& before_image, const std::string& after_image,
                                  const modules::Manifest& manifest) {
    const TestMount before(before_image, 0);
    const TestMount after(after_image, kRootOffset);
    const auto old_lines = describe_tree(before.path());
    const auto new_lines = describe_tree(after.path());
    std::vector<std::string> differing;
    std::ranges::set_symmetric_difference(old_lines, new_lines, std::back_inserter(differing));
    std::vector<std::string> paths;
    for (const auto& line : differing) paths.push_back(line.substr(0, line.find(" mode=")));
    std::ranges::sort(paths);
    paths.erase(std::unique(paths.begin(), paths.end()), paths.end());

    std::vector<std::string> listed{std::string(modules::kManifestPath)};
    for (const auto& entry : manifest.entries()) listed.push_back(entry.path);
    std::ranges::sort(listed);
    // A new directory is a link more in its parent, which is no change of the parent's content.
    std::erase_if(paths, [&](const std::string& path) {
        if (std::ranges::find(listed, path) != listed.end()) return false;
        std::vector<std::string> lines;
        for (const auto& line : differing) {
            if (line.starts_with(path + " mode=")) lines.push_back(line);
        }
        for (auto& line : lines) {
            const auto at = line.find(" links=");
            line.erase(at, line.find(' ', at + 1) - at);
        }
        return lines.size() == 2 && lines[0] == lines[1];
    });
    if (differing.size() > 100) differing.resize(100);
    EXPECT_EQ(paths, listed) << fmt::format("{}", fmt::join(differing, "\n"));
}

TEST_F(Conversion, OfBareExt3GivesADiskThatTheManifestExplains) {
    make_source();
    const auto before = read_text(source);
    const auto result = run();
    ASSERT_TRUE(result) << result.error().message();
    EXPECT_TRUE(before == read_text(source)) << "the source must stay as it is";
    EXPECT_EQ(notes.stages, (std::vector<std::string>{"inspect", "plan", "apply", "verify"}));
    EXPECT_EQ(notes.steps, result->plan.steps);
    EXPECT_EQ(notes.last.done_bytes, notes.last.total_bytes);
    EXPECT_EQ(fs::file_size(output), result->plan.target_bytes);
    EXPECT_GT(result->copy.read_bytes, 0U);

    const auto fsck = commands.run({.argv = {"e2fsck", "-fn", output + "?offset=1048576"}});
    ASSERT_TRUE(fsck);
    EXPECT_EQ(fsck->exit_code, 0) << fsck->out;
    expect_only_manifest_differs(source, output, result->manifest);

    const TestMount after(output, kRootOffset);
    EXPECT_EQ(read_text(after.path() + std::string(modules::kManifestPath)),
              result->manifest.to_json());
    EXPECT_NE(read_text(after.path() + "/boot/grub/grub.conf").find("root (hd0,0)"),
              std::string::npos);
    EXPECT_TRUE(fs::is_symlink(after.path() + "/boot/grub/menu.lst"));

    const auto proofs = fmt::format("{}", fmt::join(result->proofs, "\n"));
    EXPECT_NE(proofs.find("grub-fstest reads /boot/vmlinuz-2.6.32-754.el6.x86_64 (crc32 "),
              std::string::npos)
        << proofs;
    EXPECT_NE(proofs.find("grub-fstest reads /boot/initramfs-2.6.32-754.el6.x86_64.img (crc32 "),
              std::string::npos)
        << proofs;
}

TEST_F(Conversion, WorksOnEveryExtOfTheField) {
    struct Kind {
        const char* type;
        std::vector<std::string> options;
    };
    for (const auto& kind :
         {Kind{"ext2", {"-b", "1024", "-I", "128"}}, Kind{"ext3", {"-b", "1024"}}, Kind{"ext4", {}},
          Kind{"ext4", {"-O", "^64bit,^metadata_csum,^has_journal"}},
          Kind{"ext4",
               {"-O",
                "none,has_journal,ext_attr,resize_inode,dir_index,filetype,extent,"
                "flex_bg,sparse_super,large_file,huge_file,uninit_bg,dir_nlink,"
                "extra_isize"}}}) {
        SCOPED_TRACE(fmt::format("{} {}", kind.type, fmt::join(kind.options, " ")));
        fs::remove(output);
        notes.steps.clear();
        make_source(kind.type, kind.options);
        const auto result = run();
        ASSERT_TRUE(result) << result.error().message();
        expect_only_manifest_differs(source, output, result->manifest);
    }
}

TEST_F(Conversion, DoneTwiceGivesTheSameGapAndTheSameManifest) {
    make_source("ext4", {});
    const auto first = run();
    ASSERT_TRUE(first) << first.error().message();
    const auto gap = read_text(output).substr(0, kRootOffset);
    fs::remove(output);
    notes.steps.clear();
    const auto second = run();
    ASSERT_TRUE(second) << second.error().message();
    EXPECT_TRUE(gap == read_text(output).substr(0, kRootOffset));
    EXPECT_EQ(first->manifest.to_json(), second->manifest.to_json());
    EXPECT_EQ(first->plan.steps, second->plan.steps);
}

TEST_F(Conversion, PlanWritesNothingAndIsWhatConvertDoes) {
    make_source();
    const auto before = read_text(source);
    const auto text = plan(request(), commands, notes);
    ASSERT_TRUE(text) << text.error().message();
    EXPECT_FALSE(fs::exists(output));
    EXPECT_TRUE(before == read_text(source));
    EXPECT_EQ(text->target_bytes, (49U << 20));
    EXPECT_GT(text->used_bytes, 0U);
    EXPECT_LT(text->used_bytes, 48U << 20);
    const auto result = run();
    ASSERT_TRUE(result);
    EXPECT_EQ(text->steps, result->plan.steps);
}

/// The plan as users read it, for a tree that is the same on every machine.
TEST_F(Conversion, PlanTextIsGolden) {
    make_source();
    const auto text = plan(request(), commands, notes);
    ASSERT_TRUE(text) << text.error().message();
    auto steps = text->steps;
    // How many bytes are in use, and how large GRUB is, depends on the helper's packages.
    for (auto& step : steps) {
        for (const auto& [prefix, until] :
             {std::pair{std::string("copy: copy "), std::string(" MiB in use")},
              std::pair{std::string("core image of "), std::string()}}) {
            const auto at = step.find(prefix);
            if (at == std::string::npos) continue;
            const auto from = at + prefix.size();
            const auto to = until.empty() ? step.size() : step.find(until);
            step.replace(from, to - from, "N");
        }
    }
    const auto seen = fmt::format("{}\n", fmt::join(steps, "\n"));
    EXPECT_EQ(seen, read_text("tests/data/plans/centos6-ext3.golden"));
}

TEST_F(Conversion, LegacyGrubOfTheImageCanBeUsed) {
    const auto fetched = commands.run({.argv = {"tests/modules/vendor/fetch_grub_legacy"}});
    ASSERT_TRUE(fetched);
    if (fetched->exit_code != 0) GTEST_SKIP() << fetched->err;
    const auto package = fetched->out.substr(0, fetched->out.find('\n'));
    test::write_pv_tree(work / "tree");
    for (const char* stage : {"stage1", "stage2", "e2fs_stage1_5"}) {
        write_text(work / (std::string("tree/usr/share/grub/x86_64-redhat/") + stage),
                   read_text(package + "/usr/lib/grub/x86_64-pc/" + stage));
    }
    make_source();
    auto r = request();
    r.options.bootloader = job::Bootloader::grub_legacy;
    const auto result = run(r);
    ASSERT_TRUE(result) << result.error().message();
    expect_only_manifest_differs(source, output, result->manifest);
    const TestMount after(output, kRootOffset);
    EXPECT_TRUE(read_text(after.path() + "/boot/grub/stage2") ==
                read_text(package + "/usr/lib/grub/x86_64-pc/stage2"));
}

TEST_F(Conversion, XfsRootIsConverted) {
    std::ifstream filesystems("/proc/filesystems");
    const std::string known{std::istreambuf_iterator<char>(filesystems), {}};
    if (known.find("xfs") == std::string::npos) GTEST_SKIP() << "this kernel cannot mount XFS";
    test::write_pv_tree(work / "tree");
    modules::test::make_file(source, 320U << 20);
    const auto made = commands.run_ok({.argv = {"mkfs.xfs", "-q", "-L", "/", source}});
    ASSERT_TRUE(made) << made.error().message();
    {
        const TestMount filled(source, 0, "rw");
        ASSERT_TRUE(commands.run_ok({.argv = {"cp", "-a", work / "tree/.", filled.path()}}));
    }
    const auto result = run();
    ASSERT_TRUE(result) << result.error().message();
    EXPECT_EQ(result->plan.inspection.filesystem.type, dev::Filesystem::xfs);
    const TestMount after(output, kRootOffset, "ro,nouuid");
    EXPECT_TRUE(fs::exists(after.path() + std::string(modules::kManifestPath)));
}

TEST_F(Conversion, XfsRootIsGrown) {
    std::ifstream filesystems("/proc/filesystems");
    const std::string known{std::istreambuf_iterator<char>(filesystems), {}};
    if (known.find("xfs") == std::string::npos) GTEST_SKIP() << "this kernel cannot mount XFS";
    test::write_pv_tree(work / "tree");
    modules::test::make_file(source, 320U << 20);
    ASSERT_TRUE(commands.run_ok({.argv = {"mkfs.xfs", "-q", "-L", "/", source}}));
    {
        const TestMount filled(source, 0, "rw");
        ASSERT_TRUE(commands.run_ok({.argv = {"cp", "-a", work / "tree/.", filled.path()}}));
    }
    auto r = request();
    r.options.size_gib = 1;
    const auto result = run(r);
    ASSERT_TRUE(result) << result.error().message();
    const auto disk = dev::BlockDevice::open(output, dev::Access::read_only);
    ASSERT_TRUE(disk);
    const auto grown = dev::read_filesystem_info(*disk, kRootOffset);
    ASSERT_TRUE(grown);
    EXPECT_EQ(grown->size_bytes, (1U << 30) - (1U << 20));
}

TEST_F(Conversion, GptHasTheSameFilesAndAnEfiPartition) {
    make_source("ext4", {});
    auto r = request();
    r.options.layout = job::Layout::gpt;
    const auto result = run(r);
    ASSERT_TRUE(result) << result.error().message();
    EXPECT_FALSE(result->boots_by_uefi) << "the kernel of this tree has no EFI stub";
    expect_only_manifest_differs(source, output, result->manifest);
    const auto proofs = fmt::format("{}", fmt::join(result->proofs, "\n"));
    EXPECT_NE(proofs.find("both copies of the partition table are right"), std::string::npos);
    EXPECT_NE(proofs.find("holds EFI/BOOT/BOOTX64.EFI"), std::string::npos) << proofs;

    const auto dumped = commands.run({.argv = {"sfdisk", "--dump", output}});
    ASSERT_TRUE(dumped);
    EXPECT_EQ(dumped->exit_code, 0) << dumped->err;
    EXPECT_EQ(dumped->err, "");
    const auto listed =
        commands.run({.argv = {"mdir", "-b", "-i", output + "@@49M", "::/EFI/BOOT"}});
    ASSERT_TRUE(listed);
    EXPECT_NE(listed->out.find("BOOTX64.EFI"), std::string::npos) << listed->out << listed->err;
}

TEST_F(Conversion, GptDoneTwiceIsTheSame) {
    make_source();
    auto r = request();
    r.options.layout = job::Layout::gpt;
    ASSERT_TRUE(run(r));
    const auto around = [&] {
        const auto text = read_text(output);
        return text.substr(0, kRootOffset) + text.substr(49U << 20);
    };
    const auto first = around();
    fs::remove(output);
    notes.steps.clear();
    ASSERT_TRUE(run(r));
    EXPECT_TRUE(first == around());
}

TEST_F(Conversion, RootIsGrownToTheWantedSize) {
    struct Kind {
        const char* type;
        std::vector<std::string> options;
        job::Layout layout;
    };
    for (const auto& kind : {Kind{"ext2",
                                  {"-b", "1024", "-I", "128", "-O", "none,filetype,sparse_super"},
                                  job::Layout::mbr},
                             Kind{"ext3", {"-b", "4096", "-I", "128"}, job::Layout::gpt},
                             Kind{"ext4", {}, job::Layout::mbr}}) {
        SCOPED_TRACE(kind.type);
        fs::remove(output);
        notes.steps.clear();
        make_source(kind.type, kind.options);
        auto r = request();
        r.options.layout = kind.layout;
        r.options.size_gib = 1;
        const auto result = run(r);
        ASSERT_TRUE(result) << result.error().message();
        EXPECT_EQ(fs::file_size(output), 1U << 30);
        const auto disk = dev::BlockDevice::open(output, dev::Access::read_only);
        ASSERT_TRUE(disk);
        const auto grown = dev::read_filesystem_info(*disk, kRootOffset);
        ASSERT_TRUE(grown);
        EXPECT_GT(grown->size_bytes, 900U << 20);
        const auto fsck = commands.run({.argv = {"e2fsck", "-fn", output + "?offset=1048576"}});
        ASSERT_TRUE(fsck);
        EXPECT_EQ(fsck->exit_code, 0) << fsck->out;
        expect_only_manifest_differs(source, output, result->manifest);
    }
}

TEST_F(Conversion, KilledHalfwayHasNoOutputAndCanBeRepeated) {
    make_source();
    const auto runtime = [] {
        std::set<fs::path> names;
        std::error_code error;
        for (const auto& entry : fs::directory_iterator("/run/amilift", error)) names.insert(entry);
        return names;
    };
    const auto before = runtime();
    const pid_t child = ::fork();
    if (child == 0) {
        // Its mounts must end with it: this process has entered a namespace that it would share.
        if (!dev::enter_private_mount_namespace()) ::_exit(1);
        class Killer : public ConversionObserver {
            void on_step(std::size_t index, std::size_t, const std::string&) override {
                if (index == 3) (void)::kill(::getpid(), SIGKILL);
            }
        } killer;
        core::Cancel never;
        (void)convert(request(), commands, killer, never);
        ::_exit(0);
    }
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    for (const auto& name : runtime()) {
        if (!before.contains(name)) fs::remove(name);  // the kernel took the mount, not its place
    }
    ASSERT_TRUE(WIFSIGNALED(status));
    EXPECT_FALSE(fs::exists(output));
    EXPECT_TRUE(fs::exists(output + ".amilift-partial"));
    {
        const core::Fd writer(::open((output + ".amilift-partial").c_str(), O_RDWR | O_CLOEXEC));
        ASSERT_EQ(::flock(writer.get(), LOCK_EX | LOCK_NB), 0);
        const auto other = run();
        ASSERT_FALSE(other);
        EXPECT_TRUE(other.error().is(Errc::conflict)) << other.error().message();
    }
    const auto again = run();
    ASSERT_TRUE(again) << again.error().message();
    EXPECT_TRUE(fs::exists(output));
    EXPECT_FALSE(fs::exists(output + ".amilift-partial"));
}

TEST_F(Conversion, StopsInspectingAndPlanningWhenToldTo) {
    make_source();
    cancel.request("the test says so");
    const auto seen = inspect({source, {}}, commands, notes, cancel);
    ASSERT_FALSE(seen);
    EXPECT_EQ(seen.error().code, Errc::cancelled);
    const auto planned = plan(request(), commands, notes, cancel);
    ASSERT_FALSE(planned);
    EXPECT_EQ(planned.error().code, Errc::cancelled);
    EXPECT_FALSE(fs::exists(output));
}

/// A bitmap that calls the kernel's blocks free makes the copy leave them out. Linux and GRUB then
/// agree about the target: only the source tells.
TEST_F(Conversion, KernelThatDidNotArriveIsFound) {
    make_source();
    const std::string kernel = "/boot/vmlinuz-2.6.32-754.el6.x86_64";
    const auto first =
        commands.run_ok({.argv = {"debugfs", "-R", "bmap " + kernel + " 4", source}});
    ASSERT_TRUE(first) << first.error().message();
    const auto block = std::stoul(first->out);
    const auto header = commands.run_ok({.argv = {"dumpe2fs", "-h", source}});
    ASSERT_TRUE(header) << header.error().message();
    const std::string field = "Free blocks:";
    const auto free_blocks =
        std::stoul(header->out.substr(header->out.find(field) + field.size())) + 4;
    // The counts agree with the bitmap, so that Linux sees nothing wrong (one block group).
    for (const auto& command :
         {fmt::format("freeb {} 4", block), fmt::format("ssv free_blocks_count {}", free_blocks),
          fmt::format("set_bg 0 free_blocks_count {}", free_blocks)}) {
        ASSERT_TRUE(commands.run_ok({.argv = {"debugfs", "-w", "-R", command, source}}));
    }
    const auto error = failure();
    EXPECT_TRUE(error.is(Errc::corrupt)) << error.message();
    EXPECT_NE(error.what.find(kernel), std::string::npos) << error.what;
}

TEST_F(Conversion, CancelAtAnyStepLeavesNothing) {
    make_source();
    const auto text = plan(request(), commands, notes);
    ASSERT_TRUE(text);
    for (std::size_t step = 0; step < text->steps.size(); ++step) {
        core::Cancel stop;
        Notes listener;
        listener.cancel = &stop;
        listener.cancel_at = step;
        const auto result = convert(request(), commands, listener, stop);
        ASSERT_FALSE(result) << step;
        EXPECT_TRUE(result.error().is(Errc::cancelled)) << result.error().message();
        EXPECT_FALSE(fs::exists(output)) << step;
        EXPECT_EQ(test::loops_on(work.path()), std::vector<std::string>{});
    }
}

}  // namespace
}  // namespace amilift::worker
