// SPDX-License-Identifier: Apache-2.0
#include "flow/aki.hpp"

#include <gtest/gtest.h>

#include "fakes/fake_ec2.hpp"

namespace amilift::flow {
namespace {

using fakes::FakeEc2;

void add_kernel(FakeEc2& ec2, const std::string& id, const std::string& name,
                const std::string& owner = "amazon") {
    aws::Image image;
    image.id = id;
    image.name = name;
    image.state = "available";
    image.owner_id = owner;
    ec2.images[id] = image;
}

/// A Region with two versions of everything, and look-alikes.
void add_kernels(FakeEc2& ec2) {
    add_kernel(ec2, "aki-00000001", "pv-grub-hd0_1.05-x86_64.gz");
    add_kernel(ec2, "aki-00000002", "pv-grub-hd0_1.05-i386.gz");
    add_kernel(ec2, "aki-00000003", "pv-grub-hd00_1.12-x86_64.gz");
    add_kernel(ec2, "aki-00000004", "pv-grub-hd0_1.9-x86_64.gz");
    add_kernel(ec2, "aki-00000005", "pv-grub-hd0_1.10-x86_64.gz");
    add_kernel(ec2, "aki-00000006", "pv-grub-hd0_1.99-x86_64.gz", "123456789012");
    add_kernel(ec2, "aki-00000007", "pv-grub-hd0_9.9-x86_64-broken");
    add_kernel(ec2, "ami-00000008", "pv-grub-hd0_9.9-x86_64.gz");
    add_kernel(ec2, "aki-00000009", "vmlinuz-2.6.21.7");
}

std::string refusal(const core::Result<Aki>& aki) {
    if (aki) return "none: " + aki->id;
    EXPECT_TRUE(aki.error().is(core::Errc::refused)) << aki.error().message();
    EXPECT_FALSE(aki.error().hint.empty());
    return aki.error().id;
}

TEST(Aki, ReadsTheNamesOfPvGrub) {
    EXPECT_EQ(parse_pv_grub_name("pv-grub-hd0_1.05-x86_64.gz"), (PvGrubName{true, 1, 5, "x86_64"}));
    EXPECT_EQ(parse_pv_grub_name("pv-grub-hd00_1.10-i386.gz"), (PvGrubName{false, 1, 10, "i386"}));
    EXPECT_EQ(parse_pv_grub_name("pv-grub-hd0_1.05-x86_64"), (PvGrubName{true, 1, 5, "x86_64"}));
    for (const auto* name :
         {"", "pv-grub", "pv-grub-hd0", "pv-grub-hd000_1.05-i386.gz", "pv-grub-hd1_1.05-i386.gz",
          "pv-grub-hd0_1-i386.gz", "pv-grub-hd0_1.x-i386.gz", "pv-grub-hd0_1.05-arm64.gz",
          "pv-grub-hd0_1.05-i386.gz.gz", "pv-grub-hd0_99999999999.05-i386.gz",
          "pv-grub-hd0_1.-5-i386.gz"}) {
        EXPECT_EQ(parse_pv_grub_name(name), std::nullopt) << name;
    }
}

TEST(Aki, TakesTheNewestOfAmazonByNumber) {
    FakeEc2 ec2;
    add_kernels(ec2);
    EXPECT_EQ(choose_aki(ec2, "auto", "x86_64", "eu-west-1").value().id, "aki-00000005");
    EXPECT_EQ(choose_aki(ec2, "auto", "i386", "eu-west-1").value().id, "aki-00000002");
    ec2.images.at("aki-00000005").state = "deregistered";
    EXPECT_EQ(choose_aki(ec2, "auto", "x86_64", "eu-west-1").value().id, "aki-00000004");
}

TEST(Aki, TakesTheSameOfTwoOfOneVersion) {
    for (const bool reversed : {false, true}) {
        FakeEc2 ec2;
        add_kernel(ec2, reversed ? "aki-0000000b" : "aki-0000000a", "pv-grub-hd0_1.05-x86_64.gz");
        add_kernel(ec2, reversed ? "aki-0000000a" : "aki-0000000b", "pv-grub-hd0_1.05-x86_64.gz");
        EXPECT_EQ(choose_aki(ec2, "auto", "x86_64", "r").value().id, "aki-0000000a");
    }
}

TEST(Aki, SaysWhenTheRegionHasNone) {
    FakeEc2 ec2;
    add_kernel(ec2, "aki-00000001", "pv-grub-hd00_1.05-x86_64.gz");
    const auto none = choose_aki(ec2, "auto", "x86_64", "ap-northeast-3");
    EXPECT_EQ(refusal(none), "no-aki");
    EXPECT_NE(none.error().what.find("'ap-northeast-3'"), std::string::npos);
}

TEST(Aki, TakesTheOneThatTheJobNamesIfItFits) {
    FakeEc2 ec2;
    add_kernels(ec2);
    EXPECT_EQ(choose_aki(ec2, "aki-00000001", "x86_64", "r").value().name,
              "pv-grub-hd0_1.05-x86_64.gz");
    EXPECT_EQ(refusal(choose_aki(ec2, "aki-00000002", "x86_64", "r")), "aki-does-not-fit");
    EXPECT_EQ(refusal(choose_aki(ec2, "aki-00000003", "x86_64", "r")), "aki-does-not-fit");
    EXPECT_EQ(refusal(choose_aki(ec2, "aki-00000006", "x86_64", "r")), "aki-does-not-fit");
    EXPECT_EQ(refusal(choose_aki(ec2, "aki-00000009", "x86_64", "r")), "aki-does-not-fit");
    EXPECT_TRUE(choose_aki(ec2, "aki-0000000f", "x86_64", "r").error().is(core::Errc::not_found));
}

}  // namespace
}  // namespace amilift::flow
