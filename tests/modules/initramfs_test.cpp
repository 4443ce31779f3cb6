// SPDX-License-Identifier: Apache-2.0
#include "modules/initramfs.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "image/initramfs.hpp"
#include "image/initramfs_modules.hpp"
#include "modules/platform_check.hpp"
#include "tests/agent/image/image_builder.hpp"
#include "tests/agent/image/initramfs_samples.hpp"
#include "text_module_fixture.hpp"

namespace amilift::modules {
namespace {

using image::cpio_of;
using image::module_file;
using image::packed;
using image::Sample;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::StartsWith;

/// What every archive of initramfs-tools has, with the index that its modprobe reads.
Sample usual_sample(const std::string& version) {
    return {{"init", "#!/bin/sh\n"},
            {"conf/initramfs.conf", "MODULES=dep\n"},
            {"lib", "->usr/lib"},
            {"usr/lib/modules/" + version + "/kernel/ext4.ko", "ext4"},
            {"usr/lib/modules/" + version + "/kernel/jbd2.ko", "jbd2"},
            {"usr/lib/modules/" + version + "/modules.alias", "alias fs-ext4 ext4\n"},
            {"usr/lib/modules/" + version + "/modules.dep",
             "kernel/ext4.ko: kernel/jbd2.ko\nkernel/jbd2.ko:\n"}};
}

class InitramfsModule : public TextModuleTest {
  protected:
    InitramfsModule() {
        image::add_usual_files(source_);
        have_modules("2");
        put_initramfs("2", usual_sample("2"));
        put_initramfs("1", usual_sample("1"));
    }
    void have_modules(const std::string& version, const std::string& ending = ".ko") const {
        const auto top = "/lib/modules/" + version + "/";
        for (const std::string name : {"nvme", "nvme-core", "ena", "xen-blkfront"}) {
            const auto module = module_file({"name=" + name});
            source_.file(top + "kernel/" + name + ending,
                         ending == ".ko.xz" ? packed("xz", module) : module);
        }
        source_.file(top + "modules.dep", "kernel/nvme" + ending + ": kernel/nvme-core" + ending +
                                              "\nkernel/nvme-core" + ending + ":\nkernel/ena" +
                                              ending + ":\nkernel/xen-blkfront" + ending + ":\n");
        source_.file(top + "modules.alias",
                     "# Aliases\nalias pci:v0000144Dd0000A82[0-9]sv*-x nvme\nalias pci:v1D0F* ena\n"
                     "alias pci:absent absent\n");
    }
    void put_initramfs(const std::string& version, const Sample& sample,
                       std::string_view format = "gzip") const {
        source_.file("/boot/initrd-" + version, packed(format, cpio_of(sample)));
    }
    [[nodiscard]] std::string old_text(const std::string& version) const {
        return source_.text_of("/boot/initrd-" + version);
    }
    [[nodiscard]] image::InitramfsContents contents(const std::string& version) const {
        return image::read_initramfs(target_.text_of("/boot/initrd-" + version));
    }
    [[nodiscard]] std::vector<image::Finding> findings(
        const std::optional<job::Platform>& platform) const {
        return platform_findings(image::inspect_image(source_.open()).value(), platform);
    }
    static std::vector<std::string> ids(const std::vector<image::Finding>& findings) {
        std::vector<std::string> out;
        for (const auto& f : findings) {
            out.push_back(fmt::format("{} {}", image::to_string(f.severity), f.id));
        }
        return out;
    }
};

TEST_F(InitramfsModule, AppendsWhatIsMissing) {
    REQUIRE_ROOT_TO_WRITE();
    convert(initramfs_module());
    EXPECT_THAT(texts_, ElementsAre(AllOf(StartsWith("append "), HasSubstr(" to /boot/initrd-2: "),
                                          HasSubstr("2: nvme, ena, xen-blkfront"))));
    const auto after = target_.text_of("/boot/initrd-2");
    EXPECT_TRUE(after.starts_with(old_text("2")));
    const auto listed = contents("2");
    EXPECT_EQ(listed.problem, "");
    for (const auto* name : {"kernel/nvme.ko", "kernel/nvme-core.ko", "kernel/ena.ko",
                             "kernel/xen-blkfront.ko", "modules.dep", "modules.alias.bin"}) {
        EXPECT_TRUE(listed.members.contains("usr/lib/modules/2/" + std::string(name))) << name;
    }
    EXPECT_EQ(listed.members.at("lib"), image::CpioType::link);
    // Kernel 1 has no modules at all: its file stays as it was.
    EXPECT_EQ(target_.text_of("/boot/initrd-1"), old_text("1"));
    EXPECT_THAT(proofs_,
                ElementsAre(AllOf(StartsWith("/boot/initrd-2 serves 2: nvme, ena, xen-blkfront; "),
                                  HasSubstr(fmt::format("the first {} unchanged (sha256 ",
                                                        old_text("2").size())))));
}

/// An old kernel that nothing boots by itself does not keep an image from being converted.
TEST_F(InitramfsModule, LeavesOutAnotherKernelWhoseModulesCannotBeRead) {
    REQUIRE_ROOT_TO_WRITE();
    have_modules("1", ".ko.xz");
    source_.file("/lib/modules/1/kernel/nvme.ko.xz", "no xz");
    convert(initramfs_module());
    EXPECT_THAT(texts_, ElementsAre(HasSubstr(" to /boot/initrd-2: ")));
    EXPECT_EQ(target_.text_of("/boot/initrd-1"), old_text("1"));
    EXPECT_THAT(
        proofs_,
        testing::UnorderedElementsAre(
            StartsWith("/boot/initrd-2 serves 2: "),
            StartsWith("/boot/initrd-1: warning: no modules were added for kernel 1: module "
                       "'/lib/modules/1/kernel/nvme.ko.xz' of the image: ")));

    have_modules("2", ".ko.xz");
    source_.file("/lib/modules/2/kernel/nvme.ko.xz", "no xz");
    const auto root = source_.open();
    const auto steps = plan_of(initramfs_module(), image::inspect_image(root).value(), root);
    ASSERT_FALSE(steps.has_value());
    EXPECT_EQ(steps.error().code, core::Errc::corrupt);
}

TEST_F(InitramfsModule, AppendedFilesAreThoseOfTheImage) {
    REQUIRE_ROOT_TO_WRITE();
    convert(initramfs_module());
    const auto addition = target_.text_of("/boot/initrd-2").substr(old_text("2").size());
    const auto archive = image::output_of({"gzip", "-dc"}, addition.substr(addition.find('\x1f')));
    EXPECT_THAT(archive, HasSubstr(source_.text_of("/lib/modules/2/kernel/nvme-core.ko")));
    EXPECT_THAT("\n" + image::names_by_cpio(archive), Not(HasSubstr("\nlib\n")));
}

TEST_F(InitramfsModule, JudgesAParavirtualTargetByTheDriversOfXen) {
    auto facts = image::inspect_image(source_.open()).value();
    EXPECT_THAT(ids(paravirtual_findings(facts)), ElementsAre("refusal no-xen-netfront-driver"));
    auto& kernel = facts.kernels.at(facts.kernel_of_entry.at(facts.boot_entry.value()).value());
    kernel.xen_netfront.place = "built in";
    EXPECT_THAT(ids(paravirtual_findings(facts)), IsEmpty());
    kernel.initramfs.obstacle = "ends with something odd";
    EXPECT_THAT(ids(paravirtual_findings(facts)), ElementsAre("refusal initramfs-not-repairable"));
    kernel.xen_blkfront = {};
    EXPECT_THAT(ids(paravirtual_findings(facts)), ElementsAre("refusal no-xen-blkfront-driver"));
}

// initramfs-tools unpacks the modules that it takes, and makes an index of its own of them.
TEST_F(InitramfsModule, KeepsTheNamesThatTheInitramfsHasForItsModules) {
    REQUIRE_ROOT_TO_WRITE();
    have_modules("2", ".ko.xz");
    for (const std::string name : {"ext4", "jbd2"}) {
        source_.file("/lib/modules/2/kernel/" + name + ".ko.xz", packed("xz", module_file({name})));
    }
    source_.file("/lib/modules/2/modules.dep",
                 source_.text_of("/lib/modules/2/modules.dep") +
                     "kernel/ext4.ko.xz: kernel/jbd2.ko.xz\nkernel/jbd2.ko.xz:\n");
    convert(initramfs_module());
    const auto listed = contents("2");
    EXPECT_EQ(image::loadable_modules(listed, "2"),
              (std::set<std::string>{"ena", "ext4", "jbd2", "nvme", "nvme_core", "xen_blkfront"}));
    EXPECT_EQ(
        listed.module_indexes.at("usr/lib/modules/2/modules.dep"),
        "kernel/ena.ko:\nkernel/ext4.ko: kernel/jbd2.ko\nkernel/jbd2.ko:\n"
        "kernel/nvme.ko: kernel/nvme-core.ko\nkernel/nvme-core.ko:\nkernel/xen-blkfront.ko:\n");
    EXPECT_EQ(listed.module_indexes.at("usr/lib/modules/2/modules.alias"),
              "alias fs-ext4 ext4\nalias pci:v0000144Dd0000A82[0-9]sv*-x nvme\n"
              "alias pci:v1D0F* ena\n");
}

TEST_F(InitramfsModule, VerifySeesWhatAnIndexHides) {
    REQUIRE_ROOT_TO_WRITE();
    ASSERT_TRUE(apply(plan(initramfs_module())).has_value());
    ASSERT_TRUE(verify(initramfs_module()).has_value());
    const auto text = target_.text_of("/boot/initrd-2");
    const std::string padding((4 - text.size() % 4) % 4, '\0');
    target_.file("/boot/initrd-2",
                 text + padding +
                     cpio_of({{"usr/lib/modules/2/modules.alias", "alias pci:v1D0F* ena\n"},
                              {"usr/lib/modules/2/modules.alias.bin", "none"}}));
    auto proofs = verify(initramfs_module());
    ASSERT_FALSE(proofs.has_value());
    EXPECT_THAT(proofs.error().what, HasSubstr("does not know alias fs_ext4 of kernel 2 any more"));
    target_.file("/boot/initrd-2",
                 text + padding +
                     cpio_of({{"usr/lib/modules/2/modules.dep",
                               "kernel/nvme.ko:\nkernel/ena.ko:\nkernel/xen-blkfront.ko:\n"
                               "kernel/nvme-core.ko:\nkernel/ext4.ko.xz:\nkernel/jbd2.ko:\n"},
                              {"usr/lib/modules/2/modules.dep.bin", "none"}}));
    proofs = verify(initramfs_module());
    ASSERT_FALSE(proofs.has_value());
    EXPECT_THAT(proofs.error().what, HasSubstr("cannot load ext4 of kernel 2 any more"));
}

class InitramfsModuleFormats : public InitramfsModule,
                               public testing::WithParamInterface<const char*> {};

TEST_P(InitramfsModuleFormats, IsAppendedTo) {
    REQUIRE_ROOT_TO_WRITE();
    put_initramfs("2", usual_sample("2"), GetParam());
    convert(initramfs_module());
    EXPECT_EQ(texts_.size(), 1U);
    EXPECT_TRUE(target_.text_of("/boot/initrd-2").starts_with(old_text("2")));
}

INSTANTIATE_TEST_SUITE_P(All, InitramfsModuleFormats,
                         testing::Values("gzip", "xz", "zstd", "bzip2", "lz4"));

TEST_F(InitramfsModule, AddsOnlyWhatIsNotThere) {
    REQUIRE_ROOT_TO_WRITE();
    auto sample = usual_sample("2");
    for (const std::string name : {"nvme", "nvme-core", "ena"}) {
        sample["usr/lib/modules/2/kernel/" + name + ".ko"] = "x";
    }
    sample["usr/lib/modules/2/modules.dep"] +=
        "kernel/nvme.ko: kernel/nvme-core.ko\nkernel/nvme-core.ko:\nkernel/ena.ko:\n";
    put_initramfs("2", sample);
    convert(initramfs_module());
    EXPECT_THAT(texts_, ElementsAre(HasSubstr("modules of 2: xen-blkfront")));
}

TEST_F(InitramfsModule, DoesNothingWhereDriversAreBuiltInOrBlocked) {
    REQUIRE_ROOT_TO_WRITE();
    source_.file("/lib/modules/2/modules.builtin", "kernel/nvme.ko\nkernel/xen-blkfront.ko\n");
    source_.file("/etc/modprobe.d/x.conf", "blacklist ena\n");
    convert(initramfs_module());
    EXPECT_THAT(texts_, IsEmpty());
    EXPECT_EQ(target_.text_of("/boot/initrd-2"), old_text("2"));
}

TEST_F(InitramfsModule, TwoKernelsShareOneFile) {
    REQUIRE_ROOT_TO_WRITE();
    have_modules("1", ".ko.xz");
    auto text = std::string(image::kTwoEntries);
    text.replace(text.find("initrd-1"), 8, "initrd-2");
    source_.file("/boot/grub/menu.lst", text);
    auto both = usual_sample("2");
    both.merge(usual_sample("1"));
    put_initramfs("2", both);
    convert(initramfs_module());
    EXPECT_THAT(texts_, ElementsAre(AllOf(HasSubstr("2: nvme, ena, xen-blkfront; of 1: nvme"))));
    EXPECT_TRUE(contents("2").members.contains("usr/lib/modules/1/kernel/nvme.ko"));
    EXPECT_TRUE(contents("2").members.contains("usr/lib/modules/2/kernel/nvme.ko"));
}

TEST_F(InitramfsModule, NothingIsAddedForAKernelThatItWasNotMadeFor) {
    REQUIRE_ROOT_TO_WRITE();
    have_modules("1");
    auto text = std::string(image::kTwoEntries);
    text.replace(text.find("initrd-1"), 8, "initrd-2");
    source_.file("/boot/grub/menu.lst", text);
    convert(initramfs_module());
    EXPECT_THAT(texts_, ElementsAre(HasSubstr("modules of 2: nvme, ena, xen-blkfront")));
    EXPECT_THAT(texts_[0], Not(HasSubstr("of 1:")));
    EXPECT_FALSE(contents("2").members.contains("usr/lib/modules/1/kernel/nvme.ko"));
}

TEST_F(InitramfsModule, TheInitramfsOfAnotherKernelIsAFinding) {
    put_initramfs("2", usual_sample("2-other"));
    EXPECT_THAT(ids(image::inspect_image(source_.open()).value().findings),
                testing::Contains("warning initramfs-of-another-kernel"));
    EXPECT_THAT(ids(findings(job::Platform::nitro)),
                ElementsAre("refusal initramfs-not-repairable"));
    EXPECT_THAT(findings(job::Platform::nitro)[0].seen,
                HasSubstr("it was made for kernel 2-other, whose modules kernel 2 cannot load"));
    // One without modules is of any kernel.
    put_initramfs("2", {{"init", "#!/bin/sh\n"}, {"conf/initramfs.conf", "MODULES=dep\n"}});
    EXPECT_THAT(ids(image::inspect_image(source_.open()).value().findings),
                Not(testing::Contains("warning initramfs-of-another-kernel")));
    EXPECT_THAT(ids(findings(job::Platform::nitro)), IsEmpty());
}

TEST_F(InitramfsModule, EntriesThatShareAKernelMakeOneStep) {
    REQUIRE_ROOT_TO_WRITE();
    auto text = std::string(image::kTwoEntries) +
                "title rescue\nroot (hd0)\nkernel /boot/vmlinuz-2 single\ninitrd /boot/link\n";
    source_.link("/boot/link", "initrd-2");
    source_.file("/boot/grub/menu.lst", text);
    convert(initramfs_module());
    EXPECT_EQ(texts_.size(), 1U);
    EXPECT_TRUE(target_.has("/boot/link"));
    EXPECT_EQ(manifest_.entries().size(), 1U);
}

TEST_F(InitramfsModule, AppendsToTheLastOfTwoFiles) {
    REQUIRE_ROOT_TO_WRITE();
    source_.file("/boot/ucode", cpio_of({{"kernel/x86/microcode/GenuineIntel.bin", "x"}}));
    (void)plan(initramfs_module());
    auto facts = facts_;
    facts.boot_entries[0].initrds = {"/boot/ucode", "/boot/initrd-2"};
    const auto root = source_.open();
    const auto steps = plan_of(initramfs_module(), facts, root);
    ASSERT_TRUE(steps.has_value()) << steps.error().message();
    ASSERT_TRUE(apply(*steps).has_value());
    EXPECT_EQ(target_.text_of("/boot/ucode"), source_.text_of("/boot/ucode"));
    EXPECT_TRUE(contents("2").members.contains("usr/lib/modules/2/kernel/nvme.ko"));
}

TEST_F(InitramfsModule, OneEntryThatForbidsADriverDoesNotForbidItToTheOther) {
    REQUIRE_ROOT_TO_WRITE();
    source_.file("/boot/grub/menu.lst",
                 "title a\nroot (hd0)\nkernel /boot/vmlinuz-2 modprobe.blacklist=nvme\n"
                 "initrd /boot/initrd-2\n"
                 "title b\nroot (hd0)\nkernel /boot/vmlinuz-2 ro\ninitrd /boot/initrd-2\n");
    convert(initramfs_module());
    EXPECT_EQ(texts_.size(), 1U);
    EXPECT_TRUE(contents("2").members.contains("usr/lib/modules/2/kernel/nvme.ko"));
}

TEST_F(InitramfsModule, LeavesWhatItCannotRepair) {
    REQUIRE_ROOT_TO_WRITE();
    auto sample = usual_sample("2");
    sample["init"] = "#!/bin/nash\ninsmod /lib/xenblk.ko\n";
    put_initramfs("2", sample);
    convert(initramfs_module());
    EXPECT_EQ(target_.text_of("/boot/initrd-2"), old_text("2"));
    put_initramfs("2", usual_sample("2"), "lzma");
    convert(initramfs_module());
    EXPECT_EQ(target_.text_of("/boot/initrd-2"), old_text("2"));
    source_.file("/boot/initrd-2", old_text("1").substr(0, 50));
    convert(initramfs_module());
    EXPECT_EQ(target_.text_of("/boot/initrd-2"), old_text("2"));
    EXPECT_THAT(texts_, IsEmpty());
}

TEST_F(InitramfsModule, TellsTheBuilderOfTheImage) {
    REQUIRE_ROOT_TO_WRITE();
    source_.file("/usr/bin/dracut", "");
    source_.directory("/etc/dracut.conf.d");
    source_.file("/etc/initramfs-tools/modules", "# mine\nxen_blkfront");
    source_.file("/etc/sysconfig/kernel", "# SUSE\nINITRD_MODULES=\"ata_piix nvme\" # x\n");
    convert(initramfs_module());
    EXPECT_THAT(target_.text_of("/etc/dracut.conf.d/amilift.conf"),
                HasSubstr("\nadd_drivers+=\" ena nvme xen-blkfront \"\n"));
    EXPECT_EQ(target_.text_of("/etc/initramfs-tools/modules"), "# mine\nxen_blkfront\nena\nnvme\n");
    EXPECT_EQ(target_.text_of("/etc/sysconfig/kernel"),
              "# SUSE\nINITRD_MODULES=\"ata_piix nvme ena xen-blkfront\" # x\n");
    EXPECT_EQ(texts_.size(), 4U);
}

TEST_F(InitramfsModule, NamesOnlyModulesThatTheKernelHas) {
    REQUIRE_ROOT_TO_WRITE();
    source_.file("/lib/modules/2/modules.builtin", "kernel/nvme.ko\nkernel/nvme-core.ko\n");
    source_.file("/lib/modules/2/modules.dep", "kernel/xen-blkfront.ko:\n");
    source_.file("/usr/bin/dracut", "");
    convert(initramfs_module());
    EXPECT_THAT(target_.text_of("/etc/dracut.conf.d/amilift.conf"),
                HasSubstr("add_drivers+=\" xen-blkfront \""));
}

TEST_F(InitramfsModule, AsksForTheRoomThatItTakes) {
    const auto steps = plan(initramfs_module());
    ASSERT_EQ(steps.size(), 1U);
    EXPECT_GT(steps[0].added_bytes, 300U);
}

TEST_F(InitramfsModule, DoesNotAppendToAnotherFileThanItPlannedFor) {
    REQUIRE_ROOT_TO_WRITE();
    const auto steps = plan(initramfs_module());
    target_.file("/boot/initrd-2", old_text("1"));
    const auto applied = apply(steps);
    ASSERT_FALSE(applied.has_value());
    EXPECT_TRUE(applied.error().is(core::Errc::conflict));
    EXPECT_EQ(target_.text_of("/boot/initrd-2"), old_text("1"));
}

TEST_F(InitramfsModule, VerifySeesADamagedPrefix) {
    REQUIRE_ROOT_TO_WRITE();
    ASSERT_TRUE(apply(plan(initramfs_module())).has_value());
    ASSERT_TRUE(verify(initramfs_module()).has_value());
    auto text = target_.text_of("/boot/initrd-2");
    text[4] = static_cast<char>(text[4] ^ 1);  // the time stamp of gzip: it unpacks all the same
    target_.file("/boot/initrd-2", text);
    const auto proofs = verify(initramfs_module());
    ASSERT_FALSE(proofs.has_value());
    EXPECT_TRUE(proofs.error().is(core::Errc::corrupt));
    target_.file("/boot/initrd-2", old_text("2"));
    EXPECT_FALSE(verify(initramfs_module()).has_value());
}

TEST_F(InitramfsModule, PlatformNitroWantsItsDrivers) {
    EXPECT_THAT(ids(findings(job::Platform::nitro)), IsEmpty());
    EXPECT_THAT(ids(findings(std::nullopt)), IsEmpty());
    source_.file("/etc/modprobe.d/x.conf", "blacklist ena\n");
    EXPECT_THAT(ids(findings(job::Platform::nitro)), ElementsAre("refusal no-ena-driver"));
    EXPECT_EQ(findings(job::Platform::nitro)[0].where, "/etc/modprobe.d/x.conf:1");
    source_.file("/lib/modules/2/modules.dep", "");
    source_.file("/boot/vmlinuz-2", image::bz_image("2", false));
    EXPECT_THAT(
        ids(findings(job::Platform::nitro)),
        ElementsAre("refusal not-64-bit", "refusal no-nvme-driver", "refusal no-ena-driver"));
    EXPECT_THAT(ids(findings(std::nullopt)), IsEmpty());
}

TEST_F(InitramfsModule, PlatformXenWantsItsDisksAndItsNetwork) {
    EXPECT_THAT(ids(findings(job::Platform::xen)), ElementsAre("refusal no-xen-netfront-driver"));
    source_.file("/lib/modules/2/modules.builtin", "kernel/xen-netfront.ko\n");
    EXPECT_THAT(ids(findings(job::Platform::xen)), IsEmpty());
    source_.file("/lib/modules/2/modules.builtin", "");
    source_.file("/boot/vmlinuz-2", image::bz_image("2", false));
    source_.file("/lib/modules/2/modules.dep", "kernel/nvme.ko:\n");
    EXPECT_THAT(ids(findings(job::Platform::xen)),
                ElementsAre("refusal no-xen-blkfront-driver", "refusal no-xen-netfront-driver"));
}

TEST_F(InitramfsModule, PlatformWantsAnInitramfsThatCanBeRepaired) {
    auto sample = usual_sample("2");
    sample["init"] = "#!/bin/nash\ninsmod /lib/xenblk.ko\n";
    put_initramfs("2", sample);
    source_.file("/lib/modules/2/modules.builtin", "kernel/xen-netfront.ko\n");
    EXPECT_THAT(ids(findings(job::Platform::nitro)),
                ElementsAre("refusal initramfs-not-repairable"));
    EXPECT_THAT(ids(findings(job::Platform::xen)), ElementsAre("refusal initramfs-not-repairable"));
    EXPECT_THAT(ids(findings(std::nullopt)), ElementsAre("warning initramfs-not-repairable",
                                                         "warning initramfs-not-repairable"));
    EXPECT_THAT(findings(job::Platform::nitro)[0].seen, HasSubstr("nash"));
    source_.file("/boot/initrd-2", "no archive");
    EXPECT_THAT(ids(findings(job::Platform::nitro)),
                ElementsAre("refusal initramfs-not-repairable"));
    put_initramfs("2", usual_sample("2"), "lzma");
    EXPECT_THAT(ids(findings(job::Platform::nitro)),
                ElementsAre("refusal initramfs-not-repairable"));
    auto text = std::string(image::kTwoEntries);
    text.replace(text.find("initrd /boot/initrd-2"), 21, "");
    source_.file("/boot/grub/menu.lst", text);
    EXPECT_THAT(ids(findings(job::Platform::nitro)),
                ElementsAre("refusal initramfs-not-repairable"));
    // What is in there is not known.
    source_.file("/boot/config-2", "CONFIG_INITRAMFS_SOURCE=\"/usr/src/early\"\n");
    EXPECT_THAT(ids(findings(job::Platform::nitro)), ElementsAre("warning nvme-not-in-initramfs"));
    EXPECT_THAT(ids(findings(job::Platform::xen)),
                ElementsAre("warning xen-blkfront-not-in-initramfs"));
}

}  // namespace
}  // namespace amilift::modules
