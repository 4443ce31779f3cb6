// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "image/boot_menu.hpp"

namespace amilift::image::grub_script {

/// One item of a menu: an entry, or a submenu with items of its own.
struct MenuItem {
    std::string title;
    std::string id;
    std::optional<std::size_t> entry;  ///< index into the entries; absent: a submenu
    std::vector<MenuItem> items;
};

/// Where in `items` the item is that GRUB 2 takes `name` for: a number from 0 on, an id, or a
/// title, each alone or before a '>' that leads into a submenu. Absent if there is none. Source:
/// GRUB manual 2.06, "default"; grub-core/normal/menu.c.
[[nodiscard]] std::optional<std::size_t> find_item(const std::vector<MenuItem>& items,
                                                   std::string_view name);

/// The entry that a choice ("1>2", "id>title") leads to: the first one of each submenu that it does
/// not look into, and of a menu without such an item. Absent if there is no entry.
[[nodiscard]] std::optional<std::size_t> follow(const std::vector<MenuItem>& top,
                                                std::string_view name);

/// Fills BootEntry::choice of the entries that `items` lead to: the id or title of each if it is
/// the only one of that name and needs no quotes, else its number, which changes with each kernel
/// that is installed. `above`: "submenu>", of the submenus that they are in.
void name_choices(const std::vector<MenuItem>& items, const std::string& above,
                  std::vector<BootEntry>& entries);

}  // namespace amilift::image::grub_script
