// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/result.hpp"
#include "image/safe_root.hpp"

namespace amilift::image::grub_script {

/// Commands of a GRUB 2 script, words[0] being the command's name. Source: GRUB manual 2.06, "The
/// list of command-line and menu entry commands".

/// Asked for the files that `test -e` and its like name, as written.
using StatusOf = std::function<core::Result<FileStatus>(std::string_view name)>;

/// `test` and `[` without its "]": -o binds weaker than -a, ! and parentheses as usual. Errors:
/// those of `status_of`.
[[nodiscard]] core::Result<bool> run_test(const std::vector<std::string>& words,
                                          const StatusOf& status_of);

enum class SearchFor { uuid, label, file };
struct Search {
    SearchFor what = SearchFor::label;
    std::string name;
    std::string variable;  ///< that receives the device; empty: none
};
/// `search`, and `search.fs_uuid`, `search.fs_label`, `search.file`.
[[nodiscard]] Search parse_search(const std::vector<std::string>& words);

struct Match {
    bool matches = false;
    std::vector<std::pair<std::string, std::string>> variables;  ///< to be set, if it matches
};
/// `regexp`: no match where GRUB would complain, and for an expression that could take long or much
/// memory: one with a back reference, a number of repetitions or a repeated group, or of more than
/// 128 bytes.
[[nodiscard]] Match run_regexp(const std::vector<std::string>& words);

/// What is left of the commands in a core image when its rescue parser has read them: it knows
/// single commands and variables only.
[[nodiscard]] std::string rescue_commands(std::string_view text);

struct ItemOptions {
    std::string title;
    std::string id;
};
/// `menuentry` and `submenu`.
[[nodiscard]] ItemOptions parse_item(const std::vector<std::string>& words);

/// Appends an argument to a kernel's. GRUB quotes one with blanks again before the kernel sees it.
void append_argument(std::string& arguments, const std::string& word);

struct LoadEnv {
    std::string file;
    std::vector<std::string> names;  ///< that may be set; empty: all
};
[[nodiscard]] LoadEnv parse_load_env(const std::vector<std::string>& words,
                                     std::string default_file);

/// Names and values of an environment block ("grubenv"); absent if the text is none.
[[nodiscard]] std::optional<std::vector<std::pair<std::string, std::string>>>
read_environment_block(std::string_view text);

}  // namespace amilift::image::grub_script
