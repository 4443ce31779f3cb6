// SPDX-License-Identifier: Apache-2.0
#include "modules/registry.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

namespace amilift::modules {
namespace {

TEST(Registry, OrderMakesTheDiskBootableLast) {
    std::vector<std::string_view> names;
    for (const auto& module : registry()) names.push_back(module.name);
    const std::vector<std::string_view> wanted{
        "partition",  "copy",      "disk-copy", "grow",       "disk-grow", "menu",
        "arguments",  "fstab",     "network",   "console",    "leftovers", "initramfs",
        "bootloader", "bare-copy", "pv-fstab",  "pv-console", "pv-grub"};
    EXPECT_EQ(names, wanted);
}

TEST(Registry, ADiskWithPartitionsKeepsItsOwnLoader) {
    image::ImageFacts facts;
    const auto names = [&facts] {
        std::vector<std::string_view> out;
        for (const auto* module : modules_for(facts, {})) out.push_back(module->name);
        return out;
    };
    const auto has = [&](std::string_view name) {
        const auto all = names();
        return std::find(all.begin(), all.end(), name) != all.end();
    };
    facts.menu_kind = image::BootMenuKind::grub_legacy;
    EXPECT_TRUE(has("partition") && has("copy") && has("bootloader") && has("menu"));
    EXPECT_FALSE(has("disk-copy") || has("disk-grow"));
    facts.disk.volumes = {{.partition = 1, .mount_point = "/", .uuid = {}, .label = {}}};
    EXPECT_TRUE(has("disk-copy") && has("disk-grow") && has("fstab") && has("console") &&
                has("menu"));
    EXPECT_FALSE(has("partition") || has("copy") || has("grow") || has("bootloader"));
    facts.menu_kind = image::BootMenuKind::grub2;
    EXPECT_FALSE(has("menu"));
}

TEST(Registry, AParavirtualTargetHasNoTableAndNoLoader) {
    image::ImageFacts facts;
    job::ConversionOptions options;
    options.virtualization = job::Virtualization::paravirtual;
    std::vector<std::string_view> names;
    for (const auto* module : modules_for(facts, options)) names.push_back(module->name);
    EXPECT_EQ(names,
              (std::vector<std::string_view>{"bare-copy", "pv-fstab", "network", "pv-console",
                                             "leftovers", "initramfs", "pv-grub"}));
}

TEST(Registry, EveryModuleCanPlanAndVerify) {
    std::set<std::string_view> names;
    for (const auto& module : registry()) {
        EXPECT_TRUE(names.insert(module.name).second) << module.name << " is listed twice";
        EXPECT_NE(module.plan, nullptr) << module.name;
        EXPECT_NE(module.verify, nullptr) << module.name;
    }
}

}  // namespace
}  // namespace amilift::modules
