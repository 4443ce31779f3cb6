// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/result.hpp"

namespace amilift::app {

/// What the program ends with; amilift(1) has the same table.
enum class ExitCode : int {
    ok = 0,
    internal = 1,       ///< a bug of amilift
    usage = 2,          ///< wrong command line
    invalid_input = 3,  ///< wrong job or argument
    refused = 4,        ///< this image or AMI cannot be converted
    not_found = 5,
    permission_denied = 6,
    io_error = 7,     ///< a read or write failed, or data is corrupt
    unavailable = 8,  ///< AWS or a service did not answer in time
    no_space = 9,
    conflict = 10,  ///< something is in use or exists already, or the work was cancelled
    not_installed = 11,
    repairable = 12  ///< inspect only: the image does not run there yet, but a conversion mends it
};

[[nodiscard]] constexpr ExitCode exit_code_of(core::Errc code) noexcept {
    switch (code) {
        case core::Errc::invalid_input:
            return ExitCode::invalid_input;
        case core::Errc::refused:
            return ExitCode::refused;
        case core::Errc::not_found:
            return ExitCode::not_found;
        case core::Errc::permission_denied:
            return ExitCode::permission_denied;
        case core::Errc::unavailable:
        case core::Errc::timed_out:
            return ExitCode::unavailable;
        case core::Errc::io_error:
        case core::Errc::corrupt:
            return ExitCode::io_error;
        case core::Errc::no_space:
            return ExitCode::no_space;
        case core::Errc::already_exists:
        case core::Errc::conflict:
        case core::Errc::cancelled:
            return ExitCode::conflict;
        case core::Errc::not_installed:
            return ExitCode::not_installed;
        case core::Errc::internal:
            return ExitCode::internal;
    }
    return ExitCode::internal;
}

}  // namespace amilift::app
