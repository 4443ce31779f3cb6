// SPDX-License-Identifier: Apache-2.0
#include "worker/exact_text.hpp"

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "core/text.hpp"

namespace amilift::worker {
namespace {

using nlohmann::json;

// U+10FE80 is F4 8F BA 80, U+10FEFF is F4 8F BB BF (RFC 3629).
constexpr std::string_view kStart = "\xf4\x8f";
constexpr std::size_t kBytes = 4;
constexpr std::string_view kReplacement = "\xef\xbf\xbd";

void put_byte(std::string& out, char c) {
    const std::uint32_t byte = static_cast<unsigned char>(c);
    out += kStart;
    out += static_cast<char>(0xb8U | (byte >> 6U));
    out += static_cast<char>(0x80U | (byte & 0x3fU));
}

/// Where in a UTF-8 text the next character is that stands for a byte.
std::size_t find_stand_in(std::string_view text) {
    for (auto at = text.find(kStart); at != std::string_view::npos;
         at = text.find(kStart, at + 1)) {
        const std::uint32_t third = static_cast<unsigned char>(text[at + 2]);
        if (third == 0xba || third == 0xbb) return at;
    }
    return std::string_view::npos;
}

void put_utf8(std::string& out, std::string_view text) {
    while (true) {
        const auto at = find_stand_in(text);
        out += text.substr(0, at);
        if (at == std::string_view::npos) return;
        for (const char c : text.substr(at, kBytes)) put_byte(out, c);
        text.remove_prefix(at + kBytes);
    }
}

void escape(std::string& value) {
    std::string_view text = value;
    std::string out;
    while (true) {
        const auto wrong = core::find_invalid_utf8(text);
        put_utf8(out, text.substr(0, wrong.value_or(text.size())));
        if (!wrong) break;
        put_byte(out, text[*wrong]);
        text.remove_prefix(*wrong + 1);
    }
    value = std::move(out);
}

void restore(std::string& value, TextForm form) {
    std::string_view text = value;
    std::string out;
    while (true) {
        const auto at = find_stand_in(text);
        out += text.substr(0, at);
        if (at == std::string_view::npos) break;
        const std::uint32_t third = static_cast<unsigned char>(text[at + 2]);
        const std::uint32_t fourth = static_cast<unsigned char>(text[at + 3]);
        if (form == TextForm::exact) {
            out += static_cast<char>(((third & 0x03U) << 6U) | (fourth & 0x3fU));
        } else {
            out += kReplacement;
        }
        text.remove_prefix(at + kBytes);
    }
    value = std::move(out);
}

/// Without recursion: how deep a document is, the other side decides.
template <class Change>
void for_each_text(json& document, Change change) {
    std::vector<json*> left{&document};
    while (!left.empty()) {
        auto& node = *left.back();
        left.pop_back();
        if (node.is_string()) change(node.get_ref<std::string&>());
        if (!node.is_structured()) continue;
        for (auto& child : node) left.push_back(&child);
    }
}

}  // namespace

void make_utf8(json& document) {
    for_each_text(document, escape);
}

void restore_texts(json& document, TextForm form) {
    for_each_text(document, [form](std::string& text) { restore(text, form); });
}

}  // namespace amilift::worker
