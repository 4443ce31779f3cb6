// SPDX-License-Identifier: Apache-2.0
// Conversions from and to block devices. Needs root.
#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <functional>
#include <utility>

#include "core/fd.hpp"
#include "tests/agent/worker/bare_conversion.hpp"
#include "worker/conversion.hpp"

namespace amilift::worker {
namespace {

using core::Errc;
using test::Conversion;
using test::read_text;
using test::write_text;

class LoopTarget {
  public:
    LoopTarget(const std::string& file, core::CommandRunner& runner) : runner_(runner) {
        const auto made = runner.run_ok({.argv = {"losetup", "--find", "--show", file}});
        EXPECT_TRUE(made) << made.error().message();
        if (made) path_ = made->out.substr(0, made->out.find('\n'));
    }
    LoopTarget(const LoopTarget&) = delete;
    LoopTarget& operator=(const LoopTarget&) = delete;
    ~LoopTarget() { EXPECT_TRUE(runner_.run_ok({.argv = {"losetup", "-d", path_}})); }
    [[nodiscard]] const std::string& path() const { return path_; }

  private:
    core::CommandRunner& runner_;
    std::string path_;
};

TEST_F(Conversion, BlockDeviceThatHeldSomethingElseIsOverwritten) {
    make_source();
    const auto disk = work / "disk";
    write_text(disk, std::string(52U << 20, '\xff'));
    {
        const LoopTarget target(disk, commands);
        auto r = request();
        r.target.path = target.path();
        const auto result = run(r);
        ASSERT_TRUE(result) << result.error().message();
    }
    const auto fsck = commands.run({.argv = {"e2fsck", "-fn", disk + "?offset=1048576"}});
    ASSERT_TRUE(fsck);
    EXPECT_EQ(fsck->exit_code, 0) << fsck->out;
}

/// Calls a function when the copy begins.
class AtTheCopy final : public ConversionObserver {
  public:
    explicit AtTheCopy(std::function<void()> look) : look_(std::move(look)) {}
    void on_step(std::size_t /*index*/, std::size_t /*count*/, const std::string& text) override {
        if (text.starts_with("copy: ")) look_();
    }

  private:
    std::function<void()> look_;
};

/// Notes of the copy say that what came before it is done: it must not be in memory only.
TEST_F(Conversion, TargetIsWipedDurablyBeforeTheCopyBegins) {
    make_source();
    const auto disk = work / "disk";
    write_text(disk, std::string(52U << 20, '\xff'));
    const LoopTarget target(disk, commands);
    auto r = request();
    r.target.path = target.path();
    std::string start;
    AtTheCopy observer([&] {
        const core::Fd file(::open(disk.c_str(), O_RDONLY | O_CLOEXEC | O_DIRECT));
        alignas(4096) std::array<char, 64U << 10> bytes{};
        ASSERT_EQ(::pread(file.get(), bytes.data(), bytes.size(), 0), ssize_t{bytes.size()});
        start.assign(bytes.data(), bytes.size());
    });
    const auto result = convert(r, commands, observer, cancel);
    ASSERT_TRUE(result) << result.error().message();
    ASSERT_EQ(start.size(), 64U << 10);
    // Sector 0 may have its table by then: that is written at each start.
    EXPECT_EQ(start.find_first_not_of('\0', 512), std::string::npos);
}

TEST_F(Conversion, NobodyCanMountTheSourceDuringTheCopy) {
    make_source();
    const LoopTarget device(source, commands);
    auto r = request();
    r.source.path = device.path();
    int claim_error = 0;
    AtTheCopy observer([&] {
        const core::Fd other(::open(device.path().c_str(), O_RDONLY | O_CLOEXEC | O_EXCL));
        claim_error = other ? 0 : errno;
    });
    const auto result = convert(r, commands, observer, cancel);
    ASSERT_TRUE(result) << result.error().message();
    EXPECT_EQ(claim_error, EBUSY);
}

TEST_F(Conversion, LoopDeviceOfTheSourceIsNoTarget) {
    make_source();
    const auto before = read_text(source);
    {
        const LoopTarget target(source, commands);
        auto r = request();
        r.target.path = target.path();
        const auto result = run(r);
        ASSERT_FALSE(result);
        EXPECT_TRUE(result.error().is(Errc::invalid_input)) << result.error().message();
    }
    EXPECT_TRUE(before == read_text(source));
}

TEST_F(Conversion, SmallTargetIsRefusedBeforeAnyByteIsWritten) {
    make_source();
    const auto disk = work / "disk";
    write_text(disk, std::string(48U << 20, '\xff'));
    {
        const LoopTarget target(disk, commands);
        auto r = request();
        r.target.path = target.path();
        const auto result = run(r);
        ASSERT_FALSE(result);
        EXPECT_TRUE(result.error().is(Errc::no_space)) << result.error().message();
    }
    EXPECT_EQ(read_text(disk).find_first_not_of('\xff'), std::string::npos);
}

TEST_F(Conversion, TargetThatIsNotTheVolumeIsRefusedBeforeAnyByteIsWritten) {
    make_source();
    const auto disk = work / "disk";
    write_text(disk, std::string(52U << 20, '\xff'));
    {
        const LoopTarget target(disk, commands);
        auto r = request();
        // Neither an NVMe disk of that serial nor the Xen disk of that name.
        for (const auto* requested : {"", "/dev/sdf", "/dev/xvdf"}) {
            r.target = {target.path(), "vol-0123456789abcdef0", requested};
            const auto result = run(r);
            ASSERT_FALSE(result);
            EXPECT_TRUE(result.error().is(Errc::conflict)) << result.error().message();
        }
    }
    EXPECT_EQ(read_text(disk).find_first_not_of('\xff'), std::string::npos);
}

}  // namespace
}  // namespace amilift::worker
