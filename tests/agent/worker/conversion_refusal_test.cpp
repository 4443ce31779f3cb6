// SPDX-License-Identifier: Apache-2.0
// Sources and targets that are refused: each leaves the source as it is and nothing behind. Needs
// root.
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <utility>

#include "core/fd.hpp"
#include "dev/loop_device.hpp"
#include "modules/partition.hpp"
#include "tests/agent/worker/bare_conversion.hpp"
#include "tests/agent/worker/interrupted.hpp"
#include "worker/conversion.hpp"

namespace amilift::worker {
namespace {

namespace fs = std::filesystem;
using core::Errc;
using modules::kRootOffset;
using test::Conversion;
using test::make_ext_image;
using test::read_text;
using test::TestMount;
using test::write_text;

TEST_F(Conversion, SizeThatIsTooSmallIsRefusedBeforeTheCopy) {
    test::write_pv_tree(work / "tree");
    make_ext_image(source, work / "tree", 1023, "ext4", {});
    auto r = request();
    r.options.size_gib = 1;
    EXPECT_TRUE(run(r)) << "1 GiB is just enough";
    fs::remove(output);
    notes.steps.clear();
    r.options.layout = job::Layout::gpt;
    const auto error = failure(r);
    EXPECT_EQ(error.id, "size-too-small") << error.message();
    EXPECT_TRUE(notes.steps.empty());
}

TEST_F(Conversion, Grub097CannotStartFromGpt) {
    make_source();
    auto r = request();
    r.options.layout = job::Layout::gpt;
    r.options.bootloader = job::Bootloader::grub_legacy;
    EXPECT_EQ(failure(r).id, "grub-legacy-needs-mbr");
}

TEST_F(Conversion, OutputThatExistsIsNotTouched) {
    make_source();
    write_text(output, "precious");
    const auto error = failure();
    EXPECT_TRUE(error.is(Errc::already_exists)) << error.message();
    EXPECT_EQ(read_text(output), "precious");
}

TEST_F(Conversion, SourceAsTargetIsRefused) {
    make_source();
    auto r = request();
    r.target.path = source;
    EXPECT_TRUE(failure(r).is(Errc::invalid_input));
    fs::create_symlink(source, work / "alias");
    r.target.path = work / "alias";
    EXPECT_TRUE(failure(r).is(Errc::invalid_input));
    fs::create_hard_link(source, work / "second name");
    r.target.path = work / "second name";
    EXPECT_TRUE(failure(r).is(Errc::invalid_input));
    r.target.path.clear();
    EXPECT_TRUE(failure(r).is(Errc::invalid_input));
}

TEST_F(Conversion, MissingSourceAndMissingDirectoryAreNotFound) {
    EXPECT_TRUE(failure().is(Errc::not_found));
    make_source();
    auto r = request();
    r.target.path = work / "no/such/directory/out.img";
    const auto error = failure(r);
    EXPECT_TRUE(error.is(Errc::not_found)) << error.message();
}

TEST_F(Conversion, MountedSourceIsAConflict) {
    make_source();
    const TestMount mounted(source, 0, "rw");
    const auto result = run();
    ASSERT_FALSE(result);
    EXPECT_TRUE(result.error().is(Errc::conflict)) << result.error().message();
    EXPECT_FALSE(fs::exists(output));
}

TEST_F(Conversion, MountedSourceDeviceIsAConflict) {
    make_source();
    const TestMount mounted(source, 0, "rw");
    auto r = request();
    r.source.path = "/dev/" + test::loops_on(work.path()).at(0);
    const auto result = run(r);
    ASSERT_FALSE(result);
    EXPECT_TRUE(result.error().is(Errc::conflict)) << result.error().message();
}

TEST_F(Conversion, SourceDeviceThatAnotherConversionHoldsIsAConflict) {
    make_source();
    auto loop = dev::LoopDevice::attach(source, 0, fs::file_size(source), dev::Access::read_only);
    ASSERT_TRUE(loop) << loop.error().message();
    {
        const auto claim = core::open_file(loop->path(), O_RDONLY | O_EXCL);
        ASSERT_TRUE(claim) << claim.error().message();
        auto r = request();
        r.source.path = loop->path();
        const auto converted = run(r);
        const auto seen = inspect(r.source, commands, notes, cancel);
        ASSERT_FALSE(converted);
        ASSERT_FALSE(seen);
        for (const auto& error : {converted.error(), seen.error()}) {
            EXPECT_TRUE(error.is(Errc::conflict)) << error.message();
            EXPECT_NE(error.what.find("another amilift"), std::string::npos) << error.message();
        }
    }
    EXPECT_TRUE(loop->detach());
}

TEST_F(Conversion, ReadOnlyLoopOnTheSourceIsNoConflict) {
    make_source();
    const TestMount mounted(source, 0);
    const auto result = run();
    EXPECT_TRUE(result) << result.error().message();
}

TEST_F(Conversion, TruncatedImageIsRefused) {
    make_source();
    fs::resize_file(source, 40U << 20);
    const auto error = failure();
    EXPECT_EQ(error.id, "truncated") << error.message();
    EXPECT_NE(error.what.find("41943040"), std::string::npos) << error.what;
}

TEST_F(Conversion, EmptyAndUnknownDisksAreRefused) {
    modules::test::make_file(source, 16U << 20);
    EXPECT_EQ(failure().id, "empty-disk");
    std::string text(16U << 20, '\0');
    for (std::size_t i = 0; i < text.size(); i += 7) text[i] = static_cast<char>(i);
    write_text(source, text);
    EXPECT_EQ(failure().id, "unknown-filesystem");
    ASSERT_TRUE(commands.run_ok({.argv = {"mkswap", source}}));
    EXPECT_EQ(failure().id, "unknown-filesystem");
}

TEST_F(Conversion, DirtyJournalIsRefusedOnAUsersImageAndReplayedOnOurOwn) {
    make_source();
    // Pulling the plug: the image as it is on the disk while it is mounted and has been written.
    {
        const TestMount mounted(source, 0, "rw");
        write_text(mounted.path() + "/written", "before the crash");
        ::sync();
        fs::copy_file(source, work / "crashed.img");
    }
    fs::rename(work / "crashed.img", source);
    const auto error = failure();
    EXPECT_EQ(error.id, "dirty-filesystem") << error.message();

    auto r = request();
    r.may_replay_source_journal = true;
    const auto result = run(r);
    ASSERT_TRUE(result) << result.error().message();
    const TestMount after(output, kRootOffset);
    EXPECT_EQ(read_text(after.path() + "/written"), "before the crash");
}

TEST_F(Conversion, FilesystemWithErrorsIsRefused) {
    make_source();
    ASSERT_TRUE(commands.run_ok({.argv = {"debugfs", "-w", "-R", "ssv state 2", source}}));
    EXPECT_EQ(failure().id, "filesystem-has-errors");
}

TEST_F(Conversion, FeaturesThatGrubCannotReadAreRefusedBeforeAnyByteIsWritten) {
    make_source("ext4", {"-O", "inline_data"});
    EXPECT_EQ(failure().id, "grub-cannot-read");
    EXPECT_TRUE(notes.steps.empty());
}

TEST_F(Conversion, ContentThatCannotBootIsRefusedWithAllFindings) {
    test::write_pv_tree(work / "tree");
    fs::remove_all(work / "tree/boot");
    fs::create_directories(work / "tree/boot");
    make_source();
    const auto error = failure();
    EXPECT_EQ(error.id, "no-menu") << error.message();
    EXPECT_NE(std::ranges::find(notes.findings, "no-menu"), notes.findings.end());
    // inspect() shows the same as a finding.
    const auto seen = inspect({source, {}}, commands, notes);
    ASSERT_TRUE(seen) << seen.error().message();
    ASSERT_NE(seen->facts.first_refusal(), nullptr);
    EXPECT_EQ(seen->facts.first_refusal()->id, "no-menu");
}

TEST_F(Conversion, FilesystemWithoutASystemIsRefusedBeforeAnyByteIsWritten) {
    test::write_pv_tree(work / "tree");
    for (const char* init : {"sbin/init", "usr/sbin/init", "lib/systemd", "usr/lib/systemd"}) {
        fs::remove_all(work / fmt::format("tree/{}", init));
    }
    make_source();
    const auto error = failure();
    EXPECT_EQ(error.id, "no-root-partition") << error.message();
    EXPECT_TRUE(notes.steps.empty());
}

TEST_F(Conversion, PlacesThatAreTakenAreRefusedBeforeAnyByteIsWritten) {
    for (const char* path : {"boot/amilift", "var/lib/amilift", "boot/amilift/grubenv/x"}) {
        fs::remove_all(work / "tree");
        test::write_pv_tree(work / "tree");
        write_text(work / (std::string("tree/") + path), "somebody's file");
        make_source();
        EXPECT_EQ(failure().id, "path-taken") << path;
        EXPECT_TRUE(notes.steps.empty());
    }
}

TEST_F(Conversion, ProtectedFilesAreRefusedBeforeAnyByteIsWritten) {
    const std::pair<const char*, const char*> protections[] = {{"+i", "etc/securetty"},
                                                               {"+i", "etc/fstab"},
                                                               {"+a", "boot/grub/grub.conf"},
                                                               {"+i", "boot"},
                                                               {"+a", "boot/grub"}};
    for (const auto& [flag, path] : protections) {
        make_source();
        {
            const TestMount mounted(source, 0, "rw");
            // Which has to be edited for that.
            std::ofstream(mounted.path() + "/etc/fstab", std::ios::app)
                << "/dev/sdb /mnt ext3 defaults 0 2\n";
            ASSERT_TRUE(commands.run_ok({.argv = {"chattr", flag, mounted.path() + "/" + path}}));
        }
        const auto error = failure();
        EXPECT_EQ(error.id, "protected-file") << path;
        const auto named = std::string("'/") + path + "' is immutable";
        EXPECT_NE(error.message().find(named), std::string::npos) << error.message();
        EXPECT_TRUE(notes.steps.empty());
    }
}

TEST_F(Conversion, FullFilesystemIsRefusedBeforeAnyByteIsWritten) {
    make_source();
    {
        const TestMount mounted(source, 0, "rw");
        std::ofstream(mounted.path() + "/filler", std::ios::binary) << std::string(47U << 20, 'x');
    }
    const auto error = failure();
    EXPECT_EQ(error.id, "filesystem-full") << error.message();
    EXPECT_TRUE(notes.steps.empty());
}

/// Without a journal, the maps of free space of a machine that runs are older than its files: what
/// is written by them would overwrite these.
TEST_F(Conversion, FilesystemInUseIsCheckedBeforeItsMapsAreTrusted) {
    for (const auto& [type, options] :
         {std::pair{"ext2", std::vector<std::string>{"-b", "4096", "-I", "128"}},
          std::pair{"ext4", std::vector<std::string>{"-O", "^has_journal"}}}) {
        for (const bool own : {false, true}) {
            SCOPED_TRACE(fmt::format("{}, {}", type, own ? "own volume" : "user's image"));
            fs::remove_all(work / "tree");
            fs::remove(output);
            test::write_pv_tree(work / "tree");
            write_text(work / "tree/boot/newest", test::noise(28U << 20, 7));
            make_source(type, options);
            const auto wanted = test::tree_of(source);
            test::make_older_maps(source, 0, "/boot/newest");
            const auto before = read_text(source);
            auto r = request();
            r.may_replay_source_journal = own;
            notes.findings.clear();
            const auto result = run(r);
            ASSERT_TRUE(result) << result.error().message();
            EXPECT_NE(std::ranges::find(notes.findings, "filesystem-not-clean"),
                      notes.findings.end());
            EXPECT_EQ(before == read_text(source), !own) << "only a volume of ours is mended";
            // Once its maps are right, it is copied as far as it is in use.
            EXPECT_EQ(result->plan.used_bytes == 48U << 20, !own) << result->plan.used_bytes;
            EXPECT_EQ(test::differing_paths(wanted, test::tree_of(output, kRootOffset)),
                      test::listed_paths(result->manifest));
            const auto fsck = commands.run({.argv = {"e2fsck", "-fn", output + "?offset=1048576"}});
            ASSERT_TRUE(fsck);
            EXPECT_EQ(fsck->exit_code, 0) << fsck->out;
        }
    }
}

/// What e2fsck would have to ask about is somebody's to decide.
TEST_F(Conversion, FilesystemInUseThatNeedsMoreThanAnUnattendedCheckIsRefused) {
    test::write_pv_tree(work / "tree");
    write_text(work / "tree/srv/file", "somebody's");
    make_source("ext2", {"-b", "4096", "-I", "128"});
    for (const auto* command : {"sif /srv/file block[0] 4000000", "ssv state 0"}) {
        ASSERT_TRUE(commands.run_ok({.argv = {"debugfs", "-w", "-R", command, source}}));
    }
    for (const bool own : {false, true}) {
        auto r = request();
        r.may_replay_source_journal = own;
        const auto result = run(r);
        ASSERT_FALSE(result);
        const auto& error = result.error();
        EXPECT_EQ(error.id, "filesystem-has-errors") << error.message();
        EXPECT_NE(error.message().find("UNEXPECTED INCONSISTENCY"), std::string::npos)
            << error.message();
        EXPECT_FALSE(fs::exists(output));
    }
}

}  // namespace
}  // namespace amilift::worker
