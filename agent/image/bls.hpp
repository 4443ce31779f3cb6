// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace amilift::image {

/// One entry of the boot loader specification, as its file says.
struct BlsEntry {
    std::string id;  ///< name of the file without ".conf"
    std::string title;
    std::string kernel;                ///< as written
    std::vector<std::string> initrds;  ///< as written
    std::string options;               ///< may name variables of GRUB: "$kernelopts"
    int kernel_line = 0;
    int initrd_line = 0;
};
[[nodiscard]] BlsEntry parse_bls_entry(std::string_view id, std::string_view text);

/// Those of the files in a directory that are entries, in the order in which GRUB shows them; at
/// most 512.
[[nodiscard]] std::vector<std::string> bls_files(std::vector<std::string> names);

/// Is `a` a newer version than `b`? Runs of digits are compared as numbers, runs of letters as
/// text, everything else separates: the order of RPM, which decides the order of BLS entries.
[[nodiscard]] bool is_newer_version(std::string_view a, std::string_view b);

}  // namespace amilift::image
