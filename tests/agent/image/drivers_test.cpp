// SPDX-License-Identifier: Apache-2.0
#include "image/drivers.hpp"

#include <gtest/gtest.h>

#include "temporary_root.hpp"

namespace amilift::image {
namespace {

constexpr const char* kVersion = "6.1.0-56-cloud-amd64";
constexpr const char* kModule = "/lib/modules/6.1.0-56-cloud-amd64/kernel/net/ena.ko.xz";

class Drivers : public ::testing::Test {
  protected:
    void put(std::string_view path, std::string_view text) const { image_.file(path, text); }
    void have_module() {
        put(kModule, "module");
        put("/lib/modules/6.1.0-56-cloud-amd64/modules.dep",
            "kernel/fs/xfs.ko: kernel/lib/crc.ko\nkernel/net/ena.ko.xz:\n");
    }
    [[nodiscard]] std::string found(const std::string& driver) const {
        return find_driver(image_.open(), kVersion, driver).value();
    }
    TemporaryRoot image_;
};

TEST_F(Drivers, FindsAModuleThatTheIndexNamesAndThatExists) {
    EXPECT_EQ(found("ena"), "");
    have_module();
    EXPECT_EQ(found("ena"), kModule);
    EXPECT_EQ(found("en"), "");
    // The index names it, the file is gone.
    EXPECT_EQ(found("xfs"), "");
}

TEST_F(Drivers, FindsWhatIsBuiltIn) {
    put("/lib/modules/6.1.0-56-cloud-amd64/modules.builtin",
        "kernel/drivers/nvme/host/nvme-core.ko\nkernel/drivers/nvme/host/nvme.ko\n");
    EXPECT_EQ(found("nvme"), "built in");
    EXPECT_EQ(found("nvme_core"), "built in");
    EXPECT_EQ(found("ena"), "");
}

TEST_F(Drivers, DoesNotCountABlacklistedModule) {
    have_module();
    put("/etc/modprobe.d/other.conf", "# blacklist ena\nblacklist enable\noptions ena x=1\n");
    EXPECT_EQ(found("ena"), kModule);
    put("/etc/modprobe.d/no-ena.conf", "  blacklist\tena\n");
    EXPECT_EQ(found("ena"), "");
}

TEST_F(Drivers, DoesNotCountAModuleThatACommandReplaces) {
    have_module();
    put("/etc/modprobe.d/no-ena.conf", "install ena /bin/true\n");
    EXPECT_EQ(found("ena"), "");
}

TEST_F(Drivers, AVersionNamesOneDirectoryOnly) {
    have_module();
    for (const auto* version : {"", "..", "../../etc", "a/b"}) {
        EXPECT_EQ(find_driver(image_.open(), version, "ena").value(), "") << version;
    }
}

}  // namespace
}  // namespace amilift::image
