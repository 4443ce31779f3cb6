// SPDX-License-Identifier: Apache-2.0
#include "image/efi_start.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <optional>
#include <utility>
#include <vector>

#include "core/text.hpp"
#include "image/boot_menu.hpp"
#include "image/efi_loader.hpp"
#include "image/facts.hpp"
#include "image/fstab.hpp"
#include "image/kernel_arguments.hpp"
#include "image/text_lines.hpp"

namespace amilift::image {
namespace {

using core::Error;
using core::Result;

constexpr std::string_view kTry =
    "start an instance of it by UEFI to see, or register the AMI with the boot mode legacy-bios";
constexpr std::string_view kByBios = "register the AMI with the boot mode legacy-bios";
constexpr std::string_view kInstall =
    "install a boot loader there with 'grub-install --removable', or register the AMI with the "
    "boot "
    "mode legacy-bios";
/// shim, its fallback program, the shim that this names, GRUB.
constexpr int kMaxPrograms = 4;
constexpr std::size_t kListLimit = std::size_t{64} << 10;

std::string place_of(std::string_view path) {
    return fmt::format("{}{}", kEfiMount, printable(path));
}

/// How what `chosen` starts differs from what `by_bios` starts, for people; empty: it is the same
/// system. Consoles and time-outs may differ: a conversion sets them in the image's menu, and in no
/// file of an EFI system partition.
std::string difference(const BootEntry& chosen, const BootEntry& by_bios) {
    constexpr std::array<std::string_view, 6> kKeys{"root", "rootflags",   "rootfstype",
                                                    "init", "net.ifnames", "biosdevname"};
    const auto quoted = [](std::string_view text) {
        return fmt::format("'{}'", printable(text, 200));
    };
    const auto both = [&](std::string_view part, std::string_view one, std::string_view other) {
        return fmt::format(
            "where {} starts by itself; a BIOS starts {}, and the {} differ: {} and {}",
            quoted(chosen.title), quoted(by_bios.title), part, quoted(one), quoted(other));
    };
    if (!chosen.other_disk.empty()) {
        return fmt::format("where {} starts by itself, which is on another disk: {}",
                           quoted(chosen.title), quoted(chosen.other_disk));
    }
    if (chosen.kernel != by_bios.kernel || chosen.kernel.empty()) {
        return both("kernels", chosen.kernel, by_bios.kernel);
    }
    if (chosen.initrds != by_bios.initrds) {
        return both("initrds", fmt::format("{}", fmt::join(chosen.initrds, " ")),
                    fmt::format("{}", fmt::join(by_bios.initrds, " ")));
    }
    const bool same_arguments = std::ranges::all_of(kKeys, [&](std::string_view key) {
        return last_value(chosen.arguments, key) == last_value(by_bios.arguments, key);
    });
    return same_arguments ? std::string() : both("arguments", chosen.arguments, by_bios.arguments);
}

std::string directory_of(std::string_view path) {
    return std::string(path.substr(0, path.rfind('/')));
}

EfiStart refuse(std::string_view id, std::string where, std::string seen,
                std::string_view action = kInstall) {
    return {std::string(id), std::move(where), std::move(seen), std::string(action)};
}

/// ASCII text of UTF-16LE; other characters become '?'.
std::string from_utf16(std::string_view bytes) {
    std::string text;
    for (std::size_t i = 0; i + 1 < bytes.size(); i += 2) {
        const auto low = static_cast<unsigned char>(bytes[i]);
        const bool is_ascii = bytes[i + 1] == '\0' && low < 0x80;
        if (low == 0xff && static_cast<unsigned char>(bytes[i + 1]) == 0xfe) continue;
        text += is_ascii ? static_cast<char>(low) : '?';
    }
    return text;
}

class Follower {
  public:
    Follower(EfiFiles& files, int partition, const SafeRoot& root, const ImageFacts& facts)
        : files_(files), partition_(partition), root_(root), facts_(facts) {}

    EfiStart run() {
        std::string path(kEfiProgram);
        std::string why = "firmware without boot variables starts nothing else";
        for (int i = 0; i < kMaxPrograms; ++i) {
            auto file = files_.read(path, kEfiProgramLimit + 1);
            if (!file) return unreadable(file.error());
            if (file->kind != FileKind::regular) {
                return refuse("efi-loader-missing", place_of(path),
                              fmt::format("there is no such file, and {}", why));
            }
            if (file->bytes.size() > kEfiProgramLimit) {
                return unproven(path, fmt::format("it has more than {} MiB, and is not looked at",
                                                  kEfiProgramLimit >> 20));
            }
            way_.push_back(path);
            auto program = read_efi_program(file->bytes);
            switch (program.kind) {
                case EfiProgramKind::not_startable:
                    return refuse("efi-loader-invalid", place_of(path),
                                  fmt::format("{}: no x86-64 firmware starts it", program.problem));
                case EfiProgramKind::grub2:
                    return follow_grub({path, std::move(program)});
                case EfiProgramKind::shim:
                    break;
                case EfiProgramKind::systemd_boot:
                    return unproven(path, "it is systemd-boot, whose entries are not looked at");
                case EfiProgramKind::unified_kernel:
                    return unproven(path, "it is a unified kernel image, which is not looked into");
                case EfiProgramKind::unknown:
                    return unproven(path, "it is a program that amilift does not know");
            }
            auto next = follow_shim(path, program);
            if (next.end) return *std::move(next.end);
            path = std::move(next.path);
            why = std::move(next.why);
        }
        return unproven(path, "shim starts shim, again and again");
    }

  private:
    struct Next {
        std::string path;
        std::string why;              ///< is that the next one
        std::optional<EfiStart> end;  ///< there is no next one
    };

    static EfiStart unreadable(const Error& error) {
        return refuse("efi-partition-unreadable", "EFI system partition",
                      printable(error.what, 300), error.hint.empty() ? kByBios : error.hint);
    }

    static EfiStart unproven(std::string_view path, std::string_view seen) {
        return refuse("efi-loader-unproven", place_of(path),
                      fmt::format("{}: nothing proves that it starts this system", seen), kTry);
    }

    /// From the directory for removable media shim starts its fallback program, if there is one,
    /// and else the other program of its own directory.
    Next follow_shim(const std::string& path, const EfiProgram& shim) {
        const auto directory = directory_of(path);
        if (path == kEfiProgram) {
            const auto fallback = fmt::format("{}/{}", directory, shim.fallback);
            const auto file = files_.read(fallback, 1);
            if (!file) return {{}, {}, unreadable(file.error())};
            if (file->kind == FileKind::regular) return follow_fallback(fallback);
        }
        return {fmt::format("{}/{}", directory, shim.second), "shim starts it", {}};
    }

    /// The program makes boot variables of what BOOTX64.CSV of each vendor says, and starts one.
    Next follow_fallback(const std::string& path) {
        way_.push_back(path);
        const auto vendors = files_.list("/EFI");
        if (!vendors) return {{}, {}, unreadable(vendors.error())};
        std::vector<std::string> named;
        for (const auto& vendor : *vendors) {
            if (core::lower(vendor) == "boot" || named.size() > 1) continue;
            const auto directory = fmt::format("/EFI/{}", vendor);
            const auto is_there = files_.read(directory, 1);
            if (!is_there) return {{}, {}, unreadable(is_there.error())};
            if (is_there->kind == FileKind::missing) {
                return {{}, {}, unproven(path, "a name in /EFI has blanks")};
            }
            const auto programs = programs_of(directory);
            if (!programs) return {{}, {}, unreadable(programs.error())};
            named.insert(named.end(), programs->begin(), programs->end());
        }
        if (named.empty()) {
            return {{},
                    {},
                    refuse("efi-loader-missing", place_of(path),
                           "shim starts it, and no /EFI/*/BOOTX64.CSV says what is next")};
        }
        if (named.size() > 1) {
            return {{},
                    {},
                    unproven(path, fmt::format("there are {} boot loaders to choose from",
                                               named.size()))};
        }
        return {named.front(), "BOOTX64.CSV names it", {}};
    }

    /// What the list of a vendor's directory names.
    Result<std::vector<std::string>> programs_of(const std::string& directory) {
        std::vector<std::string> programs;
        for (const std::string_view name : {"BOOTX64.CSV", "BOOT.CSV"}) {
            AMILIFT_TRY(const auto list,
                        files_.read(fmt::format("{}/{}", directory, name), kListLimit));
            if (list.kind != FileKind::regular) continue;
            const auto text = from_utf16(list.bytes);
            for (const auto& line : split_lines(text)) {
                const auto program = trim(line.body.substr(0, line.body.find(',')));
                if (!program.empty()) programs.push_back(fmt::format("{}/{}", directory, program));
            }
            break;
        }
        return programs;
    }

    EfiStart follow_grub(const GrubProgram& program) {
        const auto menu = simulate_grub2_efi(root_, disk_with_efi(), program, files_);
        if (!menu) return unreadable(menu.error());
        for (const auto& file : menu->files) {
            if (file != place_of(program.path)) way_.push_back(file);
        }
        for (const auto& finding : menu->findings) {
            if (finding.id == "grub-cfg-too-complex") {
                return refuse(
                    "efi-loader-unproven", finding.where,
                    fmt::format("{}: nothing proves that it starts this system", finding.seen),
                    kTry);
            }
        }
        if (menu->order.empty() && menu->legacy_menu.empty()) return without_menu(program, *menu);
        if (const auto* entry = entry_on_partition(*menu)) {
            const auto root = last_value(entry->arguments, "root").value_or("");
            if (is_unstable_device(root)) {
                return refuse("efi-menu-differs", entry->where,
                              fmt::format("its entry says root={}, which is called otherwise on "
                                          "Nitro; no conversion edits files there",
                                          printable(root)),
                              "name the root by its UUID there, or register the AMI with the boot "
                              "mode legacy-bios");
            }
        }
        if (is_menu_of_image(*menu)) {
            return {{}, place_of(kEfiProgram), fmt::format("{}", fmt::join(way_, ", then ")), {}};
        }
        if (!starts_linux(*menu)) return without_menu(program, *menu);
        const auto& last = menu->legacy_menu.empty() ? menu->path : menu->legacy_menu;
        return refuse("efi-menu-differs", place_of(program.path),
                      fmt::format("GRUB reads '{}', {}", printable(last), difference_of(*menu)),
                      "make the two the same, or register the AMI with the boot mode legacy-bios");
    }

    /// The partition is a volume for GRUB, with a place of its own in the tree.
    [[nodiscard]] BootDisk disk_with_efi() const {
        auto disk = facts_.disk;
        BootVolume volume{.partition = partition_,
                          .mount_point = std::string(kEfiMount),
                          .uuid = {},
                          .label = {}};
        volume.grub_module = "fat";
        for (const auto& name : disk.names) {
            if (name.partition == partition_ && name.spec.starts_with("UUID=")) {
                volume.uuid = name.spec.substr(5);
            }
        }
        std::erase_if(disk.volumes,
                      [this](const BootVolume& v) { return v.partition == partition_; });
        disk.volumes.push_back(std::move(volume));
        return disk;
    }

    /// Of this disk; a menu of GRUB 0.97 is judged elsewhere.
    static bool starts_linux(const BootMenu& menu) {
        if (!menu.legacy_menu.empty()) return true;
        if (menu.order.empty()) return false;
        const auto& chosen = menu.entries[menu.order.front()];
        const bool lacks_module = std::ranges::any_of(
            menu.findings, [](const Finding& f) { return f.id == "grub-module-missing"; });
        return !lacks_module || (!chosen.kernel.empty() && chosen.other_disk.empty());
    }

    static EfiStart without_menu(const GrubProgram& program, const BootMenu& menu) {
        auto where = place_of(program.path);
        std::vector<std::string> seen;
        for (const auto& finding : menu.findings) {
            if (seen.empty()) where = finding.where;
            seen.push_back(finding.seen);
            if (seen.size() == 3) break;
        }
        if (seen.empty()) seen.emplace_back("no configuration has a menu entry");
        return refuse("efi-config-missing", std::move(where),
                      fmt::format("GRUB comes to no menu or kernel: {}", fmt::join(seen, "; ")));
    }

    /// What is started by itself, if a file of the EFI system partition says so.
    static const BootEntry* entry_on_partition(const BootMenu& menu) {
        if (!menu.legacy_menu.empty() || menu.order.empty()) return nullptr;
        const auto& entry = menu.entries[menu.order.front()];
        return entry.where.starts_with(kEfiMount) ? &entry : nullptr;
    }

    /// Does it start by itself what a BIOS starts? Then the rest is judged already.
    [[nodiscard]] bool is_menu_of_image(const BootMenu& menu) const {
        if (!menu.legacy_menu.empty()) {
            const auto real = root_.resolve(menu.legacy_menu);
            return real && facts_.menu_kind == BootMenuKind::grub_legacy &&
                   *real == facts_.menu_path;
        }
        if (menu.order.empty()) return false;
        const auto& chosen = menu.entries[menu.order.front()];
        const auto is_same = [&](std::size_t index) {
            return difference(chosen, facts_.boot_entries[index]).empty();
        };
        return (facts_.boot_entry && is_same(*facts_.boot_entry)) ||
               (!facts_.boot_order.empty() && is_same(facts_.boot_order.front()));
    }

    /// For a menu that is not that of the image.
    [[nodiscard]] std::string difference_of(const BootMenu& menu) const {
        const auto index = facts_.boot_entry           ? *facts_.boot_entry
                           : facts_.boot_order.empty() ? facts_.boot_entries.size()
                                                       : facts_.boot_order.front();
        if (!menu.legacy_menu.empty() || index >= facts_.boot_entries.size()) {
            return "which is another menu than that which a BIOS comes to";
        }
        return difference(menu.entries[menu.order.front()], facts_.boot_entries[index]);
    }

    EfiFiles& files_;
    int partition_;
    const SafeRoot& root_;
    const ImageFacts& facts_;
    std::vector<std::string> way_;
};

}  // namespace

EfiStart follow_efi_start(EfiFiles& files, int partition, const SafeRoot& root,
                          const ImageFacts& facts) {
    return Follower(files, partition, root, facts).run();
}

}  // namespace amilift::image
