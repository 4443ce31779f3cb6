// SPDX-License-Identifier: Apache-2.0
// The whole way: client, sandboxed disk worker, real filesystems. Needs root.
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include <csignal>
#include <thread>

#include "modules/partition.hpp"
#include "tests/agent/worker/pv_image.hpp"
#include "worker/client.hpp"

namespace amilift::worker {
namespace {

namespace fs = std::filesystem;
using core::Errc;
using test::read_text;

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
    static WorkerClient client() {
        WorkerProgram worker;
        worker.argv = {program(), "disk-worker"};
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
    EXPECT_FALSE(fs::exists(request.target.path));
}

}  // namespace
}  // namespace amilift::worker
