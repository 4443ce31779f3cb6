// SPDX-License-Identifier: Apache-2.0
#include "image/fstab.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "fstab_samples.hpp"

namespace amilift::image {
namespace {

using testing::HasSubstr;

constexpr std::string_view kUuid = "UUID=0b9f21a2-6d30-4d5f-9a70-0f3a8c9f5c11";

FstabEdit usual_edit(MissingDevice missing = MissingDevice::nofail) {
    FstabEdit edit;
    edit.root_devices = {"/dev/sda", "/dev/sda1", "/dev/xvda1", "/dev/xvde1"};
    edit.root_spec = kUuid;
    edit.root_label = "/";
    edit.root_uuid = kUuid.substr(5);
    edit.missing_device = missing;
    return edit;
}

std::string edited(std::string_view text, MissingDevice missing = MissingDevice::nofail) {
    return edit_fstab(text, usual_edit(missing)).text;
}

std::string_view sample(std::string_view name) {
    for (const auto& known : kFstabSamples) {
        if (known.name == name) return known.text;
    }
    ADD_FAILURE() << "no sample " << name;
    return {};
}

constexpr std::array kStyles{MissingDevice::nofail, MissingDevice::nofail_without_check,
                             MissingDevice::without_check, MissingDevice::nobootwait};

class EveryFstab : public testing::TestWithParam<FstabSample> {};

TEST_P(EveryFstab, IsTheSameWhenEditedAgain) {
    for (const auto style : kStyles) {
        const auto once = edit_fstab(GetParam().text, usual_edit(style));
        const auto twice = edit_fstab(once.text, usual_edit(style));
        EXPECT_EQ(twice.text, once.text);
        EXPECT_TRUE(twice.changes.empty()) << twice.changes.front().text;
    }
}

TEST_P(EveryFstab, ChangesOnlyTheLinesThatItReports) {
    for (const auto style : kStyles) {
        const auto result = edit_fstab(GetParam().text, usual_edit(style));
        const auto before = split_lines(GetParam().text);
        const auto after = split_lines(result.text);
        ASSERT_EQ(before.size(), after.size());
        for (std::size_t i = 0; i < before.size(); ++i) {
            EXPECT_EQ(before[i].ending, after[i].ending);
            const bool reported = std::ranges::any_of(
                result.changes,
                [&](const TextChange& change) { return change.line == before[i].number; });
            EXPECT_EQ(reported, before[i].body != after[i].body) << before[i].body;
        }
    }
}

TEST_P(EveryFstab, KeepsEveryMountPoint) {
    const auto before = parse_fstab(GetParam().text);
    const auto after = parse_fstab(edited(GetParam().text));
    ASSERT_EQ(before.size(), after.size());
    for (std::size_t i = 0; i < before.size(); ++i) {
        EXPECT_EQ(before[i].file, after[i].file);
        EXPECT_EQ(before[i].type, after[i].type);
    }
}

INSTANTIATE_TEST_SUITE_P(Fstab, EveryFstab, testing::ValuesIn(kFstabSamples),
                         [](const auto& test) { return std::string(test.param.name); });

TEST(Fstab, ParsesFields) {
    const auto entries = parse_fstab(
        "# remark\n\nLABEL=/ / ext4 defaults,noatime 1 1\n/dev/xvdf /mnt/my\\040disk ext3\n");
    ASSERT_EQ(entries.size(), 2U);
    EXPECT_EQ(entries[0].line, 3);
    EXPECT_EQ(entries[0].spec, "LABEL=/");
    EXPECT_EQ(entries[0].options, "defaults,noatime");
    EXPECT_EQ(entries[0].pass, 1);
    EXPECT_EQ(entries[1].file, "/mnt/my disk");
    EXPECT_EQ(entries[1].options, "");
}

TEST(Fstab, ReplacesTheRootDeviceAndNoLongerName) {
    const auto result = edit_fstab(sample("DeviceRoot"), usual_edit());
    EXPECT_EQ(result.text, std::string(kUuid) +
                               "  /   ext3 defaults 1 1\n"
                               "/dev/sda10 /d  ext3 defaults,nofail 0 0\n");
    ASSERT_EQ(result.changes.size(), 2U);
    EXPECT_THAT(result.changes[0].text, HasSubstr("'/dev/sda1' -> 'UUID=0b9f21a2"));
    EXPECT_EQ(result.changes[1].text, "/d: add nofail ('/dev/sda10' may not exist after the move)");
}

TEST(Fstab, KeepsALabelThatIsTheRoots) {
    EXPECT_EQ(edited("LABEL=\"/\" / ext4 defaults 1 1\n"), "LABEL=\"/\" / ext4 defaults 1 1\n");
}

TEST(Fstab, ReplacesALabelThatIsNotTheRoots) {
    EXPECT_EQ(edited("LABEL=rootfs / ext4 defaults 1 1\n"),
              std::string(kUuid) + " / ext4 defaults 1 1\n");
    EXPECT_THAT(edited(sample("OrphanUuid")), HasSubstr(std::string(kUuid) + " / ext4"));
    EXPECT_THAT(edited(sample("OrphanUuid")), HasSubstr("PARTUUID=abcd-01 /p ext4 defaults 0 0"));
    EXPECT_EQ(edited(sample("PartuuidRoot")), std::string(kUuid) + " / ext4 defaults 0 1\n");
    EXPECT_EQ(edited(sample("PartlabelRoot")), std::string(kUuid) + " / ext4 defaults 0 1\n");
}

TEST(Fstab, WritesTheFormThatTheGuestUnderstands) {
    const auto text = sample("CloudConfigMountall");
    EXPECT_EQ(edited(text, MissingDevice::nobootwait), text);
    EXPECT_THAT(edited(text, MissingDevice::nofail),
                HasSubstr("defaults,nobootwait,comment=cloudconfig,nofail\t0\t2\n"));
    EXPECT_THAT(edited(text, MissingDevice::nofail_without_check),
                HasSubstr("comment=cloudconfig,nofail\t0\t0\n"));
    EXPECT_THAT(edited(text, MissingDevice::without_check),
                HasSubstr("defaults,nobootwait,comment=cloudconfig\t0\t0\n"));
    EXPECT_EQ(edited(sample("CloudConfigSystemd")), sample("CloudConfigSystemd"));
}

TEST(Fstab, KeepsRemarksByteForByte) {
    EXPECT_EQ(edited(sample("Remarks")),
              "# /dev/sdf /old xfs defaults 0 0\n"
              "/dev/sdf /data xfs defaults,nofail 0 0  # raid was /dev/md0\n"
              "/dev/sdg /more xfs defaults,nofail # nothing else\n"
              "\t# indented /dev/sdh /x\n");
}

TEST(Fstab, LeavesBindTmpfsNetworkAndMappedEntriesAlone) {
    EXPECT_EQ(edited(sample("BindTmpfsAndOctal")),
              "/data/x  /srv/x   none  bind 0 0\n"
              "/dev/sda1 /chroot/b none rbind 0 0\n"
              "tmpfs / tmpfs size=1m 0 0\n"
              "/dev/xvdf /mnt/my\\040disk ext3 defaults,nofail 0 2\n");
    EXPECT_EQ(edited(sample("NetworkAndPseudo")), sample("NetworkAndPseudo"));
    const auto mapped = edited(sample("MappedDevices"));
    EXPECT_THAT(mapped, HasSubstr("LogVol01 /var ext3 defaults 0 2\n"));
    EXPECT_THAT(mapped, HasSubstr("/dev/md0 /md xfs defaults 0 2\n"));
    EXPECT_THAT(mapped, HasSubstr("/dev/disk/by-id/xen-x /byid ext3 defaults,nofail 0 2\n"));
    EXPECT_THAT(mapped, HasSubstr("/dev/disk/by-uuid/0b9f21a2-6d30-4d5f-9a70-0f3a8c9f5c11 / "));
    EXPECT_THAT(mapped, HasSubstr("/dev/xvda1p1 /odd ext3 defaults,nofail 0 0\n"));
}

TEST(Fstab, ReplacesAMappedRootBecauseThisFilesystemIsTheRoot) {
    EXPECT_EQ(edited("/dev/mapper/VolGroup00-LogVol00 / ext3 defaults 1 1\n"),
              std::string(kUuid) + " / ext3 defaults 1 1\n");
}

TEST(Fstab, MakesSwapPartitionsOptional) {
    EXPECT_EQ(edited(sample("Swap")),
              "/dev/sda3 swap swap defaults,nofail,x-systemd.device-timeout=5s 0 0\n"
              "/swapfile none swap sw 0 0\n"
              "LABEL=SWAP none swap sw 0 0\n");
}

TEST(Fstab, MakesUnstableNamesOptional) {
    EXPECT_EQ(edited(sample("NitroNames")),
              "/dev/nvme1n1p1 /d ext4 defaults,nofail 0 2\n"
              "/dev/sdb1 /instance ext3 noatime,nofail 0 0\n"
              "/dev/sdc /manual ext3 noauto 0 0\n");
}

TEST(Fstab, FollowsTheRootsOwnNameOnly) {
    EXPECT_EQ(edited("/dev/sda1 / ext3 defaults 1 1\n/dev/sda1 /again ext3 ro 0 0\n"
                     "/dev/xvde1 /data ext3 defaults 0 2\n"),
              std::string(kUuid) + " / ext3 defaults 1 1\n" + std::string(kUuid) +
                  " /again ext3 ro 0 0\n"
                  "/dev/xvde1 /data ext3 defaults,nofail 0 2\n");
}

TEST(Fstab, LeavesTheRootWithoutASpecAlone) {
    auto edit = usual_edit();
    edit.root_spec.clear();
    EXPECT_EQ(edit_fstab("/dev/sda1 / ext3 defaults 1 1\n", edit).text,
              "/dev/sda1 / ext3 defaults 1 1\n");
}

TEST(Fstab, CompletesShortLines) {
    EXPECT_EQ(edited(sample("ShortLinesAndCarriageReturns")),
              std::string(kUuid) +
                  " / ext3\r\n"
                  "/dev/sdb /b ext3 defaults,nofail\r\n"
                  "/dev/sdc\r\n"
                  "/dev/sdd /d\r\n");
}

const std::string kRoot(kUuid);

TEST(Fstab, F27_TakesSda10ForAnotherDeviceThanSda1) {
    EXPECT_EQ(edited("/dev/sda1 / ext3 defaults 1 1\n/dev/sda10 /d ext3 defaults 0 0\n"),
              kRoot + " / ext3 defaults 1 1\n/dev/sda10 /d ext3 defaults,nofail 0 0\n");
}

TEST(Fstab, F28_NamesTheRootByUuidWhereItsLabelIsUsedTwice) {
    EXPECT_EQ(edited(sample("LabelRootTwice")),
              kRoot + " / ext4 defaults,noatime 1 1\nLABEL=/ /second ext4 defaults 0 2\n");
}

TEST(Fstab, F28_NamesTheRootByUuidWhereAnotherPartitionHasItsLabel) {
    auto edit = usual_edit();
    edit.is_label_shared = true;
    EXPECT_EQ(edit_fstab("LABEL=/ / ext4 defaults 1 1\n", edit).text,
              kRoot + " / ext4 defaults 1 1\n");
}

/// udev escapes a label in the names of links, fstab does not.
TEST(Fstab, F20_KnowsTheRootByAnEscapedLabel) {
    auto edit = usual_edit();
    edit.root_label = "a/b c";
    const auto after = [&](std::string_view text) { return edit_fstab(text, edit).text; };
    for (const std::string_view kept :
         {"/dev/disk/by-label/a\\x2fb\\x20c / ext4\n", "LABEL=a/b\\040c / ext4\n"}) {
        EXPECT_EQ(after(kept), kept);
    }
    EXPECT_EQ(after("LABEL=a\\x2fb\\040c / ext4\n"), kRoot + " / ext4\n");
    EXPECT_EQ(after("/dev/disk/by-label/a\\x2fb / ext4\n"), kRoot + " / ext4\n");
    EXPECT_EQ(decode_hex("a\\x2Fb\\x2"), "a/b\\x2");
}

TEST(Fstab, F29_LetsTheBootGoOnWithoutTheEphemeralDisk) {
    const std::string mountall =
        "/dev/xvdb /mnt auto defaults,nobootwait,comment=cloudconfig 0 2\n";
    EXPECT_EQ(edited(mountall, MissingDevice::nobootwait), mountall);
    EXPECT_EQ(edited(mountall),
              "/dev/xvdb /mnt auto defaults,nobootwait,comment=cloudconfig,nofail 0 2\n");
    EXPECT_EQ(edited("/dev/xvdb /mnt auto defaults,x-systemd.requires=cloud-init.service 0 2\n"),
              "/dev/xvdb /mnt auto defaults,x-systemd.requires=cloud-init.service,nofail 0 2\n");
}

TEST(Fstab, F30_KeepsInlineAndLineComments) {
    EXPECT_EQ(edited("/dev/sdf /data xfs defaults 0 0  # raid was /dev/md0\n# /dev/sdf /old\n"),
              "/dev/sdf /data xfs defaults,nofail 0 0  # raid was /dev/md0\n# /dev/sdf /old\n");
}

TEST(Fstab, F31_LeavesBindTmpfsAndOctalPaths) {
    const std::string text =
        "/data/x / none bind 0 0\ntmpfs / tmpfs size=1\nLABEL=d /mnt/my\\040disk ext3\n";
    EXPECT_EQ(edited(text), text);
}

TEST(Fstab, F32_KnowsMappedAndPartitionNames) {
    EXPECT_EQ(edited("/dev/mapper/VolGroup00-LogVol00 / ext3 defaults 1 1\n"
                     "/dev/VG/LV /lv ext3 defaults 0 2\n/dev/md0 /md xfs defaults 0 2\n"
                     "/dev/disk/by-id/xen-x /id ext3 defaults 0 2\n"
                     "/dev/xvda1p1 /odd ext3 defaults 0 0\n"),
              kRoot +
                  " / ext3 defaults 1 1\n"
                  "/dev/VG/LV /lv ext3 defaults 0 2\n/dev/md0 /md xfs defaults 0 2\n"
                  "/dev/disk/by-id/xen-x /id ext3 defaults,nofail 0 2\n"
                  "/dev/xvda1p1 /odd ext3 defaults,nofail 0 0\n");
}

TEST(Fstab, F33_DoesNotWaitForSwapThatIsGone) {
    EXPECT_EQ(edited("/dev/sda3 swap swap defaults 0 0\n/swapfile none swap sw 0 0\n"),
              "/dev/sda3 swap swap defaults,nofail,x-systemd.device-timeout=5s 0 0\n"
              "/swapfile none swap sw 0 0\n");
    EXPECT_EQ(edited("/dev/sda3 swap swap defaults 0 0\n", MissingDevice::nobootwait),
              "/dev/sda3 swap swap defaults,nobootwait 0 0\n");
}

TEST(Fstab, F34_LeavesNetworkAndPseudoFilesystems) {
    const std::string text =
        "fs-1.efs:/ /e nfs4 _netdev 0 0\n//h/s /c cifs\n\nnone /proc proc defaults\n"
        "\tUUID=0B9F21A2-6D30-4D5F-9A70-0F3A8C9F5C11\t/\text4\n";
    EXPECT_EQ(edited(text), text);
}

TEST(Fstab, F35_ReplacesARootThatNoDeviceHas) {
    for (const std::string spec : {"UUID=dead-beef", "PARTUUID=1-01", "PARTLABEL=root"}) {
        EXPECT_EQ(edited(spec + " / ext4 defaults 0 1\n"), kRoot + " / ext4 defaults 0 1\n");
    }
    const std::string data = "PARTUUID=1-02 /d ext4 defaults 0 1\nPARTLABEL=x /e ext4 ro 0 0\n";
    EXPECT_EQ(edited(data), data);
}

TEST(Fstab, F36_MakesNitroAndInstanceStoreNamesOptional) {
    EXPECT_EQ(edited("/dev/nvme1n1p1 /d ext4\n/dev/sdb1 /i ext3 noatime 0 0\n"),
              "/dev/nvme1n1p1 /d ext4 defaults,nofail\n/dev/sdb1 /i ext3 noatime,nofail 0 0\n");
}

TEST(Fstab, MakesEncryptedVolumesOfMissingDevicesOptional) {
    auto edit = usual_edit();
    edit.missing_mappings = {"data"};
    EXPECT_EQ(edit_fstab(
                  "/dev/mapper/data /d ext4 defaults 0 2\n/dev/mapper/data2 /e ext4 ro 0 0\n", edit)
                  .text,
              "/dev/mapper/data /d ext4 defaults,nofail 0 2\n/dev/mapper/data2 /e ext4 ro 0 0\n");
}

TEST(Fstab, DecodesOctal) {
    EXPECT_EQ(decode_octal("a\\040b\\011"), "a b\t");
    EXPECT_EQ(decode_octal("\\04"), "\\04");
    EXPECT_EQ(decode_octal("\\999\\777"), "\\999\\777");
}

TEST(Fstab, StaysStableOnDamagedText) {
    std::mt19937 random(20261121);
    constexpr std::string_view kBytes = " \t\r\n,#/=\\\"'0defaultsnofail\x00";
    for (const auto& known : kFstabSamples) {
        for (int round = 0; round < 300; ++round) {
            std::string text(known.text);
            for (std::size_t i = 0; i < 1 + random() % 6 && !text.empty(); ++i) {
                const auto at = random() % text.size();
                if (random() % 2 == 0) {
                    text[at] = kBytes[random() % kBytes.size()];
                } else {
                    text.erase(at, 1 + random() % 5);
                }
            }
            const auto style = kStyles[static_cast<std::size_t>(round) % kStyles.size()];
            const auto once = edit_fstab(text, usual_edit(style));
            const auto twice = edit_fstab(once.text, usual_edit(style));
            ASSERT_EQ(twice.text, once.text) << known.name << " round " << round << "\n" << text;
            ASSERT_TRUE(twice.changes.empty()) << known.name << " round " << round;
            ASSERT_EQ(once.changes.empty(), once.text == text) << known.name;
        }
    }
}

}  // namespace
}  // namespace amilift::image
