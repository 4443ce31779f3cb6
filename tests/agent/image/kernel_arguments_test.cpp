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

}  // namespace
}  // namespace amilift::image
