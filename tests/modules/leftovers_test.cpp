// SPDX-License-Identifier: Apache-2.0
#include "modules/leftovers.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "text_module_fixture.hpp"

namespace amilift::modules {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class LeftoversModule : public TextModuleTest {
  protected:
    LeftoversModule() { image::add_usual_files(source_); }
};

TEST_F(LeftoversModule, HasNothingToDoForAnImageWithout) {
    REQUIRE_ROOT_TO_WRITE();
    source_.file("/etc/modprobe.d/a.conf", "blacklist nvme\n");
    convert(leftovers_module());
    EXPECT_THAT(texts_, IsEmpty());
}

TEST_F(LeftoversModule, F39_TakesOldDriversAndKudzuOut) {
    REQUIRE_ROOT_TO_WRITE();
    source_.file("/etc/modprobe.conf", "alias eth0 xennet\nalias scsi_hostadapter xenblk\n");
    source_.link("/etc/modprobe.d/same.conf", "../modprobe.conf");
    source_.file("/etc/rc.d/init.d/kudzu", "x");
    source_.link("/etc/rc.d/rc3.d/S05kudzu", "../init.d/kudzu");
    convert(leftovers_module());
    EXPECT_THAT(texts_, ElementsAre(HasSubstr("edit /etc/modprobe.conf:"),
                                    HasSubstr("remove /etc/rc.d/rc3.d/S05kudzu:")));
    EXPECT_EQ(target_.text_of("/etc/modprobe.conf"),
              "#alias eth0 xennet\n#alias scsi_hostadapter xenblk\n");
    EXPECT_FALSE(target_.has("/etc/rc.d/rc3.d/S05kudzu"));
    EXPECT_TRUE(target_.has("/etc/rc.d/init.d/kudzu"));
}

TEST_F(LeftoversModule, KeepsTheDriversOfAParavirtualTarget) {
    REQUIRE_ROOT_TO_WRITE();
    options_.virtualization = job::Virtualization::paravirtual;
    source_.file("/etc/modprobe.conf", "alias eth0 xennet\n");
    source_.file("/etc/rc.d/init.d/kudzu", "x");
    source_.link("/etc/rc.d/rc3.d/S05kudzu", "../init.d/kudzu");
    convert(leftovers_module());
    EXPECT_THAT(texts_, ElementsAre(HasSubstr("remove /etc/rc.d/rc3.d/S05kudzu:")));
    EXPECT_EQ(target_.text_of("/etc/modprobe.conf"), "alias eth0 xennet\n");
}

TEST_F(LeftoversModule, FailsToVerifyWhatIsNotConverted) {
    source_.file("/etc/modprobe.conf", "alias eth0 xennet\n");
    plan(leftovers_module());
    EXPECT_FALSE(verify(leftovers_module()).has_value());
}

}  // namespace
}  // namespace amilift::modules
