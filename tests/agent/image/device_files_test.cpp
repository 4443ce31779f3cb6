// SPDX-License-Identifier: Apache-2.0
#include "image/device_files.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <functional>
#include <random>

namespace amilift::image {
namespace {

using testing::ElementsAre;

constexpr std::string_view kCrypttab =
    "# name device key options\n"
    "data /dev/xvdf\n"
    "keyed\t/dev/sdg\t/root/key\n"
    "swap /dev/sdb /dev/urandom swap,cipher=aes # remark\n"
    "done /dev/sdh none luks,nofail\n"
    "manual /dev/sdi none noauto\n"
    "uuid UUID=abcd none luks\n";

TEST(DeviceFiles, LetsTheBootGoOnWithoutEncryptedVolumes) {
    const auto result = edit_crypttab(kCrypttab);
    EXPECT_EQ(result.text,
              "# name device key options\n"
              "data /dev/xvdf none nofail\n"
              "keyed\t/dev/sdg\t/root/key nofail\n"
              "swap /dev/sdb /dev/urandom swap,cipher=aes,nofail # remark\n"
              "done /dev/sdh none luks,nofail\n"
              "manual /dev/sdi none noauto\n"
              "uuid UUID=abcd none luks\n");
    ASSERT_EQ(result.changes.size(), 3U);
    EXPECT_EQ(result.changes[0].text,
              "data: add nofail ('/dev/xvdf' may not exist after the move)");
    EXPECT_THAT(unstable_mappings(kCrypttab), ElementsAre("data", "keyed", "swap", "done"));
    EXPECT_THAT(blocking_mappings(kCrypttab), ElementsAre("data", "keyed", "swap"));
    EXPECT_THAT(blocking_mappings(result.text), testing::IsEmpty());
}

TEST(DeviceFiles, ResumesFromNothingThatIsGone) {
    const auto edited = [](std::string_view text) {
        return edit_initramfs_resume(text, {"UUID=swap"}, "root").text;
    };
    EXPECT_EQ(edited("# x\nRESUME=/dev/xvda3\n"), "# x\nRESUME=none\n");
    EXPECT_EQ(edited("RESUME=\"/dev/sda3\"\n"), "RESUME=none\n");
    EXPECT_EQ(edited("RESUME=UUID=gone"), "RESUME=none");
    for (const std::string text : {"RESUME=UUID=swap\n", "RESUME=UUID=root\n", "RESUME=none\n",
                                   "RESUME=auto\n", "#RESUME=/dev/sda3\n", ""}) {
        EXPECT_EQ(edited(text), text);
    }
}

TEST(DeviceFiles, F39_CommentsDriversOfXenLinuxOut) {
    EXPECT_EQ(edit_modprobe("alias eth0 xennet\n alias scsi_hostadapter xenblk\n"
                            "alias eth1 xen-vnif\nblacklist nvme\ninstall ena /bin/true\n"
                            "options xennet x\n")
                  .text,
              "#alias eth0 xennet\n# alias scsi_hostadapter xenblk\n"
              "alias eth1 xen-vnif\nblacklist nvme\ninstall ena /bin/true\n"
              "options xennet x\n");
}

TEST(DeviceFiles, AreTheSameWhenEditedAgain) {
    using Edit = std::function<EditedText(std::string_view)>;
    const std::array<Edit, 3> edits{edit_crypttab, edit_modprobe, [](auto text) {
                                        return edit_initramfs_resume(text, {"UUID=a"}, "b");
                                    }};
    const std::array<std::string_view, 3> samples{kCrypttab, "alias eth0 xennet\nalias a xenblk\n",
                                                  "RESUME=/dev/sda3\nRESUME=UUID=x\n"};
    std::mt19937 random(20261121);
    for (const auto sample : samples) {
        for (int round = 0; round < 300; ++round) {
            std::string text(sample);
            for (std::size_t i = 0; i < random() % 5 && !text.empty(); ++i) {
                const auto at = random() % text.size();
                if (random() % 2 == 0) {
                    text[at] = " \n#,=/\""[random() % 7];
                } else {
                    text.erase(at, 1 + random() % 4);
                }
            }
            for (const auto& edit : edits) {
                const auto once = edit(text);
                const auto twice = edit(once.text);
                ASSERT_EQ(twice.text, once.text) << text;
                ASSERT_TRUE(twice.changes.empty());
                ASSERT_EQ(once.changes.empty(), once.text == text);
            }
        }
    }
}

}  // namespace
}  // namespace amilift::image
