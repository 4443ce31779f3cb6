// SPDX-License-Identifier: Apache-2.0
#include "modules/console.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <random>

#include "text_module_fixture.hpp"

namespace amilift::modules {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

const SerialPort kPort{"ttyS0", "115200"};

TEST(Console, FindsTheSerialPortOfAJob) {
    const auto port = serial_port({"tty0", "ttyS0,115200n8"});
    ASSERT_TRUE(port.has_value());
    EXPECT_EQ(port->device, "ttyS0");
    EXPECT_EQ(port->speed, "115200");
    EXPECT_EQ(serial_port({"ttyS1"})->speed, "");
    EXPECT_EQ(serial_port({"ttyS0", "ttyS1,9600"})->device, "ttyS1");
    EXPECT_FALSE(serial_port({"tty0", "ttySx", "hvc0"}).has_value());
    EXPECT_FALSE(serial_port({}).has_value());
}

TEST(Inittab, MovesALogin) {
    const std::string before =
        "id:3:initdefault:\n"
        "# co:2345:respawn:/sbin/agetty xvc0 9600 vt100-nav\n"
        "co:2345:respawn:/sbin/agetty xvc0 9600 vt100-nav\n"
        "1:2345:respawn:/sbin/mingetty tty1\n";
    const auto result = edit_inittab(before, kPort);
    EXPECT_EQ(result.text,
              "id:3:initdefault:\n"
              "# co:2345:respawn:/sbin/agetty xvc0 9600 vt100-nav\n"
              "co:2345:respawn:/sbin/agetty ttyS0 115200 vt100-nav\n"
              "1:2345:respawn:/sbin/mingetty tty1\n");
    ASSERT_THAT(result.changes, SizeIs(1));
    EXPECT_EQ(result.changes[0].line, 3);
    EXPECT_EQ(result.changes[0].text,
              "'/sbin/agetty xvc0 9600 vt100-nav' -> '/sbin/agetty ttyS0 "
              "115200 vt100-nav'");
    EXPECT_TRUE(edit_inittab(result.text, kPort).changes.empty());
}

TEST(Inittab, KnowsTheFormsOfTheField) {
    EXPECT_EQ(edit_inittab("h0:23:respawn:/sbin/getty 38400 hvc0\r\n", kPort).text,
              "h0:23:respawn:/sbin/getty 115200 ttyS0\r\n");
    EXPECT_EQ(edit_inittab("h0:23:respawn:/sbin/getty 38400,9600 /dev/hvc0", kPort).text,
              "h0:23:respawn:/sbin/getty 115200 /dev/ttyS0");
    EXPECT_EQ(edit_inittab("h0:23:respawn:/sbin/getty 38400 hvc0\n", {"ttyS1", ""}).text,
              "h0:23:respawn:/sbin/getty 38400 ttyS1\n");
    EXPECT_EQ(edit_inittab("h0:23:off:/sbin/getty 38400 hvc0\n", kPort).text,
              "h0:23:off:/sbin/getty 38400 hvc0\n");
    EXPECT_EQ(edit_inittab("hvc0\n:::\n::\n", kPort).text, "hvc0\n:::\n::\n");
}

TEST(Inittab, StartsOneLoginPerPort) {
    const auto result = edit_inittab(
        "a:2:respawn:/sbin/agetty hvc0 9600\n"
        "b:2:respawn:/sbin/agetty xvc0 9600\n",
        kPort);
    EXPECT_EQ(result.text,
              "a:2:respawn:/sbin/agetty ttyS0 115200\n"
              "#b:2:respawn:/sbin/agetty xvc0 9600\n");
    EXPECT_EQ(edit_inittab("a:2:respawn:/sbin/agetty hvc0 9600\n"
                           "T0:2:respawn:/sbin/getty -L ttyS0 9600 vt100\n",
                           kPort)
                  .text,
              "#a:2:respawn:/sbin/agetty hvc0 9600\n"
              "T0:2:respawn:/sbin/getty -L ttyS0 9600 vt100\n");
}

TEST(ActiveConsoles, ReplacesOrDropsAPvConsole) {
    EXPECT_EQ(edit_active_consoles("A=1\nACTIVE_CONSOLES=\"/dev/tty[1-6] /dev/hvc0\"\n", kPort,
                                   PvConsoleItem::replace)
                  .text,
              "A=1\nACTIVE_CONSOLES=\"/dev/tty[1-6] /dev/ttyS0\"\n");
    EXPECT_EQ(edit_active_consoles("ACTIVE_CONSOLES=\"/dev/tty1 /dev/hvc0\"\n", kPort,
                                   PvConsoleItem::drop)
                  .text,
              "ACTIVE_CONSOLES=\"/dev/tty1\"\n");
    EXPECT_EQ(
        edit_active_consoles("ACTIVE_CONSOLES='/dev/hvc0 /dev/tty1'\n", kPort, PvConsoleItem::drop)
            .text,
        "ACTIVE_CONSOLES='/dev/tty1'\n");
    EXPECT_EQ(
        edit_active_consoles("ACTIVE_CONSOLES=/dev/hvc0\n", kPort, PvConsoleItem::replace).text,
        "ACTIVE_CONSOLES=/dev/ttyS0\n");
    EXPECT_TRUE(edit_active_consoles("#ACTIVE_CONSOLES=/dev/hvc0\nX=/dev/hvc0\n", kPort,
                                     PvConsoleItem::replace)
                    .changes.empty());
}

TEST(Securetty, ListsThePortOnce) {
    EXPECT_EQ(edit_securetty("tty1\nhvc0\n", kPort).text, "tty1\nhvc0\nttyS0\n");
    EXPECT_EQ(edit_securetty("tty1", kPort).text, "tty1\nttyS0\n");
    EXPECT_EQ(edit_securetty("", kPort).text, "ttyS0\n");
    EXPECT_TRUE(edit_securetty("tty1\n ttyS0\n", kPort).changes.empty());
    EXPECT_EQ(edit_securetty("# ttyS0\n", kPort).text, "# ttyS0\nttyS0\n");
}

TEST(ConsoleText, StaysStableOnDamagedText) {
    std::mt19937 random(20261121);
    const std::string text =
        "id:3:initdefault:\nACTIVE_CONSOLES=\"/dev/hvc0 /dev/xvc0\"\r\n"
        "co:2345:respawn:/sbin/agetty xvc0 9600 hvc0\n:::hvc0 ttyS0";
    for (int round = 0; round < 3000; ++round) {
        auto damaged = text;
        for (std::size_t i = 0; i < 1 + random() % 8; ++i) {
            const auto at = random() % damaged.size();
            if (random() % 2 == 0) {
                damaged[at] = ":#\" \thvc0\n"[random() % 10];
            } else {
                damaged.insert(at, damaged.substr(random() % damaged.size(), random() % 12));
            }
        }
        for (const auto& edit :
             {std::function([](const std::string& t) { return edit_inittab(t, kPort); }),
              std::function([](const std::string& t) { return edit_securetty(t, kPort); }),
              std::function([](const std::string& t) {
                  return edit_active_consoles(t, kPort, PvConsoleItem::replace);
              }),
              std::function([](const std::string& t) {
                  return edit_active_consoles(t, kPort, PvConsoleItem::drop);
              })}) {
            const auto once = edit(damaged);
            ASSERT_EQ(once.changes.empty(), once.text == damaged) << damaged;
            const auto twice = edit(once.text);
            ASSERT_EQ(twice.text, once.text) << damaged;
        }
    }
}

class ConsoleModule : public TextModuleTest {
  protected:
    ConsoleModule() { image::add_usual_files(source_); }
};

TEST_F(ConsoleModule, ConvertsASysvinitImage) {
    REQUIRE_ROOT_TO_WRITE();
    source_.file("/etc/inittab", "co:2345:respawn:/sbin/agetty xvc0 9600 vt100-nav\n");
    source_.file("/etc/securetty", "console\nxvc0\n");
    convert(console_module());
    EXPECT_EQ(target_.text_of("/etc/inittab"),
              "co:2345:respawn:/sbin/agetty ttyS0 115200 vt100-nav\n");
    EXPECT_EQ(target_.text_of("/etc/securetty"), "console\nxvc0\nttyS0\n");
    EXPECT_THAT(texts_, ElementsAre(HasSubstr("edit /etc/inittab: line 1: "),
                                    "edit /etc/securetty: line 3: add 'ttyS0' (root may log in on "
                                    "it)"));
    EXPECT_THAT(proofs_,
                ElementsAre("no login waits for a PV console", "/etc/securetty lists ttyS0"));
}

TEST_F(ConsoleModule, F38_MovesEveryLoginOfAPvConsole) {
    REQUIRE_ROOT_TO_WRITE();
    source_.file("/etc/inittab", "co:2345:respawn:/sbin/agetty xvc0 9600 vt100-nav\n");
    source_.file("/etc/init/hvc0.conf", "respawn\nexec /sbin/getty -8 38400 hvc0\n");
    source_.file("/etc/securetty", "console\nhvc0\nxvc0\ntty1\n");
    convert(console_module());
    EXPECT_EQ(target_.text_of("/etc/inittab"),
              "co:2345:respawn:/sbin/agetty ttyS0 115200 vt100-nav\n");
    EXPECT_FALSE(target_.has("/etc/init/hvc0.conf"));
    EXPECT_EQ(target_.text_of("/etc/init/ttyS0.conf"),
              "respawn\nexec /sbin/getty -8 38400 ttyS0\n");
    EXPECT_EQ(target_.text_of("/etc/securetty"), "console\nhvc0\nxvc0\ntty1\nttyS0\n");
}

TEST_F(ConsoleModule, MovesAnUpstartJob) {
    REQUIRE_ROOT_TO_WRITE();
    source_.file("/etc/init/hvc0.conf",
                 "# hvc0 - getty\nrespawn\nexec /sbin/getty -8 38400 hvc0 xhvc01\n");
    convert(console_module());
    EXPECT_FALSE(target_.has("/etc/init/hvc0.conf"));
    EXPECT_EQ(target_.text_of("/etc/init/ttyS0.conf"),
              "# ttyS0 - getty\nrespawn\nexec /sbin/getty -8 38400 ttyS0 xhvc01\n");
    EXPECT_THAT(texts_, ElementsAre("add /etc/init/ttyS0.conf: the login of /etc/init/hvc0.conf on "
                                    "ttyS0",
                                    "remove /etc/init/hvc0.conf: there is no console hvc0"));
    EXPECT_THAT(manifest_.entries(), SizeIs(2));
}

TEST_F(ConsoleModule, KeepsAJobThatServesThePortAndAnOverride) {
    REQUIRE_ROOT_TO_WRITE();
    source_.file("/etc/init/ttyS0.conf", "exec getty ttyS0\n");
    source_.file("/etc/init/hvc0.conf", "exec getty hvc0\n");
    source_.file("/etc/init/xvc0.conf", "exec getty xvc0\n");
    source_.file("/etc/init/xvc0.override", "manual\n");
    convert(console_module());
    EXPECT_EQ(target_.text_of("/etc/init/ttyS0.conf"), "exec getty ttyS0\n");
    EXPECT_FALSE(target_.has("/etc/init/hvc0.conf"));
    EXPECT_TRUE(target_.has("/etc/init/xvc0.conf"));
}

TEST_F(ConsoleModule, RemovesSystemdLinksToPvConsoles) {
    REQUIRE_ROOT_TO_WRITE();
    constexpr std::string_view kWants = "/etc/systemd/system/getty.target.wants/";
    const auto unit = [&](std::string_view name) {
        return std::string(kWants) + std::string(name);
    };
    source_.link(unit("serial-getty@hvc0.service"), "/lib/systemd/system/serial-getty@.service");
    source_.link(unit("getty@tty1.service"), "/lib/systemd/system/getty@.service");
    source_.file(unit("serial-getty@xvc0.service"), "a unit of somebody's own\n");
    convert(console_module());
    EXPECT_FALSE(target_.has(unit("serial-getty@hvc0.service")));
    EXPECT_TRUE(target_.has(unit("getty@tty1.service")));
    EXPECT_TRUE(target_.has(unit("serial-getty@xvc0.service")));
    ASSERT_THAT(texts_, SizeIs(1));
    EXPECT_THAT(texts_[0], HasSubstr("systemd would wait 90 s"));
    ASSERT_THAT(manifest_.entries(), SizeIs(1));
    EXPECT_EQ(manifest_.entries()[0].kind, "link");
}

TEST_F(ConsoleModule, UnmasksThePortUnlessAllLoginsAreMasked) {
    REQUIRE_ROOT_TO_WRITE();
    source_.link("/etc/systemd/system/serial-getty@ttyS0.service", "/dev/null");
    convert(console_module());
    EXPECT_FALSE(target_.has("/etc/systemd/system/serial-getty@ttyS0.service"));
    source_.link("/etc/systemd/system/serial-getty@hvc0.service", "/dev/null");
    texts_.clear();
    convert(console_module());
    EXPECT_THAT(texts_, IsEmpty());
    EXPECT_TRUE(target_.has("/etc/systemd/system/serial-getty@ttyS0.service"));
}

TEST_F(ConsoleModule, LeavesTheListOfConsolesToSerialConf) {
    REQUIRE_ROOT_TO_WRITE();
    source_.file("/etc/sysconfig/init", "ACTIVE_CONSOLES=\"/dev/tty1 /dev/hvc0\"\n");
    convert(console_module());
    EXPECT_EQ(target_.text_of("/etc/sysconfig/init"), "ACTIVE_CONSOLES=\"/dev/tty1 /dev/ttyS0\"\n");
    source_.file("/etc/init/serial.conf", "start on fedora.serial-console-available\n");
    convert(console_module());
    EXPECT_EQ(target_.text_of("/etc/sysconfig/init"), "ACTIVE_CONSOLES=\"/dev/tty1\"\n");
}

TEST_F(ConsoleModule, HasNothingToDoForAnImageWithoutPvConsoles) {
    REQUIRE_ROOT_TO_WRITE();
    convert(console_module());
    EXPECT_THAT(texts_, IsEmpty());
}

TEST_F(ConsoleModule, OnlyRemovesLinksWhenTheJobHasNoSerialConsole) {
    REQUIRE_ROOT_TO_WRITE();
    options_.consoles = {"tty0"};
    source_.file("/etc/inittab", "co:2345:respawn:/sbin/agetty xvc0 9600\n");
    source_.link("/etc/systemd/system/getty.target.wants/serial-getty@hvc0.service", "/x");
    convert(console_module());
    EXPECT_THAT(texts_, ElementsAre(HasSubstr("serial-getty@hvc0.service")));
}

TEST_F(ConsoleModule, DoesNotFollowHostileFiles) {
    source_.link("/etc/inittab", "../../../etc/inittab");
    source_.link("/etc/securetty", "securetty");
    source_.directory("/etc/init/hvc0.conf");
    source_.link("/etc/systemd/system/getty.target.wants",
                 "/etc/systemd/system/getty.target.wants");
    const auto steps = console_edits(source_.open(), options_.consoles);
    ASSERT_TRUE(steps.has_value()) << steps.error().message();
    EXPECT_TRUE(steps->empty());
}

TEST_F(ConsoleModule, FailsToVerifyWhatIsNotConverted) {
    source_.file("/etc/securetty", "console\n");
    plan(console_module());
    const auto proofs = verify(console_module());
    ASSERT_FALSE(proofs.has_value());
    EXPECT_THAT(proofs.error().what, HasSubstr("edit /etc/securetty"));
}

TEST_F(ConsoleModule, TellsWhatItWillDo) {
    source_.file("/etc/inittab",
                 "id:3:initdefault:\n"
                 "co:2345:respawn:/sbin/agetty xvc0 9600 vt100-nav\n"
                 "1:2345:respawn:/sbin/mingetty tty1\n");
    source_.file("/etc/init/hvc0.conf", "respawn\nexec /sbin/getty -8 38400 hvc0\n");
    source_.link("/etc/systemd/system/getty.target.wants/serial-getty@hvc0.service",
                 "/lib/systemd/system/serial-getty@.service");
    source_.file("/etc/securetty", "console\nhvc0\n");
    facts_.boot_entries = {{.title = "a",
                            .where = "/boot/grub/menu.lst:3",
                            .kernel = "/v",
                            .initrds = {},
                            .arguments = "ro console=tty0 console=hvc0"}};
    facts_.boot_entry = 0;
    const auto findings = console_findings(source_.open(), facts_, options_.consoles);
    ASSERT_TRUE(findings.has_value()) << findings.error().message();
    std::vector<std::string> told;
    for (const auto& finding : *findings) {
        EXPECT_FALSE(finding.consequence.empty() || finding.action.empty());
        told.push_back(fmt::format("{} {} {}: {}", image::to_string(finding.severity), finding.id,
                                   finding.where, finding.seen));
    }
    EXPECT_THAT(
        told,
        ElementsAre(
            "warning pv-console-argument /boot/grub/menu.lst:3: console=hvc0",
            "warning pv-console-login "
            "/etc/systemd/system/getty.target.wants/serial-getty@hvc0.service: a link by which "
            "systemd starts a login on a PV console",
            "warning pv-console-login /etc/inittab:2: "
            "co:2345:respawn:/sbin/agetty xvc0 9600 vt100-nav",
            "warning pv-console-login /etc/init/hvc0.conf: a job for a login on a PV console",
            "info securetty-without-serial /etc/securetty: it does not list ttyS0"));
}

TEST_F(ConsoleModule, HasNothingToTellOfAConvertedImage) {
    REQUIRE_ROOT_TO_WRITE();
    source_.file("/etc/inittab", "co:2345:respawn:/sbin/agetty xvc0 9600 vt100-nav\n");
    source_.file("/etc/securetty", "console\n");
    convert(console_module());
    auto findings = console_findings(target_.open(), facts_, options_.consoles);
    ASSERT_TRUE(findings.has_value());
    std::erase_if(*findings, [](const image::Finding& finding) {
        return finding.id == "pv-console-argument";  // of the menu, which is another module's
    });
    EXPECT_THAT(*findings, IsEmpty());
}

}  // namespace
}  // namespace amilift::modules
