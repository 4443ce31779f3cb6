// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <span>
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
    /// A quote in it is never closed: it holds the rest of the line, and no editor touches it.
    bool is_open = false;
};

[[nodiscard]] std::vector<KernelArgument> kernel_arguments(std::string_view command_line);

/// Are these keys the same parameter for the kernel? '-' and '_' are.
[[nodiscard]] bool is_same_argument(std::string_view a, std::string_view b);

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

/// An argument that a kernel shall have.
struct WantedArgument {
    std::string key;    ///< "nvme_core.io_timeout"
    std::string value;  ///< "4294967295"
    /// What the author set stays if it is a number up to this one, else it becomes `value`. Absent:
    /// whatever the author set stays.
    std::optional<std::uint32_t> largest = std::nullopt;
    friend bool operator==(const WantedArgument&, const WantedArgument&) = default;
};

/// What a wanted argument becomes that the line does not have.
enum class WhenNoArgument { keep, add };

/// The command line with values that are out of their range mended and missing arguments behind the
/// last one, but before a "--", which is where init's own arguments begin. Keys that differ in '-'
/// and '_' only are the same, as for the kernel. Source: parse_args() of kernel/params.c.
[[nodiscard]] std::string set_arguments(std::string_view command_line,
                                        std::span<const WantedArgument> wanted,
                                        WhenNoArgument when_none = WhenNoArgument::add);

/// The command line without each resume= of a device name that a kernel gives out, or of a
/// partition's UUID or label, unless resume_offset= says that it holds a swap file. Swap is no
/// partition of the new disk, and an initramfs waits for the device. A filesystem's UUID and LABEL
/// stay: they may be a volume's that is still attached.
[[nodiscard]] std::string remove_device_resume(std::string_view command_line);

/// The arguments that the kernel of a file shall have.
struct KernelArguments {
    std::string kernel;  ///< "/boot/vmlinuz-6.1.0-56-cloud-amd64"
    std::vector<WantedArgument> arguments;
};

/// What all command lines of an image need; each editor of a file that holds one takes it.
struct ArgumentEdit {
    std::vector<std::string> consoles;  ///< replaces hvc0/xvc0: {"tty0", "ttyS0,115200n8"}
    /// root=/dev/xxx of the old root device becomes this ("LABEL=/", "UUID=..."), if set; only in
    /// entries with an initrd (without one the kernel cannot look a UUID up).
    std::optional<std::string> root_argument;
    std::vector<std::string> old_root_devices;  ///< {"/dev/sda1", "/dev/xvda1", "/dev/xvde1", ...}
    std::vector<KernelArguments> kernels;
    /// For templates, from which the entries of later kernels are made.
    std::vector<WantedArgument> later_kernels;

    /// Those of the kernel with this path, else of one with the same file name (a separate /boot or
    /// a btrfs subvolume is written differently); none for a kernel that is not known.
    [[nodiscard]] std::span<const WantedArgument> arguments_of(std::string_view kernel) const;
    /// Is a kernel of this path, or of the same file name, one of `kernels`?
    [[nodiscard]] bool knows(std::string_view kernel) const { return find(kernel) != nullptr; }

  private:
    [[nodiscard]] const KernelArguments* find(std::string_view kernel) const;
};

/// The arguments of one boot entry, edited: PV consoles, root=, resume= and what the kernel wants.
/// `consoles` says what happens to a line that names none.
[[nodiscard]] std::string edit_arguments(std::string_view arguments, const ArgumentEdit& edit,
                                         std::span<const WantedArgument> wanted,
                                         WhenNoConsole consoles, WhenNoArgument when_none,
                                         bool has_initrd);

/// The last value of `key`, which is the one that counts for root= and for /dev/console.
[[nodiscard]] std::optional<std::string> last_value(std::string_view command_line,
                                                    std::string_view key);

}  // namespace amilift::image
