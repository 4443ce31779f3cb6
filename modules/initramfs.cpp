// SPDX-License-Identifier: Apache-2.0
#include "modules/initramfs.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <map>
#include <set>
#include <span>
#include <string>

#include "core/sha256.hpp"
#include "image/initramfs.hpp"
#include "image/initramfs_modules.hpp"
#include "image/initramfs_reader.hpp"
#include "image/kernel_modules.hpp"
#include "image/text_lines.hpp"
#include "modules/text_edit.hpp"

namespace amilift::modules {
namespace {

using core::Errc;
using core::fail;
using core::Result;

constexpr std::string_view kName = "initramfs";
constexpr std::size_t kIndexLimit = std::size_t{32} << 20;

struct DriverName {
    const char* module;  ///< as modules are named inside of a kernel
    const char* file;    ///< as people and configuration files write it
    image::Driver image::Kernel::* driver;
};
constexpr std::array kDrivers{
    DriverName{"nvme", "nvme", &image::Kernel::nvme}, DriverName{"ena", "ena", &image::Kernel::ena},
    DriverName{"xen_blkfront", "xen-blkfront", &image::Kernel::xen_blkfront}};
/// Of a paravirtual guest, which has no other devices.
constexpr std::array kPvDrivers{
    DriverName{"xen_blkfront", "xen-blkfront", &image::Kernel::xen_blkfront},
    DriverName{"xen_netfront", "xen-netfront", &image::Kernel::xen_netfront}};

std::span<const DriverName> drivers_for(job::Virtualization target) {
    if (target == job::Virtualization::paravirtual) return kPvDrivers;
    return kDrivers;
}

/// What an initramfs has besides the index that image::merged_index() makes. It is true of the
/// kernel, whatever modules are there.
constexpr std::array<std::string_view, 4> kKernelFiles{
    "modules.builtin", "modules.builtin.bin", "modules.builtin.alias.bin", "modules.order"};

/// A kernel and the files that it boots with.
struct Boot {
    const image::Kernel* kernel = nullptr;
    std::vector<std::string> initrds;
};

/// Every kernel that an entry can boot on the target with an initramfs, each with its files once.
std::vector<Boot> boots_of(const image::ImageFacts& facts, job::Virtualization target) {
    std::vector<Boot> boots;
    for (std::size_t i = 0; i < facts.kernel_of_entry.size() && i < facts.boot_entries.size();
         ++i) {
        const auto index = facts.kernel_of_entry[i];
        if (!index || *index >= facts.kernels.size()) continue;
        const auto& kernel = facts.kernels[*index];
        const auto& initrds = facts.boot_entries[i].initrds;
        const bool can_boot = target == job::Virtualization::paravirtual
                                  ? std::ranges::find(facts.pv_entries, i) != facts.pv_entries.end()
                                  : !kernel.cannot_boot_hvm;
        if (!can_boot || initrds.empty()) continue;
        // Entries that differ in what their command lines forbid are different boots.
        const bool known = std::ranges::any_of(boots, [&](const Boot& b) {
            return b.kernel->version == kernel.version && b.initrds == initrds &&
                   std::ranges::all_of(drivers_for(target), [&](const DriverName& wanted) {
                       return (b.kernel->*wanted.driver).blocked_by ==
                              (kernel.*wanted.driver).blocked_by;
                   });
        });
        if (!known) boots.push_back({&kernel, initrds});
    }
    return boots;
}

/// One initramfs file and what it lacks.
struct Repair {
    std::string path;                   ///< without links
    std::string sha256;                 ///< of the file as it is
    std::uint64_t size_bytes = 0;       ///< of the file as it is
    std::string addition;               ///< bytes to append; empty: it lacks nothing
    std::vector<std::string> lacking;   ///< "6.1.0: nvme, ena"
    std::set<std::string> drivers;      ///< of `lacking`, as configuration files write them
    std::vector<std::string> has;       ///< "6.1.0: nvme, ena", all of them
    std::vector<std::string> initrds;   ///< that are loaded together with it, itself the last
    std::vector<std::string> left_out;  ///< "kernel 6.1.0: module '...' of the image: ..."
    /// Modules that it has to get, of each kernel that boots with it.
    std::map<std::string, std::set<std::string>> wanted;
};

/// Notes what `kernel` has in `repair` and what it lacks.
void note_drivers(const image::Kernel& kernel, Repair& repair, job::Virtualization target) {
    auto& modules = repair.wanted[kernel.version];
    std::vector<std::string> lacking;
    std::vector<std::string> has;
    for (const auto& wanted : drivers_for(target)) {
        const auto& driver = kernel.*wanted.driver;
        if (!driver.is_usable()) continue;
        // XenLinux kernels call their drivers otherwise.
        const auto module = driver.is_built_in() ? wanted.module : image::module_name(driver.place);
        const auto file = module == wanted.module ? wanted.file : module;
        has.push_back(file);
        if (driver.is_built_in() || driver.in_initramfs) continue;
        lacking.push_back(file);
        repair.drivers.insert(file);
        modules.insert(module);
    }
    // Only the next one that is made for this kernel can get them.
    if (!kernel.initramfs.other_kernel.empty()) {
        modules.clear();
        return;
    }
    if (!has.empty())
        repair.has.push_back(fmt::format("{}: {}", kernel.version, fmt::join(has, ", ")));
    if (!lacking.empty())
        repair.lacking.push_back(fmt::format("{}: {}", kernel.version, fmt::join(lacking, ", ")));
}

/// A file of the image's /lib/modules; nothing if there is none that can be read.
Result<std::optional<std::string>> index_if_there(const image::SafeRoot& root,
                                                  const std::string& path) {
    auto text = root.read(path, kIndexLimit);
    if (text) return *std::move(text);
    if (image::is_content_problem(text.error())) return std::nullopt;
    return std::unexpected(std::move(text).error());
}

/// Adds to `files` the modules `wanted` of one kernel, all that they need, and an index of them and
/// of those that `contents` has.
Result<> add_modules(const image::SafeRoot& root, const image::InitramfsContents& contents,
                     const std::string& version, const std::set<std::string>& wanted,
                     image::InitramfsFiles& files) {
    AMILIFT_TRY(const auto index, image::read_module_index(root, version));
    const auto source = fmt::format("/lib/modules/{}/", version);
    const auto directory = image::module_directory(contents, version) + "/";
    const auto added = image::files_to_add(contents, version, wanted, index);
    for (const auto& [file, image_file] : added) {
        AMILIFT_TRY(files[directory + file],
                    image::read_unpacked_module(root, source + image_file));
    }
    image::ModuleIndexTexts texts;
    for (auto& [name, text] :
         {std::pair{"modules.dep", &texts.dep}, std::pair{"modules.alias", &texts.alias},
          std::pair{"modules.symbols", &texts.symbols},
          std::pair{"modules.softdep", &texts.softdep}}) {
        AMILIFT_TRY(auto found, index_if_there(root, source + name));
        *text = std::move(found).value_or("");
    }
    AMILIFT_TRY(auto merged, image::merged_index(contents, version, added, index, texts));
    files.merge(merged);
    for (const auto name : kKernelFiles) {
        const auto inside = fmt::format("{}{}", directory, name);
        if (contents.members.contains(inside)) continue;
        AMILIFT_TRY(auto text, index_if_there(root, fmt::format("{}{}", source, name)));
        if (text) files[inside] = *std::move(text);
    }
    return {};
}

/// The modules that each kernel of `repair` has to get. One that does not boot by default goes
/// without if the image's own modules of it cannot be read: that is no reason not to convert.
Result<image::InitramfsFiles> files_for(const image::SafeRoot& root, const image::ImageFacts& facts,
                                        const image::InitramfsContents& contents, Repair& repair) {
    const auto* boots = facts.boot_kernel();
    image::InitramfsFiles files;
    for (auto& [version, wanted] : repair.wanted) {
        if (wanted.empty()) continue;
        image::InitramfsFiles added;
        if (auto made = add_modules(root, contents, version, wanted, added); !made) {
            const bool is_default = boots != nullptr && boots->version == version;
            if (is_default || !image::is_content_problem(made.error())) {
                return std::unexpected(std::move(made).error());
            }
            repair.left_out.push_back(
                fmt::format("kernel {}: {}", image::printable(version, 80), made.error().what));
            const auto is_of_it = [start = version + ": "](const std::string& text) {
                return text.starts_with(start);
            };
            std::erase_if(repair.lacking, is_of_it);
            std::erase_if(repair.has, is_of_it);
            wanted.clear();
            continue;
        }
        files.merge(added);
    }
    return files;
}

/// Does the kernel's config say that it unpacks gzip?
Result<bool> knows_gzip(const image::SafeRoot& root, const image::Kernel& kernel) {
    if (kernel.config_path.empty()) return false;
    const auto config = root.read(kernel.config_path, image::kTextLimit);
    if (!config && !image::is_content_problem(config.error()))
        return std::unexpected(config.error());
    return config &&
           fmt::format("\n{}\n", *config).find("\nCONFIG_RD_GZIP=y\n") != std::string::npos;
}

/// What the boot loader puts before the last of these files: early microcode, as a rule.
Result<image::InitramfsContents> files_before(const image::SafeRoot& root,
                                              const std::vector<std::string>& initrds) {
    image::InitramfsContents contents;
    for (std::size_t i = 0; i + 1 < initrds.size() && contents.problem.empty(); ++i) {
        const auto bytes = root.read(initrds[i], image::kInitramfsLimit);
        if (bytes) {
            image::read_further_initramfs(*bytes, image::kUnpackedLimit, contents);
        } else if (!image::is_content_problem(bytes.error())) {
            return std::unexpected(bytes.error());
        }
    }
    return contents;
}

/// Looks at `root`, of which `reader` reads, with the kernels of `facts`, whose
/// Driver::in_initramfs may be of another state of it: what is in the files now is what counts.
Result<std::vector<Repair>> find_repairs(const image::SafeRoot& root,
                                         const image::ImageFacts& facts, job::Virtualization target,
                                         image::InitramfsReader& reader) {
    reader.begin();
    image::DriverFinder finder(root, reader);
    std::map<std::string, std::vector<std::pair<image::Kernel, Boot>>> boots;  // by the last file
    std::vector<std::string> order;
    for (const auto& boot : boots_of(facts, target)) {
        auto real = root.resolve(boot.initrds.back());
        if (!real) {
            if (image::is_content_problem(real.error())) continue;
            return std::unexpected(std::move(real).error());
        }
        auto kernel = *boot.kernel;
        // The command line has been looked at; blocks of it stay.
        const auto before = kernel;
        AMILIFT_CHECK(finder.look(kernel, boot.initrds, ""));
        for (const auto& wanted : drivers_for(target)) {
            auto& driver = kernel.*wanted.driver;
            if (driver.blocked_by.empty()) driver.blocked_by = (before.*wanted.driver).blocked_by;
        }
        auto& sharing = boots[*real];
        if (sharing.empty()) order.push_back(*real);
        sharing.emplace_back(std::move(kernel), boot);
    }
    // What does not stay in its memory is read once more.
    reader.begin();
    std::vector<Repair> repairs;
    for (const auto& path : order) {
        Repair repair;
        repair.path = path;
        repair.initrds = boots[path].front().second.initrds;
        AMILIFT_TRY(const auto read, reader.read(root, repair.initrds));
        const auto& contents = read->contents;
        if (!contents.problem.empty()) continue;
        bool gzip_is_known = true;
        for (auto& [kernel, boot] : boots[path]) {
            note_drivers(kernel, repair, target);
            AMILIFT_TRY(const bool known, knows_gzip(root, kernel));
            gzip_is_known = gzip_is_known && known;
        }
        AMILIFT_TRY(const auto files, files_for(root, facts, contents, repair));
        if (!files.empty() && image::obstacle_to_addition(contents).empty()) {
            AMILIFT_TRY(const auto bytes, root.read(path, image::kInitramfsLimit));
            repair.size_bytes = bytes.size();
            AMILIFT_TRY(repair.addition,
                        image::make_addition(contents, bytes.size(), files, gzip_is_known));
            AMILIFT_TRY(repair.sha256, core::sha256_hex(bytes));
        }
        repairs.push_back(std::move(repair));
    }
    return repairs;
}

Result<> append(ApplyContext& context, const Repair& repair) {
    AMILIFT_TRY(const auto* root, context.target_root());
    return context.manifest().append(*root, kName, repair.path, {repair.sha256, repair.size_bytes},
                                     repair.addition);
}

bool has_program(const image::SafeRoot& root, std::initializer_list<std::string_view> paths) {
    return std::ranges::any_of(paths, [&root](std::string_view path) {
        const auto kind = file_kind(root, path);
        return kind && *kind == image::FileKind::regular;
    });
}

/// dracut.conf(5)
Result<> edit_dracut(const image::SafeRoot& root, const std::set<std::string>& drivers,
                     std::vector<PathEdit>& edits) {
    constexpr std::string_view kPath = "/etc/dracut.conf.d/amilift.conf";
    if (!has_program(root,
                     {"/sbin/dracut", "/usr/sbin/dracut", "/usr/bin/dracut", "/bin/dracut"})) {
        return {};
    }
    AMILIFT_CHECK(Manifest::require_place(root, kPath));
    AMILIFT_TRY(const auto kind, link_kind(root, kPath));
    if (kind != image::FileKind::missing) return {};
    edits.push_back(
        {std::string(kPath), std::nullopt,
         fmt::format("# Written by amilift: the disks and the network of EC2 instances "
                     "need these.\nadd_drivers+=\" {} \"\n",
                     fmt::join(drivers, " ")),
         fmt::format("write {}: dracut adds {} from now on", kPath, fmt::join(drivers, ", "))});
    return {};
}

/// initramfs-tools(7), /etc/initramfs-tools/modules
Result<> edit_initramfs_tools(const image::SafeRoot& root, const std::set<std::string>& drivers,
                              std::vector<PathEdit>& edits) {
    AMILIFT_TRY(const auto file,
                editable_file(root, "/etc/initramfs-tools/modules", image::kTextLimit));
    if (!file) return {};
    std::set<std::string> named;
    for (const auto& line : image::split_lines(file->text)) {
        const auto words = image::split_words(line.body);
        if (!words.empty()) named.insert(image::normalized_module(words.front()));
    }
    std::vector<std::string> missing;
    for (const auto& driver : drivers) {
        if (!named.contains(image::normalized_module(driver))) missing.push_back(driver);
    }
    if (missing.empty()) return {};
    auto text = file->text;
    if (!text.empty() && !text.ends_with('\n')) text += '\n';
    for (const auto& driver : missing) text += driver + "\n";
    edits.push_back({file->path, file->text, std::move(text),
                     fmt::format("edit {}: add {}", file->path, fmt::join(missing, ", "))});
    return {};
}

/// /etc/sysconfig/kernel of SUSE: INITRD_MODULES="a b"
Result<> edit_suse(const image::SafeRoot& root, const std::set<std::string>& drivers,
                   std::vector<PathEdit>& edits) {
    AMILIFT_TRY(const auto file, editable_file(root, "/etc/sysconfig/kernel", image::kTextLimit));
    if (!file) return {};
    constexpr std::string_view kKey = "INITRD_MODULES=\"";
    for (const auto& line : image::split_lines(file->text)) {
        if (!line.body.starts_with(kKey)) continue;
        const auto close = line.body.find('"', kKey.size());
        if (close == std::string_view::npos) return {};
        std::set<std::string> named;
        const auto value = line.body.substr(kKey.size(), close - kKey.size());
        for (const auto word : image::split_words(value))
            named.insert(image::normalized_module(word));
        std::string added;
        for (const auto& driver : drivers) {
            if (!named.contains(image::normalized_module(driver))) added += " " + driver;
        }
        if (added.empty()) return {};
        auto text = file->text;
        text.insert(static_cast<std::size_t>(line.body.data() - file->text.data()) + close, added);
        edits.push_back({file->path, file->text, std::move(text),
                         fmt::format("edit {}: line {}: INITRD_MODULES: add{}", file->path,
                                     line.number, added)});
        return {};
    }
    return {};
}

Result<std::vector<Step>> plan(const PlanContext& context) {
    image::InitramfsReader own;
    auto& reader = context.facts.initramfs_reader ? *context.facts.initramfs_reader : own;
    AMILIFT_TRY(auto repairs, find_repairs(context.source_root, context.facts,
                                           context.options.virtualization, reader));
    std::vector<Step> steps;
    std::set<std::string> drivers;
    for (auto& repair : repairs) {
        drivers.insert(repair.drivers.begin(), repair.drivers.end());
        if (repair.addition.empty()) continue;
        Step step;
        step.module = kName;
        step.text =
            fmt::format("append {} KiB to {}: modules of {}", (repair.addition.size() + 1023) >> 10,
                        repair.path, fmt::join(repair.lacking, "; of "));
        step.added_bytes = repair.addition.size();
        step.path = repair.path;
        step.apply = [repair = std::move(repair)](ApplyContext& apply_context) {
            return append(apply_context, repair);
        };
        steps.push_back(std::move(step));
    }
    if (drivers.empty()) return steps;
    std::vector<PathEdit> edits;
    AMILIFT_CHECK(edit_dracut(context.source_root, drivers, edits));
    AMILIFT_CHECK(edit_initramfs_tools(context.source_root, drivers, edits));
    AMILIFT_CHECK(edit_suse(context.source_root, drivers, edits));
    for (auto& step : steps_of(kName, std::move(edits))) steps.push_back(std::move(step));
    return steps;
}

/// All modules that could be loaded from the file when it had these bytes can still be.
Result<> prove_nothing_lost(const VerifyContext& context, const Repair& repair,
                            std::string_view old_bytes, image::InitramfsReader& reader) {
    AMILIFT_TRY(auto before, files_before(context.target_root, repair.initrds));
    image::read_further_initramfs(old_bytes, image::kUnpackedLimit, before);
    AMILIFT_TRY(const auto after, reader.read(context.target_root, repair.initrds));
    for (const auto& [version, wanted] : repair.wanted) {
        const auto lost = image::lost_modules(before, after->contents, version);
        if (lost.empty()) continue;
        return fail(Errc::internal,
                    fmt::format("'{}' of the target {} of kernel {} any more", repair.path, lost,
                                image::printable(version, 80)),
                    "report this image: the appended archive hides what was there");
    }
    return {};
}

/// The bytes that were there before, if the conversion made the file longer.
Result<std::string> prove_prefix(const VerifyContext& context, const Repair& repair,
                                 image::InitramfsReader& reader) {
    const auto& path = repair.path;
    const auto& entries = context.manifest.entries();
    const auto entry = std::ranges::find(entries, path, &ManifestEntry::path);
    if (entry == entries.end() || !entry->before) return std::string("nothing had to be added");
    AMILIFT_TRY(const auto bytes, context.target_root.read(path, image::kInitramfsLimit));
    const auto old_bytes = static_cast<std::size_t>(entry->before->size_bytes);
    AMILIFT_TRY(const auto prefix_sum,
                core::sha256_hex(std::string_view(bytes).substr(0, old_bytes)));
    if (bytes.size() <= old_bytes || prefix_sum != entry->before->sha256) {
        return fail(Errc::corrupt,
                    fmt::format("'{}' of the target does not begin with the {} bytes of before",
                                path, old_bytes),
                    "the target does not keep what is written to it; use another volume");
    }
    AMILIFT_CHECK(
        prove_nothing_lost(context, repair, std::string_view(bytes).substr(0, old_bytes), reader));
    return fmt::format("{} bytes appended, the first {} unchanged (sha256 {})",
                       bytes.size() - old_bytes, old_bytes, entry->before->sha256.substr(0, 16));
}

/// What was written is on the disk.
Result<> prove_written(const VerifyContext& context) {
    for (const auto& entry : context.manifest.entries()) {
        if (entry.module != kName || entry.kind != "file" || !entry.after) continue;
        AMILIFT_TRY(const auto sha256, image::sha256_of(context.target_root, entry.path));
        if (sha256 == entry.after->sha256) continue;
        return fail(
            Errc::corrupt,
            fmt::format("'{}' of the target does not hold what was written to it", entry.path),
            "the target does not keep what is written to it; use another volume");
    }
    return {};
}

Result<std::vector<std::string>> verify(const VerifyContext& context) {
    // Not that of the facts, which has read the source.
    image::InitramfsReader reader;
    AMILIFT_TRY(const auto repairs, find_repairs(context.target_root, context.facts,
                                                 context.options.virtualization, reader));
    reader.begin();
    std::vector<std::string> proofs;
    for (const auto& repair : repairs) {
        if (!repair.addition.empty()) {
            return fail(Errc::internal,
                        fmt::format("'{}' of the target still lacks {}", repair.path,
                                    fmt::join(repair.lacking, "; ")),
                        "report this image: the appended archive is not read back");
        }
        for (const auto& why : repair.left_out) {
            proofs.push_back(
                fmt::format("{}: warning: no modules were added for {}", repair.path, why));
        }
        if (!repair.lacking.empty() || repair.has.empty()) continue;
        AMILIFT_TRY(const auto prefix, prove_prefix(context, repair, reader));
        proofs.push_back(
            fmt::format("{} serves {}; {}", repair.path, fmt::join(repair.has, "; "), prefix));
    }
    AMILIFT_CHECK(prove_written(context));
    return proofs;
}

constexpr Module kModule{kName, plan, verify};

}  // namespace

const Module& initramfs_module() {
    return kModule;
}

}  // namespace amilift::modules
