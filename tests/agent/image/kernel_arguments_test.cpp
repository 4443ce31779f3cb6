// SPDX-License-Identifier: Apache-2.0
#include "image/kernel_arguments.hpp"

#include <gtest/gtest.h>

namespace amilift::image {
namespace {

TEST(KernelArguments, HoldsQuotedBlanksTogether) {
    const auto all = kernel_arguments("ro  init=\"/sbin/init -x\" \"root=LABEL=my root\" quiet");
    ASSERT_EQ(all.size(), 4U);
    EXPECT_EQ(all[1].key, "init");
    EXPECT_EQ(all[1].value, "/sbin/init -x");
    EXPECT_EQ(all[1].at, 4U);
    EXPECT_EQ(all[2].key, "root");
    EXPECT_EQ(all[2].value, "LABEL=my root");
    EXPECT_EQ(all[3].key, "quiet");
    EXPECT_EQ(all[3].value, "");
}

TEST(KernelArguments, EndsAtAnOpenQuote) {
    const auto all = kernel_arguments("a \"b c");
    ASSERT_EQ(all.size(), 2U);
    EXPECT_EQ(all[1].text, "\"b c");
}

TEST(KernelArguments, KnowsPvConsoles) {
    EXPECT_TRUE(is_pv_console("hvc0"));
    EXPECT_TRUE(is_pv_console("xvc0,9600"));
    EXPECT_FALSE(is_pv_console("hvc"));
    EXPECT_FALSE(is_pv_console("hvcs0"));
    EXPECT_FALSE(is_pv_console("ttyS0"));
    EXPECT_FALSE(is_pv_console(""));
}

TEST(KernelArguments, GivesTheLastValue) {
    EXPECT_EQ(last_value("root=a root=b ro", "root"), "b");
    EXPECT_EQ(last_value("ro", "root"), std::nullopt);
    EXPECT_EQ(last_value("root", "root"), "");
}

TEST(KernelArguments, ReplacesOnlyTheListedRoots) {
    EXPECT_EQ(replace_root_argument("a root=/dev/sda1 b", {"/dev/sda1"}, "UUID=x"),
              "a root=UUID=x b");
    EXPECT_EQ(replace_root_argument("a root=/dev/sda2 b", {"/dev/sda1"}, "UUID=x"),
              "a root=/dev/sda2 b");
}

const std::vector<WantedArgument> kByte{{"nvme.io_timeout", "255", 255U}};

TEST(KernelArguments, AddsWhatIsMissing) {
    EXPECT_EQ(set_arguments("ro quiet ", kByte), "ro quiet nvme.io_timeout=255 ");
    EXPECT_EQ(set_arguments("", kByte), "nvme.io_timeout=255");
    EXPECT_EQ(set_arguments("ro", kByte, WhenNoArgument::keep), "ro");
    EXPECT_EQ(set_arguments("ro \"x", kByte), "ro \"x");
}

TEST(KernelArguments, AddsBeforeTheArgumentsOfInit) {
    EXPECT_EQ(set_arguments("ro -- single", kByte), "ro nvme.io_timeout=255 -- single");
    EXPECT_EQ(set_arguments("-- single", kByte), "nvme.io_timeout=255 -- single");
    EXPECT_EQ(replace_pv_consoles("ro -- x", {"tty0"}, WhenNoConsole::add), "ro console=tty0 -- x");
}

TEST(KernelArguments, KeepsWhatTheAuthorSetAndMendsWhatTheKernelRefuses) {
    EXPECT_EQ(set_arguments("nvme.io_timeout=60 ro", kByte), "nvme.io_timeout=60 ro");
    EXPECT_EQ(set_arguments("nvme.io-timeout=0x3c", kByte), "nvme.io-timeout=0x3c");
    EXPECT_EQ(set_arguments("nvme.io_timeout=4294967295 ro", kByte), "nvme.io_timeout=255 ro");
    EXPECT_EQ(set_arguments("nvme.io_timeout=256 nvme.io_timeout=no", kByte, WhenNoArgument::keep),
              "nvme.io_timeout=255 nvme.io_timeout=255");
    EXPECT_EQ(set_arguments("net.ifnames=1", std::vector<WantedArgument>{{"net.ifnames", "0"}}),
              "net.ifnames=1");
}

TEST(KernelArguments, RemovesResumeDevicesThatWillNotBeThere) {
    EXPECT_EQ(remove_device_resume("ro resume=/dev/sda2 quiet"), "ro quiet");
    EXPECT_EQ(remove_device_resume("resume=/dev/disk/by-id/x-part2 ro"), "ro");
    EXPECT_EQ(remove_device_resume("ro resume=PARTUUID=1-02"), "ro");
    EXPECT_EQ(remove_device_resume("resume=UUID=abcd noresume resume=/swapfile"),
              "resume=UUID=abcd noresume resume=/swapfile");
    EXPECT_EQ(remove_device_resume("resume=/dev/sda2\"x y"), "resume=/dev/sda2\"x y");
}

TEST(KernelArguments, FindsTheArgumentsOfAKernelByPathAndByName) {
    ArgumentEdit edit;
    edit.kernels = {{"/boot/a/vmlinuz", kByte}, {"/boot/vmlinuz", {}}};
    EXPECT_TRUE(edit.arguments_of("/boot/vmlinuz").empty());
    EXPECT_EQ(edit.arguments_of("/@/boot/vmlinuz").size(), 1U);
    EXPECT_TRUE(edit.arguments_of("/boot/vmlinuz-1").empty());
}

}  // namespace
}  // namespace amilift::image
