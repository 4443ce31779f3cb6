// SPDX-License-Identifier: Apache-2.0
#include "app/ami_inspection.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "app/inspection.hpp"

namespace amilift::app {
namespace {

using image::Platform;
using image::Verdict;
using testing::ElementsAre;

/// An HVM AMI that starts on Nitro, by BIOS and by UEFI, as it is.
class AmiVerdict : public ::testing::Test {
  protected:
    AmiVerdict() {
        ami.id = "ami-0123456789abcdef0";
        ami.virtualization_type = "hvm";
        ami.architecture = "x86_64";
        ami.boot_mode = "uefi-preferred";
        ami.ena_support = true;
        root.disk.layout = dev::DiskLayout::gpt;
        auto& facts = root.facts;
        facts.disk.volumes = {
            {.partition = 1, .mount_point = "/", .uuid = "11-22", .label = "root"}};
        facts.disk.has_system_partition = true;
        facts.efi_start.emplace();
        facts.menu_kind = image::BootMenuKind::grub2;
        facts.boot_entries.push_back({.title = "one",
                                      .where = "/boot/grub/grub.cfg:1",
                                      .kernel = "/boot/vmlinuz",
                                      .initrds = {"/boot/initrd"},
                                      .arguments = "root=LABEL=root"});
        image::Kernel kernel;
        kernel.format = image::KernelFormat::bz_image;
        kernel.compression = "gzip";
        kernel.starts_on_xen_pv = true;
        kernel.starts_on_efi = true;
        kernel.initrd = kernel.initramfs.path = "/boot/initrd";
        for (auto* driver :
             {&kernel.nvme, &kernel.ena, &kernel.xen_blkfront, &kernel.xen_netfront}) {
            driver->place = "built in";
        }
        facts.kernels.push_back(kernel);
        facts.kernel_of_entry.emplace_back(0);
        facts.boot_entry = 0;
    }
    void use_grub_legacy() {
        root.facts.menu_kind = image::BootMenuKind::grub_legacy;
        root.facts.menu = image::parse_menu("title one\nkernel /boot/vmlinuz root=LABEL=root\n");
    }
    [[nodiscard]] Verdict verdict(Platform platform) const {
        return report_on(Platform::nitro, {ami, root}).readiness.on(platform).verdict;
    }
    /// The worst one; empty if there is none.
    [[nodiscard]] std::string first_reason(Platform platform) const {
        const auto report = report_on(Platform::nitro, {ami, root});
        const auto& reasons = report.readiness.on(platform).reasons;
        return reasons.empty() ? "" : reasons.front().id;
    }
    /// On Xen, Nitro by BIOS and Nitro by UEFI.
    [[nodiscard]] std::vector<Verdict> verdicts() const {
        const auto report = report_on(Platform::nitro, {ami, root});
        std::vector<Verdict> out;
        for (const auto platform : {Platform::xen, Platform::nitro, Platform::nitro_uefi}) {
            out.push_back(report.readiness.on(platform).verdict);
        }
        return out;
    }

    aws::Image ami;
    worker::Inspection root;
};

TEST_F(AmiVerdict, IsThatOfItsRootWhereNothingSpeaksAgainstIt) {
    EXPECT_THAT(verdicts(), ElementsAre(Verdict::ready, Verdict::ready, Verdict::ready));
}

/// EC2 starts an AMI without a boot mode by BIOS, and one with "uefi" by nothing else.
TEST_F(AmiVerdict, FollowsTheBootMode) {
    for (const char* mode : {"", "legacy-bios"}) {
        ami.boot_mode = mode;
        EXPECT_THAT(verdicts(), ElementsAre(Verdict::ready, Verdict::ready, Verdict::refused))
            << mode;
        EXPECT_EQ(first_reason(Platform::nitro_uefi), "boot-mode");
    }
    ami.boot_mode = "uefi";
    EXPECT_THAT(verdicts(), ElementsAre(Verdict::refused, Verdict::refused, Verdict::ready));
    EXPECT_EQ(first_reason(Platform::xen), "boot-mode");
    EXPECT_EQ(first_reason(Platform::nitro), "boot-mode");
}

/// What was registered for one kind of guest is started as no other.
TEST_F(AmiVerdict, FollowsTheVirtualizationType) {
    use_grub_legacy();
    EXPECT_EQ(verdict(Platform::pv), Verdict::repairable);
    EXPECT_EQ(first_reason(Platform::pv), "ami-is-hvm");
    ami.virtualization_type = "paravirtual";
    ami.boot_mode = "";
    EXPECT_EQ(verdict(Platform::pv), Verdict::ready);
    EXPECT_THAT(verdicts(),
                ElementsAre(Verdict::repairable, Verdict::repairable, Verdict::repairable));
    for (const auto platform : {Platform::xen, Platform::nitro, Platform::nitro_uefi}) {
        EXPECT_EQ(first_reason(platform), "ami-is-paravirtual");
    }
}

TEST_F(AmiVerdict, FollowsTheArchitecture) {
    ami.architecture = "i386";
    EXPECT_THAT(verdicts(), ElementsAre(Verdict::ready, Verdict::refused, Verdict::refused));
    EXPECT_EQ(first_reason(Platform::nitro), "not-64-bit");
    ami.virtualization_type = "paravirtual";
    use_grub_legacy();
    EXPECT_EQ(first_reason(Platform::pv), "aki-does-not-fit");
    ami.architecture = "x86_64";
    EXPECT_EQ(verdict(Platform::pv), Verdict::ready);
    root.facts.kernels.front().is_64_bit = false;
    EXPECT_EQ(first_reason(Platform::pv), "aki-does-not-fit");
    ami.architecture = "i386";
    EXPECT_EQ(verdict(Platform::pv), Verdict::ready);
}

TEST_F(AmiVerdict, IsNotReadyForNitroWithoutEnaSupport) {
    ami.ena_support = false;
    EXPECT_THAT(verdicts(), ElementsAre(Verdict::ready, Verdict::repairable, Verdict::repairable));
    const auto report = report_on(Platform::nitro, {ami, root});
    EXPECT_EQ(report.readiness.on(Platform::nitro).reasons.front().id, "ena-not-set");
    EXPECT_EQ(report.seen.facts.findings.back().id, "ena-not-set");
}

TEST_F(AmiVerdict, IsRefusedForNitroWhereEnaSupportIsAnEmptyPromise) {
    root.facts.kernels.front().ena.blocked_by = "/etc/modprobe.d/x.conf:1";
    EXPECT_THAT(verdicts(), ElementsAre(Verdict::ready, Verdict::refused, Verdict::refused));
}

TEST_F(AmiVerdict, IsRefusedWhereUefiHasNothingToStart) {
    root.facts.disk.has_system_partition = false;
    ami.boot_mode = "";
    EXPECT_THAT(verdicts(), ElementsAre(Verdict::ready, Verdict::ready, Verdict::refused));
    ami.boot_mode = "uefi-preferred";
    EXPECT_THAT(verdicts(), ElementsAre(Verdict::ready, Verdict::repairable, Verdict::refused));
    ami.boot_mode = "uefi";
    EXPECT_THAT(verdicts(), ElementsAre(Verdict::refused, Verdict::refused, Verdict::refused));
}

TEST_F(AmiVerdict, IsRefusedWhereUefiDoesNotComeToTheMenu) {
    root.facts.efi_start = image::EfiStart{"efi-loader-missing", "the file", "is missing", ""};
    ami.boot_mode = "";
    EXPECT_THAT(verdicts(), ElementsAre(Verdict::ready, Verdict::ready, Verdict::refused));
    ami.boot_mode = "uefi-preferred";
    EXPECT_THAT(verdicts(), ElementsAre(Verdict::ready, Verdict::repairable, Verdict::refused));
    const auto report = report_on(Platform::nitro, {ami, root});
    EXPECT_EQ(report.readiness.on(Platform::nitro).reasons.front().id, "uefi-start-unproven");
    EXPECT_EQ(report.readiness.on(Platform::nitro).reasons.front().seen,
              "the AMI has the boot mode uefi-preferred, and the file: is missing");
    ami.boot_mode = "uefi";
    EXPECT_THAT(verdicts(), ElementsAre(Verdict::refused, Verdict::refused, Verdict::refused));
}

}  // namespace
}  // namespace amilift::app
