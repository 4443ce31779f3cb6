// SPDX-License-Identifier: Apache-2.0
#include "image/facts.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "image/boot_choice.hpp"
#include "image/fstab.hpp"
#include "image/guest_findings.hpp"
#include "image/kernel_arguments.hpp"

namespace amilift::image {

namespace {

using core::Errc;
using core::Result;

/// Is this the image's own fault? Else the filesystem cannot be read, which is no finding.
bool is_content_problem(const core::Error& error) {
    return error.is(Errc::corrupt) || error.is(Errc::refused) || error.is(Errc::not_found);
}

class Inspector {
  public:
    explicit Inspector(const SafeRoot& root) : root_(root) {}

    Result<ImageFacts> run() {
        AMILIFT_TRY(auto os, read_os_facts(root_));
        facts_.os_id = std::move(os.id);
        facts_.os_version = std::move(os.version);
        facts_.os_pretty_name = std::move(os.pretty_name);
        facts_.init = os.init;
        facts_.selinux_enforcing = os.selinux_enforcing;
        AMILIFT_CHECK(find_menu());
        if (!facts_.menu_path.empty()) {
            facts_.menu = parse_menu(facts_.menu_text);
            facts_.menu_kind = BootMenuKind::grub_legacy;
            for (const auto& entry : facts_.menu.entries) {
                facts_.boot_entries.push_back(boot_entry_of(entry));
            }
            report_menu_form();
            AMILIFT_CHECK(choose_boot_entry(root_, facts_));
            AMILIFT_CHECK(report_grub2_config());
        } else if (facts_.first_refusal() == nullptr) {
            add(Severity::refusal, "no-menu", std::string(kMenuNames[0]),
                fmt::format("the image has none of {}", fmt::join(kMenuNames, ", ")),
                "there is nothing that says what to boot",
                "amilift converts images that boot through PV-GRUB: check the AMI's kernel id, and "
                "install a menu.lst");
        }
        AMILIFT_CHECK(read_fstab());
        AMILIFT_CHECK(report_guest(root_, facts_));
        return std::move(facts_);
    }

  private:
    [[nodiscard]] BootEntry boot_entry_of(const MenuEntry& entry) const {
        BootEntry out{.title = entry.title,
                      .where = fmt::format("{}:{}", facts_.menu_path, entry.line),
                      .kernel = entry.kernel,
                      .initrds = {},
                      .arguments = entry.arguments};
        if (!entry.initrd.empty()) out.initrds.push_back(entry.initrd);
        return out;
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
            facts_.menu_links.emplace_back(name);
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
        for (const std::string_view path : {"/boot/grub/grub.cfg", "/boot/grub2/grub.cfg"}) {
            AMILIFT_TRY(const auto status, root_.link_status(path));
            if (status.kind == FileKind::missing) continue;
            add(Severity::info, "grub-cfg-not-used", path, "the image has a GRUB 2 configuration",
                fmt::format("{} is what boots, as before on PV", facts_.menu_path), "");
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
        const auto entries = parse_fstab(facts_.fstab_text);
        const auto root = std::ranges::find(entries, "/", &FstabEntry::file);
        if (root == entries.end() || !root->spec.starts_with("LABEL=")) return;
        for (const auto& entry : entries) {
            if (entry.file == "/" || entry.spec != root->spec) continue;
            add(Severity::warning, "label-used-twice", fmt::format("/etc/fstab:{}", entry.line),
                fmt::format("'{}' is mounted at '{}' and at '/'", printable(entry.spec),
                            printable(entry.file)),
                "another volume with this label could be taken for the root",
                "give the other volume a label of its own");
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

bool is_menu_place(std::string_view resolved_path) {
    return resolved_path.starts_with("/boot/") || resolved_path.starts_with("/grub/") ||
           resolved_path == "/etc/grub.conf";
}

std::vector<std::string> old_root_devices(const ImageFacts& facts) {
    std::vector<std::string> names;
    for (const std::string_view disk : {"sda", "xvda", "hda", "xvde"}) {
        names.push_back(fmt::format("/dev/{}", disk));
        names.push_back(fmt::format("/dev/{}1", disk));
    }
    const auto add = [&names](const std::string& name) {
        if (is_unstable_device(name) && std::ranges::find(names, name) == names.end()) {
            names.push_back(name);
        }
    };
    if (facts.boot_entry && *facts.boot_entry < facts.menu.entries.size()) {
        const auto& entry = facts.menu.entries[*facts.boot_entry];
        add(last_value(entry.arguments, "root").value_or(""));
    }
    for (const auto& entry : parse_fstab(facts.fstab_text)) {
        if (entry.file == "/") add(entry.spec);
    }
    return names;
}

Result<ImageFacts> inspect_image(const SafeRoot& root) {
    return Inspector(root).run();
}

}  // namespace amilift::image
