// SPDX-License-Identifier: Apache-2.0
#include "core/result.hpp"

#include <cerrno>
#include <system_error>

namespace amilift::core {

std::string_view to_string(Errc code) noexcept {
    switch (code) {
        case Errc::invalid_input:
            return "invalid_input";
        case Errc::refused:
            return "refused";
        case Errc::not_found:
            return "not_found";
        case Errc::already_exists:
            return "already_exists";
        case Errc::permission_denied:
            return "permission_denied";
        case Errc::unavailable:
            return "unavailable";
        case Errc::timed_out:
            return "timed_out";
        case Errc::io_error:
            return "io_error";
        case Errc::corrupt:
            return "corrupt";
        case Errc::no_space:
            return "no_space";
        case Errc::conflict:
            return "conflict";
        case Errc::cancelled:
            return "cancelled";
        case Errc::not_installed:
            return "not_installed";
        case Errc::internal:
            return "internal";
    }
    return "internal";
}

Error Error::with_context(std::string_view context) && {
    what = std::string(context) + ": " + what;
    return std::move(*this);
}

Error Error::followed_by(const Error& later) && {
    what += "; then " + later.what;
    return std::move(*this);
}

std::string Error::message() const {
    if (hint.empty()) return what;
    return what + " (" + hint + ")";
}

std::unexpected<Error> fail_errno(int sys_errno, std::string what, std::string hint) {
    auto code = Errc::io_error;
    switch (sys_errno) {
        case ENOENT:
            code = Errc::not_found;
            break;
        case EACCES:
        case EPERM:
            code = Errc::permission_denied;
            break;
        case ENOSPC:
            code = Errc::no_space;
            break;
        case ETIMEDOUT:
            code = Errc::timed_out;
            break;
        case EEXIST:
            code = Errc::already_exists;
            break;
        case EBUSY:
            code = Errc::conflict;
            break;
        default:
            break;
    }
    // std::generic_category is thread-safe, strerror is not.
    what += ": " + std::generic_category().message(sys_errno);
    return std::unexpected(Error{code, std::move(what), std::move(hint), {}, sys_errno});
}

}  // namespace amilift::core
