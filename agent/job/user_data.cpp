// SPDX-License-Identifier: Apache-2.0
#include "job/user_data.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <utility>
#include <vector>

#include "core/text.hpp"
#include "job/encoding.hpp"
#include "job/job_yaml.hpp"
#include "job/mime_parts.hpp"

namespace amilift::job {
namespace {

using core::Errc;
using core::fail;
using core::find_invalid_utf8;
using core::first_line;
using core::in_quotes;
using core::is_control;
using core::lower;
using core::nearest;
using core::normalized;
using core::Result;
using core::trimmed;

constexpr std::string_view kJobType = "text/x-amilift";
constexpr std::string_view kJobLine = "#amilift";
constexpr std::string_view kCloudConfigLine = "#cloud-config";
/// gzip in base64, MIME in gzip, gzip in MIME, MIME in that: more is not user-data but an attack.
constexpr std::size_t kMaxLayers = 6;

std::unexpected<core::Error> unreadable(std::string what, std::string hint) {
    return fail(Errc::invalid_input, std::move(what), std::move(hint), "unreadable-user-data");
}

bool is_text(std::string_view bytes) {
    return !find_invalid_utf8(bytes) &&
           std::ranges::none_of(bytes, [](char c) { return is_control(c) && c != '\r'; });
}

bool is_utf16(std::string_view bytes) {
    return bytes.starts_with("\xFF\xFE") || bytes.starts_with("\xFE\xFF");
}

bool is_document(std::string_view text) {
    const auto line = first_line(text);
    return line == kJobLine || line == kCloudConfigLine;
}

/// Says what a text without a job is, by its first line, without repeating it.
std::string describe(std::string_view text) {
    struct Kind {
        std::string_view prefix;
        std::string_view name;
    };
    static constexpr std::array kKinds{
        Kind{"#!", "a script"},
        Kind{"#cloud-config-archive", "a #cloud-config-archive (a job needs a MIME part instead)"},
        Kind{"#cloud-config", "a #cloud-config without the key 'amilift'"},
        Kind{"#include", "an #include list"},
        Kind{"#cloud-boothook", "a #cloud-boothook"},
        Kind{"#part-handler", "a #part-handler"},
        Kind{"## template:", "a cloud-init template"},
    };
    const auto line = first_line(text);
    if (line.empty()) return "an empty text";
    const auto low = lower(line);
    for (const auto& [prefix, name] : kKinds) {
        if (low.starts_with(prefix)) return std::string(name);
    }
    const std::array<std::string_view, 1> wanted{kJobLine};
    // Only a line that is almost the right one is shown.
    if (!nearest(trimmed(line), wanted).empty()) {
        return fmt::format("a text whose first line is {}, expected '{}'", in_quotes(line),
                           kJobLine);
    }
    return fmt::format("a text whose first line is not '{}'", kJobLine);
}

class Decoder {
  public:
    Result<UserData> decode(std::string_view bytes) {
        if (trimmed(bytes).empty()) {
            return fail(Errc::not_found, "user-data is empty or not there, expected a job in it",
                        "launch the helper with the job document as user-data", "no-user-data");
        }
        if (bytes.size() > budget_) {
            return unreadable(fmt::format("user-data has {} bytes, expected at most {}",
                                          bytes.size(), kMaxUserDataBytes),
                              "EC2 takes at most 16384 bytes; put a large job into S3");
        }
        AMILIFT_CHECK(examine(bytes, "user-data", "", 0));
        if (jobs_.size() == 1) return std::move(jobs_.front());
        if (jobs_.empty()) {
            return fail(Errc::invalid_input,
                        fmt::format("user-data has no job; it is {}", fmt::join(others_, ", ")),
                        "make '#amilift' the first line of the job, or put it under 'amilift:' in "
                        "a #cloud-config, or into a MIME part of type text/x-amilift",
                        "no-job");
        }
        std::vector<std::string> origins;
        for (const auto& job : jobs_) origins.push_back(job.origin);
        return fail(Errc::invalid_input,
                    fmt::format("user-data has {} jobs ({}), expected one", jobs_.size(),
                                fmt::join(origins, "; ")),
                    "launch one helper for each job", "two-jobs");
    }

  private:
    /// Looks for jobs in `bytes`; `type` is the content type of a MIME part, empty for the whole.
    Result<> examine(std::string_view bytes, const std::string& origin, std::string_view type,
                     std::size_t layer) {
        if (layer == kMaxLayers) {
            return unreadable(fmt::format("{}: more than {} layers of packing", origin, kMaxLayers),
                              "pack the job once");
        }
        if (is_gzip(bytes)) {
            auto unpacked = gunzip(bytes, budget_, origin);
            if (!unpacked) {
                auto error = std::move(unpacked).error();
                if (error.is(Errc::invalid_input)) error.id = "unreadable-user-data";
                return std::unexpected(std::move(error));
            }
            budget_ -= unpacked->size();
            return examine(*unpacked, origin + " (gzip)", type, layer + 1);
        }
        if (!is_text(bytes)) return examine_binary(bytes, origin, type);
        auto text = normalized(bytes);
        if (type == kJobType || first_line(text) == kJobLine) {
            jobs_.push_back({std::move(text), origin});
            return {};
        }
        if (first_line(text) == kCloudConfigLine && cloud_config_has_job(text)) {
            jobs_.push_back({std::move(text), origin});
            return {};
        }
        if (looks_like_mime(text)) return examine_mime(text, origin, layer);
        if (layer == 0) {
            // Any short word can be base64: it counts only if something known comes out.
            const auto decoded = decode_base64(text);
            if (decoded && (is_gzip(*decoded) ||
                            (is_text(*decoded) && (is_document(normalized(*decoded)) ||
                                                   looks_like_mime(normalized(*decoded)))))) {
                return examine(*decoded, origin + " (base64)", type, layer + 1);
            }
        }
        note(origin, describe(text));
        return {};
    }

    Result<> examine_mime(std::string_view text, const std::string& origin, std::size_t layer) {
        auto parts = split_mime(text, origin);
        if (!parts) {
            auto error = std::move(parts).error();
            error.id = "unreadable-user-data";
            return std::unexpected(std::move(error));
        }
        if (parts->empty()) note(origin, "a MIME message without parts");
        for (const auto& part : *parts) {
            parts_ += 1;
            if (parts_ > kMaxMimeParts) {
                return unreadable(
                    fmt::format("user-data has more than {} MIME parts", kMaxMimeParts),
                    "send the job as a part of a small message");
            }
            auto name = fmt::format("{}, MIME part {}", origin, part.place);
            if (!part.name.empty()) name += fmt::format(" {}", in_quotes(part.name));
            AMILIFT_CHECK(examine(part.content, name, part.type, layer + 1));
        }
        return {};
    }

    Result<> examine_binary(std::string_view bytes, const std::string& origin,
                            std::string_view type) {
        if (is_utf16(bytes)) {
            return unreadable(fmt::format("{} is UTF-16, expected UTF-8", origin),
                              "save the job document as UTF-8");
        }
        // A part that is somebody else's may be anything.
        if (!type.empty() && type != kJobType) {
            note(origin, "binary data");
            return {};
        }
        const auto bad = find_invalid_utf8(bytes);
        if (bad && std::ranges::none_of(normalized(bytes), is_control)) {
            const auto line = std::ranges::count(bytes.substr(0, *bad), '\n') + 1;
            return unreadable(
                fmt::format("{} is not UTF-8: byte 0x{:02x} in line {}", origin,
                            static_cast<unsigned>(static_cast<unsigned char>(bytes[*bad])), line),
                "save the job document as UTF-8");
        }
        return unreadable(fmt::format("{} is {} bytes of binary data, expected UTF-8 text, gzip, "
                                      "MIME or base64",
                                      origin, bytes.size()),
                          "check how the user-data was made");
    }

    void note(const std::string& origin, const std::string& what) {
        // A message with a hundred parts is not explained part by part.
        constexpr std::size_t kMostNotes = 6;
        if (others_.size() == kMostNotes) {
            others_.emplace_back("...");
        } else if (others_.size() < kMostNotes) {
            others_.push_back(origin == "user-data" ? what : fmt::format("{} ({})", what, origin));
        }
    }

    std::vector<UserData> jobs_;
    std::vector<std::string> others_;
    std::size_t budget_ = kMaxUserDataBytes;
    std::size_t parts_ = 0;
};

}  // namespace

Result<UserData> decode_user_data(std::string_view bytes) {
    return Decoder().decode(bytes);
}

}  // namespace amilift::job
