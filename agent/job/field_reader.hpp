// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/result.hpp"
#include "core/text.hpp"
#include "core/yaml_tree.hpp"
#include "job/job_yaml_values.hpp"

namespace amilift::job {

/// Reads single values of a YAML document and collects what is wrong with them. What cannot be read
/// is left as it was. `path` names the value in messages: "target.name".
class FieldReader {
  public:
    [[nodiscard]] std::vector<core::Problem> take_problems() && { return std::move(problems_); }

  protected:
    void add(const core::YamlNode& node, std::string what) {
        problems_.push_back({node.at, std::move(what)});
    }

    /// Says no to what is not of `kind`, an alias or a tagged value.
    bool is(const core::YamlNode& node, core::YamlNode::Kind kind, std::string_view path,
            std::string_view expected);
    /// The distinct keys of a mapping that are texts; others are problems.
    std::vector<std::pair<const core::YamlNode*, const core::YamlNode*>> members(
        const core::YamlNode& node, std::string_view path);

    bool read_text(const core::YamlNode& node, std::string_view path, std::string& out);
    void read_text(const core::YamlNode& node, std::string_view path, const TextRule& rule,
                   std::string& out);
    void read_template(const core::YamlNode& node, std::string_view path,
                       core::Result<> (*check)(std::string_view), std::string& out);
    void read_boolean(const core::YamlNode& node, std::string_view path, bool& out);
    template <class T>
    void read_choice(const core::YamlNode& node, std::string_view path,
                     std::initializer_list<std::pair<std::string_view, T>> choices, T& out);

  private:
    std::vector<core::Problem> problems_;
};

/// "the number '12'", for a message.
[[nodiscard]] std::string describe(const core::YamlNode& node);

template <class T>
void FieldReader::read_choice(const core::YamlNode& node, std::string_view path,
                              std::initializer_list<std::pair<std::string_view, T>> choices,
                              T& out) {
    std::string text;
    if (!read_text(node, path, text)) return;
    std::vector<std::string_view> names;
    for (const auto& [name, value] : choices) {
        if (name == text) {
            out = value;
            return;
        }
        names.push_back(name);
    }
    const auto near = core::nearest(text, names);
    add(node, fmt::format("'{}' is {}, expected {}{}{}", path, core::in_quotes(text),
                          names.size() > 1 ? "one of " : "", fmt::join(names, ", "),
                          near.empty() ? "" : fmt::format(" (did you mean '{}'?)", near)));
}

}  // namespace amilift::job
