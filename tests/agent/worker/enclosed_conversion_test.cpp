// SPDX-License-Identifier: Apache-2.0
// The whole way: client, sandboxed disk worker, real filesystems. Needs root.
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <csignal>
#include <optional>
#include <thread>
#include <tuple>

#include "dev/loop_device.hpp"
#include "image/compression.hpp"
#include "modules/partition.hpp"
#include "tests/agent/image/pv_kernel_samples.hpp"
#include "tests/agent/worker/pv_image.hpp"
#include "worker/client.hpp"

namespace amilift::worker {
namespace {

namespace fs = std::filesystem;
using core::Errc;
using test::read_text;
using test::write_text;

class Notes final : public ConversionObserver {
  public:
    void on_stage(const std::string& stage) override {
        stages.push_back(stage);
        if (cancel != nullptr && stage == "apply") cancel->request("the job's deadline has passed");
    }
    void on_finding(const image::Finding& finding) override { findings.push_back(finding.id); }
    void on_step(std::size_t /*index*/, std::size_t /*count*/, const std::string& text) override {
        steps.push_back(text);
    }
    std::vector<std::string> stages;
    std::vector<std::string> findings;
    std::vector<std::string> steps;
    core::Cancel* cancel = nullptr;
};

std::string program() {
    return fs::read_symlink("/proc/self/exe").parent_path() / "disk_worker_for_test";
}

class EnclosedConversion : public ::testing::Test {
  protected:
    void SetUp() override {
        if (::geteuid() != 0) GTEST_SKIP() << "needs root for loop devices and mounts";
        test::write_pv_tree(work / "tree");
        test::make_ext_image(work / "source.img", work / "tree", 48, "ext4");
        request.source.path = work / "source.img";
        request.target.path = work / "output.img";
    }
    void TearDown() override {
        EXPECT_EQ(test::loops_on(work.path()), std::vector<std::string>{});
        EXPECT_EQ(test::image_mounts(), std::vector<std::string>{});
    }
    WorkerClient client() const {
        WorkerProgram worker;
        worker.argv = {program(), "disk-worker", work.path()};
        return WorkerClient(worker);
    }
    core::Result<WorkerOutcome> run() { return client().convert(request, notes, cancel); }
    test::TemporaryDirectory work;
    ConversionRequest request;
    Notes notes;
    core::Cancel cancel;
};

TEST_F(EnclosedConversion, GivesTheSameBytesAsTheOneInThisProcess) {
    const auto outcome = run();
    ASSERT_TRUE(outcome) << outcome.error().message();
    EXPECT_EQ(notes.stages, (std::vector<std::string>{"inspect", "plan", "apply", "verify"}));
    EXPECT_EQ(notes.steps, outcome->steps);
    EXPECT_EQ(outcome->os_pretty_name, "CentOS release 6.10 (Final)");
    EXPECT_FALSE(outcome->proofs.empty());
    EXPECT_EQ(outcome->filesystem_uuid, "0b5e7a52-6d3c-4f0a-9a35-0d9d3f1a7c11");

    auto direct = request;
    direct.target.path = work / "direct.img";
    core::ProcessRunner commands;
    Notes ignored;
    const auto result = convert(direct, commands, ignored, cancel);
    ASSERT_TRUE(result) << result.error().message();
    EXPECT_EQ(outcome->manifest_json, result->manifest.to_json());
    EXPECT_EQ(outcome->steps, result->plan.steps);
    EXPECT_EQ(outcome->proofs, result->proofs);
    EXPECT_TRUE(read_text(request.target.path).substr(0, modules::kRootOffset) ==
                read_text(direct.target.path).substr(0, modules::kRootOffset));
    const auto manifest = modules::Manifest::from_json(outcome->manifest_json);
    ASSERT_TRUE(manifest) << manifest.error().message();
    EXPECT_EQ(manifest->entries(), result->manifest.entries());
}

/// The conversion of a volume onto another one, as on a helper: loop devices with names of volumes.
class InterruptedCopy : public EnclosedConversion {
  protected:
    void SetUp() override {
        EnclosedConversion::SetUp();
        if (IsSkipped()) return;
        // The filesystem reaches to the end of the target, which is wiped before a first copy.
        const auto path = work / "volume.img";
        test::write_text(path, "");
        fs::resize_file(path, (48U << 20) + modules::kRootOffset);
        auto loop = dev::LoopDevice::attach(path, 0, 0, dev::Access::read_write);
        ASSERT_TRUE(loop) << loop.error().message();
        target_.emplace(*std::move(loop));
        request.target.path = target_->path();
        request.target_content = dev::TargetContent::zeros;
        request.may_replay_source_journal = true;
        request.options.verify_copy = true;
        request.journaled_disks = {"vol-1", "vol-2"};
    }
    void TearDown() override {
        target_.reset();
        EnclosedConversion::TearDown();
    }
    core::Fd journal() const {
        auto file = core::open_file(work / "copy.journal", O_RDWR | O_CREAT, 0600);
        if (!file) throw std::runtime_error(file.error().message());
        return *std::move(file);
    }
    /// In this process, up to the end of the copy: it is not compared any more.
    void copy_and_stop() {
        class Stopper final : public ConversionObserver {
          public:
            explicit Stopper(core::Cancel& c) : cancel_(c) {}
            void on_progress(const dev::CopyProgress& p) override {
                if (p.done_bytes == p.total_bytes) cancel_.request("the helper is rebooted");
            }

          private:
            core::Cancel& cancel_;
        };
        core::Cancel reboot;
        Stopper observer(reboot);
        core::ProcessRunner commands;
        const auto stopped = convert(request, commands, observer, reboot, journal());
        ASSERT_FALSE(stopped);
        ASSERT_TRUE(stopped.error().is(Errc::cancelled)) << stopped.error().message();
        ASSERT_GT(fs::file_size(work / "copy.journal"), 0U);
        // What the flow says of the target after a restart.
        request.target_content = dev::TargetContent::unknown;
    }
    core::Result<WorkerOutcome> go_on() {
        return client().convert(request, notes, cancel, journal());
    }
    std::optional<dev::LoopDevice> target_;
};

TEST_F(InterruptedCopy, GoesOnInAnEnclosedWorker) {
    copy_and_stop();
    if (HasFatalFailure()) return;
    const auto outcome = go_on();
    ASSERT_TRUE(outcome) << outcome.error().message();
    EXPECT_GT(outcome->resumed_bytes, 0U);
    EXPECT_LT(outcome->read_bytes, 4096U);
    // All of it is as it was read the first time, the end of the disk too.
    EXPECT_EQ(outcome->verified_bytes, outcome->resumed_bytes + outcome->read_bytes);
    EXPECT_EQ(notes.findings.back(), "copy-journal");
    EXPECT_EQ(fs::file_size(work / "copy.journal"), 0U);
}

TEST_F(InterruptedCopy, BeginsAnewWhenTheSourceIsReplayedAgain) {
    copy_and_stop();
    if (HasFatalFailure()) return;
    core::ProcessRunner commands;
    ASSERT_TRUE(commands.run_ok(
        {.argv = {"debugfs", "-w", "-R", "feature needs_recovery", request.source.path}}));
    const auto outcome = go_on();
    ASSERT_TRUE(outcome) << outcome.error().message();
    EXPECT_EQ(outcome->resumed_bytes, 0U);
    EXPECT_EQ(fs::file_size(work / "copy.journal"), 0U);
}

TEST_F(InterruptedCopy, BeginsAnewAfterTheCopyIsWhole) {
    const auto first = go_on();
    ASSERT_TRUE(first) << first.error().message();
    EXPECT_EQ(fs::file_size(work / "copy.journal"), 0U);
    request.target_content = dev::TargetContent::unknown;
    const auto again = go_on();
    ASSERT_TRUE(again) << again.error().message();
    EXPECT_EQ(again->resumed_bytes, 0U);
    EXPECT_EQ(again->manifest_json, first->manifest_json);
}

TEST_F(EnclosedConversion, MakesAGptAndGrowsTheRoot) {
    request.options.layout = job::Layout::gpt;
    request.options.size_gib = 1;
    const auto outcome = run();
    ASSERT_TRUE(outcome) << outcome.error().message();
    EXPECT_EQ(outcome->target_bytes, 1U << 30);
    const auto proofs = fmt::format("{}", fmt::join(outcome->proofs, "\n"));
    EXPECT_NE(proofs.find("grow: ext4 has 0.94 GiB of the partition's 0.94 GiB"), std::string::npos)
        << proofs;
    core::ProcessRunner commands;
    const auto fsck =
        commands.run({.argv = {"e2fsck", "-fn", request.target.path + "?offset=1048576"}});
    ASSERT_TRUE(fsck);
    EXPECT_EQ(fsck->exit_code, 0) << fsck->out;
}

TEST_F(EnclosedConversion, AnInspectionTellsTheSameAsTheOneInThisProcess) {
    const auto seen = client().inspect({{work / "source.img", ""}, false}, notes, cancel);
    ASSERT_TRUE(seen) << seen.error().message();
    core::ProcessRunner commands;
    Notes ignored;
    const auto direct = inspect({work / "source.img", ""}, commands, ignored, cancel);
    ASSERT_TRUE(direct) << direct.error().message();
    EXPECT_EQ(encode(*seen), encode(*direct));
    EXPECT_EQ(seen->facts.os_pretty_name, "CentOS release 6.10 (Final)");
    EXPECT_EQ(seen->facts.menu.entries.size(), direct->facts.menu.entries.size());
    EXPECT_FALSE(seen->facts.kernels.empty());

    const auto none = client().inspect({{work / "nothing.img", ""}, false}, notes, cancel);
    ASSERT_FALSE(none);
    EXPECT_TRUE(none.error().is(Errc::not_found)) << none.error().message();
}

TEST_F(EnclosedConversion, MergesABootPartitionForPvGrub) {
    // What takes rights of its own to be copied.
    const std::string version = "3.2.0";
    const auto boot = work / "boot";
    write_text(boot + "/vmlinuz-" + version,
               image::bz_image_with(
                   image::pack_gzip(image::elf_with_notes(image::pv_notes())).value(), version));
    write_text(boot + "/grub/menu.lst",
               "default 0\ntitle x\nroot (hd0,0)\nkernel /vmlinuz-3.2.0 root=/dev/sda1\n");
    write_text(boot + "/program", "x");
    ASSERT_EQ(::chown((boot + "/program").c_str(), 12, 34), 0);
    ASSERT_EQ(::chmod((boot + "/program").c_str(), 06755), 0);
    ASSERT_EQ(::setxattr((boot + "/program").c_str(), "trusted.note", "t", 1, 0), 0);
    const std::string capability("\x01\0\0\x02\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 20);
    ASSERT_EQ(::setxattr((boot + "/program").c_str(), "security.capability", capability.data(),
                         capability.size(), 0),
              0);
    fs::create_symlink("program", boot + "/link");
    const auto tree = work / "tree";
    fs::remove_all(tree + "/boot");
    fs::create_directories(tree + "/boot");
    write_text(tree + "/sbin/init", "#!/bin/sh\n");
    write_text(tree + "/etc/fstab",
               "/dev/sda2 / ext4 defaults 0 1\n/dev/sda1 /boot ext4 defaults 0 2\n");
    const auto modules = tree + "/lib/modules/" + version + "/";
    write_text(modules + "modules.builtin",
               "kernel/drivers/block/xen-blkfront.ko\nkernel/drivers/net/xen-netfront.ko\n");
    write_text(modules + "modules.dep", "");

    core::ProcessRunner commands;
    const auto disk = request.source.path;
    modules::test::make_file(disk, std::uint64_t{66} << 20);
    ASSERT_TRUE(commands.run_ok({.argv = {"sfdisk", "-q", "--no-tell-kernel", disk},
                                 .input = "label: dos\nstart=1MiB, size=16MiB, type=83, bootable\n"
                                          "start=17MiB, size=48MiB, type=83\n"}));
    for (const auto& [from, mebibytes, offset] :
         {std::tuple{boot, 16U, "1"}, std::tuple{tree, 48U, "17"}}) {
        test::make_ext_image(work / "part.img", from, mebibytes, "ext4",
                             {"-O", "^64bit,^metadata_csum"});
        ASSERT_TRUE(commands.run_ok(
            {.argv = {"dd", "if=" + (work / "part.img"), "of=" + disk, "bs=1M", "conv=notrunc",
                      "status=none", std::string("seek=") + offset}}));
        fs::remove(work / "part.img");
    }
    // An unknown loader.
    ASSERT_TRUE(
        commands.run_ok({.argv = {"dd", "of=" + disk, "bs=1", "conv=notrunc", "status=none"},
                         .input = "\xfa\x31"}));
    request.options.virtualization = job::Virtualization::paravirtual;
    const auto outcome = run();
    ASSERT_TRUE(outcome) << outcome.error().message();
    const test::TestMount before(disk, 1U << 20);
    const test::TestMount after(request.target.path, 0);
    auto was = test::describe_tree(before.path());
    auto is = test::describe_tree(after.path() + "/boot");
    const auto is_other = [](const std::string& line) {
        return line.starts_with("/ ") || line.starts_with("/grub/menu.lst ") ||
               line.starts_with("/lost+found ");
    };
    std::erase_if(was, is_other);
    std::erase_if(is, is_other);
    EXPECT_EQ(is, was);
    EXPECT_NE(read_text(after.path() + "/boot/grub/menu.lst").find("kernel /boot/vmlinuz-3.2.0"),
              std::string::npos);
}

TEST_F(EnclosedConversion, RefusalArrivesWithItsId) {
    fs::remove_all(work / "tree/boot/grub");
    test::make_ext_image(work / "source.img", work / "tree", 48, "ext4");
    const auto outcome = run();
    ASSERT_FALSE(outcome);
    EXPECT_TRUE(outcome.error().is(Errc::refused));
    EXPECT_EQ(outcome.error().id, "no-menu") << outcome.error().message();
    EXPECT_FALSE(notes.findings.empty());
    EXPECT_FALSE(fs::exists(request.target.path));
}

TEST_F(EnclosedConversion, CancelCleansUpAndRemovesTheOutput) {
    notes.cancel = &cancel;
    const auto outcome = run();
    ASSERT_FALSE(outcome);
    EXPECT_TRUE(outcome.error().is(Errc::cancelled)) << outcome.error().message();
    EXPECT_EQ(outcome.error().what, "the job's deadline has passed");
    EXPECT_FALSE(fs::exists(request.target.path));
}

}  // namespace
}  // namespace amilift::worker
