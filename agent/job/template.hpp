// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstddef>
#include <string>
#include <string_view>

#include "core/result.hpp"

namespace amilift::job {

/// RegisterImage: an AMI name has 3 to 128 characters. Source: EC2 API reference, RegisterImage.
inline constexpr std::size_t kMinImageName = 3;
inline constexpr std::size_t kMaxImageName = 128;
/// RegisterImage: a description has at most 255 characters. A tag value could have one more; both
/// have the same limit here.
inline constexpr std::size_t kMaxText = 255;

/// What placeholders stand for.
struct TemplateValues {
    std::string source_name;                        ///< {source.name}
    std::string source_ami;                         ///< {source.ami}
    std::string job_id;                             ///< {job.id}
    std::chrono::system_clock::time_point started;  ///< {date}: "2026-11-21", {time}: "093000", UTC
};

/// The text with its placeholders filled in. `field` names the job's key in errors. An unknown
/// placeholder is Errc::invalid_input and lists the known ones; "{{" and "}}" are braces. More than
/// kMaxText characters is Errc::invalid_input, nothing is cut off.
[[nodiscard]] core::Result<std::string> expand_text(std::string_view text,
                                                    const TemplateValues& values,
                                                    std::string_view field);

/// A new AMI's name, and what had to be changed in it.
struct ImageName {
    std::string name;
    std::string note;  ///< a sentence for the user; empty if nothing was changed
};

/// Expands target.name to a name that RegisterImage takes. What the user wrote is never changed,
/// but {source.name} may come from a time with other rules: a character that is not allowed becomes
/// '-', and if the result would have more than kMaxImageName characters, the end of {source.name}
/// is cut off. `note` tells both. `copy` 2 and above appends "-<copy>" (NameCollision::suffix); the
/// room for it is made in the same way. Errc::invalid_input: the name is too long even so, too
/// short, or has a character that is not allowed.
[[nodiscard]] core::Result<ImageName> fit_image_name(std::string_view text,
                                                     const TemplateValues& values,
                                                     unsigned copy = 1);

/// The name alone, see fit_image_name().
[[nodiscard]] core::Result<std::string> expand_image_name(std::string_view text,
                                                          const TemplateValues& values);

/// The errors that a template has whatever the values are. Errc::invalid_input.
[[nodiscard]] core::Result<> check_text_template(std::string_view text);
[[nodiscard]] core::Result<> check_image_name_template(std::string_view text);

}  // namespace amilift::job
