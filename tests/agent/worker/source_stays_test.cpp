// SPDX-License-Identifier: Apache-2.0
// What no look and no conversion may do to a source: change a byte of it. Needs root.
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>

#include "core/fd.hpp"
#include "dev/block_device.hpp"
#include "dev/filesystem.hpp"
#include "dev/loop_device.hpp"
#include "tests/agent/worker/conversion_fixture.hpp"

namespace amilift::worker {
namespace {

namespace fs = std::filesystem;
using test::TestMount;

class SourceStays : public test::ConversionFixture {
  protected:
    /// A filesystem as a snapshot of a frozen machine has it: nothing to replay, and a file that is
    /// open and has no name any more, which waits for its deletion.
    void make_frozen_source(const std::string& type) {
        const auto live = work / "live.img";
        test::write_pv_tree(work / "tree");
        test::make_ext_image(live, work / "tree", 48, type);
        const TestMount mounted(live, 0, "rw");
        const auto name = mounted.path() + "/open";
        const core::Fd nameless(::open(name.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
        ASSERT_TRUE(nameless);
        const std::string content(100000, 'x');
        ASSERT_EQ(::write(nameless.get(), content.data(), content.size()),
                  static_cast<ssize_t>(content.size()));
        ASSERT_EQ(::unlink(name.c_str()), 0);
        const core::Fd root(::open(mounted.path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
        ASSERT_EQ(::ioctl(root.get(), FIFREEZE, 0), 0);
        std::error_code copied;
        fs::copy_file(live, source, copied);
        EXPECT_EQ(::ioctl(root.get(), FITHAW, 0), 0);
        ASSERT_FALSE(copied) << copied.message();
    }

    /// The first inode of the list of orphans: s_last_orphan (fs/ext4/ext4.h).
    [[nodiscard]] std::uint32_t last_orphan(const std::string& disk) const {
        std::uint32_t inode = 0;
        const auto bytes = test::get(disk, 1024 + 232, sizeof(inode));
        std::memcpy(&inode, bytes.data(), sizeof(inode));
        return inode;
    }
};

TEST_F(SourceStays, ByteForByteWithFilesThatWaitForTheirDeletion) {
    for (const std::string type : {"ext3", "ext4"}) {
        SCOPED_TRACE(type);
        fs::remove_all(work / "tree");
        fs::remove(source);
        fs::remove(output);
        ASSERT_NO_FATAL_FAILURE(make_frozen_source(type));
        ASSERT_NE(last_orphan(source), 0U);
        const auto before = test::read_text(source);

        // A disk of its own that anybody could write to.
        auto loop = dev::LoopDevice::attach(source, 0, 0, dev::Access::read_write);
        ASSERT_TRUE(loop) << loop.error().message();
        const auto seen = inspect({loop->path(), ""}, commands, notes, cancel);
        EXPECT_TRUE(seen) << seen.error().message();
        ConversionRequest request;
        request.source.path = loop->path();
        request.target.path = output;
        const auto converted = convert(request, commands, notes, cancel);
        EXPECT_TRUE(converted) << converted.error().message();
        EXPECT_TRUE(loop->detach());
        EXPECT_TRUE(test::read_text(source) == before) << "the source changed";
    }
}

}  // namespace
}  // namespace amilift::worker
