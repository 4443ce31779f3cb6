// SPDX-License-Identifier: Apache-2.0
#include "job/template.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <functional>
#include <optional>
#include <utility>
#include <vector>

#include "core/clock.hpp"
#include "core/text.hpp"

namespace amilift::job {
namespace {

using core::count_characters;
using core::Errc;
using core::fail;
using core::in_quotes;
using core::nearest;
using core::Result;

enum class Placeholder { source_name, source_ami, date, time, job_id };

constexpr std::array<std::pair<std::string_view, Placeholder>, 5> kPlaceholders{{
    {"source.name", Placeholder::source_name},
    {"source.ami", Placeholder::source_ami},
    {"date", Placeholder::date},
    {"time", Placeholder::time},
    {"job.id", Placeholder::job_id},
}};

/// A literal text, or a placeholder.
struct Piece {
    std::optional<Placeholder> placeholder;
    std::string literal;
};

std::string placeholder_list() {
    std::vector<std::string> names;
    for (const auto& [name, value] : kPlaceholders) names.push_back(fmt::format("{{{}}}", name));
    return fmt::format("{}", fmt::join(names, ", "));
}

Result<Placeholder> find_placeholder(std::string_view name, std::string_view text) {
    std::vector<std::string_view> names;
    for (const auto& [known, value] : kPlaceholders) {
        if (known == name) return value;
        names.push_back(known);
    }
    const auto near = nearest(name, names);
    return fail(Errc::invalid_input,
                fmt::format("unknown placeholder {} in {}{}; valid ones: {}",
                            in_quotes(fmt::format("{{{}}}", name)), in_quotes(text),
                            near.empty() ? "" : fmt::format(" (did you mean '{{{}}}'?)", near),
                            placeholder_list()),
                "for a brace itself write '{{' or '}}'");
}

Result<std::vector<Piece>> split(std::string_view text) {
    std::vector<Piece> pieces;
    const auto literal = [&pieces](char c) {
        if (pieces.empty() || pieces.back().placeholder) pieces.emplace_back();
        pieces.back().literal += c;
    };
    for (std::size_t i = 0; i < text.size(); ++i) {
        const char c = text[i];
        const bool doubled = i + 1 < text.size() && text[i + 1] == c;
        if (c != '{' && c != '}') {
            literal(c);
        } else if (doubled) {
            literal(c);
            ++i;
        } else if (const auto close = text.find('}', i);
                   c == '{' && close != std::string_view::npos) {
            AMILIFT_TRY(const auto placeholder,
                        find_placeholder(text.substr(i + 1, close - i - 1), text));
            pieces.push_back({placeholder, {}});
            i = close;
        } else {
            return fail(Errc::invalid_input,
                        fmt::format("'{}' at character {} of {} has no partner", c,
                                    count_characters(text.substr(0, i)) + 1, in_quotes(text)),
                        "for a brace itself write '{{' or '}}'");
        }
    }
    return pieces;
}

std::string value_of(Placeholder placeholder, const TemplateValues& values) {
    switch (placeholder) {
        case Placeholder::source_name:
            return values.source_name;
        case Placeholder::source_ami:
            return values.source_ami;
        case Placeholder::date:
            return core::format_utc(values.started).substr(0, 10);
        case Placeholder::time: {
            // Without colons, which an AMI name cannot have.
            auto time = core::format_utc(values.started).substr(11, 8);
            std::erase(time, ':');
            return time;
        }
        case Placeholder::job_id:
            return values.job_id;
    }
    return {};
}

std::string join(const std::vector<Piece>& pieces, const TemplateValues& values) {
    std::string out;
    for (const auto& piece : pieces) {
        out += piece.placeholder ? value_of(*piece.placeholder, values) : piece.literal;
    }
    return out;
}

bool is_name_character(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           std::string_view(" ()[]./-'@_").find(c) != std::string_view::npos;
}

Result<> check_name_characters(std::string_view text) {
    const auto bad = std::find_if_not(text.begin(), text.end(), is_name_character);
    if (bad == text.end()) return {};
    // The whole character, which may have more than one byte.
    const auto begin = static_cast<std::size_t>(bad - text.begin());
    auto end = begin + 1;
    while (end < text.size() && (static_cast<unsigned char>(text[end]) & 0xC0U) == 0x80U) ++end;
    return fail(Errc::invalid_input,
                fmt::format("an AMI name cannot have {}; allowed are letters, digits, space and "
                            "()[]./-'@_",
                            in_quotes(text.substr(begin, end - begin))));
}

/// Length of what the user wrote himself, in characters.
std::size_t literal_length(const std::vector<Piece>& pieces) {
    std::size_t length = 0;
    for (const auto& piece : pieces) length += count_characters(piece.literal);
    return length;
}

Result<> check_length(const std::vector<Piece>& pieces, std::size_t most) {
    if (const auto length = literal_length(pieces); length > most) {
        return fail(Errc::invalid_input,
                    fmt::format("{} characters even without the placeholders, expected at most {}",
                                length, most));
    }
    return {};
}

/// Removes the end of `name`, and the separators that are then at its end.
void cut(std::string& name, std::size_t bytes) {
    name.resize(name.size() - std::min(bytes, name.size()));
    while (!name.empty() && std::string_view(" -_./").find(name.back()) != std::string_view::npos) {
        name.pop_back();
    }
}

/// RegisterImage's rules for a name.
Result<> check_image_name(std::string_view name) {
    AMILIFT_CHECK(check_name_characters(name));
    if (name.size() < kMinImageName || name.size() > kMaxImageName) {
        return fail(Errc::invalid_input,
                    fmt::format("{} has {} characters, expected {} to {}", in_quotes(name),
                                name.size(), kMinImageName, kMaxImageName));
    }
    return {};
}

}  // namespace

Result<std::string> expand_text(std::string_view text, const TemplateValues& values,
                                std::string_view field) {
    auto pieces = split(text);
    if (!pieces) return std::unexpected(std::move(pieces).error().with_context(field));
    auto out = join(*pieces, values);
    if (const auto length = count_characters(out); length > kMaxText) {
        return fail(Errc::invalid_input,
                    fmt::format("{}: {} has {} characters when its placeholders are filled in, "
                                "expected at most {}",
                                field, in_quotes(text), length, kMaxText),
                    "shorten it in the job");
    }
    return out;
}

Result<> check_text_template(std::string_view text) {
    AMILIFT_TRY(const auto pieces, split(text));
    return check_length(pieces, kMaxText);
}

Result<> check_image_name_template(std::string_view text) {
    AMILIFT_TRY(const auto pieces, split(text));
    for (const auto& piece : pieces) AMILIFT_CHECK(check_name_characters(piece.literal));
    AMILIFT_CHECK(check_length(pieces, kMaxImageName));
    const bool fixed =
        std::ranges::none_of(pieces, [](const Piece& p) { return p.placeholder.has_value(); });
    if (fixed) return check_image_name(join(pieces, {}));
    return {};
}

Result<ImageName> fit_image_name(std::string_view text, const TemplateValues& values,
                                 unsigned copy) {
    AMILIFT_TRY(auto pieces, split(text));
    if (copy > 1) pieces.push_back({std::nullopt, fmt::format("-{}", copy)});

    TemplateValues legal = values;
    std::vector<std::string> changes;
    std::ranges::replace_if(legal.source_name, std::not_fn(is_name_character), '-');
    if (legal.source_name != values.source_name) {
        changes.emplace_back("characters that an AMI name cannot have are now '-'");
    }
    auto name = join(pieces, legal);
    const auto uses = static_cast<std::size_t>(std::ranges::count_if(
        pieces, [](const Piece& p) { return p.placeholder == Placeholder::source_name; }));
    if (name.size() > kMaxImageName && uses > 0) {
        const auto excess = name.size() - kMaxImageName;
        const auto before = legal.source_name.size();
        const auto each = (excess + uses - 1) / uses;
        if (each < before) {
            cut(legal.source_name, each);
            changes.push_back(fmt::format("its last {} characters are left out",
                                          before - legal.source_name.size()));
            name = join(pieces, legal);
        }
    }
    if (auto ok = check_image_name(name); !ok) {
        auto error = std::move(ok).error();
        error.hint = "change target.name in the job";
        return std::unexpected(
            std::move(error).with_context(fmt::format("target.name {}", in_quotes(text))));
    }
    ImageName out{std::move(name), {}};
    if (!changes.empty() && uses > 0) {
        out.note = fmt::format("the source's name was changed to fit into the new name '{}': {}",
                               out.name, fmt::join(changes, ", "));
    }
    return out;
}

Result<std::string> expand_image_name(std::string_view text, const TemplateValues& values) {
    AMILIFT_TRY(auto fitted, fit_image_name(text, values));
    return std::move(fitted.name);
}

}  // namespace amilift::job
