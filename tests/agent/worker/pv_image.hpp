// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/command.hpp"
#include "tests/modules/module_fixture.hpp"

namespace amilift::worker::test {

using modules::test::read_text;
using modules::test::TemporaryDirectory;
using modules::test::write_text;

/// The start of a bzImage: enough for every check that does not boot it.
[[nodiscard]] std::string bz_image(const std::string& version, std::size_t bytes);

/// Bytes that no compression makes smaller, the same for the same seed.
[[nodiscard]] std::string noise(std::size_t bytes, unsigned seed);

/// A tree like that of an old PV image: kernel, initrd, menu.lst, fstab, and files with every kind
/// of attribute that a copy could lose.
void write_pv_tree(const std::string& tree);

/// Makes `path` a bare filesystem of `mebibytes` MiB (no partition table) that holds `tree`.
/// `options` are further arguments of mke2fs.
void make_ext_image(const std::string& path, const std::string& tree, unsigned mebibytes,
                    const std::string& type, const std::vector<std::string>& options = {});

/// Makes the ext image (at an offset in bytes) one of a machine that runs without a journal: not
/// unmounted, and its free-space maps are older than the file `path`, whose blocks they call free.
void make_older_maps(const std::string& image, std::uint64_t offset, const std::string& path);

/// One line for each object of a mounted tree: path, type, mode, owner, size, times of
/// modification, links, extended attributes and a digest of the content. Sorted.
[[nodiscard]] std::vector<std::string> describe_tree(const std::string& root);

/// The loop devices whose backing file lies below `directory`.
[[nodiscard]] std::vector<std::string> loops_on(const std::string& directory);

/// The mounts of this process whose source or directory has something to do with amilift.
[[nodiscard]] std::vector<std::string> image_mounts();

/// Mounts an image (at an offset in bytes) read-only; unmounted and detached at the end.
class TestMount {
  public:
    TestMount(const std::string& image, std::uint64_t offset, const std::string& options = "ro");
    TestMount(const TestMount&) = delete;
    TestMount& operator=(const TestMount&) = delete;
    ~TestMount();
    [[nodiscard]] const std::string& path() const { return directory_.path(); }

  private:
    TemporaryDirectory directory_;
    bool mounted_ = false;
};

}  // namespace amilift::worker::test
