// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/result.hpp"
#include "image/text_lines.hpp"

namespace amilift::image {

struct FstabEntry {
    int line = 0;         ///< 1-based
    std::string spec;     ///< "LABEL=/", "/dev/sda1", as written
    std::string file;     ///< mount point with octal escapes decoded; "none" or "swap" of swap
    std::string type;     ///< "ext4"; empty if the field is missing
    std::string options;  ///< "defaults,noatime"; empty if the field is missing
    int pass = 0;         ///< fs_passno; 0 if missing or no number
};

/// The entries of an fstab; comments, blank lines and lines of one word are no entries.
/// Source: fstab(5).
[[nodiscard]] std::vector<FstabEntry> parse_fstab(std::string_view text);

/// What a guest's boot understands for a filesystem whose device is not there.
enum class MissingDevice {
    /// systemd, and mount and fsck of util-linux that know the option: nofail; swap gets a short
    /// device timeout too, for the boot is ordered after it.
    nofail,
    /// nofail for mount, and no boot-time check: an fsck that does not know nofail drops to a shell
    /// when the device is missing (sysvinit, and upstart of RHEL 6).
    nofail_without_check,
    /// mount does not know nofail (util-linux 2.13): only the check is switched off. A failing
    /// mount does not stop such a boot.
    without_check,
    /// Ubuntu's mountall, which waits for everything but nobootwait.
    nobootwait
};

struct FstabEdit {
    std::vector<std::string> root_devices;  ///< names by which the root was known: /dev/sda1, ...
    std::string root_spec;   ///< what replaces them: "LABEL=/" or "UUID=..."; empty: root stays
    std::string root_label;  ///< of the root filesystem, may be empty
    std::string root_uuid;
    /// Another volume of the disk has root_label.
    bool is_label_shared = false;
    MissingDevice missing_device = MissingDevice::nofail;
    /// The disk keeps its partition table: PARTUUID and PARTLABEL stay true.
    bool keeps_partitions = false;
    /// Names of the disk's other partitions ("/dev/sda1") and what names them on every instance
    /// type ("UUID=...").
    std::vector<std::pair<std::string, std::string>> other_devices{};
    /// Names below /dev/mapper of encrypted volumes that may be missing.
    std::vector<std::string> missing_mappings{};
};

/// The line of "/" gets root_spec when it names a device (which will be called otherwise), a
/// partition by PARTUUID or PARTLABEL (there is a new partition table), a LABEL or UUID that is
/// not that of the root filesystem, or a LABEL that another volume has too; "none", overlay,
/// tmpfs and the like stay. Other entries that name the same device as "/" follow it, and
/// other_devices are replaced. Entries of devices by a name that will not exist after the move
/// (ephemeral disks, /dev/sd*, /dev/xvd*, /dev/hd*, /dev/vd*, /dev/nvme*, by-id and by-path
/// links, swap partitions among them) are made optional as `missing_device` says, unless they
/// are already, or are noauto; so are entries of missing_mappings. Entries by LABEL or UUID,
/// device mapper, md, LVM, network, bind and pseudo filesystems stay. Comments, order, spacing
/// and unknown fields are kept byte for byte. Editing twice changes nothing. Sources: fstab(5),
/// mount(8), systemd.mount(5), systemd.swap(5).
[[nodiscard]] EditedText edit_fstab(std::string_view text, const FstabEdit& edit);

/// A device name that a kernel gives out or that depends on how a disk is attached: /dev/sd*,
/// xvd*, hd*, vd*, nvme*, and links of /dev/disk/by-id and by-path.
[[nodiscard]] bool is_unstable_device(std::string_view spec);

/// The value of `tag` ("LABEL") in fstab's `LABEL="my\040disk"`, the tag in any case, or in its
/// link /dev/disk/by-label/my\x20disk; quotes and escapes are undone. Absent: the spec is another.
/// Sources: fstab(5), libblkid's blkid_parse_tag_string().
[[nodiscard]] std::optional<std::string> tag_value(std::string_view spec, std::string_view tag);

/// "/mnt/my\040disk" -> "/mnt/my disk": backslash and three octal digits.
[[nodiscard]] std::string decode_octal(std::string_view text);

/// "my\x20disk" -> "my disk": udev writes bytes of a label that it does not like so in the names
/// of links.
[[nodiscard]] std::string decode_hex(std::string_view text);

}  // namespace amilift::image
