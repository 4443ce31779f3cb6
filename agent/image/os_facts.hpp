// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>

#include "core/result.hpp"
#include "image/safe_root.hpp"

namespace amilift::image {

enum class InitSystem { unknown, sysvinit, upstart, systemd };
[[nodiscard]] std::string_view to_string(InitSystem init) noexcept;

struct OsFacts {
    std::string id;           ///< as os-release has it: "centos", "amzn", "debian"; "" if unknown
    std::string version;      ///< "5.11", "2017.09", "12"
    std::string pretty_name;  ///< "CentOS release 5.11 (Final)"
    InitSystem init = InitSystem::unknown;
    bool selinux_enforcing = false;  ///< SELINUX=enforcing in /etc/selinux/config
};

/// A line KEY=value of os-release(5) or of a shell file of assignments; quotes are taken off. Empty
/// if the key is missing; the last one counts.
[[nodiscard]] std::string assignment(std::string_view text, std::string_view key);

/// What release text like "CentOS release 6.10 (Final)" tells.
[[nodiscard]] OsFacts parse_release_line(std::string_view line);

/// From os-release, else system-release, redhat-release, SuSE-release, lsb-release, debian_version;
/// nothing is known of an image without them, which is no error. Files of more than 64 KiB and what
/// is no regular file are passed over.
[[nodiscard]] core::Result<OsFacts> read_os_facts(const SafeRoot& root);

}  // namespace amilift::image
