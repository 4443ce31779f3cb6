// SPDX-License-Identifier: Apache-2.0
#include "image/pv_boot.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "image/initramfs_reader.hpp"
#include "image/pv_kernel.hpp"

namespace amilift::image {

namespace {

using core::Errc;
using core::Result;

/// Kernel files that are read and unpacked, which takes about a second each.
constexpr std::size_t kMaxKernels = 24;
/// A menu is bounded, and so is this search in it.
constexpr std::size_t kMaxEntriesLookedAt = 256;

/// Findings that are about HVM: what choose_boot_entry() says, that the firmware is UEFI, and what
/// has another name on Nitro or is done for it.
constexpr std::array<std::string_view, 13> kHvmFindings{"xen-only-kernel",
                                                        "no-bootable-entry",
                                                        "kernel-missing",
                                                        "i386-image",
                                                        "default-entry-does-not-boot",
                                                        "kernel-name-looks-xen-only",
                                                        "default-does-not-boot",
                                                        "uefi-only",
                                                        "nvme-timeout-missing",
                                                        "nvme-timeout-out-of-range",
                                                        "xenlinux-driver-alias",
                                                        "fstab-device-name",
                                                        "fstab-partition-name"};

/// Why an entry does not boot.
struct Reason {
    std::string id;
    std::string seen;
};

class Chooser {
  public:
    Chooser(const SafeRoot& root, ImageFacts& facts, std::string_view architecture)
        : root_(root),
          facts_(facts),
          architecture_(architecture),
          drivers_(root, *facts.initramfs_reader) {}

    Result<> run() {
        std::erase_if(facts_.findings, [](const Finding& finding) {
            return std::ranges::find(kHvmFindings, finding.id) != kHvmFindings.end();
        });
        const auto order = entries_in_order();
        facts_.kernel_of_entry.resize(facts_.boot_entries.size());
        facts_.boot_entry.reset();
        facts_.must_set_default = false;
        facts_.default_edit.reset();
        facts_.pv_entries.clear();
        for (const auto index : order) {
            if (facts_.pv_entries.size() == kMaxPvEntries) break;
            AMILIFT_TRY(const bool boots, try_entry(index));
            if (boots) facts_.pv_entries.push_back(index);
        }
        if (facts_.pv_entries.empty()) {
            refuse();
            return {};
        }
        const auto first = facts_.pv_entries.front();
        facts_.boot_entry = first;
        facts_.must_set_default = first != order.front();
        const auto& version = facts_.kernels[*facts_.kernel_of_entry[first]].version;
        facts_.pv_console = version.starts_with("2.6.18") ? "xvc0" : "hvc0";
        report_choice(first, order.front());
        return {};
    }

  private:
    [[nodiscard]] std::vector<std::size_t> entries_in_order() const {
        std::vector<std::size_t> order;
        const auto add = [&](std::size_t index) {
            if (index < facts_.boot_entries.size() && order.size() < kMaxEntriesLookedAt &&
                std::ranges::find(order, index) == order.end()) {
                order.push_back(index);
            }
        };
        for (const auto next : facts_.boot_order) add(next);
        for (std::size_t i = 0; i < facts_.boot_entries.size(); ++i) {
            if (order.size() == kMaxEntriesLookedAt) break;
            add(i);
        }
        return order;
    }

    /// Does PV-GRUB boot this entry? If not, reasons_ says why, unless it starts no Linux.
    Result<bool> try_entry(std::size_t index) {
        const auto& entry = facts_.boot_entries[index];
        if (entry.kernel.empty()) return false;
        AMILIFT_TRY(auto reason, reason_against(entry));
        if (!reason) {
            AMILIFT_TRY(const auto seen, kernel_at(entry.kernel));
            if (!seen.reason) {
                AMILIFT_CHECK(know_kernel(index, seen.is_64_bit));
                return true;
            }
            reason = seen.reason;
        }
        reason->seen = fmt::format("entry {} '{}': {}", index, printable(entry.title, 60),
                                   std::move(reason->seen));
        reasons_.push_back(*std::move(reason));
        return false;
    }

    /// Of the entry itself, whatever its kernel is.
    Result<std::optional<Reason>> reason_against(const BootEntry& entry) {
        const auto no = [](std::string_view id, std::string seen) {
            return std::optional(Reason{std::string(id), std::move(seen)});
        };
        constexpr std::string_view kNothing = "no-bootable-entry";
        if (entry.is_hypervisor) return no(kNothing, "it starts a hypervisor");
        if (!entry.other_disk.empty()) {
            return no(kNothing, fmt::format("it names {}", printable(entry.other_disk, 80)));
        }
        if (!is_menu_path(entry.kernel) ||
            (!entry.initrds.empty() && !is_menu_path(entry.initrds.front()))) {
            return no(kNothing, "its files have names that a menu.lst cannot hold");
        }
        if (std::ranges::any_of(entry.arguments,
                                [](char c) { return c == '\n' || c == '\r' || c == '\0'; })) {
            return no(kNothing, "its kernel arguments have more than one line");
        }
        if (entry.initrds.size() > 1) {
            return no(kNothing,
                      fmt::format("it has {} initrds, PV-GRUB loads one", entry.initrds.size()));
        }
        if (entry.initrds.empty()) return std::optional<Reason>();
        const auto status = root_.status(entry.initrds.front());
        if (!status && !is_content_problem(status.error())) return std::unexpected(status.error());
        if (!status || status->kind != FileKind::regular) {
            return no("kernel-missing",
                      fmt::format("there is no file '{}'", printable(entry.initrds.front())));
        }
        return std::optional<Reason>();
    }

    struct SeenKernel {
        bool is_64_bit = true;
        std::optional<Reason> reason;  ///< why PV-GRUB does not start it
    };

    /// Entries often share a kernel (a rescue entry): each is unpacked once.
    Result<SeenKernel> kernel_at(const std::string& path) {
        if (const auto known = seen_.find(path); known != seen_.end()) return known->second;
        if (seen_.size() == kMaxKernels) {
            return SeenKernel{true, Reason{"no-bootable-entry",
                                           fmt::format("its kernel was not looked at: the menu "
                                                       "names more than {}",
                                                       kMaxKernels)}};
        }
        AMILIFT_TRY(auto seen, look_at_kernel(path));
        return seen_.emplace(path, std::move(seen)).first->second;
    }

    Result<SeenKernel> look_at_kernel(const std::string& path) const {
        SeenKernel seen;
        auto kernel = inspect_pv_kernel(root_, path);
        if (!kernel) {
            auto& error = kernel.error();
            if (error.is(Errc::io_error)) return std::unexpected(std::move(error));
            std::string id = "no-bootable-entry";
            if (error.is(Errc::not_found)) id = "kernel-missing";
            if (error.is(Errc::refused) && !error.id.empty()) id = error.id;
            seen.reason = Reason{std::move(id), std::move(error.what)};
            return seen;
        }
        seen.is_64_bit = kernel->is_64_bit;
        const std::string_view architecture = seen.is_64_bit ? "x86_64" : "i386";
        if (!architecture_.empty() && architecture != architecture_) {
            seen.reason = Reason{"aki-does-not-fit", fmt::format("its kernel is {}, the AMI is {}",
                                                                 architecture, architecture_)};
        }
        return seen;
    }

    /// Kernels of entries that do not boot HVM may not be among the facts, nor their drivers.
    Result<> know_kernel(std::size_t index, bool is_64_bit) {
        auto& of_entry = facts_.kernel_of_entry[index];
        const auto& entry = facts_.boot_entries[index];
        const bool is_new = !of_entry;
        if (is_new) {
            AMILIFT_TRY(auto kernel, inspect_kernel(root_, entry.kernel));
            if (!entry.initrds.empty()) kernel.initrd = entry.initrds.front();
            of_entry = facts_.kernels.size();
            facts_.kernels.push_back(std::move(kernel));
        }
        auto& kernel = facts_.kernels[*of_entry];
        kernel.is_64_bit = is_64_bit;
        if (!is_new && !kernel.cannot_boot_hvm) return {};
        return drivers_.look(kernel, entry.initrds, entry.arguments);
    }

    void report_choice(std::size_t index, std::size_t first) {
        for (const auto& reason : reasons_) {
            add(Severity::warning, "pv-entry-does-not-boot", "", reason.seen,
                "this entry does not boot under PV-GRUB", "");
        }
        if (index == first) return;
        add(Severity::warning, "default-entry-does-not-boot", facts_.boot_entries[index].where,
            fmt::format("entry {} is the default", first),
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
    DriverFinder drivers_;
    std::map<std::string, SeenKernel> seen_;
    std::vector<Reason> reasons_;
};

}  // namespace

std::optional<std::size_t> pv_grub_entry(const ImageFacts& facts) {
    if (!facts.pv_entries.empty()) return facts.pv_entries.front();
    if (facts.menu_kind != BootMenuKind::grub_legacy) return std::nullopt;
    return default_entry(facts.menu);
}

bool is_menu_path(std::string_view path) {
    return path.starts_with('/') && std::ranges::all_of(path, [](char c) {
               return static_cast<unsigned char>(c) > ' ' && c != '\x7f' && c != '(' && c != '\\';
           });
}

Result<> choose_pv_boot(const SafeRoot& root, ImageFacts& facts, std::string_view architecture) {
    if (!facts.initramfs_reader) facts.initramfs_reader = std::make_shared<InitramfsReader>();
    facts.initramfs_reader->begin();
    return Chooser(root, facts, architecture).run();
}

}  // namespace amilift::image
