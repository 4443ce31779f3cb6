// SPDX-License-Identifier: Apache-2.0
#include "worker/boot_check.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>

#include "tests/agent/worker/conversion_fixture.hpp"

namespace amilift::worker {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

/// A bare filesystem whose menu names its root in some way.
class RootOfTheEntry : public test::ConversionFixture {
  protected:
    enum class Initrd { kept, none };

    void make_source(const std::string& root, Initrd initrd = Initrd::kept) {
        if (fs::exists(work / "tree")) fs::remove_all(work / "tree");
        test::write_pv_tree(work / "tree");
        const auto menu = work / "tree/boot/grub/grub.conf";
        auto text = test::read_text(menu);
        const std::string old = "root=LABEL=/";
        text.replace(text.find(old), old.size(), "root=" + root);
        if (initrd == Initrd::none) text.resize(text.find("\tinitrd"));
        test::write_text(menu, text);
        test::write_text(work / "tree/lib/modules/2.6.32-754.el6.x86_64/modules.builtin",
                         "kernel/nvme.ko\nkernel/ena.ko\nkernel/xen-blkfront.ko\n"
                         "kernel/xen-netfront.ko\n");
        if (!config.empty()) {
            test::write_text(work / "tree/boot/config-2.6.32-754.el6.x86_64", config);
        }
        test::make_ext_image(source, work / "tree", 48, "ext3", {"-b", "4096", "-I", "128"});
    }
    std::string config;  ///< of the kernel; empty: it has none

    core::Result<ConversionResult> run(std::optional<job::Platform> platform = std::nullopt) {
        ConversionRequest request;
        request.source.path = source;
        request.target.path = output;
        request.options.platform = platform;
        notes.stages.clear();
        return convert(request, commands, notes, cancel);
    }
    core::Error refusal(std::optional<job::Platform> platform = std::nullopt) {
        const auto result = run(platform);
        EXPECT_FALSE(result);
        EXPECT_EQ(std::ranges::count(notes.stages, "apply"), 0) << "something was copied";
        EXPECT_FALSE(fs::exists(output));
        return result ? core::Error{} : result.error();
    }
    image::Verdict verdict(image::Platform platform) {
        const auto seen = inspect({source, {}}, commands, notes);
        EXPECT_TRUE(seen) << seen.error().message();
        return seen ? readiness_of(*seen).on(platform).verdict : image::Verdict::ready;
    }
};

TEST_F(RootOfTheEntry, ThatIsGoneBecomesTheRealOne) {
    for (const std::string root : {"LABEL=gone", "UUID=11111111-2222-3333-4444-555555555555",
                                   "PARTUUID=12345678-01", "\"LABEL=gone\""}) {
        make_source(root);
        EXPECT_EQ(verdict(image::Platform::pv), image::Verdict::repairable) << root;
        const auto result = run();
        ASSERT_TRUE(result) << root << ": " << result.error().message();
        const test::TestMount mounted(output, 1 << 20);
        EXPECT_THAT(test::read_text(mounted.path() + "/boot/grub/grub.conf"),
                    HasSubstr(" ro root=UUID=" + result->plan.inspection.filesystem.uuid +
                              " console=tty0"));
        fs::remove(output);
    }
}

TEST_F(RootOfTheEntry, ThatIsTheRightOneStays) {
    for (const std::string root : {"LABEL=/", "\"LABEL=/\"", "LABEL=\\x2f"}) {
        make_source(root);
        const auto result = run();
        ASSERT_TRUE(result) << root << ": " << result.error().message();
        const test::TestMount mounted(output, 1 << 20);
        EXPECT_THAT(test::read_text(mounted.path() + "/boot/grub/grub.conf"),
                    HasSubstr(" ro root=" + root + " console=tty0"));
        fs::remove(output);
    }
}

TEST_F(RootOfTheEntry, ThatNothingLooksUpIsRefusedBeforeTheCopy) {
    make_source("LABEL=/", Initrd::none);
    EXPECT_EQ(verdict(image::Platform::xen), image::Verdict::refused);
    for (const auto platform : {std::optional<job::Platform>(), std::optional(job::Platform::xen),
                                std::optional(job::Platform::nitro)}) {
        const auto error = refusal(platform);
        EXPECT_EQ(error.id, "label-without-initrd") << error.message();
        EXPECT_THAT(error.hint, testing::Not(HasSubstr("platform: xen")));
    }
}

TEST_F(RootOfTheEntry, ThatAnInitramfsInTheKernelLooksUpIsTaken) {
    config = "CONFIG_INITRAMFS_SOURCE=\"/usr/src/initramfs\"\n";
    make_source("LABEL=/", Initrd::none);
    const auto result = run();
    ASSERT_TRUE(result) << result.error().message();
    config = "CONFIG_INITRAMFS_SOURCE=\"\"\n";
    fs::remove(output);
    make_source("LABEL=/", Initrd::none);
    EXPECT_EQ(refusal().id, "label-without-initrd");
}

TEST_F(RootOfTheEntry, ThatXenAloneHasIsRefusedForNitroBeforeTheCopy) {
    make_source("/dev/xvda1", Initrd::none);
    const auto error = refusal();
    EXPECT_EQ(error.id, "root-device-name") << error.message();
    EXPECT_THAT(error.hint, HasSubstr("target: {platform: xen}"));
    const auto on_nitro = refusal(job::Platform::nitro);
    EXPECT_EQ(on_nitro.id, "root-device-name") << on_nitro.message();
    EXPECT_THAT(on_nitro.hint, testing::Not(HasSubstr("platform: xen")));
    const auto on_xen = run(job::Platform::xen);
    ASSERT_TRUE(on_xen) << on_xen.error().message();
    EXPECT_THAT(on_xen->proofs, testing::Contains("result: the default entry names its root as Xen "
                                                  "HVM (BIOS) needs it"));
}

/// Nitro needs /dev/nvme0n1p1 and Xen /dev/xvda1.
TEST_F(RootOfTheEntry, ThatNoPlatformHasIsRefusedForEach) {
    make_source("/dev/sda1", Initrd::none);
    EXPECT_EQ(verdict(image::Platform::xen), image::Verdict::refused);
    for (const auto platform : {std::optional<job::Platform>(), std::optional(job::Platform::xen),
                                std::optional(job::Platform::nitro)}) {
        const auto error = refusal(platform);
        EXPECT_EQ(error.id, "root-device-name") << error.message();
        EXPECT_THAT(error.hint, testing::Not(HasSubstr("platform: xen")));
    }
    EXPECT_THAT(refusal(job::Platform::xen).hint, HasSubstr("/dev/xvda1"));
}

}  // namespace
}  // namespace amilift::worker
