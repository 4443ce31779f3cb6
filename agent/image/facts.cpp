// SPDX-License-Identifier: Apache-2.0
#include "image/facts.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <utility>

#include "image/boot_choice.hpp"
#include "image/boot_menu.hpp"
#include "image/fstab.hpp"
#include "image/guest_findings.hpp"
#include "image/kernel_arguments.hpp"
#include "image/root_disk.hpp"

namespace amilift::image {

namespace {

using core::Errc;
using core::Result;

class Inspector {
  public:
    Inspector(const SafeRoot& root, const BootDisk& disk) : root_(root) { facts_.disk = disk; }

    Result<ImageFacts> run() {
        AMILIFT_TRY(auto os, read_os_facts(root_));
        facts_.os_id = std::move(os.id);
        facts_.os_version = std::move(os.version);
        facts_.os_pretty_name = std::move(os.pretty_name);
        facts_.init = os.init;
        facts_.selinux_enforcing = os.selinux_enforcing;
        AMILIFT_CHECK(read_menu());
        if (!facts_.menu_path.empty()) {
            AMILIFT_CHECK(choose_boot_entry(root_, facts_));
            AMILIFT_CHECK(report_grub2_config());
        } else if (facts_.first_refusal() == nullptr) {
            refuse_without_menu();
        }
        AMILIFT_CHECK(read_fstab());
        AMILIFT_CHECK(report_guest(root_, facts_));
        return std::move(facts_);
    }

    /// root= of what the menu boots by itself.
    Result<std::string> default_root() {
        AMILIFT_CHECK(read_menu());
        if (facts_.boot_order.empty()) return std::string();
        const auto& entry = facts_.boot_entries.at(facts_.boot_order.front());
        return last_value(entry.arguments, "root").value_or("");
    }

  private:
    Result<> read_menu() {
        AMILIFT_CHECK(facts_.disk.is_partitioned() ? find_loader() : find_menu());
        if (facts_.menu_path.empty() || facts_.menu_kind != BootMenuKind::none) return {};
        return read_legacy_menu();
    }

    Result<> read_legacy_menu() {
        read_legacy_entries(facts_);
        AMILIFT_TRY(const auto saved, saved_entry());
        if (saved && facts_.boot_order.front() != *saved) {
            facts_.boot_order.insert(facts_.boot_order.begin(), *saved);
        }
        report_menu_form();
        return {};
    }

    /// What `default saved` means to a GRUB 0.97 of the disk itself, which goes on booting it: the
    /// number in /boot/grub/default. A GRUB 2 that reads the menu does not know that file.
    Result<std::optional<std::size_t>> saved_entry() {
        if (!facts_.menu.default_saved || facts_.disk.code != BootCode::grub_legacy) {
            return std::nullopt;
        }
        const auto text = root_.read_prefix("/boot/grub/default", std::size_t{64});
        if (!text) {
            if (!is_content_problem(text.error())) return std::unexpected(text.error());
            return std::nullopt;
        }
        std::size_t number = 0;
        std::from_chars(text->data(), text->data() + text->size(), number);
        return number < facts_.boot_entries.size() ? std::optional(number) : std::nullopt;
    }

    void refuse_without_menu() {
        if (!facts_.disk.is_partitioned()) {
            add(Severity::refusal, "no-menu", std::string(kMenuNames[0]),
                fmt::format("the image has none of {}", fmt::join(kMenuNames, ", ")),
                "there is nothing that says what to boot",
                "amilift converts images that boot through PV-GRUB: check the AMI's kernel id, and "
                "install a menu.lst");
            return;
        }
        add(Severity::refusal, "no-menu", "/boot",
            fmt::format("the boot sectors start {}, and the image has no configuration of it",
                        to_string(facts_.disk.code)),
            "there is nothing that says what to boot",
            "install the boot loader and its configuration again, then make the image");
    }

    /// Of a disk with partitions: the menu of what its boot sectors start.
    Result<> find_loader() {
        switch (facts_.disk.code) {
            case BootCode::grub2:
                return simulate_first(kGrub2Configs, simulate_grub2);
            case BootCode::grub_legacy:
                return find_menu();
            case BootCode::extlinux:
                return simulate_first(kExtlinuxConfigs, simulate_extlinux);
            case BootCode::none:
                if (!facts_.disk.has_system_partition) {
                    add(Severity::refusal, "no-boot-loader", "sector 0",
                        "no boot sector of the disk has code, and it has no EFI system partition",
                        "no firmware starts it", "install a boot loader, then make the image");
                    return {};
                }
                add(Severity::refusal, "uefi-only", "sector 0",
                    "no boot sector of the disk has code, it has an EFI system partition",
                    "the image boots by UEFI only, and the AMI would be registered for BIOS",
                    "install a boot loader for BIOS too, then make the image");
                break;
            case BootCode::unknown:
                add(Severity::warning, "boot-code-unknown", "sector 0",
                    fmt::format("the boot code is none that amilift knows ({})",
                                facts_.disk.evidence),
                    "what is told of the boot menu is what the files in the image make probable",
                    "");
                break;
        }
        AMILIFT_CHECK(simulate_first(kGrub2Configs, simulate_grub2));
        if (facts_.menu_path.empty() && facts_.first_refusal() == nullptr) {
            AMILIFT_CHECK(find_menu());
        }
        if (!facts_.menu_path.empty() || facts_.first_refusal() != nullptr) return {};
        return simulate_first(kExtlinuxConfigs, simulate_extlinux);
    }

    template <class Names, class Simulate>
    Result<> simulate_first(const Names& names, const Simulate& simulate) {
        for (const std::string_view name : names) {
            AMILIFT_TRY(const auto status, root_.link_status(name));
            if (status.kind == FileKind::missing) continue;
            const auto real = root_.resolve(name);
            auto menu = real ? simulate(root_, facts_.disk, *real, {})
                             : Result<BootMenu>(std::unexpected(real.error()));
            if (!menu) {
                if (!is_content_problem(menu.error())) {
                    return std::unexpected(std::move(menu).error());
                }
                if (menu.error().is(Errc::not_found)) continue;
                const bool outside = menu.error().is(Errc::refused);
                add(Severity::refusal, outside ? "link-out-of-image" : "menu-unreadable", name,
                    menu.error().what, "the menu cannot be trusted or read", menu.error().hint);
                return {};
            }
            for (auto& finding : menu->findings) facts_.findings.push_back(std::move(finding));
            if (!menu->legacy_menu.empty()) return take_legacy_menu(menu->legacy_menu);
            facts_.menu_path = menu->path;
            facts_.menu_links.emplace_back(name);
            facts_.menu_text = std::move(menu->text);
            facts_.menu_files = std::move(menu->files);
            facts_.entry_files = std::move(menu->entry_files);
            facts_.menu_kind = menu->kind;
            facts_.boot_entries = std::move(menu->entries);
            facts_.boot_order = std::move(menu->order);
            return {};
        }
        return {};
    }

    /// GRUB 2 reads a menu of GRUB 0.97: what an earlier conversion by amilift has installed.
    Result<> take_legacy_menu(const std::string& path) {
        AMILIFT_CHECK(look_at_menu(path, false));
        return find_menu();
    }

    Result<> find_menu() {
        for (const auto name : kMenuNames) {
            AMILIFT_CHECK(look_at_menu(name, name == kMenuNames.back()));
        }
        return {};
    }

    Result<> look_at_menu(std::string_view name, bool only_second_name) {
        AMILIFT_TRY(const auto link, root_.link_status(name));
        if (link.kind == FileKind::missing) return {};
        const bool may_be_live = !only_second_name && facts_.menu_path.empty();
        const auto severity = may_be_live ? Severity::refusal : Severity::warning;
        const auto real = root_.resolve(name);
        if (!real) {
            if (!is_content_problem(real.error())) return std::unexpected(real.error());
            if (real.error().is(Errc::not_found)) {
                add(Severity::warning, "dangling-menu-link", name, real.error().what,
                    "the name is passed over", "");
                return {};
            }
            const bool outside = real.error().is(Errc::refused);
            add(severity, outside ? "link-out-of-image" : "menu-unreadable", name,
                real.error().what, "the menu cannot be trusted or read", real.error().hint);
            return {};
        }
        if (!is_menu_place(*real)) {
            add(severity, "link-out-of-image", name,
                fmt::format("it is a link that leads to '{}'", printable(*real)),
                "a menu lies in /boot or /grub; this file was not made to be one",
                "make the link point to the menu and create the AMI again");
            return {};
        }
        if (*real == facts_.menu_path) {
            auto& links = facts_.menu_links;
            if (std::ranges::find(links, name) == links.end()) links.emplace_back(name);
            return {};
        }
        auto text = root_.read(*real, kTextLimit);
        if (!text) {
            if (!is_content_problem(text.error())) return std::unexpected(std::move(text).error());
            add(severity, "menu-unreadable", name, text.error().what,
                fmt::format("a menu is a regular file of at most {} bytes", kTextLimit),
                "put a menu there and create the AMI again");
            return {};
        }
        if (may_be_live) {
            facts_.menu_path = *real;
            facts_.menu_links.emplace_back(name);
            facts_.menu_text = *std::move(text);
        } else if (!facts_.menu_path.empty() && *text != facts_.menu_text) {
            add(Severity::warning, "menus-differ", name,
                fmt::format("it is another menu than {}", facts_.menu_path),
                fmt::format("{} is what boots; this one is edited, too, and not used",
                            facts_.menu_path),
                "make one a link to the other");
        }
        return {};
    }

    void report_menu_form() {
        if (facts_.menu_text.starts_with("\xef\xbb\xbf")) {
            add(Severity::warning, "menu-byte-order-mark", facts_.menu_path + ":1",
                "the menu begins with a UTF-8 byte order mark",
                "GRUB does not understand the first line", "save the menu without the mark");
        }
    }

    Result<> report_grub2_config() {
        if (facts_.menu_kind != BootMenuKind::grub_legacy) return {};
        for (const std::string_view path : {"/boot/grub/grub.cfg", "/boot/grub2/grub.cfg"}) {
            AMILIFT_TRY(const auto status, root_.link_status(path));
            if (status.kind == FileKind::missing) continue;
            add(Severity::info, "grub-cfg-not-used", path, "the image has a GRUB 2 configuration",
                fmt::format("{} is what boots{}", facts_.menu_path,
                            facts_.disk.is_partitioned() ? "" : ", as before on PV"),
                "");
        }
        return {};
    }

    Result<> read_fstab() {
        constexpr std::string_view kPath = "/etc/fstab";
        AMILIFT_TRY(const auto link, root_.link_status(kPath));
        if (link.kind == FileKind::missing) return {};
        auto real = root_.resolve(kPath);
        auto text = real ? root_.read(*real, kTextLimit)
                         : Result<std::string>(std::unexpected(std::move(real).error()));
        if (!text) {
            if (!is_content_problem(text.error())) return std::unexpected(std::move(text).error());
            add(Severity::refusal, "fstab-unreadable", kPath, text.error().what,
                "what the system mounts at boot is not known",
                "put a regular file there and create the AMI again");
            return {};
        }
        facts_.has_fstab = true;
        facts_.fstab_text = *std::move(text);
        report_shared_label();
        return {};
    }

    /// Which of two volumes is mounted as "/" is a matter of luck when both have its label.
    void report_shared_label() {
        const auto label = shared_root_label(facts_);
        if (label.empty()) return;
        const auto tell = [&](const std::string& where, std::string seen) {
            add(Severity::warning, "label-used-twice", where, std::move(seen),
                "which of the two is mounted as '/' is a matter of luck",
                "amilift names the root by its UUID; give the other volume a label of its own");
        };
        const auto name = printable(label, 80);
        for (const auto& entry : parse_fstab(facts_.fstab_text)) {
            const auto other = tag_value(entry.spec, "LABEL");
            if (entry.file == "/" || !other || "LABEL=" + *other != label) continue;
            tell(
                fmt::format("/etc/fstab:{}", entry.line),
                fmt::format("'{}' is mounted at '{}' and at '/'", name, printable(entry.file, 80)));
        }
        const auto* root = facts_.disk.holder_of("/");
        for (const auto& volume : facts_.disk.volumes) {
            if (&volume == root || "LABEL=" + volume.label != label) continue;
            tell(fmt::format("partition {}", volume.partition),
                 fmt::format("'{}' is the label of this partition and of the root", name));
        }
    }

    void add(Severity severity, std::string_view id, std::string_view where, std::string seen,
             std::string consequence, std::string action) {
        facts_.findings.push_back({severity, std::string(id), std::string(where), std::move(seen),
                                   std::move(consequence), std::move(action)});
    }

    const SafeRoot& root_;
    ImageFacts facts_;
};

}  // namespace

std::string_view to_string(Severity s) noexcept {
    switch (s) {
        case Severity::info:
            return "info";
        case Severity::warning:
            return "warning";
        case Severity::refusal:
            break;
    }
    return "refusal";
}

std::string_view to_string(BootMenuKind kind) noexcept {
    switch (kind) {
        case BootMenuKind::grub_legacy:
            return "GRUB 0.97 menu";
        case BootMenuKind::grub2:
            return "GRUB 2 configuration";
        case BootMenuKind::boot_loader_spec:
            return "boot loader specification entries";
        case BootMenuKind::extlinux:
            return "extlinux configuration";
        case BootMenuKind::none:
            break;
    }
    return "none";
}

const Finding* ImageFacts::first_refusal() const {
    const auto found = std::ranges::find(findings, Severity::refusal, &Finding::severity);
    return found == findings.end() ? nullptr : &*found;
}

const Kernel* ImageFacts::boot_kernel() const {
    if (!boot_entry || *boot_entry >= kernel_of_entry.size()) return nullptr;
    const auto index = kernel_of_entry[*boot_entry];
    return index && *index < kernels.size() ? &kernels[*index] : nullptr;
}

bool is_menu_place(std::string_view resolved_path) {
    return resolved_path.starts_with("/boot/") || resolved_path.starts_with("/grub/") ||
           resolved_path == "/etc/grub.conf";
}

std::string shared_root_label(const ImageFacts& facts) {
    const auto entries = parse_fstab(facts.fstab_text);
    const auto* root = facts.disk.holder_of("/");
    std::string label = root == nullptr ? "" : root->label;
    const auto line = std::ranges::find(entries, "/", &FstabEntry::file);
    if (label.empty() && line != entries.end()) {
        label = tag_value(line->spec, "LABEL").value_or("");
    }
    if (label.empty()) return "";
    const bool in_fstab = std::ranges::any_of(entries, [&](const FstabEntry& entry) {
        return entry.file != "/" && tag_value(entry.spec, "LABEL") == label;
    });
    const bool on_disk = std::ranges::any_of(facts.disk.volumes, [&](const BootVolume& volume) {
        return &volume != root && volume.label == label;
    });
    return in_fstab || on_disk ? "LABEL=" + label : "";
}

std::vector<std::string> old_root_devices(const ImageFacts& facts) {
    std::vector<std::string> names;
    for (const std::string_view disk : {"sda", "xvda", "hda", "xvde"}) {
        if (facts.disk.is_partitioned()) {
            // The first partition of such a disk may be /boot. What root= says is the root,
            // whichever of these names an older kernel gave to the disk.
            const auto* root = facts.disk.holder_of("/");
            if (root != nullptr) names.push_back(fmt::format("/dev/{}{}", disk, root->partition));
            continue;
        }
        names.push_back(fmt::format("/dev/{}", disk));
        names.push_back(fmt::format("/dev/{}1", disk));
    }
    const auto add = [&names](const std::string& name) {
        if (is_unstable_device(name) && std::ranges::find(names, name) == names.end()) {
            names.push_back(name);
        }
    };
    if (facts.boot_entry && *facts.boot_entry < facts.boot_entries.size()) {
        const auto& entry = facts.boot_entries[*facts.boot_entry];
        add(last_value(entry.arguments, "root").value_or(""));
    }
    for (const auto& entry : parse_fstab(facts.fstab_text)) {
        if (entry.file == "/") add(entry.spec);
    }
    return names;
}

std::vector<std::pair<std::string, std::string>> other_partition_devices(const ImageFacts& facts) {
    std::vector<std::pair<std::string, std::string>> devices;
    const auto* root = facts.disk.holder_of("/");
    for (const auto& name : facts.disk.names) {
        if (name.spec.empty() || (root != nullptr && root->partition == name.partition)) continue;
        for (const auto& disk : facts.disk.device_names) {
            devices.emplace_back(partition_device(disk, name.partition), name.spec);
        }
    }
    return devices;
}

Result<std::string> default_root_argument(const SafeRoot& root, const BootDisk& disk) {
    return Inspector(root, disk).default_root();
}

Result<ImageFacts> inspect_image(const SafeRoot& root, const BootDisk& disk) {
    return Inspector(root, disk).run();
}

}  // namespace amilift::image
