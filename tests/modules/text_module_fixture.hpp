// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "core/command.hpp"
#include "image/facts.hpp"
#include "modules/module.hpp"
#include "tests/agent/image/image_builder.hpp"

namespace amilift::modules {

inline constexpr std::string_view kRootUuid = "0b9f21a2-6d30-4d5f-9a70-0f3a8c9f5c11";

/// Plans for a source tree, applies the steps to a copy of it and verifies that: what the engine
/// does, with directories in the place of disks.
class TextModuleTest : public testing::Test {
  protected:
    TextModuleTest() {
        filesystem_.type = dev::Filesystem::ext3;
        filesystem_.uuid = kRootUuid;
        filesystem_.label = "/";
        disk_.volumes.front().uuid = kRootUuid;
        disk_.volumes.front().label = "/";
    }

    core::Result<std::vector<Step>> plan_of(const Module& module, const image::ImageFacts& facts,
                                            const image::SafeRoot& root) {
        return module.plan(PlanContext{.options = options_,
                                       .facts = facts,
                                       .filesystem = filesystem_,
                                       .source_root = root,
                                       .used = used_,
                                       .target_bytes = std::nullopt,
                                       .commands = commands_,
                                       .source_path = {}});
    }

    /// Looks at the source and plans; the target becomes a copy of the source.
    std::vector<Step> plan(const Module& module) {
        namespace fs = std::filesystem;
        fs::remove_all(target_.on_host("/"));
        fs::copy(source_.on_host("/"), target_.on_host("/"),
                 fs::copy_options::recursive | fs::copy_options::copy_symlinks);
        const auto root = source_.open();
        facts_ = image::inspect_image(root, disk_).value();
        auto steps = plan_of(module, facts_, root);
        EXPECT_TRUE(steps.has_value()) << (steps ? "" : steps.error().message());
        return steps ? *std::move(steps) : std::vector<Step>{};
    }

    core::Result<> apply(const std::vector<Step>& steps);
    core::Result<std::vector<std::string>> verify(const Module& module);

    /// All of it; the second plan, made from the result, must be empty.
    void convert(const Module& module) {
        const auto steps = plan(module);
        for (const auto& step : steps) {
            EXPECT_EQ(step.module, module.name);
            texts_.push_back(step.text);
        }
        const auto applied = apply(steps);
        ASSERT_TRUE(applied.has_value()) << applied.error().message();
        const auto proofs = verify(module);
        ASSERT_TRUE(proofs.has_value()) << proofs.error().message();
        proofs_ = *proofs;
        const auto root = target_.open();
        const auto facts = image::inspect_image(root, disk_).value();
        const auto again = plan_of(module, facts, root);
        ASSERT_TRUE(again.has_value());
        EXPECT_TRUE(again->empty()) << again->front().text;
    }

    image::TemporaryRoot source_;
    image::TemporaryRoot target_;
    image::BootDisk disk_;
    image::ImageFacts facts_;
    dev::FilesystemInfo filesystem_;
    dev::ExtentMap used_;
    job::ConversionOptions options_;
    core::ProcessRunner commands_;
    Manifest manifest_;
    std::vector<std::string> texts_;
    std::vector<std::string> proofs_;
};

/// A target that has a directory as its filesystem, and no disk that a text module could want.
class DirectoryTarget final : public ApplyContext {
  public:
    DirectoryTarget(const image::SafeRoot& root, dev::BlockDevice disk, Manifest& manifest)
        : root_(root), disk_(std::move(disk)), manifest_(manifest) {}
    const dev::BlockDevice& source() const override { return disk_; }
    const dev::BlockDevice& target() const override { return disk_; }
    dev::TargetContent target_content() const override { return dev::TargetContent::unknown; }
    core::Result<const image::SafeRoot*> target_root() override { return &root_; }
    Manifest& manifest() override { return manifest_; }
    core::CommandRunner& commands() override { return commands_; }
    const core::Cancel& cancel() const override { return cancel_; }
    void progress(const dev::CopyProgress& /*p*/) override {}

  private:
    const image::SafeRoot& root_;
    dev::BlockDevice disk_;
    Manifest& manifest_;
    core::ProcessRunner commands_;
    core::Cancel cancel_;
};

inline dev::BlockDevice stand_in_disk(const image::TemporaryRoot& directory) {
    directory.file("/disk", std::string(4096, '\0'));
    return dev::BlockDevice::open(directory.on_host("/disk").string(), dev::Access::read_write)
        .value();
}

inline core::Result<> TextModuleTest::apply(const std::vector<Step>& steps) {
    const image::TemporaryRoot disks;
    const auto root = target_.open();
    DirectoryTarget context(root, stand_in_disk(disks), manifest_);
    for (const auto& step : steps) AMILIFT_CHECK(step.apply(context));
    return {};
}

inline core::Result<std::vector<std::string>> TextModuleTest::verify(const Module& module) {
    const image::TemporaryRoot disks;
    const auto disk = stand_in_disk(disks);
    const auto root = target_.open();
    return module.verify(VerifyContext{.options = options_,
                                       .facts = facts_,
                                       .filesystem = filesystem_,
                                       .target = disk,
                                       .target_root = root,
                                       .manifest = manifest_,
                                       .commands = commands_});
}

/// Writing into an image sets owners, which takes root.
#define REQUIRE_ROOT_TO_WRITE() \
    if (::geteuid() != 0) GTEST_SKIP() << "files of an image can be written by root only"

}  // namespace amilift::modules
