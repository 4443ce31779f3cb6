// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.hpp"
#include "image/kernel_arguments.hpp"
#include "image/text_lines.hpp"

namespace amilift::image {

/// One `title` entry of a GRUB 0.97 menu (menu.lst, grub.conf).
struct MenuEntry {
    std::string title;
    int line = 0;               ///< 1-based line of the title
    std::string root;           ///< argument of `root`/`rootnoverify` ("(hd0)"), or empty
    std::string kernel;         ///< path as written, without a (hdX) prefix; empty if none
    std::string kernel_device;  ///< "(hd0,1)" when the kernel path has a prefix of its own
    std::string arguments;      ///< kernel command line without the path
    std::string initrd;         ///< path as written, without prefix; empty if none
    std::string initrd_device;  ///< "(hd0,1)" when the initrd path has a prefix of its own
    bool is_multiboot = false;  ///< has `module` lines: a Xen hypervisor entry
    int kernel_line = 0;
    int initrd_line = 0;
};

/// A menu, parsed. Lenient where GRUB is lenient: unknown commands are kept and ignored.
struct Menu {
    std::vector<MenuEntry> entries;
    /// `default N` (also out of range) or the entry that `default TITLE` names; absent: no line,
    /// `default saved`, or a word that is neither number nor title.
    std::optional<std::size_t> default_entry;
    bool default_saved = false;
    std::vector<std::size_t> fallback;
    /// `timeout N`; 0 for what is no number ("-1"), as GRUB 2 reads it.
    std::optional<int> timeout_seconds;
    bool has_password = false;
};

/// Parses; never fails on content (a menu is text of unknown authorship; callers bound its size).
/// CRLF, tabs and a missing final newline are fine, and a backslash at the end of a line joins it
/// with the next one, as in GRUB 0.97. A first line with a UTF-8 byte order mark is an unknown
/// command, as in both GRUBs. Source: GRUB 0.97 manual, "The list of command-line and menu entry
/// commands"; GRUB 2's legacy_configfile was measured.
[[nodiscard]] Menu parse_menu(std::string_view text);

/// Index of the entry that GRUB 2's legacy_configfile tries first without a key press: the default
/// if it is in range, else 0; absent when the menu has no entry. `default saved` is 0 too: a new
/// grubenv has no saved entry. See also `fallback`.
[[nodiscard]] std::optional<std::size_t> default_entry(const Menu& menu);

struct MenuEdit : ArgumentEdit {
    /// (hd0) becomes (hd0,0): the filesystem moved from the whole disk to its first partition.
    bool whole_disk_to_first_partition = true;
    /// The entry that must boot: the `default` line is changed, or one is put before the first
    /// title, when default_entry() says otherwise. Absent: the default stays.
    std::optional<std::size_t> default_entry;
};

/// The edited text. Changes (hd0) in commands that name a filesystem and in commented `# groot=`
/// templates of update-grub; PV consoles in kernel lines and in `# kopt=`, `# defoptions=`-like
/// templates. A Linux kernel line without any console= gets the consoles too, because a PV kernel
/// talks to hvc0 without being told and an HVM kernel does not talk to ttyS0. Consoles that the
/// author chose besides hvc0/xvc0 stay as they are. Kernels get the arguments that ArgumentEdit has
/// for them, and lose a resume= of a device name; `# kopt=` gets those for later kernels. Continued
/// lines are joined, which GRUB 2 does not do by itself. Titles, hypervisor entries and every other
/// byte stay. Editing twice changes nothing.
[[nodiscard]] EditedText edit_menu(std::string_view text, const MenuEdit& edit);

}  // namespace amilift::image
