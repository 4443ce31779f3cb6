// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <pugixml.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "aws/client.hpp"
#include "aws/sigv4.hpp"
#include "core/result.hpp"

namespace amilift::aws {

/// The parameters of a call in the AWS "query" and "ec2" protocols: a POST form with flattened
/// names ("Filter.1.Value.2").
class QueryForm {
  public:
    /// `version` is the API version ("2016-11-15").
    QueryForm(std::string action, std::string version);

    void add(std::string name, std::string value);
    void add(std::string name, std::int64_t value);
    /// "true" or "false". Not an overload of add(): a string literal would choose it.
    void add_flag(std::string name, bool value);
    /// `name.1`, `name.2`, ...: nothing if `values` is empty.
    void add_list(const std::string& name, const std::vector<std::string>& values);

    [[nodiscard]] const std::string& action() const { return parameters_.front().value; }
    [[nodiscard]] const std::vector<QueryPair>& parameters() const { return parameters_; }
    /// application/x-www-form-urlencoded (a space is '+'); in the order of the calls.
    [[nodiscard]] std::string encoded() const;

  private:
    std::vector<QueryPair> parameters_;
};

/// The form as a POST to `service`.
[[nodiscard]] ServiceCall query_call(std::string service, const QueryForm& form, Repeat repeat);

/// Reads an XML reply whose root element must be `root` ("DescribeImagesResponse") into `document`.
/// Errc::corrupt otherwise. No entities other than XML's own five are expanded.
[[nodiscard]] core::Result<pugi::xml_node> parse_reply(std::string_view body,
                                                       const std::string& root,
                                                       pugi::xml_document& document);

/// Reads the fields of one element and remembers the first that does not have its form. Absent
/// fields are empty, 0 or false.
class FieldReader {
  public:
    [[nodiscard]] std::string text(pugi::xml_node parent, const char* name) const;
    /// The same, and absence or emptiness is a failure.
    [[nodiscard]] std::string required(pugi::xml_node parent, const char* name);
    [[nodiscard]] std::optional<std::string> optional_text(pugi::xml_node parent,
                                                           const char* name) const;
    [[nodiscard]] std::optional<std::int64_t> number(pugi::xml_node parent, const char* name);
    [[nodiscard]] std::optional<bool> flag(pugi::xml_node parent, const char* name);

    /// Errc::corrupt with the first bad field of `reply`, if there was one.
    [[nodiscard]] core::Result<> check(std::string_view reply) const;

  private:
    void note(pugi::xml_node parent, const char* name, std::string_view seen,
              std::string_view expected);
    std::string problem_;
};

}  // namespace amilift::aws
