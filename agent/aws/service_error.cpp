// SPDX-License-Identifier: Apache-2.0
#include "aws/service_error.hpp"

#include <algorithm>
#include <array>
#include <pugixml.hpp>

namespace amilift::aws {
namespace {

using core::Errc;

constexpr std::size_t kMessageLimit = 1000;
constexpr std::size_t kCodeLimit = 128;

struct CodeRow {
    std::string_view code;
    Errc errc;
};

constexpr std::array kCodes{
    CodeRow{"InvalidAMIID.Unavailable", Errc::not_found},  // deregistered
    CodeRow{"NoSuchBucket", Errc::not_found},
    CodeRow{"NoSuchKey", Errc::not_found},
    CodeRow{"NoSuchVersion", Errc::not_found},

    CodeRow{"AccessDenied", Errc::permission_denied},
    CodeRow{"AccessDeniedException", Errc::permission_denied},
    CodeRow{"AuthFailure", Errc::permission_denied},
    CodeRow{"Blocked", Errc::permission_denied},
    CodeRow{"ExpiredToken", Errc::permission_denied},
    CodeRow{"ExpiredTokenException", Errc::permission_denied},
    CodeRow{"IncompleteSignature", Errc::permission_denied},
    CodeRow{"InvalidAccessKeyId", Errc::permission_denied},
    CodeRow{"InvalidClientTokenId", Errc::permission_denied},
    CodeRow{"InvalidSignatureException", Errc::permission_denied},
    CodeRow{"MissingAuthenticationToken", Errc::permission_denied},
    CodeRow{"OptInRequired", Errc::permission_denied},
    CodeRow{"PendingVerification", Errc::permission_denied},
    CodeRow{"RequestExpired", Errc::permission_denied},
    CodeRow{"RequestInTheFuture", Errc::permission_denied},
    CodeRow{"RequestTimeTooSkewed", Errc::permission_denied},
    CodeRow{"SignatureDoesNotMatch", Errc::permission_denied},
    CodeRow{"UnauthorizedOperation", Errc::permission_denied},
    CodeRow{"UnrecognizedClientException", Errc::permission_denied},

    CodeRow{"ConcurrentTagAccess", Errc::conflict},
    CodeRow{"IdempotentParameterMismatch", Errc::conflict},
    CodeRow{"IncorrectState", Errc::conflict},
    CodeRow{"InvalidSnapshot.InUse", Errc::conflict},
    CodeRow{"OperationNotPermitted", Errc::conflict},  // termination protection, for one
    CodeRow{"VolumeInUse", Errc::conflict},

    CodeRow{"InvalidAMIName.Duplicate", Errc::already_exists},

    CodeRow{"SnapshotCreationPerVolumeRateExceeded", Errc::unavailable},
};

std::string child_text(pugi::xml_node node, const char* name, std::size_t limit) {
    return one_line(node.child_value(name), limit);
}

}  // namespace

std::string one_line(std::string_view text, std::size_t limit) {
    std::string result;
    for (const char c : text) {
        if (result.size() == limit) break;
        const auto byte = static_cast<unsigned char>(c);
        result += byte < 0x20 || byte == 0x7f ? ' ' : c;
    }
    // A UTF-8 sequence that the limit cut in two is dropped whole.
    if (text.size() > limit && (static_cast<unsigned char>(text[limit]) & 0xc0U) == 0x80U) {
        while (!result.empty() && (static_cast<unsigned char>(result.back()) & 0xc0U) == 0x80U) {
            result.pop_back();
        }
        if (!result.empty()) result.pop_back();
    }
    return result;
}

std::optional<ServiceError> parse_service_error(std::string_view body) {
    pugi::xml_document document;
    if (!document.load_buffer(body.data(), body.size())) return std::nullopt;
    const auto root = document.document_element();
    const std::string_view name = root.name();
    pugi::xml_node error;
    if (name == "Error") {
        error = root;
    } else if (name == "Response" || name == "ErrorResponse") {
        const auto list = root.child("Errors");
        error = (list ? list : root).child("Error");
    }
    ServiceError result{.code = child_text(error, "Code", kCodeLimit),
                        .message = child_text(error, "Message", kMessageLimit),
                        .request_id = child_text(root, "RequestID", kCodeLimit),
                        .region = child_text(error, "Region", kCodeLimit)};
    if (result.code.empty()) return std::nullopt;
    if (result.request_id.empty()) result.request_id = child_text(root, "RequestId", kCodeLimit);
    return result;
}

Errc errc_of(std::string_view code, int status) {
    const auto row = std::ranges::find(kCodes, code, &CodeRow::code);
    if (row != kCodes.end()) return row->errc;
    if (code.ends_with(".NotFound")) return Errc::not_found;
    // IncorrectInstanceState, InvalidVolume.IncorrectState, IncorrectSpotRequestState, ...
    if ((code.starts_with("Incorrect") || code.find(".Incorrect") != std::string_view::npos) &&
        code.ends_with("State")) {
        return Errc::conflict;
    }
    // VolumeLimitExceeded, AttachmentLimitExceeded, InsufficientVolumeCapacity, ...
    if (code.ends_with("LimitExceeded")) return Errc::unavailable;
    if (code.starts_with("Insufficient") && code.ends_with("Capacity")) return Errc::unavailable;
    if (status == 401 || status == 403) return Errc::permission_denied;
    if (status == 404) return Errc::not_found;
    if (status == 429 || status >= 500) return Errc::unavailable;
    return Errc::invalid_input;
}

}  // namespace amilift::aws
