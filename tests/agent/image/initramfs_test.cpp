// SPDX-License-Identifier: Apache-2.0
#include "image/initramfs.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "initramfs_samples.hpp"

namespace amilift::image {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Key;
using testing::Pair;
using testing::UnorderedElementsAre;

const Sample kTools{{"init", "#!/bin/sh\n"},
                    {"conf/initramfs.conf", "MODULES=most\n"},
                    {"scripts/functions", "x"},
                    {"lib", "->usr/lib"},
                    {"usr/lib/", ""},
                    {"usr/lib/modules/6.1.0/kernel/a.ko", std::string(5000, 'a')},
                    {"usr/lib/modules/6.1.0/modules.dep.bin", "index"},
                    {"etc/modprobe.d/x.conf", "blacklist foo\n"}};
const Sample kMicrocode{{"kernel/x86/microcode/GenuineIntel.bin", std::string(3001, 'm')},
                        {"early_cpio", "1\n"}};

std::string with_zeros_to(std::string text, std::size_t multiple) {
    text.append((multiple - text.size() % multiple) % multiple, '\0');
    return text;
}

class InitramfsFormats : public testing::TestWithParam<const char*> {};

TEST_P(InitramfsFormats, F40_IsListedBehindMicrocode) {
    const auto bytes =
        with_zeros_to(cpio_of(kMicrocode), 512) + packed(GetParam(), cpio_of(kTools));
    const auto contents = read_initramfs(bytes);
    EXPECT_EQ(contents.problem, "");
    EXPECT_THAT(contents.segments, ElementsAre("cpio", std::string(GetParam()) + " cpio"));
    EXPECT_EQ(contents.builder, InitramfsBuilder::initramfs_tools);
    EXPECT_EQ(contents.members.size(), kTools.size() + kMicrocode.size());
    EXPECT_EQ(contents.members.at("lib"), CpioType::link);
    EXPECT_EQ(contents.members.at("usr/lib"), CpioType::directory);
    EXPECT_THAT(contents.settings,
                UnorderedElementsAre(Pair("etc/modprobe.d/x.conf", "blacklist foo\n")));
    EXPECT_EQ(module_directory(contents, "6.1.0"), "usr/lib/modules/6.1.0");
}

TEST_P(InitramfsFormats, F40_CutAnywhereIsAProblemAndNoCrash) {
    const auto bytes = packed(GetParam(), cpio_of(kTools));
    for (std::size_t size = 1; size + 8 < bytes.size(); size += 7) {
        const auto contents = read_initramfs(std::string_view(bytes).substr(0, size));
        EXPECT_NE(contents.problem, "") << size << " of " << bytes.size();
    }
}

TEST_P(InitramfsFormats, DamagedAnywhereDoesNotCrash) {
    const auto bytes = packed(GetParam(), cpio_of(kTools));
    for (std::size_t at = 0; at < bytes.size(); at += 3) {
        auto damaged = bytes;
        damaged[at] = static_cast<char>(damaged[at] ^ 0x55);
        const auto contents = read_initramfs(damaged);
        EXPECT_LE(contents.unpacked_bytes, std::uint64_t{64} << 20);
    }
}

TEST_P(InitramfsFormats, IsExtendedAndTheOldBytesStay) {
    const auto old_bytes = packed(GetParam(), cpio_of(kTools));
    const auto contents = read_initramfs(old_bytes);
    ASSERT_EQ(contents.problem, "");
    EXPECT_EQ(can_be_extended(contents), std::string_view(GetParam()) != "lzma");
    const InitramfsFiles files{{"usr/lib/modules/6.1.0/kernel/drivers/nvme/nvme.ko", "module"},
                               {"usr/lib/modules/6.1.0/modules.dep.bin", "new index"}};
    const auto addition = make_addition(contents, old_bytes.size(), files, false).value();
    const auto again = read_initramfs(old_bytes + addition);
    EXPECT_EQ(again.problem, "");
    EXPECT_TRUE(again.members.contains("usr/lib/modules/6.1.0/kernel/drivers/nvme/nvme.ko"));
    EXPECT_EQ(again.members.at("usr/lib/modules/6.1.0/kernel/drivers/nvme"), CpioType::directory);
    EXPECT_EQ(again.members.at("lib"), CpioType::link);
}

INSTANTIATE_TEST_SUITE_P(All, InitramfsFormats,
                         testing::Values("gzip", "xz", "lzma", "zstd", "bzip2", "lz4"));

TEST(Initramfs, AdditionIsReadByCpioAndHasOnlyWhatIsMissing) {
    const auto old_bytes = cpio_of(kTools) + std::string(2, '\0');
    const auto contents = read_initramfs(old_bytes);
    EXPECT_THAT(contents.segments, ElementsAre("cpio"));
    const auto addition = make_addition(contents, old_bytes.size(),
                                        {{"lib/modules/6.1.0/kernel/b/c.ko", "text"}}, false)
                              .value();
    ASSERT_EQ((old_bytes.size() + addition.find("070701")) % 4, 0U);
    // No directory for "lib": it is a link, and the kernel would put a directory in its place.
    EXPECT_EQ(names_by_cpio(addition.substr(addition.find("070701"))),
              "lib/modules\nlib/modules/6.1.0\nlib/modules/6.1.0/kernel\n"
              "lib/modules/6.1.0/kernel/b\nlib/modules/6.1.0/kernel/b/c.ko\n");
}

TEST(Initramfs, AdditionIsPackedOnlyWhereTheKernelKnowsHow) {
    const InitramfsFiles files{{"a", "b"}};
    const auto start_of = [&](std::string_view format, bool gzip_is_known) {
        const auto old_bytes = with_zeros_to(packed(format, cpio_of(kTools)), 4);
        const auto contents = read_initramfs(old_bytes);
        return make_addition(contents, old_bytes.size(), files, gzip_is_known).value().substr(0, 4);
    };
    EXPECT_EQ(start_of("gzip", false).substr(0, 2), "\x1f\x8b");
    EXPECT_EQ(start_of("xz", true).substr(0, 2), "\x1f\x8b");
    EXPECT_EQ(start_of("xz", false), "0707");
}

TEST(Initramfs, AdditionBehindLz4IsOneMoreStreamOfLz4) {
    // Without the zeros that the samples above may have: lz4 goes on right behind its last block.
    const auto old_bytes = packed("lz4", cpio_of(kTools));
    const auto contents = read_initramfs(old_bytes);
    const auto addition = make_addition(contents, old_bytes.size(), {{"a", "b"}}, true).value();
    EXPECT_EQ(output_of({"lz4", "-dc"}, addition).substr(0, 6), "070701");
}

TEST(Initramfs, KnowsItsBuilders) {
    const auto builder_of = [](const Sample& sample) {
        return read_initramfs(packed("gzip", cpio_of(sample))).builder;
    };
    EXPECT_EQ(builder_of(kTools), InitramfsBuilder::initramfs_tools);
    EXPECT_EQ(builder_of({{"usr/lib/dracut/build-parameter.txt", "x"}}), InitramfsBuilder::dracut);
    EXPECT_EQ(builder_of({{"dracut-004-336.el6", ""}, {"init", "#!/bin/sh"}}),
              InitramfsBuilder::dracut);
    EXPECT_EQ(builder_of({{"init", "#!/bin/nash\nmkblkdevs\ninsmod /lib/xenblk.ko\n"}}),
              InitramfsBuilder::mkinitrd_nash);
    EXPECT_EQ(builder_of({{"run_all.sh", "x"}, {"init", "#!/bin/bash"}}),
              InitramfsBuilder::mkinitrd_suse);
    EXPECT_EQ(builder_of({{"init", "#!/bin/busybox sh"}}), InitramfsBuilder::unknown);
}

TEST(Initramfs, SaysWhatItCannotRead) {
    const auto problem_of = [](std::string_view bytes) { return read_initramfs(bytes).problem; };
    EXPECT_THAT(problem_of(""), HasSubstr("nothing but zeros"));
    EXPECT_THAT(problem_of(std::string(4096, '\0')), HasSubstr("nothing but zeros"));
    EXPECT_THAT(problem_of("initrd"), HasSubstr("neither a cpio archive"));
    const auto archive = cpio_of(kTools);
    EXPECT_THAT(problem_of(archive.substr(0, 300)), HasSubstr("cut"));
    EXPECT_THAT(problem_of(packed("gzip", archive.substr(0, 300))), HasSubstr("cut"));
    // A plain archive is looked for at offsets divisible by 4 only, as in the kernel.
    EXPECT_THAT(problem_of(packed("gzip", archive) + std::string(1, '\0') + "x"),
                HasSubstr("neither a cpio archive"));
    auto huge_name = archive;
    huge_name.replace(6 + 8 * 11, 8, "FFFFFFFF");
    EXPECT_THAT(problem_of(huge_name), HasSubstr("name of 4294967295 bytes"));
    auto no_number = archive;
    no_number.replace(6 + 8 * 6, 8, "  -1zzzz");
    EXPECT_THAT(problem_of(no_number), HasSubstr("no hexadecimal number"));
}

/// The kernel unpacks an archive without an end mark and then reads no other one.
TEST(Initramfs, IsNotExtendedBehindAnArchiveWithoutAnEndMark) {
    const auto whole = cpio_of({{"init", "#!/bin/sh\n"}});
    const auto mark = whole.find("070701", whole.find("init"));
    ASSERT_NE(mark, std::string::npos);
    const auto open = whole.substr(0, mark);
    for (const auto& bytes : {open, packed("gzip", open)}) {
        const auto contents = read_initramfs(bytes);
        EXPECT_EQ(contents.problem, "");
        EXPECT_TRUE(contents.members.contains("init"));
        EXPECT_FALSE(can_be_extended(contents));
    }
    EXPECT_TRUE(can_be_extended(read_initramfs(whole)));
    EXPECT_EQ(read_initramfs(open + packed("gzip", whole)).problem,
              fmt::format("the cpio archive before byte {} has no end mark", open.size()));
    // The archive goes on in the next bytes, as the kernel takes it.
    EXPECT_EQ(read_initramfs(open + whole).problem, "");
}

/// Older kernels take the zeros for a block of lz4.
TEST(Initramfs, IsNotExtendedBehindZerosAfterLz4) {
    const auto archive = cpio_of({{"init", "x"}});
    const auto lz4 = packed("lz4", archive);
    EXPECT_TRUE(can_be_extended(read_initramfs(lz4)));
    EXPECT_FALSE(can_be_extended(read_initramfs(lz4 + std::string(4, '\0'))));
    EXPECT_TRUE(can_be_extended(read_initramfs(packed("gzip", archive) + std::string(4, '\0'))));
}

/// Whatever can be appended must also be loaded by what is in there.
TEST(Initramfs, SaysWhatSpeaksAgainstAnAddition) {
    const Sample tools{{"conf/initramfs.conf", "x"}, {"init", "#!/bin/sh\n"}};
    const auto obstacle = [](std::string_view bytes) {
        return std::string(obstacle_to_addition(read_initramfs(bytes)));
    };
    EXPECT_EQ(obstacle(cpio_of(tools)), "");
    EXPECT_THAT(obstacle(packed("lzma", cpio_of(tools))), HasSubstr("lzma"));
    EXPECT_THAT(obstacle(packed("lz4", cpio_of(tools)) + std::string(8, '\0')),
                HasSubstr("zeros behind an lz4 stream"));
    EXPECT_THAT(obstacle(cpio_of({{"init", "#!/bin/nash\n"}})), HasSubstr("nash"));
    EXPECT_THAT(obstacle(cpio_of({{"init", "#!/bin/sh\n"}})), HasSubstr("does not know"));
}

TEST(Initramfs, StopsAtTheLimit) {
    Sample sample = kTools;
    sample["big"] = std::string(4 << 20, 'x');
    const auto bytes = packed("gzip", cpio_of(sample));
    EXPECT_LT(bytes.size(), 100000U);
    const auto contents = read_initramfs(bytes, 1 << 20);
    EXPECT_THAT(contents.problem, HasSubstr("more than 1048576 bytes"));
    EXPECT_LT(contents.unpacked_bytes, 2U << 20);
}

TEST(Initramfs, NamesWithDotsStayNames) {
    CpioWriter writer;
    writer.file("../../etc/shadow", "x");
    writer.file("./init", "#!/bin/sh");
    writer.file("/etc//modprobe.d", "x");
    const auto contents = read_initramfs(std::move(writer).finish());
    EXPECT_EQ(contents.problem, "");
    EXPECT_THAT(contents.members,
                UnorderedElementsAre(Key("../../etc/shadow"), Key("init"), Key("etc//modprobe.d")));
    EXPECT_THAT(contents.settings, IsEmpty());
}

TEST(Initramfs, FindsTheDirectoryOfModules) {
    const auto directory_of = [](const Sample& sample) {
        return module_directory(read_initramfs(cpio_of(sample)), "6.1");
    };
    EXPECT_EQ(directory_of({{"init", ""}}), "lib/modules/6.1");
    EXPECT_EQ(directory_of({{"lib", "->usr/lib"}}), "usr/lib/modules/6.1");
    EXPECT_EQ(directory_of({{"lib/modules/6.1/a", ""}}), "lib/modules/6.1");
    EXPECT_EQ(directory_of({{"usr/lib/modules/6.1/a", ""}}), "usr/lib/modules/6.1");
    EXPECT_EQ(directory_of({{"usr/lib/modules/6.1-2/a", ""}, {"lib/modules/6.1/a", ""}}),
              "lib/modules/6.1");
}

}  // namespace
}  // namespace amilift::image
