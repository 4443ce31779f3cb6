// SPDX-License-Identifier: Apache-2.0
#include "modules/esp.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "modules/boot_area.hpp"
#include "tests/modules/module_fixture.hpp"

namespace amilift::modules {
namespace {

using core::Errc;
using test::TemporaryDirectory;

constexpr EspPlace kPlace{2048, 131072};

std::vector<std::byte> program_of(std::size_t bytes) {
    std::vector<std::byte> program(bytes);
    for (std::size_t i = 0; i < bytes; ++i) program[i] = static_cast<std::byte>(i * 31 + i / 512);
    return program;
}

/// A file as large as the partition that begins with `image`.
std::string partition_with(const TemporaryDirectory& directory, const std::vector<std::byte>& image,
                           const EspPlace& place) {
    const auto path = directory / "esp";
    std::string text(image.size(), '\0');
    std::ranges::transform(image, text.begin(), [](std::byte b) { return static_cast<char>(b); });
    test::write_text(path, text);
    std::filesystem::resize_file(path, place.sector_count * 512);
    return path;
}

TEST(Esp, FsckFindsNothingAndMtoolsReadTheProgram) {
    core::ProcessRunner commands;
    for (const std::size_t bytes : {1U, 511U, 512U, 513U, 905216U}) {
        SCOPED_TRACE(bytes);
        TemporaryDirectory directory;
        const auto program = program_of(bytes);
        const auto image = make_esp(kPlace, 0x12345678, program);
        ASSERT_TRUE(image) << image.error().message();
        const auto path = partition_with(directory, *image, kPlace);
        const auto checked = commands.run({.argv = {"fsck.vfat", "-n", "-v", path}});
        ASSERT_TRUE(checked) << checked.error().message();
        EXPECT_EQ(checked->exit_code, 0) << checked->out << checked->err;
        EXPECT_NE(checked->out.find("32 bit entries"), std::string::npos) << checked->out;
        const auto copied = commands.run(
            {.argv = {"mcopy", "-i", path, "::/EFI/BOOT/BOOTX64.EFI", directory / "out"}});
        ASSERT_TRUE(copied) << copied.error().message();
        ASSERT_EQ(copied->exit_code, 0) << copied->err;
        EXPECT_EQ(to_bytes(test::read_text(directory / "out")), program);
    }
}

TEST(Esp, SameInputGivesSameBytes) {
    const auto program = program_of(5000);
    const auto one = make_esp(kPlace, 7, program);
    const auto two = make_esp(kPlace, 7, program);
    ASSERT_TRUE(one && two);
    EXPECT_TRUE(*one == *two);
}

TEST(Esp, FitsOrSaysThatItDoesNot) {
    core::ProcessRunner commands;
    // The smallest partition that is FAT32: one cluster less would be read as FAT16.
    constexpr EspPlace kSmall{2048, 66592};
    const auto full = make_esp(kSmall, 1, program_of(std::size_t{65525 - 3} * 512));
    ASSERT_TRUE(full) << full.error().message();
    TemporaryDirectory directory;
    const auto checked =
        commands.run({.argv = {"fsck.vfat", "-n", partition_with(directory, *full, kSmall)}});
    ASSERT_TRUE(checked);
    EXPECT_EQ(checked->exit_code, 0) << checked->out << checked->err;

    const auto large = make_esp(kSmall, 1, program_of(std::size_t{66000} * 512));
    ASSERT_FALSE(large);
    EXPECT_TRUE(large.error().is(Errc::no_space));
    for (const std::uint64_t sectors :
         {std::uint64_t{0}, std::uint64_t{40}, std::uint64_t{65000}, std::uint64_t{1} << 32}) {
        const auto wrong = make_esp({2048, sectors}, 1, program_of(100));
        ASSERT_FALSE(wrong) << sectors;
        EXPECT_TRUE(wrong.error().is(Errc::invalid_input));
    }
    EXPECT_FALSE(make_esp(kPlace, 1, {}));
}

}  // namespace
}  // namespace amilift::modules
