// SPDX-License-Identifier: Apache-2.0
#include "aws/query_protocol.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <iterator>
#include <utility>

namespace amilift::aws {

using core::Errc;
using core::fail;

QueryForm::QueryForm(std::string action, std::string version)
    : parameters_{{"Action", std::move(action)}, {"Version", std::move(version)}} {}

void QueryForm::add(std::string name, std::string value) {
    parameters_.push_back({std::move(name), std::move(value)});
}

void QueryForm::add(std::string name, std::int64_t value) {
    add(std::move(name), fmt::format("{}", value));
}

void QueryForm::add_flag(std::string name, bool value) {
    add(std::move(name), value ? "true" : "false");
}

void QueryForm::add_list(const std::string& name, const std::vector<std::string>& values) {
    for (std::size_t i = 0; i < values.size(); ++i) {
        add(fmt::format("{}.{}", name, i + 1), values[i]);
    }
}

std::string QueryForm::encoded() const {
    // Forms write a space as '+'. The AWS CLI does so, too, and some test doubles of AWS check the
    // signature of a body that they have re-encoded like this.
    const auto add = [](std::string& body, const std::string& text) {
        const auto encoded = percent_encode(text, " ");
        std::ranges::replace_copy(encoded, std::back_inserter(body), ' ', '+');
    };
    std::string body;
    for (const auto& [name, value] : parameters_) {
        if (!body.empty()) body += '&';
        add(body, name);
        body += '=';
        add(body, value);
    }
    return body;
}

ServiceCall query_call(std::string service, const QueryForm& form, Repeat repeat) {
    return {.service = std::move(service),
            .operation = form.action(),
            .headers = {{"Content-Type", "application/x-www-form-urlencoded; charset=utf-8"}},
            .body = form.encoded(),
            .repeat = repeat,
            // A lost answer costs a search for what was created: wait longer for it.
            .attempt_timeout = std::chrono::seconds(repeat == Repeat::once ? 60 : 30)};
}

core::Result<pugi::xml_node> parse_reply(std::string_view body, const std::string& root,
                                         pugi::xml_document& document) {
    constexpr auto kHint = "try again; if it persists, check that the endpoint is AWS itself";
    const auto parsed = document.load_buffer(body.data(), body.size());
    if (!parsed) {
        return fail(Errc::corrupt,
                    fmt::format("reply '{}' is not XML: {} at byte {} of {}", root,
                                parsed.description(), parsed.offset, body.size()),
                    kHint);
    }
    const auto element = document.document_element();
    if (element.name() != root) {
        return fail(Errc::corrupt,
                    fmt::format("the reply's root element is '{}', expected '{}'",
                                one_line(element.name(), 80), root),
                    kHint);
    }
    return element;
}

std::string FieldReader::text(pugi::xml_node parent, const char* name) const {
    return parent.child_value(name);
}

std::string FieldReader::required(pugi::xml_node parent, const char* name) {
    auto value = text(parent, name);
    if (value.empty()) note(parent, name, "nothing", "a value");
    return value;
}

std::optional<std::string> FieldReader::optional_text(pugi::xml_node parent,
                                                      const char* name) const {
    const auto child = parent.child(name);
    if (!child || *child.child_value() == '\0') return std::nullopt;
    return child.child_value();
}

std::optional<std::int64_t> FieldReader::number(pugi::xml_node parent, const char* name) {
    const auto value = optional_text(parent, name);
    if (!value) return std::nullopt;
    std::int64_t result = 0;
    const auto* end = value->data() + value->size();
    const auto [stop, error] = std::from_chars(value->data(), end, result);
    if (error != std::errc() || stop != end) {
        note(parent, name, *value, "a whole number");
        return std::nullopt;
    }
    return result;
}

std::optional<bool> FieldReader::flag(pugi::xml_node parent, const char* name) {
    const auto value = optional_text(parent, name);
    if (!value) return std::nullopt;
    if (*value == "true") return true;
    if (*value != "false") note(parent, name, *value, "true or false");
    return false;
}

core::Result<> FieldReader::check(std::string_view reply) const {
    if (problem_.empty()) return {};
    return fail(Errc::corrupt, fmt::format("reply '{}': {}", reply, problem_),
                "try again; if it persists, check that the endpoint is AWS itself");
}

void FieldReader::note(pugi::xml_node parent, const char* name, std::string_view seen,
                       std::string_view expected) {
    if (!problem_.empty()) return;
    problem_ = fmt::format("field '{}' of '{}' is '{}', expected {}", name, parent.name(),
                           one_line(seen, 80), expected);
}

}  // namespace amilift::aws
