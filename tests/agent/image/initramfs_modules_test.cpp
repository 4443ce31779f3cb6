// SPDX-License-Identifier: Apache-2.0
// Index files of modules: kmod's own programs say what is right.
#include "image/initramfs_modules.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <random>

#include "image/module_index_file.hpp"
#include "initramfs_samples.hpp"

namespace amilift::image {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

constexpr std::string_view kTop = "lib/modules/6.1.0/";

std::string in_top(std::string_view name) {
    return fmt::format("{}{}", kTop, name);
}

/// What modprobe of this machine would load for `name` in `tree`, in order; nothing if it misses a
/// file.
std::vector<std::string> loaded_by_kmod(const TemporaryRoot& tree, const std::string& name) {
    core::ProcessRunner commands;
    const auto ran =
        commands.run({.argv = {"/sbin/modprobe", "--dirname", tree.on_host("/").string(),
                               "--set-version", "6.1.0", "--show-depends", name}});
    EXPECT_TRUE(ran.has_value());
    std::vector<std::string> files;
    if (!ran->err.empty()) return files;
    const auto prefix = fmt::format("insmod {}/{}", tree.on_host("/").string(), kTop);
    for (auto rest = std::string_view(ran->out); !rest.empty();) {
        const auto end = std::min(rest.find('\n'), rest.size());
        const auto line = rest.substr(0, end);
        if (line.starts_with(prefix)) {
            const auto file = line.substr(prefix.size());
            files.emplace_back(file.substr(0, file.find(' ')));
        }
        rest.remove_prefix(std::min(end + 1, rest.size()));
    }
    return files;
}

void put(const TemporaryRoot& tree, const InitramfsFiles& files) {
    for (const auto& [name, text] : files) tree.file("/" + name, text);
}

/// An index file made by depmod of some modules with aliases.
std::string index_by_depmod(const std::string& name) {
    const TemporaryRoot tree;
    put(tree,
        {{in_top("kernel/nvme.ko"), module_file({"alias=pci:v*d*sv*sd*bc01sc08i02*",
                                                 "alias=pci:v0000-x[0-9]*", "name=nvme"})},
         {in_top("kernel/ena.ko"), module_file({"alias=pci:v00001D0Fd0000EC20sv*", "name=ena"})},
         {in_top("kernel/nvme-core.ko"), module_file({"name=nvme_core"})},
         {in_top("updates/e.ko"), module_file({"alias=pci:v*d*sv*sd*bc01sc08i02*"})}});
    (void)output_of({"/sbin/depmod", "-b", tree.on_host("/").string(), "6.1.0"}, "");
    return tree.text_of("/" + in_top(name));
}

TEST(ModuleIndexFile, IsWrittenAsDepmodWritesIt) {
    for (const auto* name : {"modules.dep.bin", "modules.alias.bin", "modules.symbols.bin"}) {
        const auto bytes = index_by_depmod(name);
        ASSERT_FALSE(bytes.empty());
        const auto entries = read_index_file(bytes);
        ASSERT_TRUE(entries.has_value()) << name;
        EXPECT_EQ(write_index_file(*entries).value(), bytes) << name;
    }
    std::vector<std::string> lines;
    const auto aliases = read_index_file(index_by_depmod("modules.alias.bin")).value();
    for (const auto& e : aliases) {
        lines.push_back(e.key + " " + e.value);
    }
    EXPECT_THAT(lines, testing::UnorderedElementsAre(
                           "pci:v*d*sv*sd*bc01sc08i02* nvme", "pci:v*d*sv*sd*bc01sc08i02* e",
                           "pci:v0000_x[0-9]* nvme", "pci:v00001D0Fd0000EC20sv* ena"));
}

TEST(ModuleIndexFile, CutOrDamagedAnywhereDoesNotCrash) {
    const auto bytes = index_by_depmod("modules.alias.bin");
    for (std::size_t at = 0; at < bytes.size(); ++at) {
        (void)read_index_file(std::string_view(bytes).substr(0, at));
        for (const auto mask : {0x01, 0x20, 0x80, 0xff}) {
            auto damaged = bytes;
            damaged[at] = static_cast<char>(damaged[at] ^ mask);
            (void)read_index_file(damaged);
        }
    }
    EXPECT_FALSE(read_index_file(std::string_view(bytes).substr(0, 20)).has_value());
    EXPECT_FALSE(read_index_file("").has_value());
}

TEST(ModuleIndexFile, ANodeThatIsItsOwnChildIsAnError) {
    using std::string_literals::operator""s;
    EXPECT_FALSE(read_index_file("\xb0\x07\xf4\x57\0\x02\0\x01\x20\0\0\x0c"s + "aa\x20\0\0\x0c"s)
                     .has_value());
}

/// A node has room for each letter between its first and its last one.
TEST(ModuleIndexFile, IsNotWrittenLargerThanAnyRealOne) {
    std::vector<IndexEntry> entries;
    for (unsigned i = 0; i < 1U << 17U; ++i) {
        std::string key;
        for (unsigned bit = 0; bit < 17; ++bit) key += (i >> bit) % 2 == 0 ? '\x01' : '\x7f';
        entries.push_back({key, "", 0});
    }
    const auto bytes = write_index_file(std::move(entries));
    ASSERT_FALSE(bytes.has_value());
    EXPECT_EQ(bytes.error().code, core::Errc::corrupt);
    EXPECT_THAT(bytes.error().what, testing::HasSubstr("larger than the 33554432 bytes"));
}

/// Five bytes of the file are an entry.
TEST(ModuleIndexFile, IsNotReadIntoMoreMemoryThanAnyRealOne) {
    using std::string_literals::operator""s;
    const auto of_values = [](unsigned count) {
        auto bytes = "\xb0\x07\xf4\x57\0\x02\0\x01\x40\0\0\x0c"s;
        for (const auto shift : {24U, 16U, 8U, 0U}) {
            bytes += static_cast<char>((count >> shift) & 0xffU);
        }
        return bytes + std::string(std::size_t{count} * 5, '\0');
    };
    EXPECT_EQ(read_index_file(of_values(1000)).value().size(), 1000U);
    EXPECT_FALSE(read_index_file(of_values(1000000)).has_value());
}

TEST(ModuleIndexFile, HoldsAnyEntries) {
    std::mt19937 random(7);  // NOLINT(cert-msc32-c,cert-msc51-cpp): the same run each time
    for (int round = 0; round < 200; ++round) {
        std::map<std::string, std::string> pairs;
        for (auto n = random() % 30; n > 0; --n) {
            std::string key;
            for (auto c = random() % 6; c > 0; --c) key += static_cast<char>('a' + random() % 3);
            pairs.insert_or_assign(key, fmt::format("v{}", random()));
        }
        std::vector<IndexEntry> entries;
        for (const auto& [key, value] : pairs) entries.push_back({key, value, 3});
        EXPECT_EQ(read_index_file(write_index_file(entries).value()).value(), entries);
    }
    EXPECT_THAT(read_index_file(
                    write_index_file({{"\xc3\xa4", "x"}, {std::string(5000, 'k'), "y"}}).value())
                    .value(),
                IsEmpty());
}

/// Modules of an image and those of them that its initramfs has, by chance.
struct Guest {
    explicit Guest(unsigned seed) : random(seed) {
        constexpr std::array kEndings{".ko", ".ko.xz", ".ko.gz", ".ko.zst"};
        // All of an image, or all of an initramfs, end alike as a rule; here some do not.
        const auto* const image_ending = kEndings[random() % kEndings.size()];
        const auto* const own_ending = kEndings[random() % kEndings.size()];
        for (int i = 0; i < 8; ++i) names.push_back(fmt::format("m-{}", i));
        std::map<std::string, std::set<std::string>> needs;  // transitive, as depmod writes them
        for (std::size_t i = 0; i < names.size(); ++i) {
            for (std::size_t j = 0; j < i; ++j) {
                if (random() % 4 != 0) continue;
                needs[names[i]].insert(names[j]);
                needs[names[i]].insert(needs[names[j]].begin(), needs[names[j]].end());
            }
        }
        const auto file = [&](const std::string& name, const char* ending) {
            return "kernel/" + name + (random() % 8 == 0 ? ".ko" : ending);
        };
        std::map<std::string, std::string> image_files;
        std::map<std::string, std::string> own_files;
        for (const auto& name : names) {
            image_files[name] = file(name, image_ending);
            if (random() % 2 == 0) own_files[name] = file(name, own_ending);
        }
        const auto line = [&](const auto& named, const std::string& name) {
            auto text = named.at(name) + ":";
            for (const auto& needed : needs[name]) {
                const auto there = named.find(needed);
                text += " " + (there == named.end() ? image_files.at(needed) : there->second);
            }
            return text + "\n";
        };
        std::string own_dep;
        for (const auto& name : names) {
            texts.dep += line(image_files, name);
            texts.alias += fmt::format("alias bus:{}* {}\n", name, normalized_module(name));
            if (!own_files.contains(name)) continue;
            // Now and then an index is older than what is there.
            if (random() % 8 != 0) own_dep += line(own_files, name);
            files[in_top(own_files.at(name))] = "x";
        }
        parse_modules_dep(texts.dep, "/lib/modules/6.1.0", index);
        files[in_top("modules.dep")] = own_dep;
        if (random() % 2 == 0) {
            std::vector<IndexEntry> entries;
            ModuleIndex own;
            parse_modules_dep(own_dep, "/lib/modules/6.1.0", own);
            for (const auto& [name, module] : own.modules) {
                auto value = module.file + ":";
                for (const auto& needed : module.dependency_files) value += " " + needed;
                entries.push_back({name, value, 0});
            }
            files[in_top("modules.dep.bin")] = write_index_file(entries).value();
        }
        files["conf/initramfs.conf"] = "x";
    }

    std::mt19937 random;
    std::vector<std::string> names;
    ModuleIndex index;
    ModuleIndexTexts texts;
    InitramfsFiles files;  ///< of the initramfs
};

TEST(InitramfsModules, KmodLoadsWhatIsAddedAndWhatItCouldLoadBefore) {
    int added_in_all = 0;
    for (unsigned seed = 0; seed < 40; ++seed) {
        SCOPED_TRACE(seed);
        Guest guest(seed);
        const auto before = read_initramfs(cpio_of({guest.files.begin(), guest.files.end()}));
        ASSERT_EQ(before.problem, "");
        const std::set<std::string> wanted{"m_7", "m_5"};
        const auto added = files_to_add(before, "6.1.0", wanted, guest.index);
        added_in_all += static_cast<int>(added.size());
        auto addition = merged_index(before, "6.1.0", added, guest.index, guest.texts).value();
        for (const auto& [file, source] : added) addition[in_top(file)] = "x";
        const auto bytes = cpio_of({guest.files.begin(), guest.files.end()});
        const auto after =
            read_initramfs(bytes + make_addition(before, bytes.size(), addition, false).value());
        ASSERT_EQ(after.problem, "");
        EXPECT_EQ(lost_modules(before, after, "6.1.0"), "");

        // What the kernel would have of both, in a directory.
        const TemporaryRoot tree;
        put(tree, guest.files);
        put(tree, addition);
        const auto loadable = loadable_modules(after, "6.1.0");
        for (const auto& name : guest.names) {
            const auto loaded = loaded_by_kmod(tree, name);
            const bool all_there =
                !loaded.empty() && std::ranges::all_of(loaded, [&](const std::string& file) {
                    return tree.has("/" + in_top(file));
                });
            EXPECT_EQ(loadable.contains(normalized_module(name)), all_there) << name;
        }
        for (const auto* name : {"m_7", "m_5"}) EXPECT_TRUE(loadable.contains(name)) << name;
        EXPECT_THAT(loaded_by_kmod(tree, "bus:m-7-x"),
                    testing::Contains(testing::StartsWith("kernel/m-7.ko")));
    }
    EXPECT_GT(added_in_all, 40);
}

TEST(InitramfsModules, OldIndexesKeepTheirAbsoluteNames) {
    const std::string top = "/lib/modules/6.1.0/";
    const auto contents = read_initramfs(
        cpio_of({{in_top("kernel/a.ko"), "x"}, {in_top("modules.dep"), top + "kernel/a.ko:\n"}}));
    ModuleIndex image;
    parse_modules_dep(top + "kernel/a.ko:\n" + top + "kernel/b.ko: " + top + "kernel/a.ko\n",
                      "/lib/modules/6.1.0", image);
    const auto added = files_to_add(contents, "6.1.0", {"b"}, image);
    EXPECT_THAT(added, ElementsAre(testing::Pair("kernel/b.ko", "kernel/b.ko")));
    EXPECT_EQ(merged_index(contents, "6.1.0", added, image, {}).value().at(in_top("modules.dep")),
              top + "kernel/a.ko:\n" + top + "kernel/b.ko: " + top + "kernel/a.ko\n");
}

TEST(InitramfsModules, AnIndexThatIsTooLargeIsNotTakenForNone) {
    const auto contents =
        read_initramfs(cpio_of({{in_top("modules.dep"), std::string((16U << 20U) + 1, 'x')}}));
    EXPECT_THAT(contents.problem, testing::HasSubstr("modules.dep' has 16777217 bytes"));
    const std::string part(11U << 20U, 'x');
    const auto many = read_initramfs(cpio_of({{in_top("modules.dep"), part},
                                              {in_top("modules.alias"), part},
                                              {in_top("modules.symbols"), part}}));
    EXPECT_THAT(many.problem, testing::HasSubstr("together at most 33554432"));
}

}  // namespace
}  // namespace amilift::image
