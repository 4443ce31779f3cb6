// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "app/inspection.hpp"

namespace amilift::app {
namespace {

using testing::HasSubstr;
using testing::Not;

constexpr std::string_view kHostile = "<script src=x>&\"'\x1b[2J\xc2\x9b\xff";

/// An inspection with hostile text wherever the image's text goes.
InspectionReport hostile_report() {
    const std::string text(kHostile);
    worker::Inspection seen;
    seen.disk.layout = dev::DiskLayout::bare_filesystem;
    seen.filesystem.type = dev::Filesystem::ext3;
    seen.filesystem.label = text;
    seen.filesystem.uuid = text;
    auto& facts = seen.facts;
    facts.os_pretty_name = text;
    facts.menu_kind = image::BootMenuKind::grub_legacy;
    facts.menu_path = text;
    facts.boot_entries.push_back({text, text, text, {text, text}, "root=" + text});
    facts.boot_entry = 0;
    facts.kernel_of_entry = {0};
    image::Kernel kernel;
    kernel.path = text;
    kernel.version = text;
    kernel.cannot_boot_hvm = text;
    kernel.initrd = text;
    kernel.initramfs.segments = {text};
    kernel.nvme = {text, false, text, text};
    kernel.nvme_timeout = image::NvmeTimeout{text, 255};
    facts.kernels.push_back(kernel);
    facts.findings.push_back({image::Severity::refusal, text, text, text, text, text});
    return report_on(text, image::Platform::nitro, std::move(seen));
}

TEST(InspectionPage, TakesNoMarkupFromTheImage) {
    const auto page = inspection_page(hostile_report());
    EXPECT_THAT(page, HasSubstr("&lt;script src=x&gt;&amp;&quot;&#39;\\x1b[2J\\xc2\\x9b\\xff"));
    EXPECT_THAT(page, Not(HasSubstr("<script")));
    EXPECT_THAT(page, Not(HasSubstr("\x1b")));
    EXPECT_THAT(page, Not(HasSubstr("\xc2\x9b")));
    EXPECT_THAT(page, Not(HasSubstr("\xff")));
}

TEST(InspectionPage, NeedsNothingElse) {
    const auto page = inspection_page(hostile_report());
    EXPECT_THAT(page, HasSubstr("default-src 'none'"));
    for (const auto* reference :
         {"http:", "https:", "url(", "@import", "<link", "<img", "<iframe"}) {
        EXPECT_THAT(page, Not(HasSubstr(reference)));
    }
    EXPECT_THAT(page, HasSubstr("prefers-color-scheme: dark"));
    EXPECT_THAT(page, HasSubstr("@media print"));
}

TEST(InspectionPage, TellsEveryPlatform) {
    const auto page = inspection_page(hostile_report());
    for (const auto platform : image::kPlatforms) {
        EXPECT_THAT(page, HasSubstr(std::string(image::title_of(platform))));
    }
    EXPECT_THAT(page, HasSubstr("<strong class=\"refused\">refused</strong>"));
    EXPECT_THAT(page, HasSubstr("xen-only-kernel"));
}

TEST(InspectionPage, IsThereForAnImageWithoutAnything) {
    const auto page = inspection_page(report_on("x", image::Platform::nitro, {}));
    EXPECT_THAT(page, HasSubstr("<p>None.</p>"));
    EXPECT_THAT(page, HasSubstr("</html>"));
}

TEST(Inspection, DescribesDrivers) {
    EXPECT_EQ(describe_driver({}), "none");
    EXPECT_EQ(describe_driver({"built in", false, "", ""}), "built in");
    EXPECT_EQ(describe_driver({"/lib/ena.ko", true, "/etc/x:1", "2.1"}),
              "module /lib/ena.ko, in the initramfs, version 2.1, blocked by /etc/x:1");
    EXPECT_EQ(describe_driver({"/lib/ena.ko", false, "", ""}),
              "module /lib/ena.ko, not in the initramfs");
}

TEST(Inspection, DescribesAnInitramfs) {
    image::Initramfs initramfs;
    EXPECT_EQ(describe_initramfs(initramfs), "not looked into");
    initramfs.builder = image::InitramfsBuilder::dracut;
    initramfs.segments = {"cpio", "zstd cpio"};
    EXPECT_EQ(describe_initramfs(initramfs), "made by dracut; cpio, zstd cpio");
    initramfs.problem = "cut off\n";
    EXPECT_EQ(describe_initramfs(initramfs), "not readable: cut off\\x0a");
}

}  // namespace
}  // namespace amilift::app
