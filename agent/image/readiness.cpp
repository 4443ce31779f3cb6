// SPDX-License-Identifier: Apache-2.0
#include "image/readiness.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <optional>
#include <utility>

#include "core/text.hpp"
#include "image/fstab.hpp"
#include "image/guest_findings.hpp"
#include "image/kernel_arguments.hpp"
#include "image/pv_boot.hpp"
#include "image/root_disk.hpp"
#include "image/root_name.hpp"
#include "image/text_lines.hpp"

namespace amilift::image {

namespace {

using Platforms = std::vector<Platform>;

const Platforms& all() {
    static const Platforms platforms(kPlatforms.begin(), kPlatforms.end());
    return platforms;
}
const Platforms& hvm() {
    static const Platforms platforms{Platform::xen, Platform::nitro, Platform::nitro_uefi};
    return platforms;
}
const Platforms& nitro() {
    static const Platforms platforms{Platform::nitro, Platform::nitro_uefi};
    return platforms;
}

/// Lines of fstab that are reasons: the verdict is the same for more of them.
constexpr std::size_t kMostFstabLines = 20;

void add(PlatformVerdicts& verdicts, const Platforms& platforms, const Reason& reason) {
    add_reason(verdicts, platforms, reason);
}

/// Why amilift cannot put a driver into the kernel's initramfs; absent: it can.
std::optional<std::string> obstacle_to_repair(const Kernel& kernel) {
    const auto& initramfs = kernel.initramfs;
    if (kernel.initrd.empty() && initramfs.path.empty()) {
        return "the entry has no initramfs, nor, as far as its config tells, the kernel inside of "
               "it";
    }
    if (!initramfs.problem.empty()) {
        return fmt::format("{} cannot be read to its end: {}", printable(kernel.initrd),
                           printable(initramfs.problem));
    }
    if (!initramfs.obstacle.empty()) {
        return fmt::format("{} {}", printable(kernel.initrd), initramfs.obstacle);
    }
    return std::nullopt;
}

/// A finding of inspect_image() that keeps the image from being ready, and that amilift mends.
struct Repair {
    std::string_view finding;
    bool on_xen = true;
};
constexpr std::array<Repair, 9> kRepairs{{{"network-static-address"},
                                          {"network-bound-to-mac"},
                                          {"network-name-by-mac"},
                                          {"kudzu"},
                                          {"network-card-renamed", false},
                                          {"nvme-timeout-missing", false},
                                          {"nvme-timeout-out-of-range", false},
                                          {"resume-device", false},
                                          {"crypttab-device-name", false}}};
/// One that may keep it from being reached, and that only its owner can mend.
constexpr std::array<std::string_view, 2> kRemarks{"network-names-other-card",
                                                   "network-left-as-it-is"};

/// "2.2.9k" -> {2, 2, 9}; what is missing is 0.
std::array<unsigned, 3> version_numbers(std::string_view text) {
    std::array<unsigned, 3> numbers{};
    std::size_t part = 0;
    for (const char c : text) {
        if (core::is_digit(c)) {
            if (numbers[part] < 100000) {
                numbers[part] = numbers[part] * 10 + static_cast<unsigned>(c - '0');
            }
        } else if (c != '.' || ++part == numbers.size()) {
            break;
        }
    }
    return numbers;
}

class Assessor {
  public:
    Assessor(const ImageFacts& facts, const DiskForm& disk) : facts_(facts), disk_(disk) {}

    Readiness run() {
        Readiness out;
        PlatformVerdicts whole;
        judge_findings(whole);
        judge_disk(whole);
        judge_fstab(whole);
        out.platforms = whole;
        for (std::size_t i = 0; i < facts_.boot_entries.size(); ++i) {
            if (i >= facts_.kernel_of_entry.size() || !facts_.kernel_of_entry[i]) continue;
            EntryReadiness entry;
            entry.entry = i;
            entry.kernel = *facts_.kernel_of_entry[i];
            entry.boots = facts_.boot_entry == i;
            judge_entry(facts_.boot_entries[i], facts_.kernels[entry.kernel], entry);
            out.entries.push_back(std::move(entry));
        }
        take_over(out, facts_.boot_entry, hvm());
        take_over(out, pv_grub_entry(facts_), {Platform::pv});
        return out;
    }

  private:
    /// It is converted for PV-GRUB: the root is to be one filesystem, with a menu of its own.
    [[nodiscard]] bool becomes_paravirtual() const { return !facts_.pv_entries.empty(); }

    /// The reasons of the entry that boots are reasons of the image.
    static void take_over(Readiness& readiness, std::optional<std::size_t> index,
                          const Platforms& platforms) {
        if (!index) return;
        const auto found = std::ranges::find(readiness.entries, *index, &EntryReadiness::entry);
        if (found == readiness.entries.end()) {
            if (platforms.front() != Platform::pv) return;
            add(readiness.platforms, platforms,
                {Verdict::refused, "kernel-missing", "",
                 fmt::format("the kernel of entry {}, the default, is not in the image", *index),
                 "install it, or make another entry the default"});
            return;
        }
        for (const auto platform : platforms) {
            for (const auto& reason :
                 found->platforms[static_cast<std::size_t>(platform)].reasons) {
                add(readiness.platforms, {platform}, reason);
            }
        }
    }

    void judge_findings(PlatformVerdicts& verdicts) const {
        for (const auto& finding : facts_.findings) {
            if (finding.severity != Severity::refusal) {
                judge_advice(finding, verdicts);
                // Else it is reached as a fallback.
                if (finding.id == "default-entry-does-not-boot" && facts_.must_set_default) {
                    add(verdicts, hvm(),
                        {Verdict::repairable, finding.id, finding.where, finding.seen,
                         finding.action});
                }
                continue;
            }
            const Reason reason{Verdict::refused, finding.id, finding.where, finding.seen,
                                finding.action};
            add(verdicts, platforms_of(finding.id), reason);
        }
        // One that is converted for PV-GRUB gets the menu that it needs.
        if (!becomes_paravirtual()) judge_pv_menu(verdicts);
        if (facts_.boot_entry) return;
        for (const auto platform : hvm()) {
            if (verdicts[static_cast<std::size_t>(platform)].verdict == Verdict::refused) continue;
            add(verdicts, {platform},
                {Verdict::refused, "no-bootable-entry", facts_.menu_path,
                 facts_.menu_path.empty() ? "the image has no menu that amilift reads"
                                          : "no entry of the menu can boot",
                 "add one for the kernel that is installed"});
        }
    }

    void judge_pv_menu(PlatformVerdicts& verdicts) const {
        if (facts_.menu_kind != BootMenuKind::grub_legacy) {
            if (has_refusal("no-menu")) return;
            add(verdicts, {Platform::pv},
                {Verdict::refused, "no-menu", "",
                 "the image has no menu.lst, which is all that PV-GRUB reads", "run it as HVM"});
        } else if (!pv_grub_entry(facts_)) {
            add(verdicts, {Platform::pv},
                {Verdict::refused, "no-bootable-entry", facts_.menu_path, "the menu has no entry",
                 "add one for the kernel that is installed"});
        }
    }

    /// Where a refusal of the image counts.
    static Platforms platforms_of(std::string_view refusal) {
        // What only says that no entry suits HVM is no reason against PV; what PV-GRUB would start
        // is judged for itself.
        if (refusal == "xen-only-kernel" || refusal == "no-bootable-entry" ||
            refusal == "kernel-missing") {
            return hvm();
        }
        if (refusal == "uefi-only") return {Platform::pv, Platform::xen, Platform::nitro};
        return all();
    }

    static void judge_advice(const Finding& finding, PlatformVerdicts& verdicts) {
        Reason reason{Verdict::repairable, finding.id, finding.where, finding.seen, finding.action};
        const auto repair = std::ranges::find(kRepairs, finding.id, &Repair::finding);
        if (repair != kRepairs.end()) {
            add(verdicts, repair->on_xen ? hvm() : nitro(), reason);
        } else if (std::ranges::find(kRemarks, finding.id) != kRemarks.end()) {
            reason.verdict = Verdict::ready;
            add(verdicts, nitro(), reason);
        }
    }

    [[nodiscard]] bool has_refusal(std::string_view id) const {
        return std::ranges::any_of(facts_.findings, [id](const Finding& finding) {
            return finding.severity == Severity::refusal && finding.id == id;
        });
    }

    void judge_disk(PlatformVerdicts& verdicts) const {
        if (!disk_.has_partition_table) {
            add(verdicts, {Platform::xen, Platform::nitro},
                {Verdict::repairable, "no-boot-loader", "",
                 "the disk is a filesystem without a partition table and a boot loader",
                 "amilift makes a disk with both"});
            add(verdicts, {Platform::nitro_uefi},
                {Verdict::repairable, "no-efi-partition", "",
                 "the disk is a filesystem without a partition table and an EFI system partition",
                 "amilift makes both, for a job with 'layout: gpt'"});
            return;
        }
        add(verdicts, {Platform::pv},
            {Verdict::ready, "partitioned-disk", "", "the disk has a partition table",
             "register it with an AKI of the kind pv-grub-hd00"});
        if (!disk_.has_efi_partition) {
            add(verdicts, {Platform::nitro_uefi},
                {Verdict::refused, "no-efi-partition", "",
                 "the disk has no EFI system partition, and UEFI starts from nothing else",
                 "start it by BIOS, as Nitro (BIOS)"});
            return;
        }
        if (!facts_.efi_start) {
            add(verdicts, {Platform::nitro_uefi},
                {Verdict::refused, "efi-partition-unreadable", "EFI system partition",
                 "nobody has looked at the boot loader in it",
                 "start it by BIOS, as Nitro (BIOS)"});
            return;
        }
        const auto& start = *facts_.efi_start;
        if (start.is_proven()) {
            add(verdicts, {Platform::nitro_uefi},
                {Verdict::ready, "efi-start", start.where,
                 fmt::format("UEFI starts {}", start.seen), ""});
        } else {
            const auto& id = start.id;
            add(verdicts, {Platform::nitro_uefi},
                {Verdict::refused, id, start.where, start.seen, start.action});
        }
    }

    /// Devices that will have another name, and that the boot waits for.
    void judge_fstab(PlatformVerdicts& verdicts) const {
        std::size_t told = 0;
        for (const auto& entry : parse_fstab(facts_.fstab_text)) {
            if (told == kMostFstabLines) return;
            if (!is_unstable_device(entry.spec)) continue;
            const auto options = fmt::format(",{},", entry.options);
            const bool is_optional = options.find(",nofail,") != std::string::npos ||
                                     options.find(",noauto,") != std::string::npos ||
                                     options.find(",nobootwait,") != std::string::npos;
            if (is_optional && entry.file != "/") continue;
            // A mount that fails does not stop such a boot; only a check does.
            if (facts_.init == InitSystem::sysvinit && entry.pass == 0 && entry.file != "/") {
                continue;
            }
            ++told;
            const bool is_nvme = entry.spec.starts_with("/dev/nvme");
            const Reason reason{
                Verdict::repairable, "fstab-device-name", fmt::format("/etc/fstab:{}", entry.line),
                fmt::format("{} is mounted at {}", printable(entry.spec), printable(entry.file)),
                what_fstab_edit_does(facts_, entry)};
            add(verdicts, is_nvme ? Platforms{Platform::xen} : nitro(), reason);
        }
    }

    void judge_entry(const BootEntry& entry, const Kernel& kernel,
                     EntryReadiness& readiness) const {
        auto& verdicts = readiness.platforms;
        judge_start(entry, kernel, verdicts);
        judge_pv(entry, kernel, verdicts);
        judge_root(entry, kernel, verdicts);
        const bool lacks_initrd =
            !kernel.cannot_boot_hvm && !kernel.initrd.empty() && kernel.initramfs.path.empty();
        if (lacks_initrd) {
            add(verdicts, all(),
                {Verdict::refused, "initrd-missing", entry.where,
                 fmt::format("{} is not in the image", printable(kernel.initrd)),
                 "make the initramfs again, or name the one that is there"});
        }
        readiness.knows_drivers = !kernel.cannot_boot_hvm && !lacks_initrd;
        if (!readiness.knows_drivers) return;
        judge_disk_driver(entry, kernel, kernel.nvme,
                          {"nvme", "no-nvme-driver", "nvme-not-in-initramfs"}, nitro(), verdicts);
        judge_disk_driver(
            entry, kernel, kernel.xen_blkfront,
            {"xen-blkfront", "no-xen-blkfront-driver", "xen-blkfront-not-in-initramfs"},
            {Platform::xen}, verdicts);
        judge_network(entry, kernel, verdicts);
        if (!kernel.nvme_timeout && kernel.nvme.exists()) {
            add(verdicts, nitro(),
                {Verdict::ready, "nvme-timeout-unknown", entry.where,
                 "the NVMe driver tells no parameter io_timeout",
                 "a volume that does not answer for 30 s gives an error"});
        }
    }

    static void judge_start(const BootEntry& entry, const Kernel& kernel,
                            PlatformVerdicts& verdicts) {
        if (kernel.cannot_boot_hvm) {
            add(verdicts, hvm(),
                {Verdict::refused, "xen-only-kernel", entry.where,
                 fmt::format("{}: {}", printable(kernel.path), printable(*kernel.cannot_boot_hvm)),
                 "install a kernel that is not only for Xen PV and create the AMI again"});
        }
        if (!kernel.is_64_bit) {
            add(verdicts, nitro(),
                {Verdict::refused, "not-64-bit", entry.where,
                 fmt::format("kernel {} is a 32-bit one, and Nitro takes x86_64 only",
                             printable(kernel.version)),
                 "install a 64-bit system"});
        }
        if (kernel.starts_on_efi.value_or(false) || kernel.cannot_boot_hvm) return;
        add(verdicts, {Platform::nitro_uefi},
            {Verdict::refused, "kernel-without-efi", entry.where,
             kernel.starts_on_efi
                 ? fmt::format("kernel {} was built without CONFIG_EFI", printable(kernel.version))
                 : fmt::format("nothing proves that kernel {} starts on UEFI: it has no EFI stub, "
                               "and no config that says CONFIG_EFI",
                               printable(kernel.version)),
             "start it by BIOS, as Nitro (BIOS)"});
    }

    static void judge_pv(const BootEntry& entry, const Kernel& kernel, PlatformVerdicts& verdicts) {
        const Platforms pv{Platform::pv};
        const bool is_xen_linux =
            kernel.format == KernelFormat::elf || kernel.format == KernelFormat::gzip;
        if (kernel.format == KernelFormat::unknown) {
            add(verdicts, pv,
                {Verdict::refused, "not-a-kernel", entry.where,
                 fmt::format("{} is no kernel that PV-GRUB knows", printable(kernel.path)),
                 "name a kernel in the entry"});
        }
        if (kernel.format == KernelFormat::bz_image) {
            constexpr std::array<std::string_view, 5> kUnpacked{"gzip", "bzip2", "lzo", "xz",
                                                                "none"};
            if (kernel.compression.empty()) {
                add(verdicts, pv,
                    {Verdict::ready, "compression-unknown", entry.where,
                     fmt::format("{} does not tell how it is packed", printable(kernel.path)),
                     "PV-GRUB takes gzip, bzip2, LZO and XZ"});
            } else if (std::ranges::find(kUnpacked, kernel.compression) == kUnpacked.end()) {
                add(verdicts, pv,
                    {Verdict::refused, "pv-grub-cannot-unpack", entry.where,
                     fmt::format("{} is packed with {}", printable(kernel.path),
                                 kernel.compression),
                     "PV-GRUB takes gzip, bzip2, LZO and XZ"});
            }
        }
        if (kernel.starts_on_xen_pv == false) {
            add(verdicts, pv,
                {Verdict::refused, "no-xen-pv", entry.where,
                 fmt::format("{} says that the kernel cannot be a Xen PV guest",
                             printable(kernel.config_path)),
                 "install a kernel with CONFIG_XEN_PV"});
        } else if (!kernel.starts_on_xen_pv && !is_xen_linux) {
            add(verdicts, pv,
                {Verdict::ready, "xen-pv-unknown", entry.where,
                 "no config says whether the kernel can be a Xen PV guest", ""});
        }
    }

    /// Does no disk of a paravirtual guest have this name? One that becomes a single filesystem has
    /// no partitions any more, and EC2 calls it the first one.
    [[nodiscard]] bool is_gone_on_pv(std::string_view root) const {
        if (root.starts_with("/dev/nvme")) return true;
        if (!becomes_paravirtual()) return false;
        const auto device = parse_device_name(root);
        return (device && device->partition > 1) || names_partition(root);
    }

    /// Is it a name that a kernel of one age or another gives to the root of a paravirtual guest,
    /// which is one filesystem?
    static bool is_root_of_pv(std::string_view root) {
        constexpr std::array<std::string_view, 4> kDisks{"/dev/sda", "/dev/hda", "/dev/xvda",
                                                         "/dev/xvde"};
        const auto device = parse_device_name(root);
        return device && device->partition == 1 &&
               std::ranges::find(kDisks, device->disk) != kDisks.end();
    }

    /// The kernel finds its root by the name that it gives to the first disk there, or not at all.
    void judge_device_without_initrd(const BootEntry& entry, const Kernel& kernel,
                                     const std::string& root, const std::string& seen,
                                     PlatformVerdicts& verdicts) const {
        const auto* volume = facts_.disk.holder_of("/");
        // A bare filesystem becomes the first partition.
        const int partition = volume == nullptr ? 1 : std::max(volume->partition, 1);
        const auto not_found_on = [&](const Platforms& platforms, std::string_view disk,
                                      int number) {
            add(verdicts, platforms,
                {Verdict::refused, "root-device-name", entry.where, seen,
                 fmt::format(
                     "make an initrd and name the root by UUID; {} would find it only as {}",
                     title_of(platforms.front()), partition_device(disk, number))});
        };
        constexpr std::string_view kNvme = "/dev/nvme0n1";
        constexpr std::string_view kXen = "/dev/xvda";
        if (root != partition_device(kNvme, partition)) not_found_on(nitro(), kNvme, partition);
        if (becomes_paravirtual() ? !is_root_of_pv(root) : is_gone_on_pv(root)) {
            not_found_on({Platform::pv}, kXen, becomes_paravirtual() ? 1 : partition);
        }
        // Without the driver there is another reason. What is no partition by its name (/dev/md0)
        // the kernel may assemble.
        if (!is_usable(kernel.xen_blkfront) || !parse_device_name(root)) return;
        if (root == partition_device(kXen, partition)) return;
        // Of an AMI whose root device is /dev/sda1.
        const bool may_be_shifted = shifts_disk_names(
            {.id = facts_.os_id, .version = facts_.os_version, .pretty_name = {}});
        if (may_be_shifted && root == partition_device("/dev/xvde", partition)) return;
        not_found_on({Platform::xen}, kXen, partition);
    }

    /// How the kernel finds its root filesystem.
    void judge_root(const BootEntry& entry, const Kernel& kernel,
                    PlatformVerdicts& verdicts) const {
        const auto root = last_value(entry.arguments, "root");
        if (!root) return;
        const auto seen =
            fmt::format("root={}{}", printable(*root), kernel.initrd.empty() ? ", no initrd" : "");
        const bool is_other = names_other_root(facts_.disk, *root);
        const bool can_rename = can_rename_root(facts_.disk, *root);
        if (kernel.initrd.empty()) {
            const bool is_looked_up = needs_initramfs(*root);
            if (is_looked_up && !kernel.has_initramfs_inside) {
                add(verdicts, all(),
                    {Verdict::refused, "label-without-initrd", entry.where, seen,
                     "a kernel without initrd cannot look it up: make an initrd"});
            } else if (is_other) {
                add(verdicts, all(),
                    {Verdict::refused, "root-other-filesystem", entry.where,
                     seen + ", which is not the root filesystem",
                     "make an initrd and name the root by UUID"});
            } else if (is_looked_up) {
                add(verdicts, all(),
                    {Verdict::ready, "label-without-initrd", entry.where, seen,
                     "the initramfs that is built into the kernel must look it up"});
            } else if (root->starts_with("/dev/")) {
                judge_device_without_initrd(entry, kernel, *root, seen, verdicts);
            } else if (is_gone_on_pv(*root)) {
                add(verdicts, {Platform::pv},
                    {Verdict::refused, "root-device-name", entry.where,
                     seen + ", a partition that is not there any more",
                     "make an initrd and name the root by UUID"});
            }
            return;
        }
        const auto verdict = can_rename ? Verdict::repairable : Verdict::refused;
        const std::string action = can_rename ? "amilift names the root by its UUID or label"
                                              : "name the root by its UUID or label";
        if (is_other) {
            add(verdicts, all(),
                {verdict, "root-other-filesystem", entry.where,
                 seen + ", which is not the root filesystem", action});
            return;
        }
        const Reason reason{verdict, "root-device-name", entry.where, seen, action};
        if (is_unstable_device(*root)) {
            add(verdicts, root->starts_with("/dev/nvme") ? Platforms{Platform::xen} : nitro(),
                reason);
        }
        if (is_gone_on_pv(*root)) add(verdicts, {Platform::pv}, reason);
    }

    struct DriverNames {
        std::string_view name;
        std::string_view missing;           ///< id: the kernel does not have it
        std::string_view not_in_initramfs;  ///< id: it has, and cannot reach it
    };
    static bool is_usable(const Driver& driver) {
        return driver.is_built_in() || driver.is_usable();
    }
    static Reason without_driver(const BootEntry& entry, const Kernel& kernel, const Driver& driver,
                                 const DriverNames& about) {
        if (driver.exists()) {
            return {Verdict::refused, std::string(about.missing), driver.blocked_by,
                    fmt::format("the driver {} of kernel {} is kept from loading", about.name,
                                printable(kernel.version)),
                    "remove that line and create the AMI again"};
        }
        return {Verdict::refused, std::string(about.missing), entry.where,
                fmt::format("kernel {} has no driver {}", printable(kernel.version), about.name),
                "install a kernel that has it and create the AMI again"};
    }
    static void judge_disk_driver(const BootEntry& entry, const Kernel& kernel,
                                  const Driver& driver, const DriverNames& about,
                                  const Platforms& platforms, PlatformVerdicts& verdicts) {
        if (!is_usable(driver)) {
            add(verdicts, platforms, without_driver(entry, kernel, driver, about));
            return;
        }
        if (driver.is_there_for_root()) return;
        if (kernel.has_only_initramfs_inside()) {
            add(verdicts, platforms,
                {Verdict::ready, std::string(about.not_in_initramfs), entry.where,
                 fmt::format("the driver {} is a module ({}), and there is no initrd", about.name,
                             printable(driver.place)),
                 "the initramfs that is built into the kernel must have it"});
            return;
        }
        if (const auto obstacle = obstacle_to_repair(kernel)) {
            add(verdicts, platforms,
                {Verdict::refused, "initramfs-not-repairable", entry.where,
                 fmt::format("the driver {} is a module ({}), and {}", about.name,
                             printable(driver.place), *obstacle),
                 fmt::format("make the initramfs again with the module {}, then create the AMI "
                             "again",
                             about.name)});
            return;
        }
        add(verdicts, platforms,
            {Verdict::repairable, std::string(about.not_in_initramfs), entry.where,
             fmt::format("{} has no {}", printable(kernel.initrd), about.name),
             fmt::format("amilift appends {}", printable(driver.place))});
    }

    static void judge_network(const BootEntry& entry, const Kernel& kernel,
                              PlatformVerdicts& verdicts) {
        if (!is_usable(kernel.xen_netfront)) {
            add(verdicts, {Platform::pv, Platform::xen},
                without_driver(entry, kernel, kernel.xen_netfront,
                               {"xen-netfront", "no-xen-netfront-driver", ""}));
        }
        const auto& ena = kernel.ena;
        if (!is_usable(ena)) {
            add(verdicts, nitro(),
                without_driver(entry, kernel, ena, {"ena", "no-ena-driver", ""}));
            return;
        }
        const auto version = version_numbers(ena.version);
        if (!ena.version.empty() && version < std::array<unsigned, 3>{1, 2, 0}) {
            add(verdicts, nitro(),
                {Verdict::ready, "old-ena-driver", entry.where,
                 fmt::format("ena is {}", printable(ena.version)),
                 "instance types of the sixth generation need 1.2"});
        }
    }

    const ImageFacts& facts_;
    const DiskForm& disk_;
};

}  // namespace

std::string_view to_string(Platform platform) noexcept {
    switch (platform) {
        case Platform::pv:
            return "pv";
        case Platform::xen:
            return "xen";
        case Platform::nitro:
            return "nitro";
        case Platform::nitro_uefi:
            break;
    }
    return "nitro-uefi";
}

std::string_view title_of(Platform platform) noexcept {
    switch (platform) {
        case Platform::pv:
            return "PV";
        case Platform::xen:
            return "Xen HVM (BIOS)";
        case Platform::nitro:
            return "Nitro (BIOS)";
        case Platform::nitro_uefi:
            break;
    }
    return "Nitro (UEFI)";
}

std::string_view to_string(Verdict verdict) noexcept {
    switch (verdict) {
        case Verdict::ready:
            return "ready";
        case Verdict::repairable:
            return "repairable";
        case Verdict::refused:
            break;
    }
    return "refused";
}

void add_reason(PlatformVerdicts& verdicts, std::span<const Platform> platforms,
                const Reason& reason) {
    for (const auto platform : platforms) {
        auto& verdict = verdicts[static_cast<std::size_t>(platform)];
        verdict.verdict = std::max(verdict.verdict, reason.verdict);
        const auto behind = std::ranges::find_if(
            verdict.reasons, [&](const Reason& r) { return r.verdict < reason.verdict; });
        verdict.reasons.insert(behind, reason);
    }
}

Readiness assess(const ImageFacts& facts, const DiskForm& disk) {
    return Assessor(facts, disk).run();
}

}  // namespace amilift::image
