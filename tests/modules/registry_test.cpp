// SPDX-License-Identifier: Apache-2.0
#include "modules/registry.hpp"

#include <gtest/gtest.h>

#include <set>

namespace amilift::modules {
namespace {

TEST(Registry, OrderMakesTheDiskBootableLast) {
    std::vector<std::string_view> names;
    for (const auto& module : registry()) names.push_back(module.name);
    const std::vector<std::string_view> wanted{"partition", "copy",      "menu",    "arguments",
                                               "fstab",     "network",   "console", "leftovers",
                                               "initramfs", "bootloader"};
    EXPECT_EQ(names, wanted);
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
