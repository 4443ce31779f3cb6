// SPDX-License-Identifier: Apache-2.0
#include "image/default_entry.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>
#include <vector>

#include "core/text.hpp"
#include "image/editable_file.hpp"

namespace amilift::image {

namespace {

using core::Result;

constexpr std::size_t kBlockBytes = 1024;
constexpr std::string_view kBlockHead = "# GRUB Environment Block\n";

/// Copies a text line by line, with some lines exchanged.
class Copy {
  public:
    void keep(const Line& line) {
        out_.text += line.body;
        out_.text += line.ending;
    }
    void put(const Line& line, const std::string& body) {
        if (body == line.body) return keep(line);
        out_.changes.push_back({line.number, describe_difference(line.body, body)});
        out_.text += body;
        out_.text += line.ending;
    }
    void add(int number, const std::string& body) {
        if (!out_.text.empty() && !out_.text.ends_with('\n')) out_.text += '\n';
        out_.changes.push_back({number, fmt::format("add '{}'", body)});
        out_.text += body + "\n";
    }
    [[nodiscard]] EditedText take() { return std::move(out_); }

  private:
    EditedText out_;
};

/// `name=value` with nothing around it, as `set name=value` too where `keyword` is "set ".
struct Assignment {
    std::size_t value_at = 0;  ///< with quotes
    std::string_view value;    ///< without
};

std::optional<Assignment> assignment(std::string_view body, std::string_view keyword,
                                     std::string_view name) {
    auto rest = trim(body);
    if (!keyword.empty() && rest.starts_with(keyword)) {
        rest = trim(rest.substr(keyword.size()));
    }
    if (!rest.starts_with(name) || rest.substr(name.size(), 1) != "=") return std::nullopt;
    auto value = rest.substr(name.size() + 1);
    const auto at = static_cast<std::size_t>(value.data() - body.data());
    if (value.size() >= 2 && (value.front() == '"' || value.front() == '\'') &&
        value.find(value.front(), 1) == value.size() - 1) {
        value = value.substr(1, value.size() - 2);
    } else if (value.find_first_of(" \t\"'") != std::string_view::npos) {
        return std::nullopt;
    }
    return Assignment{at, value};
}

std::string with_value(std::string_view body, const Assignment& found, std::string_view value) {
    return fmt::format("{}\"{}\"", body.substr(0, found.value_at), value);
}

EditedText set_in_grub_cfg(std::string_view text, std::string_view choice) {
    Copy out;
    const auto lines = split_lines(text);
    const bool has_one = std::ranges::any_of(lines, [](const Line& line) {
        return assignment(line.body, "set ", "default").has_value();
    });
    if (!has_one) out.add(1, fmt::format("set default=\"{}\"", choice));
    for (const auto& line : lines) {
        const auto found = assignment(line.body, "set ", "default");
        // What is taken from another variable is saved_entry or next_entry.
        const bool is_ours =
            found && found->value.find('$') == std::string_view::npos && found->value != choice;
        if (is_ours) {
            out.put(line, with_value(line.body, *found, choice));
        } else {
            out.keep(line);
        }
    }
    return out.take();
}

EditedText set_in_environment(std::string_view block, std::string_view choice) {
    EditedText same{std::string(block), {}};
    if (block.size() != kBlockBytes || !block.starts_with(kBlockHead)) return same;
    const auto last = block.find_last_not_of('#');
    if (last == std::string_view::npos) return same;
    constexpr std::string_view kName = "saved_entry=";
    const auto wanted = fmt::format("{}{}", kName, choice);
    Copy out;
    bool is_there = false;
    const auto lines = split_lines(block.substr(0, last + 1));
    for (const auto& line : lines) {
        if (line.body.starts_with(kName)) {
            is_there = true;
            out.put(line, wanted);
        } else {
            out.keep(line);
        }
    }
    if (!is_there) out.add(static_cast<int>(lines.size()) + 1, wanted);
    auto result = out.take();
    if (result.changes.empty() || result.text.size() > kBlockBytes) return same;
    result.text.resize(kBlockBytes, '#');
    return result;
}

EditedText set_in_extlinux(std::string_view text, std::string_view label) {
    Copy out;
    const auto lines = split_lines(text);
    // A menu program as default stays: it boots what `ontimeout` says.
    const auto decides = [&](const Line& line) -> std::string_view {
        const auto words = split_words(line.body);
        if (words.size() < 2) return {};
        const auto key = core::lower(words[0]);
        if (key == "ontimeout") return words[1];
        return key == "default" && !core::lower(words[1]).ends_with(".c32") ? words[1]
                                                                            : std::string_view();
    };
    const bool has_one =
        std::ranges::any_of(lines, [&](const Line& line) { return !decides(line).empty(); });
    if (!has_one) out.add(1, fmt::format("ontimeout {}", label));
    for (const auto& line : lines) {
        const auto value = decides(line);
        if (value.empty() || value == label) {
            out.keep(line);
        } else {
            const auto at = static_cast<std::size_t>(value.data() - line.body.data());
            out.put(line, fmt::format("{}{}", line.body.substr(0, at), label));
        }
    }
    return out.take();
}

bool leads_to_boot_entry(const BootMenu& menu, const ImageFacts& facts) {
    const auto index = *facts.boot_entry;
    return !menu.order.empty() && menu.order.front() == index && index < menu.entries.size() &&
           menu.entries.size() == facts.boot_entries.size() &&
           menu.entries[index].title == facts.boot_entries[index].title &&
           menu.entries[index].kernel == facts.boot_entries[index].kernel;
}

/// Files in which the default may be set, the least lasting last.
std::vector<DefaultEdit> candidates(const ImageFacts& facts) {
    const auto& choice = facts.boot_entries[*facts.boot_entry].choice;
    if (choice.empty()) return {};
    if (facts.menu_kind == BootMenuKind::extlinux) {
        return {{facts.menu_path, choice, DefaultForm::extlinux}};
    }
    const auto beside = facts.menu_path.substr(0, facts.menu_path.rfind('/')) + "/grubenv";
    std::vector<DefaultEdit> out;
    for (const std::string_view path :
         {std::string_view(beside), std::string_view("/boot/grub2/grubenv"),
          std::string_view("/boot/grub/grubenv")}) {
        out.push_back({std::string(path), choice, DefaultForm::environment});
    }
    out.push_back({facts.menu_path, choice, DefaultForm::grub_cfg});
    return out;
}

}  // namespace

Result<BootMenu> simulate_menu(const SafeRoot& root, const ImageFacts& facts,
                               std::span<const FileInstead> instead) {
    AMILIFT_TRY(const auto config, root.resolve(facts.menu_links.front()));
    return facts.menu_kind == BootMenuKind::extlinux
               ? simulate_extlinux(root, facts.disk, config, instead)
               : simulate_grub2(root, facts.disk, config, instead);
}

Result<std::optional<DefaultEdit>> find_default_edit(const SafeRoot& root,
                                                     const ImageFacts& facts) {
    if (!facts.boot_entry || facts.menu_links.empty()) return std::nullopt;
    for (auto& edit : candidates(facts)) {
        AMILIFT_TRY(const auto file, editable_file(root, edit.path, kTextLimit));
        if (!file) continue;
        edit.path = file->path;
        const auto edited = set_default_entry(file->text, edit);
        if (edited.changes.empty()) continue;
        const FileInstead instead{edit.path, edited.text};
        AMILIFT_TRY(const auto menu, simulate_menu(root, facts, {&instead, 1}));
        if (leads_to_boot_entry(menu, facts)) return edit;
    }
    return std::nullopt;
}

Result<bool> boots_by_default(const SafeRoot& root, const ImageFacts& facts) {
    if (!facts.boot_entry || facts.menu_links.empty()) return false;
    AMILIFT_TRY(const auto menu, simulate_menu(root, facts));
    return leads_to_boot_entry(menu, facts);
}

EditedText set_default_entry(std::string_view text, const DefaultEdit& edit) {
    switch (edit.form) {
        case DefaultForm::environment:
            return set_in_environment(text, edit.choice);
        case DefaultForm::extlinux:
            return set_in_extlinux(text, edit.choice);
        case DefaultForm::grub_cfg:
            break;
    }
    return set_in_grub_cfg(text, edit.choice);
}

bool assigns_grub_default(std::string_view text) {
    return std::ranges::any_of(split_lines(text), [](const Line& line) {
        return assignment(line.body, "export ", "GRUB_DEFAULT").has_value();
    });
}

EditedText set_grub_default(std::string_view text, std::string_view choice) {
    Copy out;
    const auto lines = split_lines(text);
    for (const auto& line : lines) {
        const auto found = assignment(line.body, "export ", "GRUB_DEFAULT");
        if (found && found->value != "saved" && found->value != choice) {
            out.put(line, with_value(line.body, *found, choice));
        } else {
            out.keep(line);
        }
    }
    if (!assigns_grub_default(text)) {
        out.add(static_cast<int>(lines.size()) + 1, fmt::format("GRUB_DEFAULT=\"{}\"", choice));
    }
    return out.take();
}

}  // namespace amilift::image
