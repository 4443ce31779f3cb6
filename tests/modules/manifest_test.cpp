// SPDX-License-Identifier: Apache-2.0
#include "modules/manifest.hpp"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>

#include "core/sha256.hpp"
#include "tests/modules/module_fixture.hpp"

namespace amilift::modules {
namespace {

using test::open_root_of;
using test::read_text;
using test::TemporaryDirectory;
using test::write_text;

class ManifestTest : public ::testing::Test {
  protected:
    TemporaryDirectory tree;
    image::SafeRoot root = open_root_of(tree.path());
    Manifest manifest;
};

TEST_F(ManifestTest, ListsAnAddedFileAndTheDirectoriesThatItNeeded) {
    ASSERT_TRUE(manifest.write(root, "bootloader", "/boot/amilift/grub.cfg", "set x\n"));
    ASSERT_EQ(manifest.entries().size(), 3U);
    EXPECT_EQ(manifest.entries()[0].path, "/boot");
    EXPECT_EQ(manifest.entries()[0].kind, "directory");
    EXPECT_EQ(manifest.entries()[1].path, "/boot/amilift");
    const auto& file = manifest.entries()[2];
    EXPECT_EQ(file.path, "/boot/amilift/grub.cfg");
    EXPECT_EQ(file.module, "bootloader");
    EXPECT_FALSE(file.before);
    ASSERT_TRUE(file.after);
    EXPECT_EQ(file.after->size_bytes, 6U);
    EXPECT_EQ(file.after->sha256, core::sha256_hex("set x\n").value());
    EXPECT_EQ(read_text(tree / "boot/amilift/grub.cfg"), "set x\n");
}

TEST_F(ManifestTest, KeepsBothVersionsOfAChangedFile) {
    write_text(tree / "etc/fstab", "old\n");
    ASSERT_TRUE(manifest.write(root, "fstab", "/etc/fstab", "new\n"));
    ASSERT_EQ(manifest.entries().size(), 1U);
    EXPECT_EQ(manifest.entries()[0].before->sha256, core::sha256_hex("old\n").value());
    EXPECT_EQ(manifest.entries()[0].after->sha256, core::sha256_hex("new\n").value());
}

TEST_F(ManifestTest, ListsAllNamesOfAFile) {
    if (::geteuid() != 0) GTEST_SKIP() << "files of an image can be written by root only";
    write_text(tree / "etc/one", "old\n");
    std::filesystem::create_hard_link(tree / "etc/one", tree / "etc/two");
    ASSERT_TRUE(manifest.write(root, "network", "/etc/two", "new\n"));
    EXPECT_EQ(read_text(tree / "etc/one"), "new\n");
    ASSERT_EQ(manifest.entries().size(), 2U);
    EXPECT_EQ(manifest.entries()[0].path, "/etc/two");
    EXPECT_EQ(manifest.entries()[1].path, "/etc/one");
    EXPECT_EQ(manifest.entries()[0].after, manifest.entries()[1].after);
    EXPECT_EQ(manifest.entries()[0].before, manifest.entries()[1].before);
    EXPECT_EQ(std::filesystem::hard_link_count(tree / "etc/one"), 2U);
}

TEST_F(ManifestTest, WriteThatChangesNothingIsNeitherDoneNorListed) {
    write_text(tree / "etc/fstab", "same\n");
    struct stat before{};
    ASSERT_EQ(::stat((tree / "etc/fstab").c_str(), &before), 0);
    ASSERT_TRUE(manifest.write(root, "fstab", "/etc/fstab", "same\n"));
    struct stat after{};
    ASSERT_EQ(::stat((tree / "etc/fstab").c_str(), &after), 0);
    EXPECT_TRUE(manifest.entries().empty());
    EXPECT_EQ(before.st_ino, after.st_ino);
}

TEST_F(ManifestTest, ListsWhatALinkLeadsTo) {
    write_text(tree / "boot/grub/grub.conf", "a");
    ASSERT_EQ(::symlink("/boot/grub", (tree / "grubdir").c_str()), 0);
    ASSERT_EQ(::symlink("grub.conf", (tree / "boot/grub/menu.lst").c_str()), 0);
    ASSERT_TRUE(manifest.write(root, "menu", "/grubdir/menu.lst", "b"));
    ASSERT_EQ(manifest.entries().size(), 1U);
    EXPECT_EQ(manifest.entries()[0].path, "/boot/grub/grub.conf");
    EXPECT_TRUE(std::filesystem::is_symlink(tree / "boot/grub/menu.lst"));
    EXPECT_EQ(read_text(tree / "boot/grub/grub.conf"), "b");
}

TEST_F(ManifestTest, NewFileBehindALinkedDirectoryHasItsRealPath) {
    std::filesystem::create_directories(tree / "usr/lib");
    ASSERT_EQ(::symlink("usr/lib", (tree / "lib").c_str()), 0);
    ASSERT_TRUE(manifest.write(root, "x", "/lib/amilift/file", "b"));
    EXPECT_EQ(manifest.entries().back().path, "/usr/lib/amilift/file");
}

TEST_F(ManifestTest, TwoChangesOfOnePathAreOneEntry) {
    write_text(tree / "f", "1");
    ASSERT_TRUE(manifest.write(root, "a", "/f", "2"));
    ASSERT_TRUE(manifest.write(root, "b", "/f", "3"));
    ASSERT_EQ(manifest.entries().size(), 1U);
    EXPECT_EQ(manifest.entries()[0].before->sha256, core::sha256_hex("1").value());
    EXPECT_EQ(manifest.entries()[0].after->sha256, core::sha256_hex("3").value());
    ASSERT_TRUE(manifest.write(root, "c", "/f", "1"));
    EXPECT_TRUE(manifest.entries().empty()) << "the file is as it was before";
}

TEST_F(ManifestTest, AddedThenRemovedLeavesNoEntry) {
    ASSERT_TRUE(manifest.write(root, "a", "/f", "2"));
    ASSERT_TRUE(manifest.remove(root, "a", "/f"));
    EXPECT_TRUE(manifest.entries().empty());
}

TEST_F(ManifestTest, RefusesADirectoryADanglingLinkAndADevice) {
    std::filesystem::create_directories(tree / "d");
    ASSERT_EQ(::symlink("nowhere", (tree / "dangling").c_str()), 0);
    ASSERT_EQ(::mkfifo((tree / "fifo").c_str(), 0600), 0);
    for (const char* path : {"/d", "/dangling", "/fifo"}) {
        const auto written = manifest.write(root, "m", path, "x");
        ASSERT_FALSE(written) << path;
        EXPECT_TRUE(written.error().is(core::Errc::conflict)) << written.error().message();
        EXPECT_NE(written.error().what.find(path), std::string::npos);
    }
    EXPECT_TRUE(manifest.entries().empty());
    EXPECT_FALSE(std::filesystem::exists(tree / "nowhere"));
}

TEST_F(ManifestTest, LinksAreMadeOnceAndRemovedAsLinks) {
    ASSERT_TRUE(manifest.make_link(root, "m", "/a/link", "../target"));
    ASSERT_TRUE(manifest.make_link(root, "m", "/a/link", "../target"));
    ASSERT_EQ(manifest.entries().size(), 2U);
    EXPECT_EQ(manifest.entries()[1].kind, "link");
    EXPECT_EQ(manifest.entries()[1].after->sha256, core::sha256_hex("../target").value());
    const auto other = manifest.make_link(root, "m", "/a/link", "elsewhere");
    ASSERT_FALSE(other);
    EXPECT_TRUE(other.error().is(core::Errc::already_exists));

    write_text(tree / "kept", "x");
    ASSERT_EQ(::symlink("kept", (tree / "old").c_str()), 0);
    ASSERT_TRUE(manifest.remove(root, "m", "/old"));
    EXPECT_EQ(manifest.entries().back().kind, "link");
    EXPECT_FALSE(manifest.entries().back().after);
    EXPECT_EQ(read_text(tree / "kept"), "x");
    EXPECT_TRUE(manifest.remove(root, "m", "/never/was"));
}

TEST_F(ManifestTest, JsonRoundTripIsByteExact) {
    write_text(tree / "etc/fstab", "old\n");
    write_text(tree / "gone", "old\n");
    ASSERT_TRUE(manifest.write(root, "fstab", "/etc/fstab", "new\n"));
    ASSERT_TRUE(manifest.remove(root, "console", "/gone"));
    ASSERT_TRUE(manifest.make_link(root, "menu", "/new/link", "text"));
    const auto again = Manifest::from_json(manifest.to_json());
    ASSERT_TRUE(again) << again.error().message();
    EXPECT_EQ(again->entries(), manifest.entries());
    EXPECT_EQ(again->to_json(), manifest.to_json());
}

TEST_F(ManifestTest, PathsThatAreNoUtf8DoNotBreakTheDocument) {
    ASSERT_TRUE(manifest.write(root, "m", "/caf\xe9", "x"));
    EXPECT_TRUE(Manifest::from_json(manifest.to_json()));
}

TEST_F(ManifestTest, WritesItselfLastAndListsEverythingButItself) {
    ASSERT_TRUE(manifest.write(root, "m", "/f", "x"));
    ASSERT_TRUE(manifest.write_itself(root));
    const auto document = Manifest::from_json(read_text(tree / std::string(kManifestPath)));
    ASSERT_TRUE(document) << document.error().message();
    EXPECT_EQ(document->entries(), manifest.entries());
    for (const auto& entry : manifest.entries()) EXPECT_NE(entry.path, kManifestPath);
    EXPECT_EQ(manifest.entries().back().path, "/var/lib/amilift");
}

TEST_F(ManifestTest, NotesChangesBeforeTheyAreDone) {
    write_text(tree / "changed", "old");
    ASSERT_TRUE(manifest.note_changes(root, false));
    const auto noted = [&] {
        return Manifest::from_json(read_text(tree / std::string(kPendingPath)));
    };
    EXPECT_TRUE(noted()->entries().empty());
    ASSERT_TRUE(manifest.write(root, "m", "/changed", "new"));
    ASSERT_TRUE(manifest.write(root, "m", "/a/b/added", "x"));
    EXPECT_EQ(noted()->entries(), manifest.entries());

    // The crash comes between the note and the change: the conversion is done again.
    write_text(tree / "changed", "old");
    Manifest again;
    ASSERT_TRUE(again.note_changes(root, true));
    ASSERT_TRUE(again.write(root, "m", "/changed", "new"));
    ASSERT_TRUE(again.write(root, "m", "/a/b/added", "x"));
    EXPECT_EQ(again.entries(), manifest.entries());
    ASSERT_TRUE(again.write_itself(root));
    EXPECT_FALSE(std::filesystem::exists(tree / std::string(kPendingPath)));

    // And once more when all was done: the manifest stands for the notes.
    Manifest third;
    ASSERT_TRUE(third.note_changes(root, true));
    ASSERT_TRUE(third.write(root, "m", "/changed", "new"));
    ASSERT_TRUE(third.write_itself(root));
    EXPECT_EQ(third.to_json(), again.to_json());
    EXPECT_FALSE(std::filesystem::exists(tree / std::string(kPendingPath)));
}

TEST_F(ManifestTest, TheManifestOfAnEarlierConversionStandsForNoNotes) {
    write_text(tree / "changed", "old");
    Manifest earlier;
    ASSERT_TRUE(earlier.note_changes(root, false, "vol-1"));
    ASSERT_TRUE(earlier.write(root, "m", "/changed", "new"));
    ASSERT_TRUE(earlier.write_itself(root));

    Manifest of_another_volume;
    ASSERT_TRUE(of_another_volume.note_changes(root, true, "vol-2"));
    EXPECT_TRUE(of_another_volume.entries().empty());
    std::filesystem::remove(tree / std::string(kPendingPath));
    Manifest of_the_same;
    ASSERT_TRUE(of_the_same.note_changes(root, true, "vol-1"));
    EXPECT_EQ(of_the_same.entries(), earlier.entries());
}

TEST_F(ManifestTest, NotesOfOthersAreNotTakenOver) {
    write_text(tree / std::string(kPendingPath), R"({"schema":1,"entries":[{"path":"/etc/passwd",
        "module":"m","kind":"directory","after":{"sha256":"","size_bytes":0}}]})");
    ASSERT_TRUE(manifest.note_changes(root, false));
    EXPECT_TRUE(manifest.entries().empty());
    EXPECT_EQ(read_text(tree / std::string(kPendingPath)), Manifest().to_json());
}

TEST_F(ManifestTest, OverwritesAFileWhereItLies) {
    ASSERT_TRUE(manifest.write(root, "m", "/core", "0123456789"));
    struct stat before{};
    ASSERT_EQ(::stat((tree / "core").c_str(), &before), 0);
    const std::array<std::byte, 2> bytes{std::byte{'a'}, std::byte{'b'}};
    ASSERT_TRUE(manifest.overwrite(root, "m", "/core", 3, bytes));
    EXPECT_EQ(read_text(tree / "core"), "012ab56789");
    struct stat after{};
    ASSERT_EQ(::stat((tree / "core").c_str(), &after), 0);
    EXPECT_EQ(before.st_ino, after.st_ino);
    ASSERT_EQ(manifest.entries().size(), 1U);
    EXPECT_FALSE(manifest.entries()[0].before);
    EXPECT_EQ(manifest.entries()[0].after->sha256, core::sha256_hex("012ab56789").value());
    EXPECT_FALSE(manifest.overwrite(root, "m", "/core", 9, bytes)) << "a file does not grow";
    EXPECT_FALSE(root.overwrite("/core", 9, bytes));
}

/// It is known by its inode, and what the guest calls alike stays.
TEST_F(ManifestTest, WhatAKilledWriteHasLeftIsRemoved) {
    write_text(tree / "left", "whole");
    struct stat st{};
    ASSERT_EQ(::stat((tree / "left").c_str(), &st), 0);
    const auto left = tree / fmt::format(".amilift-new-{}", st.st_ino);
    std::filesystem::rename(tree / "left", left);
    const std::array own{tree / ".amilift-new", tree / ".amilift-new-", tree / ".amilift-new-1"};
    for (const auto& path : own) write_text(path, "the guest's");
    const auto linked = tree / fmt::format(".amilift-new-{}0", st.st_ino);
    std::filesystem::create_symlink("left", linked);
    ASSERT_TRUE(manifest.write(root, "m", "/f", "whole"));
    ASSERT_TRUE(manifest.write(root, "m", "/f", "again"));
    EXPECT_EQ(read_text(tree / "f"), "again");
    EXPECT_FALSE(std::filesystem::exists(left));
    for (const auto& path : own) EXPECT_EQ(read_text(path), "the guest's") << path;
    EXPECT_TRUE(std::filesystem::is_symlink(linked));
    EXPECT_EQ(root.list("/").value().size(), 5U);
}

TEST_F(ManifestTest, PlaceIsAFileOrNothingBelowDirectories) {
    write_text(tree / "file", "x");
    ASSERT_EQ(::symlink("nowhere", (tree / "dangling").c_str()), 0);
    std::filesystem::create_directories(tree / "d/e");
    ASSERT_EQ(::symlink("d", (tree / "linked").c_str()), 0);
    for (const char* path : {"/file", "/d/new", "/linked/e/new", "/new/deep/file", "/top"}) {
        EXPECT_TRUE(Manifest::require_place(root, path)) << path;
    }
    ASSERT_EQ(::symlink("file", (tree / "link-to-file").c_str()), 0);
    EXPECT_FALSE(Manifest::require_place(root, "/link-to-file")) << "it is another's file";
    for (const char* path : {"/d", "/dangling", "/file/new", "/file/deep/new", "/dangling/x"}) {
        const auto place = Manifest::require_place(root, path);
        ASSERT_FALSE(place) << path;
        EXPECT_EQ(place.error().id, "path-taken") << path;
        EXPECT_FALSE(manifest.write(root, "m", path, "x")) << path;
    }
}

TEST(ManifestJson, RefusesWhatIsNoManifest) {
    const std::string digest(64, 'a');
    const auto entry = [&](const std::string& fields) {
        return R"({"schema":1,"tool":"amilift","version":"0","entries":[{)" + fields + "}]}";
    };
    const std::string version = R"({"sha256":")" + digest + R"(","size_bytes":1})";
    ASSERT_TRUE(
        Manifest::from_json(entry(R"("path":"/f","module":"m","kind":"file","after":)" + version)));
    for (const auto& text :
         {std::string(), std::string("{"), std::string("[]"), std::string(R"({"schema":1})"),
          std::string(R"({"schema":2,"entries":[]})"), std::string(R"({"schema":1,"entries":{}})"),
          entry(R"("path":"f","module":"m","kind":"file","after":)" + version),
          entry(R"("path":"/f","module":"m","kind":"pipe","after":)" + version),
          entry(R"("path":"/f","module":"m","kind":"file")"),
          entry(R"("path":"/f","module":7,"kind":"file","after":)" + version),
          entry(R"("path":"/f","module":"m","kind":"file","after":{"sha256":"zz","size_bytes":1})"),
          entry(R"("path":"/f","module":"m","kind":"file","after":{"size_bytes":-1})"),
          std::string((16U << 20) + 1, ' ')}) {
        const auto parsed = Manifest::from_json(text);
        ASSERT_FALSE(parsed) << text.substr(0, 200);
        EXPECT_TRUE(parsed.error().is(core::Errc::corrupt));
    }
}

}  // namespace
}  // namespace amilift::modules
