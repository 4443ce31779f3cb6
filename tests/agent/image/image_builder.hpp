// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <string>
#include <string_view>

#include "image/facts.hpp"
#include "temporary_root.hpp"

namespace amilift::image {

/// Two entries with kernels that boot; tests damage what they are about.
inline constexpr std::string_view kTwoEntries =
    "default=0\n"
    "timeout=1\n"
    "title new\n"
    "root (hd0)\n"
    "kernel /boot/vmlinuz-2 root=LABEL=/ console=hvc0\n"
    "initrd /boot/initrd-2\n"
    "title old\n"
    "root (hd0)\n"
    "kernel /boot/vmlinuz-1 root=LABEL=/ console=hvc0\n"
    "initrd /boot/initrd-1\n";

inline void add_kernels(const TemporaryRoot& image) {
    for (const std::string version : {"1", "2"}) {
        image.file("/boot/vmlinuz-" + version, bz_image(version));
        image.file("/boot/initrd-" + version, "initrd " + version);
    }
}

inline void add_usual_files(const TemporaryRoot& image) {
    add_kernels(image);
    image.file("/boot/grub/menu.lst", kTwoEntries);
    image.file("/etc/fstab", "LABEL=/ / ext3 defaults 1 1\n");
}

inline const Finding* find_finding(const ImageFacts& facts, std::string_view id) {
    const auto found = std::ranges::find(facts.findings, id, &Finding::id);
    return found == facts.findings.end() ? nullptr : &*found;
}

}  // namespace amilift::image
