// SPDX-License-Identifier: Apache-2.0
// Conversions that leave the filesystem where it is, on loop devices. Needs root.
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>

#include "modules/in_place.hpp"
#include "tests/agent/worker/conversion_fixture.hpp"
#include "tests/agent/worker/interrupted.hpp"
#include "tests/agent/worker/lacking_initramfs.hpp"

namespace amilift::worker {
namespace {

namespace fs = std::filesystem;
using test::make_ext_image;
using test::read_text;
using test::TestMount;
using test::write_text;

class InPlace : public test::ConversionFixture {
  protected:
    void make_volume(const std::string& type = "ext3",
                     const std::vector<std::string>& options = {"-b", "4096", "-I", "128"}) {
        if (!fs::exists(work / "tree")) test::write_pv_tree(work / "tree");
        make_ext_image(volume, work / "tree", 48, type, options);
    }
    /// The volume was made from the source's snapshot.
    static ConversionRequest on(const std::string& disk) {
        ConversionRequest r;
        r.target.path = disk;
        r.options.layout = job::Layout::in_place;
        return r;
    }
    core::Result<ConversionResult> run(const ConversionRequest& r) {
        return convert(r, commands, notes, cancel);
    }
    core::Error failure(const ConversionRequest& r) {
        const auto before = read_text(volume);
        const auto result = run(r);
        EXPECT_FALSE(result);
        EXPECT_TRUE(before == read_text(volume)) << "a refusal must come before the first write";
        return result ? core::Error{} : result.error();
    }
    void replace_in_menu(const std::string& from, const std::string& to) {
        const auto path = work / "tree/boot/grub/grub.conf";
        auto text = read_text(path);
        ASSERT_NE(text.find(from), std::string::npos) << text;
        for (auto at = text.find(from); at != std::string::npos;
             at = text.find(from, at + to.size())) {
            text.replace(at, from.size(), to);
        }
        write_text(path, text);
    }
    void expect_clean(const std::string& disk) {
        const auto fsck = commands.run({.argv = {"e2fsck", "-fn", disk}});
        ASSERT_TRUE(fsck);
        EXPECT_EQ(fsck->exit_code, 0) << fsck->out;
    }

    const std::string& volume = source;
};

TEST_F(InPlace, LocalConversionCopiesFirstAndLeavesTheSource) {
    make_volume("ext4", {});
    const auto before = read_text(volume);
    auto r = on(work / "output.img");
    r.source.path = volume;
    const auto result = run(r);
    ASSERT_TRUE(result) << result.error().message();
    EXPECT_TRUE(before == read_text(volume));
    EXPECT_EQ(fs::file_size(work / "output.img"), 48U << 20);
    expect_clean(work / "output.img");
    EXPECT_EQ(test::differing_paths(test::tree_of(volume), test::tree_of(work / "output.img")),
              test::listed_paths(result->manifest));
    const auto proofs = fmt::format("{}", fmt::join(result->proofs, "\n"));
    EXPECT_NE(proofs.find("sector 0 starts /boot/amilift/core.img"), std::string::npos) << proofs;
    EXPECT_NE(proofs.find("grub-fstest reads /boot/vmlinuz-2.6.32-754.el6.x86_64 (crc32 "),
              std::string::npos)
        << proofs;
}

TEST_F(InPlace, VolumeOfTheSnapshotIsEditedWhereItLies) {
    for (const auto& [type, options] :
         {std::pair{"ext2", std::vector<std::string>{"-b", "1024", "-I", "128"}},
          std::pair{"ext3", std::vector<std::string>{"-b", "2048"}},
          std::pair{"ext4", std::vector<std::string>{}}}) {
        SCOPED_TRACE(type);
        make_volume(type, options);
        const auto before = test::tree_of(volume);
        const auto result = run(on(volume));
        ASSERT_TRUE(result) << result.error().message();
        EXPECT_EQ(result->copy.written_bytes, 0U);
        expect_clean(volume);
        const auto after = test::tree_of(volume);
        EXPECT_EQ(test::differing_paths(before, after), test::listed_paths(result->manifest));
        EXPECT_FALSE(after.contains(std::string(modules::kPendingPath)));
        const TestMount mounted(volume, 0);
        const auto menu = read_text(mounted.path() + "/boot/grub/grub.conf");
        EXPECT_NE(menu.find("root (hd0)\n"), std::string::npos) << menu;
        EXPECT_NE(menu.find("root=LABEL=/ "), std::string::npos) << menu;
        const auto attributes =
            commands.run_ok({.argv = {"lsattr", mounted.path() + std::string(modules::kCorePath)}});
        ASSERT_TRUE(attributes) << attributes.error().message();
        EXPECT_NE(attributes->out.substr(0, attributes->out.find(' ')).find('i'), std::string::npos)
            << attributes->out;
    }
}

TEST_F(InPlace, WhatAnEarlierUseLeftInTheBootSectorsIsGone) {
    make_volume();
    {
        std::fstream disk(volume, std::ios::in | std::ios::out | std::ios::binary);
        disk.seekp(0);
        disk << std::string(1024, '\xee');
    }
    const auto result = run(on(volume));
    ASSERT_TRUE(result) << result.error().message();
    const auto start = read_text(volume).substr(0, 1024);
    EXPECT_EQ(start.substr(0x1b8, 0x1fe - 0x1b8), std::string(0x1fe - 0x1b8, '\0'));
    EXPECT_EQ(start.substr(0x1fe, 2), "\x55\xaa");
    EXPECT_EQ(start.substr(512), std::string(512, '\0'));
}

TEST_F(InPlace, AtMost16MebibytesAreWrittenWhateverTheSize) {
    test::write_pv_tree(work / "tree");
    write_text(work / "tree/var/data", std::string(64U << 20, 'x'));
    modules::test::make_file(volume, std::uint64_t{64} << 30);
    // The way of Linux distributions: inode tables are left for the first mount to be zeroed.
    ASSERT_TRUE(commands.run_ok(
        {.argv = {"mke2fs", "-q", "-F", "-t", "ext4", "-E",
                  "lazy_itable_init=1,lazy_journal_init=1", "-d", work / "tree", volume}}));
    const test::CountingLoop loop(commands, volume);
    const auto result = run(on(loop.path()));
    const auto written = loop.written_bytes();
    ASSERT_TRUE(result) << result.error().message();
    EXPECT_GT(written, 200000U) << "the loader alone is larger";
    EXPECT_LT(written, 16U << 20);
}

TEST_F(InPlace, SelinuxLabelsStayAndNewFilesGetThatOfTheirDirectory) {
    constexpr const char* kLabel = "security.selinux";
    make_volume("ext4", {});
    {
        const TestMount mounted(volume, 0, "rw");
        for (const auto& [path, label] :
             {std::pair{"/boot", "u:o:boot_t:s0"}, std::pair{"/var/lib", "u:o:var_lib_t:s0"},
              std::pair{"/boot/grub/grub.conf", "u:o:grub_conf_t:s0"}}) {
            const auto file = mounted.path() + path;
            const std::string_view text(label);
            ASSERT_EQ(::lsetxattr(file.c_str(), kLabel, text.data(), text.size(), 0), 0) << path;
        }
    }
    const auto result = run(on(volume));
    ASSERT_TRUE(result) << result.error().message();
    const TestMount mounted(volume, 0);
    const auto label_of = [&](std::string_view path) {
        std::string text(100, '\0');
        const auto file = mounted.path() + std::string(path);
        const auto n = ::lgetxattr(file.c_str(), kLabel, text.data(), text.size());
        text.resize(n < 0 ? 0 : static_cast<std::size_t>(n));
        return text;
    };
    const auto edited = test::listed_paths(result->manifest);
    EXPECT_NE(std::ranges::find(edited, "/boot/grub/grub.conf"), edited.end());
    EXPECT_EQ(label_of("/boot/grub/grub.conf"), "u:o:grub_conf_t:s0");
    EXPECT_EQ(label_of("/boot/amilift"), "u:o:boot_t:s0");
    EXPECT_EQ(label_of(modules::kCorePath), "u:o:boot_t:s0");
    EXPECT_EQ(label_of(modules::kManifestPath), "u:o:var_lib_t:s0");
}

constexpr std::string_view kInitramfs = "/boot/initramfs-2.6.32-754.el6.x86_64.img";

/// A volume whose initramfs of 48 MiB lacks a driver.
class InPlaceInitramfs : public InPlace {
  protected:
    void SetUp() override {
        InPlace::SetUp();
        if (IsSkipped()) return;
        test::write_pv_tree(work / "tree");
        const auto initramfs = work / "tree" + std::string(kInitramfs);
        test::write_lacking_initramfs(work / "tree", initramfs, "2.6.32-754.el6.x86_64", 48U << 20);
        old_bytes = fs::file_size(initramfs);
        make_ext_image(volume, work / "tree", 128, "ext4", {});
    }
    std::uint64_t old_bytes = 0;
};

TEST_F(InPlaceInitramfs, IsAppendedToWhereItLies) {
    const test::CountingLoop loop(commands, volume);
    const auto result = run(on(loop.path()));
    const auto written = loop.written_bytes();
    ASSERT_TRUE(result) << result.error().message();
    EXPECT_LT(written, 16U << 20);
    const auto proofs = fmt::format("{}", fmt::join(result->proofs, "\n"));
    EXPECT_NE(proofs.find("serves 2.6.32-754.el6.x86_64: nvme"), std::string::npos) << proofs;
    expect_clean(volume);
}

TEST_F(InPlaceInitramfs, ACrashWhileItGrowsEndsInTheSame) {
    fs::copy_file(volume, work / "pristine.img");
    const auto whole = run(on(volume));
    ASSERT_TRUE(whole) << whole.error().message();
    const auto wanted = test::tree_of(volume);
    const auto append = std::ranges::find_if(
        notes.steps, [](const std::string& step) { return step.starts_with("initramfs: append"); });
    ASSERT_NE(append, notes.steps.end());
    const auto behind = static_cast<std::size_t>(append - notes.steps.begin()) + 1;
    for (const bool cut : {true, false}) {
        SCOPED_TRACE(cut);
        fs::copy_file(work / "pristine.img", volume, fs::copy_options::overwrite_existing);
        ASSERT_TRUE(test::convert_and_die(on(volume), behind));
        {
            const TestMount mounted(volume, 0, "rw");
            test::spoil_addition(mounted.path() + std::string(kInitramfs), old_bytes, cut);
        }
        auto again = on(volume);
        again.is_interrupted = true;
        const auto result = run(again);
        ASSERT_TRUE(result) << result.error().message();
        auto differing = test::differing_paths(wanted, test::tree_of(volume));
        std::erase(differing, modules::kCorePath);
        std::erase(differing, modules::kManifestPath);
        EXPECT_EQ(differing, std::vector<std::string>{});
        EXPECT_EQ(test::entries_of(result->manifest), test::entries_of(whole->manifest));
        expect_clean(volume);
    }
}

TEST_F(InPlace, LoaderInSeveralPiecesIsFollowed) {
    // ext4 would keep 2 % of the blocks for itself, in one piece.
    make_volume("ext2", {"-b", "1024", "-m", "0", "-N", "4096"});
    std::size_t holes = 0;
    {
        const TestMount filled(volume, 0, "rw");
        std::vector<std::string> files;
        for (int i = 0;; ++i) {
            const auto path = fmt::format("{}/piece-{}", filled.path(), i);
            std::ofstream out(path, std::ios::binary);
            out << std::string(64U << 10, 'p');
            out.close();
            if (!out.good() || fs::file_size(path) != 64U << 10) break;
            files.push_back(path);
            ::sync();
        }
        for (std::size_t i = 3; i < files.size() && holes < 40; i += 2, ++holes)
            fs::remove(files[i]);
    }
    ASSERT_EQ(holes, 40U);
    const auto result = run(on(volume));
    ASSERT_TRUE(result) << result.error().message();
    const auto proofs = fmt::format("{}", fmt::join(result->proofs, "\n"));
    EXPECT_NE(proofs.find(" pieces, read one by one"), std::string::npos) << proofs;
    expect_clean(volume);
}

/// The helper dies at each step; a conversion of the half-edited volume ends in what one without a
/// crash gives, and its manifest tells the same.
TEST_F(InPlace, KilledAtAnyStepEndsInTheSame) {
    make_volume("ext4", {});
    fs::copy_file(volume, work / "pristine.img");
    const auto whole = run(on(volume));
    ASSERT_TRUE(whole) << whole.error().message();
    const auto wanted = test::tree_of(volume);
    const auto steps = notes.steps.size();
    ASSERT_GT(steps, 5U);
    for (std::size_t at = 0; at <= steps; ++at) {
        SCOPED_TRACE(fmt::format("killed at step {} of {}", at, steps));
        fs::copy_file(work / "pristine.img", volume, fs::copy_options::overwrite_existing);
        ASSERT_TRUE(test::convert_and_die(on(volume), at));
        auto again = on(volume);
        again.is_interrupted = true;
        const auto result = run(again);
        ASSERT_TRUE(result) << result.error().message();
        auto differing = test::differing_paths(wanted, test::tree_of(volume));
        std::erase(differing, modules::kCorePath);
        std::erase(differing, modules::kManifestPath);
        EXPECT_EQ(differing, std::vector<std::string>{});
        EXPECT_EQ(test::entries_of(result->manifest), test::entries_of(whole->manifest));
        expect_clean(volume);
    }
}

TEST_F(InPlace, NotesThatAmiliftDidNotMakeAreRefused) {
    test::write_pv_tree(work / "tree");
    write_text(work / ("tree" + std::string(modules::kPendingPath)),
               R"({"schema": 1, "entries": []})");
    make_volume();
    EXPECT_EQ(failure(on(volume)).id, "path-taken");
}

TEST_F(InPlace, OnlyExtHasRoomForBootCode) {
    std::ifstream filesystems("/proc/filesystems");
    const std::string known{std::istreambuf_iterator<char>(filesystems), {}};
    if (known.find("xfs") == std::string::npos) GTEST_SKIP() << "this kernel cannot mount XFS";
    test::write_pv_tree(work / "tree");
    modules::test::make_file(volume, 320U << 20);
    ASSERT_TRUE(commands.run_ok({.argv = {"mkfs.xfs", "-q", volume}}));
    {
        const TestMount filled(volume, 0, "rw");
        ASSERT_TRUE(commands.run_ok({.argv = {"cp", "-a", work / "tree/.", filled.path()}}));
    }
    EXPECT_EQ(failure(on(volume)).id, "in-place-not-ext");
}

TEST_F(InPlace, WhatWouldNotBootWithoutAPartitionIsRefused) {
    make_volume();
    auto legacy = on(volume);
    legacy.options.bootloader = job::Bootloader::grub_legacy;
    EXPECT_EQ(failure(legacy).id, "in-place-needs-grub2");

    fs::remove_all(work / "tree");
    test::write_pv_tree(work / "tree");
    replace_in_menu("root (hd0)", "root (hd0,0)");
    make_volume();
    EXPECT_EQ(failure(on(volume)).id, "in-place-partition-named");
}

TEST_F(InPlace, FilesystemThatWasInUseIsCheckedFirst) {
    test::write_pv_tree(work / "tree");
    write_text(work / "tree/boot/newest", test::noise(28U << 20, 7));
    make_volume("ext2", {"-b", "4096", "-I", "128"});
    const auto wanted = test::tree_of(volume);
    test::make_older_maps(volume, 0, "/boot/newest");
    fs::copy_file(volume, work / "copy.img");
    auto local = on(work / "output.img");
    local.source.path = work / "copy.img";
    for (const auto& r : {on(volume), local}) {
        const auto result = run(r);
        ASSERT_TRUE(result) << result.error().message();
        EXPECT_EQ(test::differing_paths(wanted, test::tree_of(r.target.path)),
                  test::listed_paths(result->manifest));
        expect_clean(r.target.path);
    }
}

TEST_F(InPlace, DirtyJournalOfOurVolumeIsReplayed) {
    make_volume();
    {
        const TestMount mounted(volume, 0, "rw");
        write_text(mounted.path() + "/written", "before the crash");
        ::sync();
        fs::copy_file(volume, work / "crashed.img");
    }
    fs::rename(work / "crashed.img", volume);
    const auto result = run(on(volume));
    ASSERT_TRUE(result) << result.error().message();
    const TestMount after(volume, 0);
    EXPECT_EQ(read_text(after.path() + "/written"), "before the crash");
}

TEST_F(InPlace, NoSourceTakesLayoutInPlace) {
    make_volume();
    auto r = on(volume);
    r.options.layout = job::Layout::mbr;
    EXPECT_EQ(failure(r).id, "no-partition-table");
}

}  // namespace
}  // namespace amilift::worker
