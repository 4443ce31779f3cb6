// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <memory>

#include "core/text.hpp"
#include "image/bls.hpp"
#include "image/boot_menu.hpp"
#include "image/grub_commands.hpp"
#include "image/grub_environment.hpp"
#include "image/grub_files.hpp"
#include "image/grub_items.hpp"
#include "image/grub_modules.hpp"
#include "image/grub_runner.hpp"
#include "image/grub_script.hpp"
#include "image/grub_start.hpp"
#include "image/text_lines.hpp"

namespace amilift::image {

namespace {

using core::Errc;
using core::lower;
using core::Result;
using grub_script::Block;
using grub_script::MenuItem;
using grub_script::Node;
using grub_script::SearchFor;

/// Of each question to the filesystem, so that a script can ask some thousand times, not for hours.
constexpr std::size_t kFileWork = std::size_t{8} << 10;
constexpr std::size_t kNameWork = 64;
constexpr std::size_t kRegexpWork = std::size_t{64} << 10;
constexpr int kMaxFiles = 64;
constexpr std::size_t kEnvBlockBytes = 65536;

class Grub2 {
  public:
    Grub2(const SafeRoot& root, const BootDisk& disk, std::span<const FileInstead> instead)
        : root_(root), disk_(disk), tree_(root, disk, instead) {}

    Grub2(const SafeRoot& root, const BootDisk& disk, const GrubProgram& program, EfiFiles& files)
        : root_(root),
          disk_(disk),
          tree_(root, disk, program.contents.archive, files),
          program_(&program) {
        modules_.emplace(disk_, tree_, program.contents.modules);
    }
    Grub2(const Grub2&) = delete;
    Grub2& operator=(const Grub2&) = delete;

    Result<BootMenu> run(std::string_view path) {
        menu_.kind = BootMenuKind::grub2;
        menu_.path = std::string(path);
        AMILIFT_TRY(menu_.text, tree_.read(menu_.path, kTextLimit));
        grub_script::set_start_variables(env_, disk_, menu_.path, menu_.text);
        AMILIFT_CHECK(run_text(menu_.path, menu_.text));
        return finish();
    }

    /// As a program of UEFI.
    Result<BootMenu> run() {
        const auto& contents = program_->contents;
        menu_.kind = BootMenuKind::grub2;
        menu_.path = fmt::format("{}{}", kEfiMount, program_->path);
        menu_.text = grub_script::rescue_commands(contents.config);
        grub_script::set_start_variables(env_, disk_, menu_.path, menu_.text);
        grub_script::set_program_variables(env_, *program_);
        AMILIFT_CHECK(run_text(menu_.path, menu_.text));
        if (runner_.is_over() || !items_.empty() || !menu_.legacy_menu.empty()) return finish();
        // What GRUB loads of itself when those commands are done.
        file_ = menu_.path;
        line_ = 0;
        loads_modules_ = true;
        if (!has_module("normal")) return finish();
        AMILIFT_CHECK(run_file({"normal", fmt::format("{}/grub.cfg", env_.get("prefix"))}, true));
        return finish();
    }

  private:
    Result<BootMenu> finish() {
        AMILIFT_CHECK(failed_);
        if (from_bls_ && menu_.kind == BootMenuKind::grub2) {
            menu_.kind = BootMenuKind::boot_loader_spec;
        }
        if (env_.is_spent()) {
            note(Severity::warning, "grub-cfg-too-complex", menu_.path,
                 "running the configuration takes too long", "not all entries are known",
                 "make it anew with grub-mkconfig");
        }
        choose();
        return std::move(menu_);
    }

    [[nodiscard]] SubvolumeView view() const { return grub_script::view_of(env_); }

    // --- files -------------------------------------------------------------------------------

    /// As GrubFiles::path(), from where the script is; absent for what GRUB has no module to read.
    [[nodiscard]] std::optional<std::string> file_path(std::string_view name,
                                                       std::string* device = nullptr) {
        const auto& root = env_.get("root");
        auto path = tree_.path(name, root, view(), device);
        if (!path || program_ == nullptr) return path;
        const auto on = name.starts_with('(') ? name.substr(1, name.find(')') - 1) : root;
        return can_read(on) ? path : std::nullopt;
    }

    // --- modules -----------------------------------------------------------------------------

    /// Is it loaded, or does GRUB load it now? Tells of what is missing if wanted. A GRUB that a
    /// BIOS starts has all of them.
    bool has_module(std::string_view name, bool is_told = true) {
        if (program_ == nullptr || modules_->has(name)) return true;
        if (loads_modules_ && load_module(name)) return true;
        if (is_told) note_missing(name);
        return false;
    }

    bool load_module(std::string_view name) {
        if (!env_.spend(kFileWork)) return false;
        auto loaded = modules_->load(name, env_.get("prefix"), view());
        if (loaded) return *loaded;
        if (failed_) failed_ = std::unexpected(std::move(loaded).error());
        return false;
    }

    bool has_command(std::string_view name) {
        const auto module = grub_module_of(name);
        // Some vendors' `linux` has both commands.
        const bool is_other = module == "linuxefi" && modules_ && modules_->has("linux");
        if (module.empty() || is_other) return true;
        // Nobody chooses an entry that does not start Linux.
        const bool is_told = entry_ == nullptr || module.starts_with("linux");
        return has_module(module, is_told);
    }

    bool can_read(std::string_view device) {
        if (program_ == nullptr) return true;
        if (const auto map = modules_->missing_map(device); !map.empty()) {
            note_missing(map);
            return false;
        }
        const auto filesystem = modules_->missing_filesystem(device);
        return filesystem.empty() || has_module(filesystem);
    }

    void note_missing(std::string_view name) {
        auto seen = fmt::format("GRUB has no module '{}' inside", printable(name, 80));
        if (loads_modules_ && !name.starts_with("part_")) {
            const auto file = GrubModules::file_of(name, env_.get("prefix"));
            const auto needs = modules_->needed_to_read(file);
            seen += fmt::format(", and cannot load '{}'", printable(file));
            if (!needs.empty() && needs != name) {
                seen += fmt::format(", for which it needs '{}'", needs);
            }
        }
        const bool is_told =
            std::ranges::any_of(menu_.findings, [&](const auto& f) { return f.seen == seen; });
        if (is_told) return;
        note(Severity::warning, "grub-module-missing", here(), std::move(seen),
             "GRUB goes on without it", "install GRUB again");
    }

    /// Where the script is, for messages.
    [[nodiscard]] std::string here() const {
        return line_ == 0 ? file_ : fmt::format("{}:{}", file_, line_);
    }

    [[nodiscard]] Result<FileStatus> status_of(std::string_view name) {
        const auto path = file_path(name);
        if (!path || !env_.spend(kFileWork)) return FileStatus{};
        return tree_.status(*path);
    }

    /// Absent for what cannot be read.
    Result<std::optional<std::string>> read(std::string_view name, std::size_t limit) {
        const auto path = file_path(name);
        if (!path || !env_.spend(kFileWork)) return std::nullopt;
        auto text = tree_.read(*path, limit);
        if (text) {
            (void)env_.spend(text->size());
            return *std::move(text);
        }
        if (text.error().is(Errc::io_error)) return std::unexpected(std::move(text).error());
        return std::nullopt;
    }

    Result<> run_text(const std::string& path, std::string_view text) {
        if (++files_ > kMaxFiles || runner_.is_too_deep()) {
            env_.give_up();
            return {};
        }
        if (std::ranges::find(menu_.files, path) == menu_.files.end()) menu_.files.push_back(path);
        auto script = std::make_shared<const grub_script::Script>(grub_script::parse(text));
        if (script->bad_line != 0) {
            note(Severity::warning, "grub-cfg-syntax", fmt::format("{}:{}", path, script->bad_line),
                 script->bad_because, "GRUB stops to read here; what follows is not known",
                 "make the configuration anew with grub-mkconfig");
        }
        const auto outer = std::exchange(file_, path);
        auto done = runner_.run(std::move(script));
        file_ = outer;
        return done;
    }

    // --- commands ----------------------------------------------------------------------------

    Result<> run_command(const Node& node, std::vector<std::string> words) {
        line_ = node.line;
        const auto name = words[0];
        if (name == "menuentry" || name == "submenu") return add_item(node, words);
        env_.set_status(has_command(name));
        if (!env_.status()) return {};
        if (name == "set") {
            for (std::size_t i = 1; i < words.size(); ++i) env_.assign(words[i]);
        } else if (name == "unset") {
            for (std::size_t i = 1; i < words.size(); ++i) env_.unset(words[i]);
        } else if (name == "export") {
            for (std::size_t i = 1; i < words.size(); ++i) env_.export_name(words[i]);
        } else if (name == "false" || name == "keystatus") {
            env_.set_status(false);
        } else if (name == "[" || name == "test") {
            if (name == "[" && words.size() > 1 && words.back() == "]") words.pop_back();
            AMILIFT_TRY(const bool holds,
                        grub_script::run_test(
                            words, [this](std::string_view file) { return status_of(file); }));
            env_.set_status(holds);
        } else if (name.starts_with("search")) {
            AMILIFT_CHECK(search(words));
        } else if (name == "regexp") {
            if (!env_.spend(kRegexpWork)) return {};
            const auto match = grub_script::run_regexp(words);
            env_.set_status(match.matches);
            for (const auto& [variable, value] : match.variables) env_.set(variable, value);
        } else if (name == "load_env") {
            AMILIFT_CHECK(load_env(words));
        } else if (name == "source" || name == "." || name == "configfile" || name == "normal") {
            if (name == "normal") loads_modules_ = true;
            AMILIFT_CHECK(run_file(words, name == "configfile" || name == "normal"));
        } else if (name == "insmod" && program_ != nullptr) {
            env_.set_status(words.size() > 1 && load_module(words[1]));
        } else if (name == "legacy_configfile" || name == "legacy_source") {
            // Its `kernel` becomes `linux`.
            if (entry_ == nullptr && words.size() > 1 && has_module("linux")) {
                menu_.legacy_menu = file_path(words[1]).value_or("");
            }
        } else if (name == "blscfg") {
            AMILIFT_CHECK(load_bls());
        } else if (entry_ != nullptr) {
            boot_command(words);
        } else {
            leave(name);
        }
        return {};
    }

    /// A command outside of entries may end GRUB before it shows any of them.
    void leave(const std::string& name) {
        static constexpr std::array<std::string_view, 7> kLoaders{
            "linux", "linux16", "linuxefi", "chainloader", "multiboot", "multiboot2", "ntldr"};
        if (std::ranges::find(kLoaders, name) != kLoaders.end()) has_kernel_ = true;
        const bool is_end = name == "exit" || name == "normal_exit" || name == "halt" ||
                            name == "reboot" || (name == "boot" && has_kernel_) ||
                            (name == "fwsetup" && program_ != nullptr);
        // What a submenu says happens when it is chosen.
        if (!is_end || menu_depth_ > 0) return;
        runner_.end();
        // A configuration that was handed over to has shown its menu already.
        if (is_handed_over_ || !menu_.legacy_menu.empty()) return;
        shows_menu_ = false;
        note(Severity::warning, "grub-cfg-ends", here(),
             fmt::format("'{}' outside of an entry ends GRUB before it shows its menu", name),
             "no entry is started by itself", "take the command out");
    }

    Result<> run_file(const std::vector<std::string>& words, bool new_context) {
        // A menu that an entry leads to is shown; nobody is there to choose from it.
        if (entry_ != nullptr || words.size() < 2) return {};
        AMILIFT_TRY(const auto text, read(words[1], kTextLimit));
        if (!text) {
            env_.set_status(false);
            note(Severity::warning, "grub-cfg-file-missing", here(),
                 fmt::format("'{}' cannot be read", printable(words[1])), "GRUB goes on without it",
                 "");
            return {};
        }
        const auto path = *file_path(words[1]);
        if (!new_context) return run_text(path, *text);
        auto outer = env_.save();
        env_.keep_exported();
        if (const auto* volume = disk_.holder_of(path)) {
            grub_script::set_config_place(env_, grub2_device(disk_, *volume),
                                          path_on_volume(*volume, path, view()));
        }
        // A menu without entries of its own hands over to the other file for good, and that perhaps
        // to a third one.
        const bool takes_over = items_.empty();
        auto done = run_text(path, *text);
        if (takes_over && !items_.empty()) {
            if (!std::exchange(is_handed_over_, true)) {
                menu_.path = path;
                menu_.text = *text;
            }
            return done;
        }
        env_.restore(std::move(outer));
        return done;
    }

    Result<> search(const std::vector<std::string>& words) {
        const auto wanted = grub_script::parse_search(words);
        env_.set_status(false);
        bool is_unreadable = false;
        for (const auto& volume : disk_.volumes) {
            if (wanted.name.empty()) break;
            bool found = false;
            if (wanted.what == SearchFor::uuid) found = lower(volume.uuid) == lower(wanted.name);
            if (wanted.what == SearchFor::label) found = volume.label == wanted.name;
            if (wanted.what == SearchFor::file) {
                const auto path = tree_path(volume, wanted.name, view());
                if (!path || !env_.spend(kFileWork)) continue;
                AMILIFT_TRY(const auto status, tree_.status(*path));
                found = status.kind == FileKind::regular;
            }
            if (!found) continue;
            if (!can_read(grub2_device(disk_, volume))) {
                is_unreadable = true;
                continue;
            }
            env_.set_status(true);
            if (!wanted.variable.empty()) env_.set(wanted.variable, grub2_device(disk_, volume));
            return {};
        }
        if (program_ != nullptr && wanted.what != SearchFor::file && !is_unreadable) {
            note(Severity::warning, "grub-search-failed", here(),
                 wanted.what == SearchFor::uuid
                     ? fmt::format("no filesystem of the disk has the UUID '{}'",
                                   printable(wanted.name, 80))
                     : fmt::format("no filesystem of Linux has the label '{}', and that of the EFI "
                                   "system partition is not known",
                                   printable(wanted.name, 80)),
                 "GRUB goes on without it", "");
        }
        return {};
    }

    Result<> load_env(const std::vector<std::string>& words) {
        const auto wanted = grub_script::parse_load_env(words, env_.get("prefix") + "/grubenv");
        AMILIFT_TRY(const auto text, read(wanted.file, kEnvBlockBytes));
        const auto block = text ? grub_script::read_environment_block(*text) : std::nullopt;
        env_.set_status(block.has_value());
        if (!block) return {};
        for (const auto& [name, value] : *block) {
            const bool is_wanted =
                wanted.names.empty() || std::ranges::find(wanted.names, name) != wanted.names.end();
            if (is_wanted) env_.set(name, value);
        }
        return {};
    }

    // --- menus -------------------------------------------------------------------------------

    Result<> add_item(const Node& node, const std::vector<std::string>& words) {
        // An entry's own text cannot add entries that anybody sees.
        if (entry_ != nullptr) return {};
        if (menu_.entries.size() >= kMaxSimulatedEntries) {
            env_.give_up();
            return {};
        }
        auto options = grub_script::parse_item(words);
        MenuItem item{.title = std::move(options.title),
                      .id = std::move(options.id),
                      .entry = {},
                      .items = {}};
        if (words[0] == "submenu") return add_submenu(node, std::move(item));
        BootEntry entry;
        entry.title = item.title;
        entry.where = fmt::format("{}:{}", file_, node.line);
        entry.kernel_where = entry.where;
        entry.initrd_where = entry.where;
        if (node.body) AMILIFT_CHECK(run_entry(*node.body, entry));
        item.entry = menu_.entries.size();
        menu_.entries.push_back(std::move(entry));
        items().push_back(std::move(item));
        env_.set_status(true);
        return {};
    }

    /// The items of the menu that is being made.
    std::vector<MenuItem>& items() {
        auto* list = &items_;
        for (std::size_t i = 0; i < menu_depth_; ++i) list = &list->back().items;
        return *list;
    }

    /// What the entry's commands do happens when it is chosen, and to nobody else's variables.
    Result<> run_entry(const Block& body, BootEntry& entry) {
        auto outer = env_.save();
        std::set<std::string, std::less<>> modules;
        if (modules_) modules = modules_->loaded();
        entry_ = &entry;
        auto done = runner_.run_body(body);
        entry_ = nullptr;
        env_.restore(std::move(outer));
        if (modules_) modules_->restore(std::move(modules));
        return done;
    }

    Result<> add_submenu(const Node& node, MenuItem item) {
        items().push_back(std::move(item));
        if (!node.body) return {};
        auto outer = env_.save();
        env_.keep_exported();
        ++menu_depth_;
        auto done = runner_.run(*node.body);
        --menu_depth_;
        env_.restore(std::move(outer));
        return done;
    }

    void boot_command(const std::vector<std::string>& words) {
        const auto& name = words[0];
        const auto where = fmt::format("{}:{}", file_, line_);
        // These two start a kernel by what a BIOS has left behind.
        if (program_ != nullptr && name.ends_with("16")) return;
        if (name == "linux" || name == "linux16" || name == "linuxefi") {
            if (words.size() < 2) return;
            entry_->kernel_where = where;
            entry_->kernel = boot_file(words[1]);
            entry_->arguments.clear();
            for (std::size_t i = 2; i < words.size(); ++i) {
                grub_script::append_argument(entry_->arguments, words[i]);
            }
        } else if (name == "initrd" || name == "initrd16" || name == "initrdefi") {
            entry_->initrd_where = where;
            entry_->initrds.clear();
            for (std::size_t i = 1; i < words.size(); ++i) {
                entry_->initrds.push_back(boot_file(words[i]));
            }
        } else if (name.starts_with("multiboot") || name.starts_with("xen_hypervisor")) {
            entry_->is_hypervisor = true;
            entry_->kernel_where = where;
            if (words.size() > 1) entry_->kernel = boot_file(words[1]);
        }
    }

    /// Path in the tree of a file to boot; empty, with the entry told to be of another disk, where
    /// the image has no such place.
    std::string boot_file(const std::string& name) {
        std::string device;
        auto path = file_path(name, &device);
        if (path) return *std::move(path);
        if (entry_->other_disk.empty()) entry_->other_disk = device.empty() ? name : device;
        return name;
    }

    Result<> load_bls() {
        if (entry_ != nullptr) return {};
        std::string directory;
        std::vector<std::string> names;
        const auto wanted = env_.get("blsdir");
        const auto boot = env_.get("boot");
        for (const std::string& place :
             {wanted, std::string("/loader/entries"), std::string("/boot/loader/entries")}) {
            if (place.empty()) continue;
            const auto path = file_path(place.starts_with('(') || boot.empty()
                                            ? place
                                            : fmt::format("({}){}", boot, place));
            if (!path || !env_.spend(kFileWork)) continue;
            auto list = root_.list(*path, std::size_t{4096});
            if (!list) {
                if (list.error().is(Errc::io_error)) return std::unexpected(list.error());
                continue;
            }
            if (!env_.spend(list->size() * kNameWork)) return {};
            names = bls_files(*std::move(list));
            directory = *path;
            if (!names.empty()) break;
        }
        if (names.empty()) {
            note(Severity::warning, "bls-no-entry", here(),
                 "there is no entry in /boot/loader/entries", "GRUB shows none",
                 "install a kernel again");
            return {};
        }
        for (const auto& name : names) AMILIFT_CHECK(add_bls(directory, name));
        return {};
    }

    Result<> add_bls(const std::string& directory, const std::string& name) {
        const auto path = fmt::format("{}/{}", directory, name);
        if (!env_.spend(kFileWork)) return {};
        auto text = tree_.read(path, std::size_t{64} << 10);
        if (!text) {
            if (text.error().is(Errc::io_error)) return std::unexpected(std::move(text).error());
            return {};
        }
        if (menu_.entries.size() >= kMaxSimulatedEntries || !env_.spend(text->size())) return {};
        menu_.entry_files.push_back(path);
        const auto parsed = parse_bls_entry(name.substr(0, name.size() - 5), *text);
        BootEntry entry;
        entry.title = parsed.title;
        entry.where = fmt::format("{}:{}", path, std::max(parsed.kernel_line, 1));
        entry.kernel_where = entry.where;
        entry.initrd_where = fmt::format("{}:{}", path, std::max(parsed.initrd_line, 1));
        entry_ = &entry;
        if (!parsed.kernel.empty() && has_module("linux")) {
            entry.kernel = boot_file(on_boot(parsed.kernel));
        }
        for (const auto& initrd : parsed.initrds) {
            for (const auto& file : env_.expand_line(initrd)) {
                entry.initrds.push_back(boot_file(on_boot(file)));
            }
        }
        for (const auto& word : env_.expand_line(parsed.options)) {
            grub_script::append_argument(entry.arguments, word);
        }
        entry_ = nullptr;
        from_bls_ = true;
        MenuItem item{
            .title = entry.title, .id = parsed.id, .entry = menu_.entries.size(), .items = {}};
        menu_.entries.push_back(std::move(entry));
        items().push_back(std::move(item));
        return {};
    }

    [[nodiscard]] std::string on_boot(const std::string& name) const {
        const auto boot = env_.get("boot");
        return boot.empty() || name.starts_with('(') ? name : fmt::format("({}){}", boot, name);
    }

    // --- the choice --------------------------------------------------------------------------

    void choose() {
        name_choices(items_, "", menu_.entries);
        if (!menu_.legacy_menu.empty() || menu_.entries.empty() || !shows_menu_) return;
        const auto& wanted = env_.get("default");
        if (!wanted.empty() && !find_item(items_, wanted)) {
            note(Severity::warning, "default-not-found", menu_.path,
                 fmt::format("the default is '{}', which is no entry", printable(wanted, 80)),
                 "GRUB boots the first entry", "");
        }
        if (const auto entry = follow(items_, wanted)) menu_.order.push_back(*entry);
        for (const auto name : split_words(env_.get("fallback"))) {
            if (!find_item(items_, name)) continue;
            if (const auto entry = follow(items_, name)) menu_.order.push_back(*entry);
        }
    }

    void note(Severity severity, std::string_view id, std::string where, std::string seen,
              std::string consequence, std::string action) {
        if (menu_.findings.size() >= 32) return;
        menu_.findings.push_back({severity, std::string(id), std::move(where), std::move(seen),
                                  std::move(consequence), std::move(action)});
    }

    const SafeRoot& root_;
    const BootDisk& disk_;
    GrubFiles tree_;
    const GrubProgram* program_ = nullptr;  ///< null: started by a BIOS
    std::optional<GrubModules> modules_;    ///< of such a program
    /// GRUB loads the module of a command or filesystem when it needs it. Before it has its module
    /// 'normal', only `insmod` does.
    bool loads_modules_ = false;
    Result<> failed_;  ///< the first failure to look for a module
    BootMenu menu_;
    grub_script::Environment env_;
    grub_script::Runner runner_{env_, [this](const Node& node, std::vector<std::string> words) {
                                    return run_command(node, std::move(words));
                                }};
    std::vector<MenuItem> items_;
    std::size_t menu_depth_ = 0;
    BootEntry* entry_ = nullptr;  ///< whose commands run; null: the menu is being made
    std::string file_;
    int line_ = 0;
    int files_ = 0;
    bool shows_menu_ = true;   ///< false: GRUB ended before
    bool has_kernel_ = false;  ///< a command outside of entries has loaded what `boot` starts
    bool from_bls_ = false;
    bool is_handed_over_ = false;  ///< menu_.path is that of the last configuration
};

}  // namespace

Result<BootMenu> simulate_grub2(const SafeRoot& root, const BootDisk& disk,
                                std::string_view config_path,
                                std::span<const FileInstead> instead) {
    return Grub2(root, disk, instead).run(config_path);
}

Result<BootMenu> simulate_grub2_efi(const SafeRoot& root, const BootDisk& disk,
                                    const GrubProgram& program, EfiFiles& files) {
    return Grub2(root, disk, program, files).run();
}

}  // namespace amilift::image
