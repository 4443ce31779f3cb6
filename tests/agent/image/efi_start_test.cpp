// SPDX-License-Identifier: Apache-2.0
#include "image/efi_start.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <set>

#include "core/text.hpp"
#include "image/efi_loader.hpp"
#include "image/facts.hpp"
#include "image/text_lines.hpp"
#include "tests/agent/image/efi_samples.hpp"
#include "tests/agent/image/temporary_root.hpp"

namespace amilift::image {
namespace {

using namespace samples;
using testing::HasSubstr;

/// An EFI system partition in memory.
class FilesInMemory final : public EfiFiles {
  public:
    std::map<std::string, std::string> files;  ///< names in lower case
    std::map<std::string, std::string> in_archive;
    bool is_broken = false;

    core::Result<EfiFile> read(std::string_view path, std::size_t limit) override {
        if (is_broken) return core::fail(core::Errc::io_error, "GRUB cannot read it: a ring");
        return find(files, core::lower(path), limit);
    }
    core::Result<EfiFile> read_inside(std::string_view archive, std::string_view path,
                                      std::size_t limit) override {
        EXPECT_EQ(archive, "archive");
        return find(in_archive, std::string(path), limit);
    }
    core::Result<std::vector<std::string>> list(std::string_view path) override {
        std::set<std::string> names;
        const auto start = core::lower(path) + "/";
        for (const auto& [name, text] : files) {
            if (!name.starts_with(start)) continue;
            names.insert(name.substr(start.size(), name.find('/', start.size()) - start.size()));
        }
        return std::vector<std::string>(names.begin(), names.end());
    }

  private:
    static EfiFile find(const std::map<std::string, std::string>& among, const std::string& path,
                        std::size_t limit) {
        const auto found = among.find(path);
        if (found != among.end()) return {FileKind::regular, found->second.substr(0, limit)};
        const auto below = among.lower_bound(path + "/");
        if (below != among.end() && below->first.starts_with(path + "/")) {
            return {FileKind::directory, {}};
        }
        return {};
    }
};

using Modules = std::vector<std::string_view>;
const Modules kAllModules{"part_gpt",     "ext2",           "fat",    "memdisk",
                          "normal",       "configfile",     "search", "search_fs_uuid",
                          "search_label", "search_fs_file", "regexp", "test",
                          "loadenv",      "true",           "linux",  "minicmd"};

std::string grub(std::string_view prefix, std::string_view config = {},
                 std::string_view archive = {}, const Modules& modules = kAllModules) {
    std::string objects;
    for (const auto name : modules) objects += grub_object(0, grub_module(name));
    if (!archive.empty()) objects += grub_object(1, archive);
    if (!config.empty()) objects += grub_object(2, std::string(config) + '\0');
    objects += grub_object(3, std::string(prefix) + '\0');
    return efi_program({{".text", "x"}, {"mods", grub_modules(objects)}});
}

class EfiStartTest : public ::testing::Test {
  protected:
    EfiStartTest() {
        tree_.file("/boot/vmlinuz-1", bz_image());
        tree_.file("/boot/initrd-1", "i");
        tree_.file("/boot/vmlinuz-2", bz_image());
        tree_.file("/boot/grub/grub.cfg", kMenu);
        tree_.file("/etc/fstab", "UUID=11-22 / ext4 defaults 0 1\n");
    }

    EfiStart follow() {
        BootDisk disk;
        disk.is_gpt = true;
        disk.code = BootCode::grub2;
        disk.has_system_partition = true;
        disk.volumes = {{.partition = 1, .mount_point = "/", .uuid = "11-22", .label = "root"}};
        disk.volumes.front().grub_module = "ext2";
        disk.names = {{.partition = 15, .spec = "UUID=ABCD-1234"}};
        const auto root = tree_.open();
        const auto facts = inspect_image(root, disk);
        EXPECT_TRUE(facts) << facts.error().message();
        EXPECT_EQ(facts->menu_path, "/boot/grub/grub.cfg");
        EXPECT_TRUE(facts->boot_entry.has_value());
        return follow_efi_start(esp_, 15, root, *facts);
    }

    /// The start of a bzImage.
    static std::string bz_image() {
        std::string image(8192, '\0');
        put_le(image, 0x1f1, 4, 1);
        put_le(image, 0x1fe, 0xaa55, 2);
        image.replace(0x202, 4, "HdrS");
        put_le(image, 0x206, 0x20c, 2);
        return image;
    }

    static constexpr const char* kMenu =
        "search --no-floppy --fs-uuid --set=root 11-22\n"
        "menuentry 'one' { linux /boot/vmlinuz-1 root=UUID=11-22 ro\n initrd /boot/initrd-1 }\n"
        "menuentry 'two' { linux /boot/vmlinuz-2 root=UUID=11-22 ro }\n"
        "if [ \"$grub_platform\" = efi ]; then menuentry 'setup' { fwsetup }; fi\n";
    static constexpr const char* kProgram = "/efi/boot/bootx64.efi";
    static constexpr const char* kWhere = "EFI system partition: /EFI/BOOT/BOOTX64.EFI";

    TemporaryRoot tree_;
    FilesInMemory esp_;
};

TEST_F(EfiStartTest, NeedsAProgramForRemovableMedia) {
    esp_.files["/efi/debian/grubx64.efi"] = grub("/boot/grub");
    auto start = follow();
    EXPECT_EQ(start.id, "efi-loader-missing");
    EXPECT_EQ(start.where, kWhere);
    EXPECT_THAT(start.action, HasSubstr("grub-install --removable"));
    esp_.files["/efi/boot/bootx64.efi/x"] = "of a directory with that name";
    EXPECT_EQ(follow().id, "efi-loader-missing");
}

TEST_F(EfiStartTest, NeedsAProgramThatFirmwareStarts) {
    esp_.files[kProgram] = "a text";
    auto start = follow();
    EXPECT_EQ(start.id, "efi-loader-invalid");
    EXPECT_EQ(start.where, kWhere);
    EXPECT_THAT(start.seen, HasSubstr("no PE image"));
    esp_.files[kProgram] = "";
    EXPECT_EQ(follow().id, "efi-loader-invalid");
    esp_.files[kProgram] = std::string(kEfiProgramLimit + 1, 'x');
    EXPECT_EQ(follow().id, "efi-loader-unproven");
    esp_.is_broken = true;
    start = follow();
    EXPECT_EQ(start.id, "efi-partition-unreadable");
    EXPECT_THAT(start.seen, HasSubstr("a ring"));
}

TEST_F(EfiStartTest, ProvesNothingOfAProgramThatIsNotKnown) {
    esp_.files[kProgram] = efi_program({{".text", "code"}});
    EXPECT_EQ(follow().id, "efi-loader-unproven");
    EXPECT_THAT(follow().seen, HasSubstr("nothing proves that it starts this system"));
    esp_.files[kProgram] = efi_program({{".text", "#### LoaderInfo: systemd-boot 252"}});
    EXPECT_EQ(follow().id, "efi-loader-unproven");
    EXPECT_THAT(follow().seen, HasSubstr("systemd-boot, whose entries are not looked at"));
}

TEST_F(EfiStartTest, FollowsGrubOfARemovableInstallation) {
    esp_.files[kProgram] = grub("(,gpt1)/boot/grub");
    auto start = follow();
    EXPECT_TRUE(start.is_proven()) << start.id << ": " << start.seen;
    EXPECT_EQ(start.seen, "/EFI/BOOT/BOOTX64.EFI, then /boot/grub/grub.cfg");
    // By the commands that are inside of it.
    esp_.files[kProgram] = grub("/EFI/x",
                                "search.fs_uuid 11-22 root hd0,gpt1\n"
                                "set prefix=($root)'/boot/grub'\n");
    start = follow();
    EXPECT_TRUE(start.is_proven()) << start.id << ": " << start.seen;
    // The parser of a core image knows no conditions.
    esp_.files[kProgram] = grub("(,gpt1)/boot/grub", "if false; then\nset prefix=/gone\nfi\n");
    EXPECT_EQ(follow().id, "efi-config-missing");
}

TEST_F(EfiStartTest, FollowsAConfigurationOnThePartition) {
    esp_.files[kProgram] = grub("/EFI/debian");
    EXPECT_EQ(follow().id, "efi-config-missing");
    EXPECT_THAT(follow().seen, HasSubstr("'(hd0,gpt15)/EFI/debian/grub.cfg' cannot be read"));
    auto& config = esp_.files["/efi/debian/grub.cfg"];
    config =
        "search.fs_uuid 11-22 root hd0,gpt1\nset prefix=($root)'/boot/grub'\n"
        "configfile $prefix/grub.cfg\n";
    auto start = follow();
    EXPECT_TRUE(start.is_proven()) << start.id << ": " << start.seen;
    EXPECT_EQ(start.seen,
              "/EFI/BOOT/BOOTX64.EFI, then EFI system partition: /EFI/debian/grub.cfg, then "
              "/boot/grub/grub.cfg");
    config.replace(config.find("11-22"), 5, "33-44");
    start = follow();
    EXPECT_EQ(start.id, "efi-config-missing");
    EXPECT_EQ(start.where, "EFI system partition: /EFI/debian/grub.cfg:1");
    EXPECT_THAT(start.seen, HasSubstr("no filesystem of the disk has the UUID '33-44'"));
    config = "configfile (hd0,gpt1)/boot/grub/gone.cfg\n";
    start = follow();
    EXPECT_EQ(start.id, "efi-config-missing");
    EXPECT_THAT(start.seen, HasSubstr("'(hd0,gpt1)/boot/grub/gone.cfg' cannot be read"));
}

TEST_F(EfiStartTest, IsProvenOnlyForTheEntryThatABiosStarts) {
    esp_.files[kProgram] = grub("/EFI/x");
    auto& config = esp_.files["/efi/x/grub.cfg"];
    config = std::string("set default=two\n") + kMenu;
    auto start = follow();
    EXPECT_EQ(start.id, "efi-menu-differs");
    EXPECT_EQ(start.seen,
              "GRUB reads 'EFI system partition: /EFI/x/grub.cfg', where 'two' starts by itself; a "
              "BIOS starts 'one', and the kernels differ: '/boot/vmlinuz-2' and '/boot/vmlinuz-1'");
    config = kMenu;
    EXPECT_TRUE(follow().is_proven());
    config.replace(config.find("ro\n initrd"), 2, "ro init=/x");
    EXPECT_EQ(follow().id, "efi-menu-differs");
    EXPECT_THAT(
        follow().seen,
        HasSubstr("the arguments differ: 'root=UUID=11-22 ro init=/x' and 'root=UUID=11-22 ro'"));
    config = kMenu;
    config.replace(config.find("initrd-1"), 8, "initrd-2");
    EXPECT_THAT(follow().seen,
                HasSubstr("the initrds differ: '/boot/initrd-2' and '/boot/initrd-1'"));
    config = kMenu;
    config.replace(config.find("/boot/vmlinuz-1"), 0, "(hd1)");
    EXPECT_EQ(follow().id, "efi-menu-differs");
    EXPECT_THAT(follow().seen, HasSubstr("on another disk: '(hd1)'"));
}

/// They begin a kernel in the 16-bit mode of a BIOS.
TEST_F(EfiStartTest, TakesNoKernelFromCommandsForABios) {
    esp_.files[kProgram] = grub("/EFI/x");
    auto& config = esp_.files["/efi/x/grub.cfg"];
    config = kMenu;
    config.replace(config.find("initrd /boot"), 6, "initrd16");
    EXPECT_EQ(follow().id, "efi-menu-differs");
    EXPECT_THAT(follow().seen, HasSubstr("the initrds differ: '' and '/boot/initrd-1'"));
    config.replace(config.find("linux /boot"), 5, "linux16");
    EXPECT_EQ(follow().id, "efi-menu-differs");
    EXPECT_THAT(follow().seen, HasSubstr("the kernels differ: '' and '/boot/vmlinuz-1'"));
}

TEST_F(EfiStartTest, IsNotProvenByAScriptThatNeverEnds) {
    esp_.files[kProgram] = grub("/EFI/x");
    esp_.files["/efi/x/grub.cfg"] = std::string(kMenu) + "while true; do set x=1; done\n";
    const auto start = follow();
    EXPECT_EQ(start.id, "efi-loader-unproven");
    EXPECT_THAT(start.seen, HasSubstr("takes too long"));
}

TEST_F(EfiStartTest, IsNotProvenByAScriptThatLeavesGrub) {
    auto modules = kAllModules;
    modules.insert(modules.end(), {"halt", "reboot", "efifwsetup", "boot"});
    esp_.files[kProgram] = grub("/EFI/x", {}, {}, modules);
    auto& config = esp_.files["/efi/x/grub.cfg"];
    for (const std::string_view command :
         {"exit", "normal_exit", "halt", "reboot", "fwsetup", "linux /boot/vmlinuz-2\nboot"}) {
        for (const bool is_first : {true, false}) {
            config = is_first ? fmt::format("{}\n{}", command, kMenu)
                              : fmt::format("{}while true; do\n{}\ndone\n", kMenu, command);
            const auto start = follow();
            EXPECT_EQ(start.id, "efi-config-missing") << command;
            EXPECT_THAT(start.seen, HasSubstr("outside of an entry ends GRUB")) << command;
        }
    }
    // With nothing loaded, and where the next menu has been shown already.
    config = std::string("boot\n") + kMenu;
    EXPECT_TRUE(follow().is_proven()) << follow().seen;
    config = "configfile (hd0,gpt1)/boot/grub/grub.cfg\nexit\n";
    EXPECT_TRUE(follow().is_proven()) << follow().seen;
    esp_.files[kProgram] = grub("(,gpt1)/boot/grub", "exit\n");
    EXPECT_EQ(follow().id, "efi-config-missing");
}

TEST_F(EfiStartTest, NamesWhereNothingIsFound) {
    esp_.files[kProgram] = grub("/EFI/x", "set a=b\nset c=d\n");
    auto start = follow();
    EXPECT_EQ(start.where, kWhere) << "no line of the commands inside asks for that file";
    EXPECT_THAT(start.seen, HasSubstr("/EFI/x/grub.cfg' cannot be read"));
    esp_.files[kProgram] = grub("/EFI/x", "set a=b\nsearch --label --set=root ESP\n");
    start = follow();
    EXPECT_EQ(start.where, std::string(kWhere) + ":2");
    EXPECT_THAT(start.seen, HasSubstr("the EFI system partition is not known"));
}

/// As `grub-install --removable` makes it: the rest lies beside the configuration.
TEST_F(EfiStartTest, NeedsTheModulesThatItUses) {
    esp_.files[kProgram] = grub("(,gpt1)/boot/grub", {}, {}, {"part_gpt", "ext2"});
    for (const std::string_view module : {"normal", "linux"}) {
        const auto start = follow();
        EXPECT_EQ(start.id, "efi-config-missing");
        EXPECT_THAT(start.seen, HasSubstr(fmt::format("no module '{0}' inside, and cannot load "
                                                      "'(hd0,gpt1)/boot/grub/x86_64-efi/{0}.mod'",
                                                      module)));
        tree_.file(fmt::format("/boot/grub/x86_64-efi/{}.mod", module), "m");
    }
    const auto start = follow();
    EXPECT_TRUE(start.is_proven()) << start.seen;
}

/// The root device is that of the prefix, whether or not it is searched for.
TEST_F(EfiStartTest, NeedsNoModuleThatChangesNothing) {
    auto modules = kAllModules;
    std::erase(modules, "search");
    esp_.files[kProgram] = grub("(,gpt1)/boot/grub", {}, {}, modules);
    const auto start = follow();
    EXPECT_TRUE(start.is_proven()) << start.seen;
}

TEST_F(EfiStartTest, NeedsModulesToReadTheDisk) {
    for (const std::string_view module : {"part_gpt", "ext2"}) {
        auto modules = kAllModules;
        std::erase(modules, module);
        // Neither can be loaded from the filesystem that it takes to read.
        tree_.file(fmt::format("/boot/grub/x86_64-efi/{}.mod", module), "m");
        esp_.files[kProgram] = grub("(,gpt1)/boot/grub", {}, {}, modules);
        auto start = follow();
        EXPECT_EQ(start.id, "efi-config-missing");
        EXPECT_THAT(start.seen, HasSubstr(fmt::format("no module '{}'", module)));
        esp_.files[kProgram] = grub(
            "/EFI/x", "search.fs_uuid 11-22 root\nset prefix=($root)/boot/grub\n", {}, modules);
        start = follow();
        EXPECT_EQ(start.id, "efi-config-missing");
        EXPECT_THAT(start.seen, HasSubstr(fmt::format("no module '{}'", module)));
    }
    esp_.files[kProgram] = grub("(,gpt1)/boot/grub", {}, {}, {"normal"});
    EXPECT_THAT(follow().seen, HasSubstr("no module 'part_gpt'"));
    esp_.files[kProgram] = grub("(,gpt1)/boot/grub");
    EXPECT_TRUE(follow().is_proven());
}

/// Its own archive can be read from the start, and has the others.
TEST_F(EfiStartTest, LoadsModulesFromItsArchive) {
    esp_.files[kProgram] = grub("(memdisk)/boot/grub", {}, "archive", {"memdisk", "tar"});
    for (const std::string_view module :
         {"normal", "search", "configfile", "ext2", "linux", "test", "part_gpt"}) {
        esp_.in_archive[fmt::format("/boot/grub/x86_64-efi/{}.mod", module)] = "m";
    }
    auto& config = esp_.in_archive["/boot/grub/grub.cfg"];
    config = "search --fs-uuid --set=root 11-22\nconfigfile (hd0,gpt1)/boot/grub/grub.cfg\n";
    const auto start = follow();
    EXPECT_EQ(start.id, "efi-config-missing");
    EXPECT_THAT(start.seen, HasSubstr("no module 'part_gpt' inside"));
    config.insert(0, "insmod part_gpt\n");
    EXPECT_TRUE(follow().is_proven()) << follow().seen;
    config.insert(0, "insmod gone\n");
    EXPECT_TRUE(follow().is_proven()) << follow().seen;
}

TEST_F(EfiStartTest, LoadsNoModuleForACommandThatRunsFirst) {
    const Modules few{"part_gpt", "ext2", "normal", "test", "linux"};
    for (const std::string_view module : {"search_fs_uuid", "regexp", "configfile"}) {
        tree_.file(fmt::format("/boot/grub/x86_64-efi/{}.mod", module), "m");
    }
    constexpr std::string_view kSearch =
        "search.fs_uuid 11-22 root\nset prefix=($root)/boot/grub\n";
    esp_.files[kProgram] = grub("(,gpt15)/EFI/x", kSearch, {}, few);
    auto start = follow();
    EXPECT_EQ(start.id, "efi-config-missing");
    EXPECT_EQ(start.where, std::string(kWhere) + ":1");
    EXPECT_THAT(start.seen, HasSubstr("no module 'search_fs_uuid' inside;"));
    const auto loads = fmt::format("insmod search_fs_uuid\n{}", kSearch);
    esp_.files[kProgram] = grub("(,gpt1)/boot/grub", loads, {}, few);
    start = follow();
    EXPECT_TRUE(start.is_proven()) << start.seen;
}

/// Of a loader of 2.02 and later; some vendors' `linux` has both commands.
TEST_F(EfiStartTest, KnowsTheOlderCommandForLinux) {
    esp_.files[kProgram] = grub("/EFI/x");
    auto& config = esp_.files["/efi/x/grub.cfg"];
    config = kMenu;
    config.replace(config.find("linux /boot"), 5, "linuxefi");
    config.replace(config.find("initrd /boot"), 6, "initrdefi");
    EXPECT_TRUE(follow().is_proven()) << follow().seen;
    auto modules = kAllModules;
    std::erase(modules, "linux");
    esp_.files[kProgram] = grub("/EFI/x", {}, {}, modules);
    EXPECT_THAT(follow().seen, HasSubstr("no module 'linuxefi'"));
    modules.emplace_back("linuxefi");
    esp_.files[kProgram] = grub("/EFI/x", {}, {}, modules);
    EXPECT_TRUE(follow().is_proven()) << follow().seen;
}

TEST_F(EfiStartTest, FollowsShim) {
    esp_.files[kProgram] = shim_program();
    auto start = follow();
    EXPECT_EQ(start.id, "efi-loader-missing");
    EXPECT_EQ(start.where, "EFI system partition: /EFI/BOOT/grubx64.efi");
    esp_.files["/efi/boot/grubx64.efi"] = grub("(,gpt1)/boot/grub");
    start = follow();
    EXPECT_TRUE(start.is_proven()) << start.id << ": " << start.seen;
    esp_.files["/efi/boot/grubx64.efi"] = shim_program();
    EXPECT_EQ(follow().id, "efi-loader-unproven") << "a ring";
}

TEST_F(EfiStartTest, FollowsTheFallbackProgramOfShim) {
    esp_.files[kProgram] = shim_program();
    esp_.files["/efi/boot/grubx64.efi"] = "is not what shim starts";
    esp_.files["/efi/boot/fbx64.efi"] = efi_program({{".text", "fallback"}});
    EXPECT_EQ(follow().id, "efi-loader-missing");
    esp_.files["/efi/fedora/bootx64.csv"] =
        "\xff\xfe" + utf16("shimx64.efi,Fedora,,This is the boot entry for Fedora\n");
    EXPECT_EQ(follow().where, "EFI system partition: /EFI/fedora/shimx64.efi");
    esp_.files["/efi/fedora/shimx64.efi"] = shim_program();
    esp_.files["/efi/fedora/grubx64.efi"] = grub("/EFI/fedora");
    esp_.files["/efi/fedora/grub.cfg"] = kMenu;
    const auto start = follow();
    EXPECT_TRUE(start.is_proven()) << start.id << ": " << start.seen;
    esp_.files["/efi/other/bootx64.csv"] = utf16("shimx64.efi,Other\n");
    EXPECT_EQ(follow().id, "efi-loader-unproven");
}

TEST_F(EfiStartTest, FollowsTheShimOfSuseByItsOwnNames) {
    esp_.files[kProgram] = shim_program("\\grub.efi");
    esp_.files["/efi/boot/grubx64.efi"] = grub("(,gpt1)/boot/grub");
    esp_.files["/efi/boot/fbx64.efi"] = "is not what it starts";
    EXPECT_EQ(follow().where, "EFI system partition: /EFI/BOOT/grub.efi");
    esp_.files["/efi/boot/grub.efi"] = grub("(,gpt1)/boot/grub");
    EXPECT_TRUE(follow().is_proven());
    esp_.files["/efi/boot/fallback.efi"] = efi_program({{".text", "fallback"}});
    EXPECT_EQ(follow().where, "EFI system partition: /EFI/BOOT/fallback.efi");
    esp_.files["/efi/opensuse/boot.csv"] = utf16("shim.efi,opensuse\n");
    esp_.files["/efi/opensuse/shim.efi"] = shim_program("\\grub.efi");
    esp_.files["/efi/opensuse/grub.efi"] = grub("(,gpt1)/boot/grub");
    const auto start = follow();
    EXPECT_TRUE(start.is_proven()) << start.id << ": " << start.seen;
}

/// As Debian's signed GRUB: the configuration is in an archive of the program.
TEST_F(EfiStartTest, FollowsAConfigurationInsideOfTheProgram) {
    esp_.files[kProgram] = grub("/EFI/debian", "normal (memdisk)/grub.cfg\n", "archive");
    esp_.in_archive["/grub.cfg"] =
        "if [ -z \"$prefix\" -o ! -e \"$prefix\" ]; then\n"
        "\tif ! search --file --set=root /.disk/info; then\n"
        "\t\tsearch --file --set=root /.disk/mini-info\n\tfi\n"
        "\tset prefix=($root)/boot/grub\nfi\n"
        "if [ -e $prefix/x86_64-efi/grub.cfg ]; then\n\tsource $prefix/x86_64-efi/grub.cfg\n"
        "elif [ -e $prefix/grub.cfg ]; then\n\tsource $prefix/grub.cfg\n"
        "else\n\tsource $cmdpath/grub.cfg\nfi\n";
    EXPECT_EQ(follow().id, "efi-config-missing");
    esp_.files["/efi/boot/grub.cfg"] =
        "search.fs_uuid 11-22 root\nconfigfile ($root)/boot/grub/grub.cfg\n";
    auto start = follow();
    EXPECT_TRUE(start.is_proven()) << start.id << ": " << start.seen;
    esp_.files["/efi/debian/grub.cfg"] = "menuentry 'none' { linux /vmlinuz }\n";
    EXPECT_EQ(follow().id, "efi-menu-differs") << "the prefix comes first";
}

TEST_F(EfiStartTest, TakesANameWithoutASlashForNoFile) {
    esp_.files[kProgram] = grub("/EFI/debian", "normal (memdisk)grub.cfg\n", "archive");
    esp_.in_archive["grub.cfg"] = kMenu;
    EXPECT_EQ(follow().id, "efi-config-missing");
}

/// What amilift itself writes.
TEST_F(EfiStartTest, ReadsAnEarlyConfigurationWithRegexp) {
    esp_.files[kProgram] = grub("/gone",
                                "regexp --set=1:disk '^\\(([^,]+),' \"$cmdpath\"\n"
                                "set root=\"$disk,gpt1\"\nset prefix=($root)/boot/grub\n");
    const auto start = follow();
    EXPECT_TRUE(start.is_proven()) << start.id << ": " << start.seen;
}

/// A conversion sets consoles in the menu of the image only.
TEST_F(EfiStartTest, MayDifferInWhatDoesNotDecideWhatStarts) {
    esp_.files[kProgram] = grub("/EFI/x");
    const auto entry = [&](std::string_view arguments) {
        esp_.files["/efi/x/grub.cfg"] =
            "search --fs-uuid --set=root 11-22\nmenuentry 'own' { linux /boot/vmlinuz-1 " +
            std::string(arguments) + "\n initrd /boot/initrd-1 }\n";
        return follow();
    };
    EXPECT_TRUE(entry("root=UUID=11-22 ro console=ttyS0 quiet").is_proven());
    EXPECT_EQ(entry("root=UUID=11-33 ro").id, "efi-menu-differs");
    EXPECT_EQ(entry("root=UUID=11-22 ro net.ifnames=0").id, "efi-menu-differs");
    EXPECT_EQ(entry("root=UUID=11-22 ro init=/bin/sh").id, "efi-menu-differs");
}

/// Nothing edits an entry that lies on the partition.
TEST_F(EfiStartTest, NeedsARootThatKeepsItsNameWhereNothingEditsIt) {
    tree_.file(
        "/boot/grub/grub.cfg",
        "menuentry 'one' { linux /boot/vmlinuz-1 root=/dev/sda1 ro\n initrd /boot/initrd-1 }\n");
    esp_.files[kProgram] = grub("/EFI/x");
    esp_.files["/efi/x/grub.cfg"] =
        "search --fs-uuid --set=root 11-22\n"
        "menuentry 'own' { linux /boot/vmlinuz-1 root=/dev/sda1 ro\n initrd /boot/initrd-1 }\n";
    const auto start = follow();
    EXPECT_EQ(start.id, "efi-menu-differs");
    EXPECT_THAT(start.where, HasSubstr("/EFI/x/grub.cfg:"));
    EXPECT_THAT(start.seen, HasSubstr("root=/dev/sda1"));
    esp_.files["/efi/x/grub.cfg"] = "search.fs_uuid 11-22 root\nconfigfile /boot/grub/grub.cfg\n";
    EXPECT_TRUE(follow().is_proven());
}

}  // namespace
}  // namespace amilift::image
