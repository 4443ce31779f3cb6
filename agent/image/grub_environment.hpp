// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "image/grub_script.hpp"

namespace amilift::image::grub_script {

struct Variables {
    std::map<std::string, std::string, std::less<>> values;
    std::set<std::string, std::less<>> exported;
};

/// What a GRUB 2 script can name while it runs: variables, the arguments of the function that runs,
/// the status of the last command. It also counts what the script costs, because a script that
/// doubles a variable in a loop grows without end: when that is too much, nothing is set or
/// expanded any more.
class Environment {
  public:
    /// Counts `bytes` of work. False once the script has had what it may have.
    bool spend(std::size_t bytes);
    void give_up() { is_spent_ = true; }
    [[nodiscard]] bool is_spent() const { return is_spent_; }

    [[nodiscard]] bool status() const { return status_; }
    void set_status(bool status) { status_ = status; }

    /// Empty for a variable that is not set. Valid until that variable is set again.
    [[nodiscard]] const std::string& get(std::string_view name) const;
    void set(const std::string& name, std::string_view value);
    /// "name=value"; anything else sets nothing.
    void assign(std::string_view assignment);
    void unset(const std::string& name) { variables_.values.erase(name); }
    void export_name(const std::string& name) { variables_.exported.insert(name); }
    void export_all();
    /// As at the start of another menu: only what is exported stays.
    void keep_exported();

    /// A copy, for restore().
    [[nodiscard]] Variables save();
    void restore(Variables variables) { variables_ = std::move(variables); }

    void enter_function(std::vector<std::string> arguments) {
        arguments_.push_back(std::move(arguments));
    }
    void leave_function() { arguments_.pop_back(); }

    /// Appends the words that `word` is when its variables are put in: none, one, or, for a
    /// variable outside of quotes, several.
    void expand(const Word& word, std::vector<std::string>& out);
    /// The words of a line of a boot loader specification entry, with variables put in: a variable
    /// is a word of its own there, "$name" or "${name}".
    [[nodiscard]] std::vector<std::string> expand_line(std::string_view line) const;

  private:
    [[nodiscard]] std::string value_of(const std::string& name) const;

    Variables variables_;
    std::vector<std::vector<std::string>> arguments_;
    std::size_t spent_ = 0;
    bool is_spent_ = false;
    bool status_ = true;
};

}  // namespace amilift::image::grub_script
