// SPDX-License-Identifier: Apache-2.0
#include "modules/fstab.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "tests/agent/image/fstab_samples.hpp"
#include "text_module_fixture.hpp"

namespace amilift::modules {
namespace {

using image::InitSystem;
using image::MissingDevice;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class FstabModule : public TextModuleTest {
  protected:
    FstabModule() { image::add_usual_files(source_); }
    void use_systemd() {
        source_.file("/lib/systemd/systemd", "");
        source_.link("/sbin/init", "/lib/systemd/systemd");
    }
    [[nodiscard]] MissingDevice style(InitSystem init) const {
        return missing_device_style(source_.open(), init).value();
    }
};

TEST_F(FstabModule, ConvertsASystemdImage) {
    REQUIRE_ROOT_TO_WRITE();
    use_systemd();
    source_.file("/etc/fstab",
                 "# remark\n/dev/xvda1 / ext4 defaults 1 1\n"
                 "/dev/xvdf\t/data\txfs\tdefaults\t0\t2\n");
    convert(fstab_module());
    EXPECT_EQ(target_.text_of("/etc/fstab"), "# remark\nUUID=" + std::string(kRootUuid) +
                                                 " / ext4 defaults 1 1\n" +
                                                 "/dev/xvdf\t/data\txfs\tdefaults,nofail\t0\t2\n");
    EXPECT_THAT(texts_,
                ElementsAre("edit /etc/fstab:\n"
                            "    line 2: '/dev/xvda1' -> 'UUID=" +
                            std::string(kRootUuid) +
                            "' (a device name is not the same on every instance type)\n"
                            "    line 3: /data: add nofail ('/dev/xvdf' may not exist after the "
                            "move)"));
    EXPECT_THAT(proofs_,
                Contains("/etc/fstab: '/' is UUID=" + std::string(kRootUuid) + " (line 2)"));
}

TEST_F(FstabModule, KeepsALabelRoot) {
    REQUIRE_ROOT_TO_WRITE();
    convert(fstab_module());
    EXPECT_THAT(texts_, IsEmpty());
    EXPECT_THAT(proofs_, Contains("/etc/fstab: '/' is LABEL=/ (line 1)"));
}

TEST_F(FstabModule, HasNothingToDoWithoutFstab) {
    REQUIRE_ROOT_TO_WRITE();
    std::filesystem::remove(source_.on_host("/etc/fstab"));
    convert(fstab_module());
    EXPECT_THAT(texts_, IsEmpty());
    EXPECT_THAT(proofs_, IsEmpty());
}

TEST_F(FstabModule, EditsWhereALinkLeads) {
    REQUIRE_ROOT_TO_WRITE();
    source_.file("/etc/real.fstab", "/dev/sda1 / ext3 defaults 1 1\n");
    std::filesystem::remove(source_.on_host("/etc/fstab"));
    source_.link("/etc/fstab", "real.fstab");
    convert(fstab_module());
    EXPECT_THAT(texts_, ElementsAre(HasSubstr("edit /etc/real.fstab: line 1:")));
    EXPECT_EQ(target_.open().read_link("/etc/fstab").value(), "real.fstab");
}

TEST_F(FstabModule, FindsOutWhatTheGuestUnderstands) {
    EXPECT_EQ(style(InitSystem::systemd), MissingDevice::nofail);
    EXPECT_EQ(style(InitSystem::sysvinit), MissingDevice::without_check);
    source_.file("/bin/mount",
                 "\x7f"
                 "ELF option noauto");
    EXPECT_EQ(style(InitSystem::sysvinit), MissingDevice::without_check);
    source_.file("/lib64/libmount.so.1",
                 "\x7f"
                 "ELF option nofail");
    EXPECT_EQ(style(InitSystem::upstart), MissingDevice::nofail_without_check);
    source_.file("/sbin/mountall", "");
    EXPECT_EQ(style(InitSystem::upstart), MissingDevice::nobootwait);
}

TEST_F(FstabModule, FailsToVerifyWhatIsNotConverted) {
    source_.file("/etc/fstab", "/dev/sda1 / ext3 defaults 1 1\n");
    plan(fstab_module());
    const auto proofs = verify(fstab_module());
    ASSERT_FALSE(proofs.has_value());
    EXPECT_THAT(
        proofs.error().what,
        HasSubstr(
            "/etc/fstab of the target is not converted: still to do: edit /etc/fstab: line 1"));
}

TEST_F(FstabModule, EditsCrypttabAndWhatInitramfsToolsResumeFrom) {
    REQUIRE_ROOT_TO_WRITE();
    use_systemd();
    source_.file("/etc/fstab",
                 "LABEL=/ / ext3 defaults 1 1\n/dev/mapper/data /d ext4 defaults 0 2\n");
    source_.file("/etc/crypttab", "data /dev/xvdf none luks\n");
    source_.file("/etc/initramfs-tools/conf.d/resume", "RESUME=/dev/xvda3\n");
    convert(fstab_module());
    EXPECT_THAT(texts_, ElementsAre(HasSubstr("edit /etc/fstab: line 2: /d: add nofail"),
                                    HasSubstr("edit /etc/crypttab: line 1: data: add nofail"),
                                    HasSubstr("edit /etc/initramfs-tools/conf.d/resume: line 1:")));
    EXPECT_EQ(target_.text_of("/etc/fstab"),
              "LABEL=/ / ext3 defaults 1 1\n/dev/mapper/data /d ext4 defaults,nofail 0 2\n");
    EXPECT_EQ(target_.text_of("/etc/crypttab"), "data /dev/xvdf none luks,nofail\n");
    EXPECT_EQ(target_.text_of("/etc/initramfs-tools/conf.d/resume"), "RESUME=none\n");
}

TEST_F(FstabModule, KeepsACrypttabThatOnlySystemdWouldStopAt) {
    REQUIRE_ROOT_TO_WRITE();
    source_.file("/etc/crypttab", "data /dev/xvdf none luks\n");
    convert(fstab_module());
    EXPECT_THAT(texts_, IsEmpty());
}

TEST_F(FstabModule, ConvertsTheFilesOfTheField) {
    REQUIRE_ROOT_TO_WRITE();
    for (const bool systemd : {false, true}) {
        if (systemd) use_systemd();
        for (const auto& sample : image::kFstabSamples) {
            SCOPED_TRACE(sample.name);
            source_.file("/etc/fstab", sample.text);
            manifest_ = Manifest();
            convert(fstab_module());
        }
    }
}

}  // namespace
}  // namespace amilift::modules
