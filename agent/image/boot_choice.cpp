// SPDX-License-Identifier: Apache-2.0
#include "image/boot_choice.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <utility>

#include "image/bls.hpp"
#include "image/boot_menu.hpp"
#include "image/default_entry.hpp"
#include "image/drivers.hpp"
#include "image/initramfs_reader.hpp"
#include "image/kernel_arguments.hpp"
#include "image/root_name.hpp"

namespace amilift::image {

namespace {

using core::Errc;
using core::Result;

enum class Verdict {
    not_looked_at,  ///< behind kMaxEntries
    good,
    no_kernel,       ///< chainloader, configfile, memtest-like: nothing to boot Linux with
    other_disk,      ///< names a disk or partition that the image does not have
    hypervisor,      ///< kernel + module lines: starts Xen
    kernel_missing,  ///< GRUB 2 goes on to the fallback
    cannot_boot_hvm,
    initrd_missing
};

struct EntryState {
    Verdict verdict = Verdict::not_looked_at;
    std::string seen;  ///< why it is not good
    std::optional<std::size_t> kernel;
};

/// The largest kernel or initramfs that is looked at, in bytes. All of it is read several times,
/// and a sparse file of terabytes costs its author nothing.
constexpr std::uint64_t kLargestBootFile = std::uint64_t{1} << 30;

/// Why a file of the menu cannot be read, if it cannot; an error of the device is an Error.
Result<std::optional<std::string>> problem_with(const SafeRoot& root, const std::string& path) {
    if (!path.starts_with('/')) return fmt::format("'{}' is no absolute path", printable(path));
    const auto real = root.resolve(path);
    if (!real) {
        if (real.error().is(Errc::io_error)) return std::unexpected(real.error());
        return real.error().what;
    }
    AMILIFT_TRY(const auto status, root.status(*real));
    if (status.kind != FileKind::regular) {
        return fmt::format("'{}' is no regular file", printable(*real));
    }
    if (status.size_bytes > kLargestBootFile) {
        return fmt::format("'{}' has {} bytes, expected at most {}", printable(*real),
                           status.size_bytes, kLargestBootFile);
    }
    return std::nullopt;
}

class Chooser {
  public:
    Chooser(const SafeRoot& root, ImageFacts& facts)
        : root_(root), facts_(facts), drivers_(root, *facts.initramfs_reader) {}

    Result<> run() {
        facts_.kernel_of_entry.assign(facts_.boot_entries.size(), std::nullopt);
        states_.resize(facts_.boot_entries.size());
        const auto indexes = entries_to_look_at();
        if (indexes.size() < states_.size()) {
            add(Severity::warning, "menu-too-many-entries", "",
                fmt::format("the menu has {} entries", states_.size()),
                fmt::format("only {} of them are looked at, the default among them",
                            indexes.size()),
                "remove entries that are not needed");
        }
        for (const auto index : indexes) {
            AMILIFT_TRY(states_[index], judge(facts_.boot_entries[index]));
            facts_.kernel_of_entry[index] = states_[index].kernel;
        }
        choose();
        report_entries();
        if (!facts_.boot_entry) {
            refuse();
            return {};
        }
        if (facts_.must_set_default && facts_.menu_kind != BootMenuKind::grub_legacy) {
            AMILIFT_TRY(facts_.default_edit, find_default_edit(root_, facts_));
            if (!facts_.default_edit) refuse_default();
        }
        report_choice();
        return {};
    }

  private:
    void refuse_default() {
        const auto first = facts_.boot_order.empty() ? 0 : facts_.boot_order.front();
        add(Severity::refusal, "default-does-not-boot", facts_.boot_entries[first].where,
            fmt::format("entry {} '{}' is the default, and {}", first,
                        printable(facts_.boot_entries[first].title, 80), states_[first].seen),
            "the image would not boot by itself, and the configuration chooses in a way that "
            "amilift cannot change",
            fmt::format("make '{}' the default, then make the image again",
                        printable(facts_.boot_entries[*facts_.boot_entry].title, 80)));
    }

    [[nodiscard]] std::vector<std::size_t> entries_to_look_at() const {
        auto order = facts_.boot_order;
        if (order.size() > kMaxEntries) order.resize(kMaxEntries);
        std::ranges::sort(order);
        order.erase(std::ranges::unique(order).begin(), order.end());
        const auto chosen = order;
        for (std::size_t i = 0; i < states_.size() && order.size() < kMaxEntries; ++i) {
            if (!std::ranges::binary_search(chosen, i)) order.push_back(i);
        }
        std::ranges::sort(order);
        return order;
    }

    Result<EntryState> judge(const BootEntry& entry) {
        EntryState state;
        if (entry.kernel.empty()) {
            state.verdict = Verdict::no_kernel;
            state.seen = "it has no kernel line with a file";
            return state;
        }
        if (!entry.other_disk.empty()) {
            state.verdict = Verdict::other_disk;
            state.seen =
                fmt::format("it names {}, expected {}", printable(entry.other_disk, 80),
                            facts_.disk.is_partitioned() ? "a partition of the image" : "(hd0)");
            return state;
        }
        if (entry.is_hypervisor) {
            state.verdict = Verdict::hypervisor;
            state.seen = fmt::format("it starts the hypervisor {}", printable(entry.kernel));
            return state;
        }
        AMILIFT_TRY(const auto kernel_problem, problem_with(root_, entry.kernel));
        if (kernel_problem) {
            state.verdict = Verdict::kernel_missing;
            state.seen = *kernel_problem;
            return state;
        }
        AMILIFT_TRY(auto kernel, kernel_at(entry.kernel));
        // The last one is the system's own; microcode comes before it.
        kernel.initrd = entry.initrds.empty() ? "" : entry.initrds.back();
        const auto cannot = kernel.cannot_boot_hvm;
        state.kernel = facts_.kernels.size();
        facts_.kernels.push_back(std::move(kernel));
        if (cannot) {
            state.verdict = Verdict::cannot_boot_hvm;
            state.seen = fmt::format("{}: {}", printable(entry.kernel), *cannot);
            return state;
        }
        for (const auto& initrd : entry.initrds) {
            AMILIFT_TRY(const auto initrd_problem, problem_with(root_, initrd));
            if (initrd_problem) {
                state.verdict = Verdict::initrd_missing;
                state.seen = *initrd_problem;
                return state;
            }
        }
        AMILIFT_CHECK(drivers_.look(facts_.kernels[*state.kernel], entry.initrds, entry.arguments));
        state.verdict = Verdict::good;
        return state;
    }

    /// Entries often share a kernel (a rescue entry): each file is read once.
    Result<Kernel> kernel_at(const std::string& path) {
        if (const auto known = known_.find(path); known != known_.end()) return known->second;
        AMILIFT_TRY(auto kernel, inspect_kernel(root_, path));
        known_.emplace(path, kernel);
        return kernel;
    }

    void choose() {
        auto order = facts_.boot_order;
        // GRUB 2's own way: past what it cannot load, up to the first that it can.
        for (const auto index : order) {
            const auto verdict = states_[index].verdict;
            if (verdict == Verdict::good) facts_.boot_entry = index;
            const bool goes_on = verdict == Verdict::kernel_missing ||
                                 verdict == Verdict::other_disk ||
                                 (verdict == Verdict::cannot_boot_hvm && !is_loadable(index));
            if (!goes_on) break;
        }
        if (facts_.boot_entry) return;
        for (std::size_t i = 0; i < states_.size(); ++i) order.push_back(i);
        for (const auto index : order) {
            if (states_[index].verdict != Verdict::good) continue;
            if (!facts_.boot_entry || is_better(index, *facts_.boot_entry)) {
                facts_.boot_entry = index;
            }
        }
        facts_.must_set_default = facts_.boot_entry.has_value();
    }

    /// Menus of GRUB 0.97 are in the order that their author wants. Others are made from what is
    /// installed, with a rescue kernel or an older one before the newest at times.
    [[nodiscard]] bool is_better(std::size_t index, std::size_t than) const {
        if (facts_.menu_kind == BootMenuKind::grub_legacy) return false;
        return is_newer_version(facts_.kernels[*states_[index].kernel].version,
                                facts_.kernels[*states_[than].kernel].version);
    }

    /// A bzImage that is XenLinux all the same is loaded by GRUB, and then hangs.
    [[nodiscard]] bool is_loadable(std::size_t index) const {
        const auto kernel = states_[index].kernel;
        return kernel && facts_.kernels[*kernel].format == KernelFormat::bz_image;
    }

    void report_entries() {
        for (std::size_t i = 0; i < states_.size(); ++i) {
            const auto& entry = facts_.boot_entries[i];
            const auto& state = states_[i];
            const auto name = fmt::format("entry {} '{}'", i, printable(entry.title, 80));
            switch (state.verdict) {
                case Verdict::kernel_missing:
                case Verdict::initrd_missing:
                    add(Severity::warning, "entry-names-missing-file",
                        state.verdict == Verdict::kernel_missing ? entry.kernel_where
                                                                 : entry.initrd_where,
                        fmt::format("{}: {}", name, state.seen), "this entry does not boot",
                        "remove the entry or install its kernel again");
                    break;
                case Verdict::cannot_boot_hvm:
                    add(Severity::warning, "xen-only-kernel", entry.kernel_where,
                        fmt::format("{}: {}", name, state.seen),
                        "this entry does not boot on an HVM instance",
                        "install a kernel that is not only for Xen PV");
                    break;
                case Verdict::hypervisor:
                    add(Severity::warning, "hypervisor-entry", entry.kernel_where,
                        fmt::format("{}: {}", name, state.seen),
                        "this entry does not boot on an EC2 instance", "remove the entry");
                    break;
                case Verdict::other_disk:
                    add(Severity::warning, "entry-names-other-disk", entry.where,
                        fmt::format("{}: {}", name, state.seen), "this entry does not boot",
                        facts_.disk.is_partitioned() ? "remove the entry"
                                                     : "remove the entry, or write (hd0)");
                    break;
                case Verdict::not_looked_at:
                case Verdict::good:
                case Verdict::no_kernel:
                    break;
            }
        }
    }

    void report_choice() {
        const auto index = *facts_.boot_entry;
        const auto& entry = facts_.boot_entries[index];
        const auto first = facts_.boot_order.empty() ? 0 : facts_.boot_order.front();
        if (index != first) {
            add(Severity::warning, "default-entry-does-not-boot", entry.where,
                fmt::format("entry {} '{}' is the default, and {}", first,
                            printable(facts_.boot_entries[first].title, 80), states_[first].seen),
                fmt::format("entry {} '{}' boots instead", index, printable(entry.title, 80)),
                facts_.must_set_default ? "amilift makes that entry the default"
                                        : "it is reached as a fallback: nothing is changed");
        }
        if (facts_.menu.default_saved && facts_.disk.code != BootCode::grub_legacy) {
            add(Severity::warning, "saved-default", "",
                "the menu boots what was saved with grub-set-default",
                fmt::format("the saved choice is forgotten: entry {} boots first", index),
                "write 'default N' into the menu if another entry is meant");
        }
        const auto& kernel = facts_.kernels[*facts_.kernel_of_entry[index]];
        if (!kernel.is_64_bit) {
            add(Severity::info, "i386-image", entry.kernel_where,
                fmt::format("kernel {} is a 32-bit one", printable(kernel.version, 80)),
                "the AMI starts on instance types that take i386 images only, never on Nitro",
                "use an instance type that takes i386 images");
        }
        if (kernel.config_path.empty() && has_xen_name(kernel.version)) {
            add(Severity::warning, "kernel-name-looks-xen-only", entry.kernel_where,
                fmt::format("kernel {} has a boot header, but no /boot/config-{}",
                            printable(kernel.version, 80), printable(kernel.version, 80)),
                "if it is for Xen PV only, the AMI does not boot",
                "check the kernel's package; the boot proof shows it too");
        }
        report_root_argument(index);
    }

    void report_root_argument(std::size_t index) {
        const auto& entry = facts_.boot_entries[index];
        const auto root = last_value(entry.arguments, "root");
        if (!entry.initrds.empty() || !root) return;
        if (needs_initramfs(*root)) {
            const auto& kernel = facts_.kernels[*facts_.kernel_of_entry[index]];
            add(Severity::warning, "label-without-initrd", entry.kernel_where,
                fmt::format("root={} and no initrd", printable(*root, 80)),
                kernel.has_initramfs_inside
                    ? "only the initramfs that is built into the kernel can look it up"
                    : "a kernel without initrd cannot look a label or UUID up",
                kernel.has_initramfs_inside ? "check that it does; the boot proof shows it too"
                                            : "make an initrd");
        } else if (root->starts_with("/dev/")) {
            add(Severity::warning, "root-device-name", entry.kernel_where,
                fmt::format("root={} and no initrd", printable(*root, 80)),
                "without an initrd the kernel finds its root by this name only: it must exist on "
                "the instance type, /dev/nvme0n1p1 on Nitro and /dev/xvda1 on Xen",
                "make an initrd and name the root by UUID to boot everywhere");
        }
    }

    void refuse() {
        const auto count_of = [this](Verdict verdict) {
            return static_cast<std::size_t>(
                std::ranges::count(states_, verdict, &EntryState::verdict));
        };
        const auto xen = count_of(Verdict::cannot_boot_hvm) + count_of(Verdict::hypervisor);
        const auto missing = count_of(Verdict::kernel_missing);
        const auto other = count_of(Verdict::other_disk) + count_of(Verdict::initrd_missing);
        if (states_.empty()) {
            add(Severity::refusal, "no-bootable-entry", "", "the menu has no entry",
                "nothing would boot", "add an entry for the kernel that is installed");
        } else if (missing > 0 && xen == 0 && other == 0) {
            add(Severity::refusal, "kernel-missing", "",
                fmt::format("no entry of the menu has its kernel in the image: {}", reasons()),
                "nothing would boot",
                "install a kernel in the image, or name the one that is there in the menu; an AMI "
                "whose kernel is not a pv-grub-* one (AKI) has no kernel of its own");
        } else if (xen > 0 && other == 0) {
            add(Severity::refusal, "xen-only-kernel", "",
                fmt::format("no entry of the menu has a kernel that boots without Xen PV: {}",
                            reasons()),
                "the AMI would not boot",
                "install the distribution's standard kernel (RHEL 5: package 'kernel' instead of "
                "'kernel-xen'), add it to the menu and create the AMI again");
        } else {
            add(Severity::refusal, "no-bootable-entry", "",
                fmt::format("no entry of the menu can boot: {}", reasons()), "nothing would boot",
                "repair the entry that is meant to boot and create the AMI again");
        }
    }

    /// The first few entries with what is wrong with them.
    [[nodiscard]] std::string reasons() const {
        std::string out;
        constexpr std::size_t kMost = 4;
        std::size_t told = 0;
        for (std::size_t i = 0; i < states_.size() && told < kMost; ++i) {
            if (states_[i].seen.empty()) continue;
            out += fmt::format("{}entry {} '{}': {}", told++ == 0 ? "" : "; ", i,
                               printable(facts_.boot_entries[i].title, 60), states_[i].seen);
        }
        if (states_.size() > told) out += fmt::format("; and {} more", states_.size() - told);
        return out;
    }

    void add(Severity severity, std::string id, std::string where, std::string seen,
             std::string consequence, std::string action) {
        facts_.findings.push_back({severity, std::move(id),
                                   where.empty() ? facts_.menu_path : std::move(where),
                                   std::move(seen), std::move(consequence), std::move(action)});
    }

    const SafeRoot& root_;
    ImageFacts& facts_;
    std::vector<EntryState> states_;
    std::map<std::string, Kernel> known_;
    DriverFinder drivers_;
};

BootEntry boot_entry_of(ImageFacts& facts, const MenuEntry& entry) {
    const auto at = [&](int line) { return fmt::format("{}:{}", facts.menu_path, line); };
    BootEntry out;
    out.title = entry.title;
    out.where = at(entry.line);
    out.kernel_where = at(entry.kernel_line);
    out.initrd_where = at(entry.initrd_line);
    out.arguments = entry.arguments;
    out.is_hypervisor = entry.is_multiboot;
    const auto place = [&](const std::string& own_device, const std::string& path) {
        const auto& device = own_device.empty() ? entry.root : own_device;
        const auto* volume = device.empty() ? facts.disk.holder_of(facts.menu_path)
                                            : find_grub_legacy_device(facts.disk, device);
        if (volume == nullptr || volume->mount_point.empty()) {
            if (out.other_disk.empty()) out.other_disk = device;
            return path;
        }
        if (const auto in_tree = tree_path(*volume, path)) return *in_tree;
        if (path.starts_with("/boot/")) {
            const auto linked = tree_path(*volume, path, SubvolumeView::default_subvolume);
            if (linked && *linked == path) {
                facts.needs_boot_link = true;
                return path;
            }
        }
        if (!volume->subvolumes.empty() && out.other_disk.empty()) {
            out.other_disk = fmt::format("'{}' at the top level of the btrfs", path);
        }
        return path;
    };
    if (!entry.kernel.empty()) out.kernel = place(entry.kernel_device, entry.kernel);
    if (!entry.initrd.empty()) out.initrds.push_back(place(entry.initrd_device, entry.initrd));
    return out;
}

}  // namespace

void read_legacy_entries(ImageFacts& facts) {
    facts.menu = parse_menu(facts.menu_text);
    facts.menu_kind = BootMenuKind::grub_legacy;
    facts.boot_entries.clear();
    facts.boot_order.clear();
    facts.needs_boot_link = false;
    for (const auto& entry : facts.menu.entries) {
        facts.boot_entries.push_back(boot_entry_of(facts, entry));
    }
    if (const auto first = default_entry(facts.menu)) facts.boot_order.push_back(*first);
    for (const auto next : facts.menu.fallback) {
        if (next < facts.boot_entries.size()) facts.boot_order.push_back(next);
    }
}

Result<> choose_boot_entry(const SafeRoot& root, ImageFacts& facts) {
    facts.initramfs_reader = std::make_shared<InitramfsReader>();
    return Chooser(root, facts).run();
}

}  // namespace amilift::image
