// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace amilift::image {

/// One argument of a Linux command line, pointing into it. Source: next_arg() of lib/cmdline.c:
/// blanks separate, double quotes hold them together.
struct KernelArgument {
    std::size_t at = 0;      ///< offset in the command line
    std::string_view text;   ///< "console=tty0", quotes included
    std::string_view key;    ///< "console"
    std::string_view value;  ///< "tty0", without quotes around it
};

[[nodiscard]] std::vector<KernelArgument> kernel_arguments(std::string_view command_line);

/// Does this console= value name a Xen PV console (hvc0, xvc0, "xvc0,9600")?
[[nodiscard]] bool is_pv_console(std::string_view value);

/// "ttyS0" for "ttyS0,115200n8".
[[nodiscard]] std::string_view console_device(std::string_view value);

enum class WhenNoConsole { keep, add };

/// The command line with its PV consoles replaced: the first becomes those of `consoles` whose
/// device the line does not name yet, the others go. Without any console=, `add` appends them all.
/// Other bytes stay, blanks before a removed argument go with it. Nothing is added behind a double
/// quote that is never closed.
[[nodiscard]] std::string replace_pv_consoles(std::string_view command_line,
                                              const std::vector<std::string>& consoles,
                                              WhenNoConsole when_none);

/// The command line with each root= whose value is in `old_devices` set to `replacement`.
[[nodiscard]] std::string replace_root_argument(std::string_view command_line,
                                                const std::vector<std::string>& old_devices,
                                                std::string_view replacement);

/// The last value of `key`, which is the one that counts for root= and for /dev/console.
[[nodiscard]] std::optional<std::string> last_value(std::string_view command_line,
                                                    std::string_view key);

}  // namespace amilift::image
