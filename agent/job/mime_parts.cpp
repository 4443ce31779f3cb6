// SPDX-License-Identifier: Apache-2.0
#include "job/mime_parts.hpp"

#include <fmt/format.h>
#include <gmime/gmime.h>

#include <mutex>
#include <span>

#include "core/owned.hpp"
#include "core/text.hpp"

namespace amilift::job {
namespace {

using core::Errc;
using core::fail;
using core::find_invalid_utf8;
using core::in_quotes;
using core::lower;
using core::Result;
using core::trimmed;

/// A reference to a GObject.
template <class T>
using Ref = core::Owned<T, g_object_unref>;

/// GMime is set up on the first message and never shut down: it has no per-user state to free.
void start_gmime() {
    static std::once_flag once;
    std::call_once(once, [] { g_mime_init(); });
}

std::string text_or_empty(const char* text) {
    return text == nullptr ? std::string() : std::string(text);
}

/// Calls `visit` for each line without its end until it returns false.
template <class Visit>
void each_line(std::string_view text, Visit visit) {
    while (!text.empty()) {
        const auto end = text.find('\n');
        auto line = text.substr(0, end);
        if (line.ends_with('\r')) line.remove_suffix(1);
        if (!visit(line)) return;
        if (end == std::string_view::npos) return;
        text.remove_prefix(end + 1);
    }
}

bool is_header_field(std::string_view line) {
    const auto colon = line.find(':');
    if (colon == 0 || colon == std::string_view::npos) return false;
    for (const char c : line.substr(0, colon)) {
        if (c <= ' ' || c >= '\x7F') return false;
    }
    return true;
}

bool is_named(std::string_view line, std::string_view field) {
    return line.size() > field.size() && line[field.size()] == ':' &&
           lower(line.substr(0, field.size())) == field;
}

/// GMime builds the whole tree before it can be asked anything, and goes one level deeper for each
/// multipart, which needs a Content-Type of its own. Counting those, and the lines that can be
/// delimiters (a few more, since a part may hold PEM files), bounds the work beforehand.
bool has_too_many_entities(std::string_view text) {
    constexpr std::size_t kMaxTypes = 2 * kMaxMimeParts;
    constexpr std::size_t kMaxDashes = 32 * kMaxMimeParts;
    std::size_t types = 0;
    std::size_t dashes = 0;
    each_line(text, [&](std::string_view line) {
        if (is_named(line, "content-type")) ++types;
        if (line.starts_with("--")) ++dashes;
        return types <= kMaxTypes && dashes <= kMaxDashes;
    });
    return types > kMaxTypes || dashes > kMaxDashes;
}

std::unexpected<core::Error> too_many(std::string_view name) {
    return fail(Errc::invalid_input,
                fmt::format("{} has more than {} MIME parts or more than {} levels of them", name,
                            kMaxMimeParts, kMaxMimeDepth),
                "send the job as a part of a small message");
}

std::string content_type(GMimeObject* object) {
    auto* type = g_mime_object_get_content_type(object);
    if (type == nullptr) return "text/plain";
    return lower(fmt::format("{}/{}", text_or_empty(g_mime_content_type_get_media_type(type)),
                             text_or_empty(g_mime_content_type_get_media_subtype(type))));
}

/// Collects the leaves below one message.
class Walk {
  public:
    Walk(std::string_view text, std::string_view name) : text_(text), name_(name) {}

    [[nodiscard]] std::vector<MimePart> take() && { return std::move(parts_); }

    Result<> visit(GMimeObject* object, const std::string& place, std::size_t depth) {
        if (depth > kMaxMimeDepth) return too_many(name_);
        if (GMIME_IS_MULTIPART(object)) return visit_multipart(object, place, depth);
        if (GMIME_IS_MESSAGE_PART(object)) {
            auto* message =
                g_mime_message_part_get_message(reinterpret_cast<GMimeMessagePart*>(object));
            auto* inner = message == nullptr ? nullptr : g_mime_message_get_mime_part(message);
            return inner == nullptr ? Result<>{} : visit(inner, place, depth + 1);
        }
        if (GMIME_IS_PART(object)) return add(object, place);
        return {};
    }

  private:
    Result<> visit_multipart(GMimeObject* object, const std::string& place, std::size_t depth) {
        auto* multipart = reinterpret_cast<GMimeMultipart*>(object);
        const auto boundary = text_or_empty(g_mime_multipart_get_boundary(multipart));
        const auto closing = fmt::format("--{}--", boundary);
        if (text_.find("\n" + closing) == std::string_view::npos) {
            return fail(Errc::invalid_input,
                        fmt::format("{} has a MIME multipart without its closing delimiter {}",
                                    name_, in_quotes(closing)),
                        "the message was cut off: EC2 takes at most 16384 bytes of user-data");
        }
        const int count = g_mime_multipart_get_count(multipart);
        for (int i = 0; i < count; ++i) {
            const auto inner =
                place.empty() ? fmt::format("{}", i + 1) : fmt::format("{}.{}", place, i + 1);
            AMILIFT_CHECK(visit(g_mime_multipart_get_part(multipart, i), inner, depth + 1));
        }
        return {};
    }

    Result<> add(GMimeObject* object, const std::string& place) {
        if (parts_.size() == kMaxMimeParts) return too_many(name_);
        auto* part = reinterpret_cast<GMimePart*>(object);
        MimePart out;
        out.type = content_type(object);
        out.place = place.empty() ? "1" : place;
        out.name = text_or_empty(g_mime_part_get_filename(part));
        if (find_invalid_utf8(out.name)) out.name.clear();
        if (auto* wrapper = g_mime_part_get_content(part); wrapper != nullptr) {
            const Ref<GMimeStream> memory(g_mime_stream_mem_new());
            if (g_mime_data_wrapper_write_to_stream(wrapper, memory.get()) < 0) {
                return fail(Errc::invalid_input,
                            fmt::format("MIME part {} of {} cannot be decoded", out.place, name_),
                            "check its Content-Transfer-Encoding");
            }
            const auto* bytes =
                g_mime_stream_mem_get_byte_array(reinterpret_cast<GMimeStreamMem*>(memory.get()));
            const std::span data(bytes->data, bytes->len);
            out.content.assign(data.begin(), data.end());
        }
        parts_.push_back(std::move(out));
        return {};
    }

    std::string_view text_;
    std::string_view name_;
    std::vector<MimePart> parts_;
};

}  // namespace

bool looks_like_mime(std::string_view text) {
    bool found = false;
    bool first = true;
    each_line(text, [&](std::string_view line) {
        if (first && trimmed(line).empty()) return true;
        if (first && line.starts_with("From ")) {
            first = false;
            return true;
        }
        const bool continuation = !first && (line.starts_with(' ') || line.starts_with('\t'));
        first = false;
        if (line.empty() || (!continuation && !is_header_field(line))) return false;
        found = is_named(line, "content-type") || is_named(line, "mime-version");
        return !found;
    });
    return found;
}

Result<std::vector<MimePart>> split_mime(std::string_view text, std::string_view name) {
    if (has_too_many_entities(text)) return too_many(name);
    start_gmime();
    const auto begin = text.find_first_not_of(" \t\r\n");
    auto message = text.substr(begin == std::string_view::npos ? text.size() : begin);
    if (message.starts_with("From ")) {
        const auto end = message.find('\n');
        message.remove_prefix(end == std::string_view::npos ? message.size() : end + 1);
    }
    const Ref<GMimeStream> stream(
        g_mime_stream_mem_new_with_buffer(message.data(), message.size()));
    const Ref<GMimeParser> parser(g_mime_parser_new_with_stream(stream.get()));
    const Ref<GMimeObject> root(g_mime_parser_construct_part(parser.get(), nullptr));
    if (root == nullptr) {
        return fail(Errc::invalid_input, fmt::format("{} is not a MIME message", name),
                    "make it with Python's email package or with cloud-init devel make-mime");
    }
    Walk walk(message, name);
    AMILIFT_CHECK(walk.visit(root.get(), "", 0));
    return std::move(walk).take();
}

}  // namespace amilift::job
