// SPDX-License-Identifier: Apache-2.0
#include "dev/file_extents.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "root_fixture.hpp"

namespace amilift::dev {
namespace {

using testing::attach;
using testing::make_sparse;
using testing::mount;
using testing::open_disk;
using testing::run;
using testing::TemporaryDirectory;

class FileExtents : public ::testing::Test {
  protected:
    void SetUp() override { AMILIFT_NEEDS_ROOT(); }
    /// Mounts a new filesystem and lets `look` see its root.
    template <class Look>
    void on(const std::string& type, Look look) {
        const auto disk = make_sparse(directory_, type, 48U << 20);
        run({"mke2fs", "-q", "-F", "-t", type, "-b", "1024", disk});
        {
            auto loop = attach(disk);
            auto mounted = mount(loop.path(), type == "ext4" ? Filesystem::ext4 : Filesystem::ext2,
                                 Access::read_write);
            look(mounted.directory());
            ASSERT_TRUE(mounted.unmount());
            ASSERT_TRUE(loop.detach());
        }
    }
    static core::Fd make_file(const std::string& path) {
        auto file = core::open_file(path, O_RDWR | O_CREAT | O_TRUNC);
        EXPECT_TRUE(file) << path;
        return *std::move(file);
    }
    TemporaryDirectory directory_;
};

TEST_F(FileExtents, AreWhereTheBytesOfTheFileLie) {
    for (const std::string type : {"ext2", "ext4"}) {
        SCOPED_TRACE(type);
        std::string text;
        for (int i = 0; text.size() < 300000; ++i) text += fmt::format("line {}\n", i);
        std::vector<Extent> extents;
        on(type, [&](const std::string& root) {
            const auto file = make_file(root + "/file");
            ASSERT_TRUE(core::write_all(file, text, "file"));
            const auto found = map_file_extents(file, text.size(), 64, "file");
            ASSERT_TRUE(found) << found.error().message();
            extents = *found;
        });
        const auto disk = open_disk(directory_.file(type));
        std::string seen;
        for (const auto& extent : extents) {
            std::vector<std::byte> bytes(static_cast<std::size_t>(extent.length));
            ASSERT_TRUE(core::read_exactly_at(disk.fd(), bytes, extent.offset, "disk"));
            for (const auto b : bytes) seen += std::to_integer<char>(b);
        }
        ASSERT_GE(seen.size(), text.size());
        EXPECT_TRUE(seen.substr(0, text.size()) == text);
    }
}

TEST_F(FileExtents, OfAFileThatIsNotPlainAreRefused) {
    on("ext4", [](const std::string& root) {
        const auto id_of = [](const core::Fd& file) {
            const auto found = map_file_extents(file, 8192, 64, "file");
            EXPECT_FALSE(found);
            return found ? std::string() : found.error().id;
        };
        const auto hole = make_file(root + "/hole");
        ASSERT_EQ(::pwrite(hole.get(), "x", 1, 8191), 1);
        EXPECT_EQ(id_of(hole), "file-not-plain");
        const auto reserved = make_file(root + "/reserved");
        ASSERT_EQ(::fallocate(reserved.get(), 0, 0, 8192), 0);
        EXPECT_EQ(id_of(reserved), "file-not-plain");
        EXPECT_EQ(id_of(make_file(root + "/empty")), "file-not-plain");
    });
}

TEST_F(FileExtents, OfTooManyPiecesAreRefused) {
    on("ext4", [](const std::string& root) {
        // Every second block is there: each is a piece of its own.
        const auto file = make_file(root + "/pieces");
        for (off_t i = 0; i < 8; ++i) ASSERT_EQ(::pwrite(file.get(), "x", 1, i * 1024), 1);
        for (off_t i = 1; i < 8; i += 2) {
            ASSERT_EQ(
                ::fallocate(file.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, i * 1024, 1024),
                0);
        }
        ASSERT_EQ(::fsync(file.get()), 0);
        const auto holes = map_file_extents(file, 8192, 64, "file");
        ASSERT_FALSE(holes);
        EXPECT_EQ(holes.error().id, "file-not-plain");
        const auto first = map_file_extents(file, 1024, 1, "file");
        ASSERT_TRUE(first) << first.error().message();
        EXPECT_EQ(first->size(), 1U);
        // Filled up later, the blocks are not where they were.
        for (off_t i = 1; i < 8; i += 2) {
            const auto other = make_file(fmt::format("{}/other-{}", root, i));
            ASSERT_EQ(::pwrite(other.get(), "y", 1, 0), 1);
            ASSERT_EQ(::fsync(other.get()), 0);
            ASSERT_EQ(::pwrite(file.get(), "x", 1, i * 1024), 1);
        }
        const auto all = map_file_extents(file, 8192, 64, "file");
        ASSERT_TRUE(all) << all.error().message();
        ASSERT_GT(all->size(), 1U);
        EXPECT_EQ(map_file_extents(file, 8192, 1, "file").error().id, "file-fragmented");
    });
}

}  // namespace
}  // namespace amilift::dev
