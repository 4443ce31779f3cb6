// SPDX-License-Identifier: Apache-2.0
#include "image/menu.hpp"

#include <gtest/gtest.h>

#include <string>

#include "menu_samples.hpp"

namespace amilift::image {
namespace {

std::string_view sample(std::string_view name) {
    for (const auto& known : kMenuSamples) {
        if (known.name == name) return known.text;
    }
    ADD_FAILURE() << "no sample " << name;
    return {};
}

TEST(Menu, ReadsAPlainEntry) {
    const auto menu = parse_menu(sample("PlainAmazon"));
    ASSERT_EQ(menu.entries.size(), 1U);
    const auto& entry = menu.entries[0];
    EXPECT_EQ(entry.title, "Amazon Linux 2014.03 (3.10.34-37.137.amzn1.x86_64)");
    EXPECT_EQ(entry.line, 6);
    EXPECT_EQ(entry.root, "(hd0)");
    EXPECT_EQ(entry.kernel, "/boot/vmlinuz-3.10.34-37.137.amzn1.x86_64");
    EXPECT_EQ(entry.kernel_device, "");
    EXPECT_EQ(entry.arguments, "root=LABEL=/ console=hvc0");
    EXPECT_EQ(entry.kernel_line, 8);
    EXPECT_EQ(entry.initrd, "/boot/initramfs-3.10.34-37.137.amzn1.x86_64.img");
    EXPECT_EQ(entry.initrd_line, 9);
    EXPECT_FALSE(entry.is_multiboot);
    EXPECT_EQ(menu.default_entry, 0U);
    EXPECT_EQ(menu.timeout_seconds, 0);
    EXPECT_FALSE(menu.has_password);
}

TEST(Menu, SplitsDevicesFromPaths) {
    const auto menu = parse_menu(sample("KernelOptions"));
    ASSERT_EQ(menu.entries.size(), 1U);
    EXPECT_EQ(menu.entries[0].kernel_device, "(hd0)");
    EXPECT_EQ(menu.entries[0].kernel, "/boot/v");
    EXPECT_EQ(menu.entries[0].arguments, "root=/dev/xvda1 console=xvc0");
    EXPECT_EQ(parse_menu("title a\ninitrd (hd0,1)/i\n").entries.at(0).initrd_device, "(hd0,1)");
}

TEST(Menu, KnowsAHypervisorEntry) {
    EXPECT_TRUE(parse_menu(sample("Hypervisor")).entries.at(0).is_multiboot);
}

TEST(Menu, ReadsCarriageReturnsTabsAndEqualSigns) {
    const auto menu = parse_menu("default=1\r\ntitle=a\r\ntitle\tb \r\nkernel=/boot/v\tx\ty\r\n");
    ASSERT_EQ(menu.entries.size(), 2U);
    EXPECT_EQ(menu.entries[1].title, "b");
    EXPECT_EQ(menu.entries[1].kernel, "/boot/v");
    EXPECT_EQ(menu.entries[1].arguments, "x\ty");
    EXPECT_EQ(default_entry(menu), 1U);
}

TEST(Menu, DoesNotUnderstandAFirstLineWithAByteOrderMark) {
    const auto menu = parse_menu(
        "\xef\xbb\xbf"
        "default=1\ntitle a\ntitle b\n");
    EXPECT_EQ(menu.default_entry, std::nullopt);
    EXPECT_EQ(default_entry(menu), 0U);
}

TEST(Menu, JoinsContinuedLines) {
    const auto menu = parse_menu(sample("ContinuedNoFinalNewline"));
    ASSERT_EQ(menu.entries.size(), 1U);
    EXPECT_EQ(menu.entries[0].line, 3);
    EXPECT_EQ(menu.entries[0].arguments, "root=/dev/sda1    console=hvc0");
    EXPECT_EQ(menu.entries[0].initrd, "/boot/i");
    EXPECT_EQ(menu.entries[0].initrd_line, 7);
}

TEST(Menu, ReadsNumbersAsGrub2Does) {
    const auto entry_of = [](std::string_view line) {
        std::string text(line);
        for (int i = 0; i < 20; ++i) text += "\ntitle t" + std::to_string(i);
        return default_entry(parse_menu(text));
    };
    EXPECT_EQ(entry_of("default 3"), 3U);
    EXPECT_EQ(entry_of("default=0x10"), 16U);
    EXPECT_EQ(entry_of("default 010"), 8U);
    EXPECT_EQ(entry_of("default 2 # the second"), 2U);
    EXPECT_EQ(entry_of("default t7"), 7U);
    EXPECT_EQ(entry_of("default nothing"), 0U);
    EXPECT_EQ(entry_of("default -1"), 0U);
    EXPECT_EQ(entry_of("default 99"), 0U);
    EXPECT_EQ(entry_of("default 99999999999999999999999"), 0U);
    EXPECT_EQ(entry_of("default"), 0U);
    EXPECT_EQ(entry_of("default 1\ndefault 4"), 4U);
}

TEST(Menu, HasNoDefaultWithoutEntries) {
    EXPECT_EQ(default_entry(parse_menu("default 0\n")), std::nullopt);
    EXPECT_EQ(default_entry(parse_menu("")), std::nullopt);
}

TEST(Menu, ReadsSavedDefaultAndFallbacks) {
    const auto menu = parse_menu(sample("SavedAndFallback"));
    EXPECT_TRUE(menu.default_saved);
    EXPECT_EQ(menu.default_entry, std::nullopt);
    EXPECT_EQ(menu.fallback, (std::vector<std::size_t>{1, 2}));
    EXPECT_EQ(default_entry(menu), 0U);
}

TEST(Menu, TakesGlobalCommandsFromAboveTheFirstTitleOnly) {
    const auto menu = parse_menu("title a\ndefault 1\npassword x\ntimeout 3\ntitle b\n");
    EXPECT_EQ(menu.default_entry, std::nullopt);
    EXPECT_FALSE(menu.has_password);
    EXPECT_EQ(menu.timeout_seconds, std::nullopt);
}

TEST(Menu, ReadsANegativeTimeoutAsNone) {
    const auto menu = parse_menu(sample("PasswordAndTimeout"));
    EXPECT_EQ(menu.timeout_seconds, 0);
    EXPECT_TRUE(menu.has_password);
}

TEST(Menu, ParsesAMebibyteOfTitles) {
    std::string text;
    while (text.size() < (1U << 20)) text += "title\n";
    EXPECT_EQ(parse_menu(text).entries.size(), (text.size()) / 6);
    EXPECT_EQ(parse_menu(std::string(1U << 20, '\\')).entries.size(), 0U);
    EXPECT_EQ(parse_menu(std::string(1U << 20, '\0')).entries.size(), 0U);
}

}  // namespace
}  // namespace amilift::image
