// SPDX-License-Identifier: Apache-2.0
#include "image/pv_boot.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>
#include <vector>

namespace amilift::image {

namespace {

using core::Errc;
using core::Result;

/// Each is unpacked; a menu of more has copies of the same kernels.
constexpr std::size_t kMaxKernels = 24;

/// Findings of choose_boot_entry() that are about HVM.
constexpr std::array<std::string_view, 7> kHvmFindings{
    "xen-only-kernel",      "no-bootable-entry",           "kernel-missing",
    "i386-image",           "default-entry-does-not-boot", "kernel-name-looks-xen-only",
    "default-does-not-boot"};

/// Why an entry does not boot.
struct Reason {
    std::string id;
    std::string seen;
};

class Chooser {
  public:
    Chooser(const SafeRoot& root, ImageFacts& facts, std::string_view architecture)
        : root_(root), facts_(facts), architecture_(architecture) {}

    Result<std::optional<PvBoot>> run() {
        std::erase_if(facts_.findings, [](const Finding& finding) {
            return std::ranges::find(kHvmFindings, finding.id) != kHvmFindings.end();
        });
        const auto order = entries_in_order();
        const auto first = order.empty() ? std::nullopt : std::optional(order.front());
        facts_.kernel_of_entry.resize(facts_.boot_entries.size());
        facts_.boot_entry.reset();
        facts_.must_set_default = false;
        for (const auto index : order) {
            AMILIFT_TRY(auto boot, try_entry(index));
            if (!boot) continue;
            facts_.boot_entry = index;
            facts_.must_set_default = index != first;
            report_choice(index, first);
            return boot;
        }
        refuse();
        return std::nullopt;
    }

  private:
    [[nodiscard]] std::vector<std::size_t> entries_in_order() const {
        std::vector<std::size_t> order;
        const auto add = [&](std::size_t index) {
            if (index < facts_.boot_entries.size() &&
                std::ranges::find(order, index) == order.end()) {
                order.push_back(index);
            }
        };
        for (const auto next : facts_.boot_order) add(next);
        if (facts_.menu_kind == BootMenuKind::grub_legacy) {
            if (const auto first = default_entry(facts_.menu)) add(*first);
            for (const auto next : facts_.menu.fallback) add(next);
        } else if (facts_.boot_entry) {
            add(*facts_.boot_entry);
        }
        // A menu is bounded, and so is this search in it.
        const auto count = std::min<std::size_t>(facts_.boot_entries.size(), 256);
        for (std::size_t i = 0; i < count; ++i) add(i);
        return order;
    }

    Result<std::optional<PvBoot>> try_entry(std::size_t index) {
        const auto& entry = facts_.boot_entries[index];
        if (entry.kernel.empty()) return std::nullopt;
        const auto no = [&](std::string id, std::string seen) {
            reasons_.push_back(
                {std::move(id), fmt::format("entry {} '{}': {}", index, printable(entry.title, 60),
                                            std::move(seen))});
            return std::nullopt;
        };
        if (reasons_.size() >= kMaxKernels) return std::nullopt;
        if (entry.is_hypervisor) return no("no-bootable-entry", "it starts a hypervisor");
        if (!entry.other_disk.empty()) {
            return no("no-bootable-entry",
                      fmt::format("it names {}", printable(entry.other_disk, 80)));
        }
        if (!is_menu_path(entry.kernel) ||
            (!entry.initrds.empty() && !is_menu_path(entry.initrds.front()))) {
            return no("no-bootable-entry", "its files have names that a menu.lst cannot hold");
        }
        if (std::ranges::any_of(entry.arguments,
                                [](char c) { return c == '\n' || c == '\r' || c == '\0'; })) {
            return no("no-bootable-entry", "its kernel arguments have more than one line");
        }
        if (entry.initrds.size() > 1) {
            return no("no-bootable-entry",
                      fmt::format("it has {} initrds, PV-GRUB loads one", entry.initrds.size()));
        }
        auto kernel = inspect_pv_kernel(root_, entry.kernel);
        if (!kernel) {
            auto& error = kernel.error();
            if (error.is(Errc::io_error)) return std::unexpected(std::move(error));
            if (error.is(Errc::not_found)) return no("kernel-missing", error.what);
            return no(error.is(Errc::refused) && !error.id.empty() ? error.id : "no-bootable-entry",
                      error.what);
        }
        const std::string_view architecture = kernel->is_64_bit ? "x86_64" : "i386";
        if (!architecture_.empty() && architecture != architecture_) {
            return no("aki-does-not-fit",
                      fmt::format("its kernel is {}, the AMI is {}", architecture, architecture_));
        }
        if (!entry.initrds.empty()) {
            AMILIFT_TRY(const auto status, root_.status(entry.initrds.front()));
            if (status.kind != FileKind::regular) {
                return no("kernel-missing",
                          fmt::format("there is no file '{}'", printable(entry.initrds.front())));
            }
        }
        AMILIFT_CHECK(know_kernel(index, *kernel));
        const auto& version = facts_.kernels[*facts_.kernel_of_entry[index]].version;
        return PvBoot{*std::move(kernel), version.starts_with("2.6.18") ? "xvc0" : "hvc0"};
    }

    /// Kernels of entries that do not boot HVM may not be among the facts.
    Result<> know_kernel(std::size_t index, const PvKernel& pv) {
        auto& of_entry = facts_.kernel_of_entry[index];
        if (!of_entry) {
            AMILIFT_TRY(auto kernel, inspect_kernel(root_, facts_.boot_entries[index].kernel));
            const auto& initrds = facts_.boot_entries[index].initrds;
            if (!initrds.empty()) kernel.initrd = initrds.front();
            of_entry = facts_.kernels.size();
            facts_.kernels.push_back(std::move(kernel));
        }
        facts_.kernels[*of_entry].is_64_bit = pv.is_64_bit;
        return {};
    }

    void report_choice(std::size_t index, std::optional<std::size_t> first) {
        for (const auto& reason : reasons_) {
            add(Severity::warning, "pv-entry-does-not-boot", "", reason.seen,
                "this entry does not boot under PV-GRUB", "");
        }
        if (index == first) return;
        add(Severity::warning, "default-entry-does-not-boot", facts_.boot_entries[index].where,
            fmt::format("entry {} is the default", *first),
            fmt::format("entry {} '{}' boots instead", index,
                        printable(facts_.boot_entries[index].title, 80)),
            "amilift makes that entry the default");
    }

    void refuse() {
        if (reasons_.empty()) {
            add(Severity::refusal, "no-bootable-entry", facts_.menu_path,
                "no entry of the menu has a kernel", "nothing would boot",
                "add an entry for a kernel for Xen PV guests and create the AMI again");
            return;
        }
        std::string seen;
        for (std::size_t i = 0; i < std::min<std::size_t>(reasons_.size(), 4); ++i) {
            seen += (i == 0 ? "" : "; ") + reasons_[i].seen;
        }
        add(Severity::refusal, reasons_.front().id, facts_.menu_path,
            fmt::format("no entry of the menu has a kernel that PV-GRUB starts: {}", seen),
            "the AMI would not boot",
            "install a kernel for Xen PV guests, packed by gzip, bzip2, lzo or xz, name it in the "
            "menu and create the AMI again");
    }

    void add(Severity severity, std::string id, std::string where, std::string seen,
             std::string consequence, std::string action) {
        facts_.findings.push_back({severity, std::move(id), std::move(where), std::move(seen),
                                   std::move(consequence), std::move(action)});
    }

    const SafeRoot& root_;
    ImageFacts& facts_;
    std::string_view architecture_;
    std::vector<Reason> reasons_;
};

}  // namespace

bool is_menu_path(std::string_view path) {
    return path.starts_with('/') && std::ranges::all_of(path, [](char c) {
               return static_cast<unsigned char>(c) > ' ' && c != '\x7f' && c != '(' && c != '\\';
           });
}

Result<std::optional<PvBoot>> choose_pv_boot(const SafeRoot& root, ImageFacts& facts,
                                             std::string_view architecture) {
    return Chooser(root, facts, architecture).run();
}

}  // namespace amilift::image
