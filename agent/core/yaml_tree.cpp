// SPDX-License-Identifier: Apache-2.0
#include "core/yaml_tree.hpp"

#include <fmt/format.h>
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/mark.h>
#include <yaml-cpp/parser.h>

#include <algorithm>
#include <array>
#include <exception>
#include <sstream>

#include "core/text.hpp"

namespace amilift::core {
namespace {

/// Stops the parser from inside a callback. Never leaves this file.
class Stop : public std::exception {
  public:
    explicit Stop(Problem problem) : problem_(std::move(problem)) {}
    [[nodiscard]] const Problem& problem() const noexcept { return problem_; }
    [[nodiscard]] const char* what() const noexcept override { return problem_.what.c_str(); }

  private:
    Problem problem_;
};

/// The text as lines, to turn the parser's marks into positions.
class Lines {
  public:
    explicit Lines(std::string_view text) : text_(text) {
        starts_.push_back(0);
        for (std::size_t i = 0; i < text.size(); ++i) {
            if (text[i] == '\n') starts_.push_back(i + 1);
        }
    }

    /// Line `index` (from 0) without its end.
    [[nodiscard]] std::string_view line(std::size_t index) const {
        if (index >= starts_.size()) return {};
        const auto rest = text_.substr(starts_[index]);
        return rest.substr(0, rest.find('\n'));
    }

    [[nodiscard]] std::size_t offset(const YAML::Mark& mark) const {
        const auto line = static_cast<std::size_t>(std::max(mark.line, 0));
        if (line >= starts_.size()) return text_.size();
        return std::min(starts_[line] + static_cast<std::size_t>(std::max(mark.column, 0)),
                        text_.size());
    }

    [[nodiscard]] Position position(std::size_t line, std::size_t byte_column) const {
        return {line + 1, count_characters(this->line(line).substr(0, byte_column)) + 1};
    }

    [[nodiscard]] Position position_of(std::size_t offset) const {
        const auto next = std::upper_bound(starts_.begin(), starts_.end(), offset);
        const auto index = static_cast<std::size_t>(next - starts_.begin()) - 1;
        return position(index, offset - starts_[index]);
    }

    [[nodiscard]] Position position(const YAML::Mark& mark) const {
        if (mark.is_null()) return {};
        return position(static_cast<std::size_t>(std::max(mark.line, 0)),
                        static_cast<std::size_t>(std::max(mark.column, 0)));
    }

    [[nodiscard]] std::string_view text() const { return text_; }

  private:
    std::string_view text_;
    std::vector<std::size_t> starts_;
};

/// yaml-cpp 0.7 takes the end of the file for the end of a quoted scalar; a document that was cut
/// off must not pass.
bool quote_is_closed(std::string_view from_quote) {
    const char quote = from_quote.front();
    for (std::size_t i = 1; i < from_quote.size(); ++i) {
        if (quote == '"' && from_quote[i] == '\\') {
            ++i;
        } else if (from_quote[i] == quote) {
            if (quote == '"' || i + 1 >= from_quote.size() || from_quote[i + 1] != quote) {
                return true;
            }
            ++i;
        }
    }
    return false;
}

/// Builds the tree of the first document and stops at a second one.
class TreeBuilder final : public YAML::EventHandler {
  public:
    explicit TreeBuilder(const Lines& lines) : lines_(lines) {}

    [[nodiscard]] YamlNode take() && { return std::move(root_); }

    void OnDocumentStart(const YAML::Mark& mark) override {
        if (documents_++ > 0) {
            throw Stop({lines_.position(mark),
                        "a second YAML document begins here, expected one document in all"});
        }
    }
    void OnDocumentEnd() override {}

    void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
        auto& node = add(mark, YamlNode::Kind::scalar, anchor);
        // A missing value has the mark of what comes next; people look for it at its key.
        if (open_.empty() || open_.back()->kind != YamlNode::Kind::mapping) return;
        const auto& siblings = open_.back()->items;
        if (siblings.size() % 2 != 0) return;
        const auto& key = siblings[siblings.size() - 2];
        if (key.at.line != node.at.line) node.at = key.at;
    }
    void OnAlias(const YAML::Mark& mark, YAML::anchor_t /*anchor*/) override {
        add(mark, YamlNode::Kind::alias, YAML::NullAnchor);
    }
    void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                  const std::string& value) override {
        auto& node = add(mark, YamlNode::Kind::scalar, anchor);
        node.value = value;
        // "?" is the parser's mark of a plain scalar without a tag, "!" of a quoted one.
        node.quoted = tag == "!";
        node.tagged = tag != "!" && tag != "?";
        const auto rest = lines_.text().substr(node.offset);
        if (node.quoted && !rest.empty() && (rest.front() == '"' || rest.front() == '\'') &&
            !quote_is_closed(rest)) {
            throw Stop({node.at, fmt::format("the text that begins with {} here has no closing {}",
                                             rest.front(), rest.front())});
        }
    }
    void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                         YAML::EmitterStyle::value style) override {
        open(mark, tag, YamlNode::Kind::sequence, anchor, style);
    }
    void OnSequenceEnd() override { close(); }
    void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                    YAML::EmitterStyle::value style) override {
        open(mark, tag, YamlNode::Kind::mapping, anchor, style);
    }
    void OnMapEnd() override { close(); }

  private:
    YamlNode& add(const YAML::Mark& mark, YamlNode::Kind kind, YAML::anchor_t anchor) {
        const auto at = lines_.position(mark);
        if (++nodes_ > kMaxYamlNodes) {
            throw Stop({at, fmt::format("more than {} values, keys and lists", kMaxYamlNodes)});
        }
        // Only the last child of each open node grows, so the pointers in open_ stay valid.
        auto& node = open_.empty() ? root_ : open_.back()->items.emplace_back();
        node.kind = kind;
        node.at = at;
        node.offset = lines_.offset(mark);
        node.anchored = anchor != YAML::NullAnchor;
        return node;
    }

    void open(const YAML::Mark& mark, const std::string& tag, YamlNode::Kind kind,
              YAML::anchor_t anchor, YAML::EmitterStyle::value style) {
        auto& node = add(mark, kind, anchor);
        node.flow = style == YAML::EmitterStyle::Flow;
        node.tagged = tag != "?" && !tag.empty();
        if (open_.size() == kMaxYamlDepth) {
            throw Stop({node.at, fmt::format("nested more than {} levels deep", kMaxYamlDepth)});
        }
        open_.push_back(&node);
    }

    void close() { open_.pop_back(); }

    const Lines& lines_;
    YamlNode root_;
    std::vector<YamlNode*> open_;
    std::size_t nodes_ = 0;
    std::size_t documents_ = 0;
};

bool starts_with_tab(std::string_view line) {
    const auto first = line.find_first_not_of(' ');
    return first != std::string_view::npos && line[first] == '\t';
}

/// What the parser's terse messages mean for the person who wrote the document.
std::string_view meaning(std::string_view message) {
    struct Meaning {
        std::string_view message;
        std::string_view text;
    };
    static constexpr std::array kMeanings{
        Meaning{"end of map not found", "wrong indentation, or text after a complete value"},
        Meaning{"end of sequence not found", "wrong indentation, or text after a complete value"},
        Meaning{"end of map flow not found", "a '{' without its '}', or a comma is missing"},
        Meaning{"end of sequence flow not found", "a '[' without its ']', or a comma is missing"},
        Meaning{"illegal map value", "a ':' where no key can be; a text with ': ' goes in quotes"},
        Meaning{"illegal EOF in scalar", "a text in quotes has no closing quote"},
        Meaning{"unknown token", "a value cannot begin like this; put it in quotes"},
    };
    for (const auto& [known, text] : kMeanings) {
        if (known == message) return text;
    }
    return message;
}

/// Says what people did when the parser only says where it stumbled.
Problem explain(const YAML::Exception& error, const Lines& lines) {
    const auto at = lines.position(error.mark);
    for (const std::size_t line : {at.line, at.line - 1}) {
        if (line > 0 && starts_with_tab(lines.line(line - 1))) {
            return {lines.position(line - 1, lines.line(line - 1).find('\t')),
                    "a tab in the indentation, expected spaces"};
        }
    }
    const auto line = lines.line(at.line - 1);
    if (const auto brace = line.find(": {"); brace != std::string_view::npos) {
        const auto value = line.substr(brace + 2);
        if (value.starts_with("{source.") || value.starts_with("{date}") ||
            value.starts_with("{time}") || value.starts_with("{job.")) {
            return {lines.position(at.line - 1, brace + 2),
                    "a value that begins with '{' must be in quotes: \"{source.name}-hvm\""};
        }
    }
    return {at, fmt::format("not valid YAML: {}", meaning(error.msg))};
}

/// The first byte that is not text: the parser would let it pass.
std::expected<void, Problem> check_bytes(const Lines& lines) {
    const auto text = lines.text();
    if (text.size() > kMaxYamlBytes) {
        return std::unexpected(
            Problem{{},
                    fmt::format("the document has {} bytes, expected at most {} (64 KiB)",
                                text.size(), kMaxYamlBytes)});
    }
    if (const auto bad = std::find_if(text.begin(), text.end(), is_control); bad != text.end()) {
        const auto at = lines.position_of(static_cast<std::size_t>(bad - text.begin()));
        return std::unexpected(
            Problem{at, fmt::format("control character 0x{:02x}, expected text",
                                    static_cast<unsigned>(static_cast<unsigned char>(*bad)))});
    }
    if (const auto bad = find_invalid_utf8(text)) {
        return std::unexpected(
            Problem{lines.position_of(*bad),
                    fmt::format("byte 0x{:02x} is not UTF-8; save the file as UTF-8",
                                static_cast<unsigned>(static_cast<unsigned char>(text[*bad])))});
    }
    return {};
}

}  // namespace

std::expected<YamlNode, Problem> parse_yaml(std::string_view text) {
    const Lines lines(text);
    if (auto ok = check_bytes(lines); !ok) return std::unexpected(std::move(ok).error());
    try {
        std::istringstream in{std::string(text)};
        YAML::Parser parser(in);
        TreeBuilder builder(lines);
        while (parser.HandleNextDocument(builder)) {
        }
        return std::move(builder).take();
    } catch (const Stop& stop) {
        return std::unexpected(stop.problem());
    } catch (const YAML::Exception& error) {
        return std::unexpected(explain(error, lines));
    } catch (const std::exception& error) {
        // The parser also lets exceptions of the standard library out, of std::stoi for example.
        return std::unexpected(Problem{{}, fmt::format("not valid YAML: {}", error.what())});
    }
}

namespace {

bool all_in(std::string_view text, std::string_view allowed) {
    return !text.empty() && text.find_first_not_of(allowed) == std::string_view::npos &&
           text.find_first_not_of('_') != std::string_view::npos;
}

/// "12", "1_000", "0x1f", "1.5", ".5", "1e3", "-.inf", "1:30:00", "190:20:30.15".
bool is_number(std::string_view v) {
    if (v.starts_with('+') || v.starts_with('-')) v.remove_prefix(1);
    if (v.empty()) return false;
    const auto low = lower(v);
    if (low == ".inf" || low == ".nan") return true;
    if (low.starts_with("0x")) return all_in(std::string_view(low).substr(2), "0123456789abcdef_");
    if (low.starts_with("0b")) return all_in(std::string_view(low).substr(2), "01_");
    if (low.starts_with("0o")) return all_in(std::string_view(low).substr(2), "01234567_");
    if (!is_digit(v.front()) && v.front() != '.') return false;

    // Base 60: groups of digits, a colon between them; the last may have a fraction.
    std::string_view mantissa = v;
    bool base60 = false;
    for (auto colon = mantissa.find(':'); colon != std::string_view::npos;
         colon = mantissa.find(':')) {
        if (!all_in(mantissa.substr(0, colon), "0123456789_")) return false;
        mantissa.remove_prefix(colon + 1);
        base60 = true;
    }
    if (const auto e = mantissa.find_first_of("eE"); e != std::string_view::npos && !base60) {
        auto exponent = mantissa.substr(e + 1);
        if (exponent.starts_with('+') || exponent.starts_with('-')) exponent.remove_prefix(1);
        if (!all_in(exponent, "0123456789")) return false;
        mantissa = mantissa.substr(0, e);
    }
    const auto dot = mantissa.find('.');
    const auto whole = mantissa.substr(0, dot);
    const auto fraction =
        dot == std::string_view::npos ? std::string_view{} : mantissa.substr(dot + 1);
    if (!whole.empty() && !all_in(whole, "0123456789_")) return false;
    if (!fraction.empty() && !all_in(fraction, "0123456789_")) return false;
    return !whole.empty() || !fraction.empty();
}

/// "2026-11-21", "2026-11-21T09:30:00Z", "2026-1-2 9:30:00.5 +1".
bool is_timestamp(std::string_view v) {
    const auto take_digits = [&v](std::size_t least, std::size_t most) {
        std::size_t n = 0;
        while (n < v.size() && n < most && is_digit(v[n])) ++n;
        v.remove_prefix(n);
        return n >= least;
    };
    const auto take = [&v](char c) {
        if (!v.starts_with(c)) return false;
        v.remove_prefix(1);
        return true;
    };
    if (!take_digits(4, 4) || !take('-') || !take_digits(1, 2) || !take('-') ||
        !take_digits(1, 2)) {
        return false;
    }
    if (v.empty()) return true;
    if (v.front() != 'T' && v.front() != 't' && v.front() != ' ' && v.front() != '\t') return false;
    v.remove_prefix(1);
    v = trimmed(v);
    if (!take_digits(1, 2) || !take(':') || !take_digits(2, 2) || !take(':') ||
        !take_digits(2, 2)) {
        return false;
    }
    return v.find_first_not_of("0123456789.:+-Zz \t") == std::string_view::npos;
}

}  // namespace

ScalarType scalar_type(const YamlNode& scalar) {
    if (scalar.quoted) return ScalarType::text;
    const std::string_view v = scalar.value;
    static constexpr std::array<std::string_view, 5> kNull{"", "~", "null", "Null", "NULL"};
    static constexpr std::array<std::string_view, 22> kBoolean{
        "true", "True", "TRUE", "false", "False", "FALSE", "yes", "Yes", "YES", "no", "No",
        "NO",   "on",   "On",   "ON",    "off",   "Off",   "OFF", "y",   "Y",   "n",  "N"};
    if (std::ranges::find(kNull, v) != kNull.end()) return ScalarType::null;
    if (std::ranges::find(kBoolean, v) != kBoolean.end()) return ScalarType::boolean;
    if (is_number(v)) return ScalarType::number;
    if (is_timestamp(v)) return ScalarType::timestamp;
    return ScalarType::text;
}

}  // namespace amilift::core
