// SPDX-License-Identifier: Apache-2.0
#include "image/hard_links.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "temporary_root.hpp"

namespace amilift::image {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

TEST(HardLinks, AreFoundBelowTheSameTopDirectory) {
    const TemporaryRoot image;
    image.file("/etc/sysconfig/network-scripts/ifcfg-eth0", "ONBOOT=yes\n");
    image.directory("/etc/sysconfig/networking/devices");
    image.directory("/home");
    const auto first = image.on_host("/etc/sysconfig/network-scripts/ifcfg-eth0");
    for (const char* other : {"/etc/sysconfig/networking/devices/ifcfg-eth0", "/etc/other"}) {
        std::filesystem::create_hard_link(first, image.on_host(other));
    }
    image.link("/etc/soft", "other");
    const auto root = image.open();
    EXPECT_THAT(other_names(root, "/etc/other").value(),
                ElementsAre("/etc/sysconfig/network-scripts/ifcfg-eth0",
                            "/etc/sysconfig/networking/devices/ifcfg-eth0"));
    image.file("/etc/alone", "x");
    EXPECT_THAT(other_names(root, "/etc/alone").value(), IsEmpty());
    EXPECT_THAT(other_names(root, "/etc/missing").value(), IsEmpty());
    std::filesystem::create_hard_link(image.on_host("/etc/alone"), image.on_host("/home/far"));
    EXPECT_THAT(other_names(root, "/etc/alone").value(), IsEmpty());
}

TEST(HardLinks, StayOneFileWhenItIsWritten) {
    if (::geteuid() != 0) GTEST_SKIP() << "files of an image can be written by root only";
    const TemporaryRoot image;
    image.file("/etc/one", "a longer text than the new one\n");
    std::filesystem::create_hard_link(image.on_host("/etc/one"), image.on_host("/etc/two"));
    const auto root = image.open();
    const auto before = root.status("/etc/one").value();
    const auto done = root.write("/etc/one", "short\n");
    ASSERT_TRUE(done.has_value()) << done.error().message();
    EXPECT_EQ(image.text_of("/etc/one"), "short\n");
    EXPECT_EQ(image.text_of("/etc/two"), "short\n");
    const auto after = root.status("/etc/two").value();
    EXPECT_TRUE(after.is_same_file(before));
    EXPECT_EQ(after.links, 2U);
    EXPECT_THAT(root.list("/etc").value(), ElementsAre("one", "two"));
}

}  // namespace
}  // namespace amilift::image
