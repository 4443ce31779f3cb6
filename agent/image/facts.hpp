// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/result.hpp"
#include "image/boot_disk.hpp"
#include "image/efi_start.hpp"
#include "image/kernel.hpp"
#include "image/menu.hpp"
#include "image/os_facts.hpp"
#include "image/safe_root.hpp"

namespace amilift::image {

class InitramfsReader;

enum class Severity { info, warning, refusal };
[[nodiscard]] std::string_view to_string(Severity s) noexcept;

/// Something that a user should know about the image.
struct Finding {
    Severity severity = Severity::info;
    std::string id;     ///< stable: "xen-only-kernel", "entry-names-missing-file"
    std::string where;  ///< "/boot/grub/menu.lst:12", "/etc/fstab:3"
    std::string seen;
    std::string consequence;  ///< what would happen
    std::string action;       ///< what amilift does, or what the user can do
};

/// What reads the entries at boot.
enum class BootMenuKind { none, grub_legacy, grub2, boot_loader_spec, extlinux };
[[nodiscard]] std::string_view to_string(BootMenuKind kind) noexcept;

/// One entry of the image's boot menu, whatever loader reads it. Of a GRUB 0.97 menu they are its
/// entries, in the same order.
struct BootEntry {
    std::string title;
    std::string where;                 ///< "/boot/grub/grub.cfg:120"
    std::string kernel;                ///< path from the image's root; empty: starts no Linux
    std::vector<std::string> initrds;  ///< paths from the image's root, in the order of loading
    std::string arguments;             ///< kernel command line without the path
    std::string kernel_where{};        ///< line that names the kernel
    std::string initrd_where{};        ///< line that names the initrds
    std::string other_disk{};    ///< a disk or partition that it names and the image does not have
    bool is_hypervisor = false;  ///< starts a hypervisor: `kernel` is that
    /// What makes it the default of GRUB 2 ("advanced>linux-6.1", an id or title of each level, or
    /// its number) or of extlinux (its label). Needs no quoting but blanks.
    std::string choice{};
};

/// What of a menu's configuration says which entry is the default.
enum class DefaultForm {
    environment,  ///< saved_entry in GRUB's environment block
    grub_cfg,     ///< `set default=`
    extlinux      ///< `default` or `ontimeout`
};

/// How amilift makes another entry the default: see default_entry.hpp.
struct DefaultEdit {
    std::string path;    ///< of the file, without links
    std::string choice;  ///< BootEntry::choice
    DefaultForm form = DefaultForm::grub_cfg;
};

struct ImageFacts {
    /// What has been unpacked for them: for who looks once more at the same tree. Null where
    /// nothing was, or that is over.
    std::shared_ptr<InitramfsReader> initramfs_reader;
    BootDisk disk;      ///< where the filesystems lie, and what boots it
    std::string os_id;  ///< os-release ID or what the release files tell ("centos", "amzn")
    std::string os_version;
    std::string os_pretty_name;
    InitSystem init = InitSystem::unknown;
    bool selinux_enforcing = false;

    std::string menu_path;  ///< resolved path of the live menu, empty if none
    std::vector<std::string>
        menu_links;  ///< names that lead to it: /boot/grub/menu.lst, /etc/grub.conf
    std::string menu_text;
    /// Files that make a simulated menu: the configuration and what it reads in (custom.cfg).
    std::vector<std::string> menu_files;
    /// Boot loader specification entries that it shows.
    std::vector<std::string> entry_files;
    Menu menu;
    BootMenuKind menu_kind = BootMenuKind::none;
    std::vector<BootEntry> boot_entries;
    /// What the loader tries without a key press, in this order: indexes into boot_entries.
    std::vector<std::size_t> boot_order;
    /// Index of the entry in boot_entries that will boot after the conversion; absent if none can.
    std::optional<std::size_t> boot_entry;
    /// The menu's own default (and fallbacks) do not lead to boot_entry: amilift makes it the
    /// default, the menu module of a GRUB 0.97 menu, the arguments module of others.
    bool must_set_default = false;
    std::optional<DefaultEdit> default_edit;  ///< the latter
    /// The menu names files in /boot from the default subvolume of a btrfs on, as PV-GRUB reads
    /// them. For GRUB 2 a link at the top level has to lead there.
    bool needs_boot_link = false;
    std::vector<Kernel> kernels;  ///< of the entries whose kernel file exists, in entry order
    std::vector<std::optional<std::size_t>> kernel_of_entry;  ///< entry index -> index in kernels

    /// Of an image that is to be a paravirtual guest, see choose_pv_boot(): the entries that
    /// PV-GRUB boots, boot_entry first, and the console of the kernel of that.
    std::vector<std::size_t> pv_entries;
    std::string pv_console;

    /// What UEFI firmware makes of the disk; absent: it has no EFI system partition, or nobody has
    /// looked. Not filled by inspect_image(), which sees the tree only.
    std::optional<EfiStart> efi_start;

    std::string fstab_text;
    bool has_fstab = false;

    std::vector<Finding> findings;  ///< in order of discovery; refusals included

    [[nodiscard]] const Finding* first_refusal() const;
    /// Of the entry that will boot; null if there is none.
    [[nodiscard]] const Kernel* boot_kernel() const;
};

/// Names of a GRUB 0.97 menu, in the order in which PV-GRUB looks for the live one; the last is
/// only ever a second name of a menu.
inline constexpr std::array<std::string_view, 4> kMenuNames{
    "/boot/grub/menu.lst", "/boot/grub/grub.conf", "/grub/menu.lst", "/etc/grub.conf"};

/// The largest menu and fstab that are read, in bytes.
inline constexpr std::size_t kTextLimit = 1 << 20;

/// May a menu lie at this resolved path? Only below /boot and /grub, or as /etc/grub.conf: a
/// menu.lst that is a link to another file of the image was not put there to boot it.
[[nodiscard]] bool is_menu_place(std::string_view resolved_path);

/// Names by which this image's root device has been known: the usual ones of PV instances, the
/// root= of the entry that boots and the device in fstab's line of "/", where those are names that
/// depend on the instance type. None of them is sure to exist after the move.
[[nodiscard]] std::vector<std::string> old_root_devices(const ImageFacts& facts);

/// "LABEL=x" when another volume, of fstab or of the disk, has the label of the root: it does not
/// tell which of them is meant. Else empty.
[[nodiscard]] std::string shared_root_label(const ImageFacts& facts);

/// Names that the disk's other partitions have had (/dev/sda1 where disk.device_names has
/// /dev/sda), each with what names that partition on every instance type.
[[nodiscard]] std::vector<std::pair<std::string, std::string>> other_partition_devices(
    const ImageFacts& facts);

/// root= of the entry that the image's menu boots by itself, before a conversion; empty if there is
/// none. Errors: failures of the filesystem only.
[[nodiscard]] core::Result<std::string> default_root_argument(const SafeRoot& root,
                                                              const BootDisk& disk);

/// Looks at the image without running or changing anything. `disk` says where its filesystems lie
/// and what boots it; without one it is a single filesystem that PV-GRUB boots. Content problems
/// are findings with severity refusal, so that all of them are reported; a Result error is a
/// failure to read the filesystem. Refusals:
///   no-menu, menu-unreadable (no regular file, larger than kTextLimit, a loop of links),
///   link-out-of-image (a menu that is a link to somewhere else), no-bootable-entry,
///   kernel-missing (every entry names a kernel file that is not there),
///   xen-only-kernel (no entry has a kernel that starts without Xen),
///   fstab-unreadable; of a disk with partitions also no-boot-loader and uefi-only (nothing that a
///   BIOS starts) and default-does-not-boot (nothing in the configuration that amilift could change
///   makes the entry that boots its default).
[[nodiscard]] core::Result<ImageFacts> inspect_image(const SafeRoot& root,
                                                     const BootDisk& disk = {});

}  // namespace amilift::image
