// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>

#include "core/text.hpp"
#include "image/boot_menu.hpp"
#include "image/text_lines.hpp"

namespace amilift::image {

namespace {

using core::Errc;
using core::Result;

constexpr int kMaxIncludes = 16;

struct Label {
    std::string name;
    std::string where;
    std::string kernel;
    std::string kernel_where;
    std::vector<std::string> initrds;
    std::string initrd_where;
    std::string append;
    bool has_append = false;
    std::string title;
    bool is_linux = true;
};

class Extlinux {
  public:
    Extlinux(const SafeRoot& root, const BootDisk& disk, std::span<const FileInstead> instead)
        : root_(root), disk_(disk), instead_(instead) {}

    Result<BootMenu> run(std::string_view path) {
        menu_.kind = BootMenuKind::extlinux;
        menu_.path = std::string(path);
        directory_ = menu_.path.substr(0, menu_.path.rfind('/'));
        volume_ = disk_.holder_of(path);
        if (volume_ != nullptr && !volume_->subvolumes.empty()) find_subvolume(path);
        AMILIFT_TRY(menu_.text, read_file(path));
        AMILIFT_CHECK(read(menu_.path, menu_.text, 0));
        for (const auto& label : labels_) menu_.entries.push_back(entry_of(label));
        choose();
        return std::move(menu_);
    }

  private:
    /// The subvolume of the configuration, as it is named from the top level.
    void find_subvolume(std::string_view path) {
        for (const auto& subvolume : volume_->subvolumes) {
            const auto start = subvolume.path.empty() ? "" : "/" + subvolume.path;
            const auto rest = path_on_volume(*volume_, path);
            if (rest.starts_with(start + "/") && start.size() >= subvolume_.size()) {
                subvolume_ = start;
            }
        }
    }

    Result<std::string> read_file(std::string_view path) const {
        if (const auto* text = text_instead(instead_, path)) return *text;
        return root_.read(path, kTextLimit);
    }

    Result<> read(const std::string& path, std::string_view text, int depth) {
        if (std::ranges::find(menu_.files, path) == menu_.files.end()) menu_.files.push_back(path);
        for (const auto& line : split_lines(text)) {
            auto body = trim(line.body);
            if (core::lower(body.substr(0, 5)) == "menu ") body = trim(body.substr(5));
            const bool was_menu = body.data() != trim(line.body).data();
            const auto end = std::min(body.find_first_of(" \t"), body.size());
            const auto key = core::lower(body.substr(0, end));
            const auto value = trim(body.substr(end));
            const auto where = fmt::format("{}:{}", path, line.number);
            if (key == "include") {
                AMILIFT_CHECK(include(value, where, depth));
            } else if (was_menu) {
                menu_word(key, value);
            } else {
                word(key, value, where);
            }
        }
        return {};
    }

    void menu_word(std::string_view key, std::string_view value) {
        if (labels_.empty()) return;
        // A caret marks the hot key.
        if (key == "label") {
            labels_.back().title.clear();
            for (const char c : value) {
                if (c != '^') labels_.back().title += c;
            }
        } else if (key == "default" && menu_default_.empty()) {
            menu_default_ = labels_.back().name;
        }
    }

    void word(std::string_view key, std::string_view value, const std::string& where) {
        if (key == "default") {
            default_ = std::string(value);
        } else if (key == "ontimeout") {
            on_timeout_ = std::string(value);
        } else if (key == "label") {
            if (labels_.size() >= kMaxSimulatedEntries) return;
            labels_.push_back({.name = std::string(value),
                               .where = where,
                               .kernel = {},
                               .kernel_where = where,
                               .initrds = {},
                               .initrd_where = where,
                               .append = {},
                               .title = {}});
        } else if (key == "append") {
            if (labels_.empty()) {
                global_append_ = std::string(value);
            } else {
                labels_.back().append = value == "-" ? "" : std::string(value);
                labels_.back().has_append = true;
            }
        } else if (!labels_.empty()) {
            label_word(labels_.back(), key, value, where);
        }
    }

    static void label_word(Label& label, std::string_view key, std::string_view value,
                           const std::string& where) {
        if (key == "linux" || key == "kernel") {
            label.kernel = std::string(value);
            label.kernel_where = where;
            const auto name = core::lower(value);
            label.is_linux = key == "linux" || !(name.ends_with(".c32") || name.ends_with(".0") ||
                                                 name.ends_with(".bs") || name.ends_with(".bin"));
        } else if (key == "initrd") {
            label.initrds.clear();
            label.initrd_where = where;
            for (std::size_t at = 0; at <= value.size();) {
                const auto comma = std::min(value.find(',', at), value.size());
                if (comma > at) label.initrds.emplace_back(value.substr(at, comma - at));
                at = comma + 1;
            }
        } else if (key == "com32" || key == "boot" || key == "localboot" || key == "config" ||
                   key == "bss" || key == "pxe" || key == "fdimage" || key == "comboot") {
            label.is_linux = false;
        }
    }

    Result<> include(std::string_view name, const std::string& where, int depth) {
        const auto path = resolved(name);
        if (!path || depth >= kMaxIncludes || ++includes_ > kMaxIncludes) return {};
        const auto real = root_.resolve(*path);
        const auto text = read_file(real ? *real : *path);
        if (!text) {
            if (text.error().is(Errc::io_error)) return std::unexpected(text.error());
            menu_.findings.push_back({Severity::warning, "extlinux-include-missing", where,
                                      text.error().what, "the menu is read without it",
                                      "remove the line, or put the file there"});
            return {};
        }
        return read(*path, *text, depth + 1);
    }

    /// A path as extlinux reads it: from the root of its filesystem, or from its own directory.
    [[nodiscard]] std::optional<std::string> resolved(std::string_view name) const {
        if (name.starts_with('/')) {
            if (volume_ == nullptr) return std::nullopt;
            // On btrfs it stays within the subvolume that it was installed in.
            return volume_->subvolumes.empty()
                       ? tree_path(*volume_, name)
                       : tree_path(*volume_, subvolume_ + std::string(name));
        }
        return directory_ + "/" + std::string(name);
    }

    [[nodiscard]] BootEntry entry_of(const Label& label) const {
        BootEntry entry;
        entry.choice = label.name;
        entry.title = label.title.empty() ? label.name : label.title;
        entry.where = label.where;
        entry.kernel_where = label.kernel_where;
        entry.initrd_where = label.initrd_where;
        if (!label.is_linux || label.kernel.empty()) return entry;
        entry.kernel = resolved(label.kernel).value_or("");
        auto initrds = label.initrds;
        // Old configurations name the initrd as a kernel argument.
        const auto& append = label.has_append ? label.append : global_append_;
        for (const auto argument : split_words(append)) {
            if (argument.starts_with("initrd=") && initrds.empty()) {
                initrds.emplace_back(argument.substr(7));
                continue;
            }
            if (!entry.arguments.empty()) entry.arguments += ' ';
            entry.arguments += argument;
        }
        for (const auto& initrd : initrds) {
            if (auto path = resolved(initrd)) entry.initrds.push_back(*std::move(path));
        }
        return entry;
    }

    [[nodiscard]] std::optional<std::size_t> find(std::string_view command) const {
        const auto words = split_words(command);
        if (words.empty()) return std::nullopt;
        const auto found = std::ranges::find_if(labels_, [&](const Label& label) {
            return core::lower(label.name) == core::lower(words.front());
        });
        if (found == labels_.end()) return std::nullopt;
        return static_cast<std::size_t>(found - labels_.begin());
    }

    void choose() {
        if (labels_.empty()) {
            menu_.findings.push_back({Severity::warning, "extlinux-no-entry", menu_.path,
                                      "the configuration has no label", "nothing would boot",
                                      "add a label for the kernel that is installed"});
            return;
        }
        // `default` that names a menu program (menu.c32) is no label: then the menu decides.
        for (const auto& name : {on_timeout_, default_, menu_default_}) {
            if (const auto index = find(name)) {
                menu_.order.push_back(*index);
                return;
            }
        }
        menu_.order.push_back(0);
    }

    const SafeRoot& root_;
    const BootDisk& disk_;
    std::span<const FileInstead> instead_;
    const BootVolume* volume_ = nullptr;
    BootMenu menu_;
    std::string directory_;
    std::string subvolume_;  ///< "/@"; empty on other filesystems and at the top level
    std::vector<Label> labels_;
    std::string default_;
    std::string menu_default_;
    std::string on_timeout_;
    std::string global_append_;
    int includes_ = 0;
};

}  // namespace

Result<BootMenu> simulate_extlinux(const SafeRoot& root, const BootDisk& disk,
                                   std::string_view config_path,
                                   std::span<const FileInstead> instead) {
    return Extlinux(root, disk, instead).run(config_path);
}

}  // namespace amilift::image
