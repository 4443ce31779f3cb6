// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>

#include "core/result.hpp"
#include "image/kernel_arguments.hpp"
#include "image/text_lines.hpp"

namespace amilift::image {

/// Editors of the files in which GRUB 2, boot loader specification entries and their generators
/// keep kernel command lines. Text in, text out: nothing here knows where a file lies or whether it
/// is the one that boots. Each does what edit_arguments() does to every Linux command line, leaves
/// every other byte as it is, and changes nothing when called again.

/// grub.cfg: the commands linux, linux16 and linuxefi, also several in a line, and `set
/// kernelopts=`, which entries of Fedora and RHEL 8 refer to. A line that takes its arguments from
/// $kernelopts gets none added. Lines that start no Linux (memtest), hypervisor entries and `if`,
/// `search`, `set root` are kept. Source: GRUB 2 manual, "Writing full configuration files
/// directly".
[[nodiscard]] EditedText edit_grub_cfg(std::string_view text, const ArgumentEdit& edit);

/// /etc/default/grub and /etc/default/grub.d/*.cfg, from which grub-mkconfig makes grub.cfg: PV
/// consoles and ranges in every GRUB_CMDLINE_LINUX* assignment; what later kernels want is added to
/// the last GRUB_CMDLINE_LINUX, inside its quotes, or as a new line where there is none or where it
/// is too clever to be edited. `elsewhere` is the text of the other files of the set: what they
/// have is not added. `when_none` is `keep` for a file that another one overrides.
[[nodiscard]] EditedText edit_default_grub(std::string_view text, const ArgumentEdit& edit,
                                           std::string_view elsewhere = {},
                                           WhenNoArgument when_none = WhenNoArgument::add);

/// Does this file of the set assign GRUB_CMDLINE_LINUX?
[[nodiscard]] bool assigns_grub_cmdline(std::string_view text);

/// One entry of /boot/loader/entries: its `options` lines. What it wants is added to the last one,
/// or as a line of its own where there is none, but not where options refer to $kernelopts.
/// Source: the UAPI group's boot loader specification, "Type #1".
[[nodiscard]] EditedText edit_bls_entry(std::string_view text, const ArgumentEdit& edit);

/// /etc/kernel/cmdline: the options of the entries that kernel-install makes. One line of
/// arguments;
/// '#' begins a comment line.
[[nodiscard]] EditedText edit_kernel_cmdline(std::string_view text, const ArgumentEdit& edit);

/// /etc/sysconfig/bootloader of SUSE, from which perl-Bootloader makes entries of GRUB 0.97 menus:
/// DEFAULT_APPEND, FAILSAFE_APPEND and their like in double quotes.
[[nodiscard]] EditedText edit_sysconfig_bootloader(std::string_view text, const ArgumentEdit& edit);

/// The environment block of GRUB 2, in which RHEL 8 keeps `kernelopts`: always 1024 bytes, filled
/// up with '#'. A block without kernelopts stays. Errors: corrupt (id "grubenv-damaged") for what
/// is no such block; refused (id "grubenv-full") when the new value does not fit.
[[nodiscard]] core::Result<EditedText> edit_grubenv(std::string_view block,
                                                    const ArgumentEdit& edit);

/// extlinux.conf and syslinux.cfg: `append` of each label that starts a known kernel or names a
/// root, and the one above all labels.
[[nodiscard]] EditedText edit_extlinux(std::string_view text, const ArgumentEdit& edit);

}  // namespace amilift::image
