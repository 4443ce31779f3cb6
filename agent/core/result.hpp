// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <expected>
#include <string>
#include <string_view>
#include <utility>

namespace amilift::core {

/// What kind of failure this is. The exit-code table of the command line is made from these.
enum class Errc {
    invalid_input,  ///< the job, an argument or a configuration file is wrong: the user must change
                    ///< it
    refused,        ///< the image or AMI cannot be converted; Error::id says why in a stable form
    not_found,      ///< the named object does not exist
    already_exists,     ///< an object of that name exists and the policy forbids to replace it
    permission_denied,  ///< the OS or AWS said no
    unavailable,        ///< a service or device did not answer, or answered that it cannot now
    timed_out,          ///< a deadline passed
    io_error,           ///< a read or write failed
    corrupt,            ///< data does not have the form that its format demands
    no_space,           ///< a device or filesystem is full or too small
    conflict,           ///< the object is in a state that does not allow the call
    cancelled,          ///< somebody asked to stop
    not_installed,      ///< a program or file of the helper is missing
    internal            ///< a broken promise inside amilift: always a bug
};

/// The stable lower-case name of a code, as used in JSON ("invalid_input").
[[nodiscard]] std::string_view to_string(Errc code) noexcept;

/// A failure. `what` says what failed, on which object, what was seen and what was expected;
/// `hint` says what to do next (may be empty). There is no "no error" value: success is Result's.
struct [[nodiscard]] Error {
    Errc code = Errc::internal;
    std::string what;
    std::string hint;
    /// Stable identifier of a refusal ("xen-only-kernel") or of the AWS error code
    /// ("InvalidAMIID.NotFound"); empty where none applies.
    std::string id;
    int sys_errno = 0;  ///< errno at the time of failure; 0 where no system call failed

    [[nodiscard]] bool is(Errc c) const noexcept { return code == c; }

    /// The same error, with "context: " put before the message.
    [[nodiscard]] Error with_context(std::string_view context) &&;

    /// The same error, with a second failure (of a clean-up, say) appended. The first one leads.
    [[nodiscard]] Error followed_by(const Error& later) &&;

    /// "what (hint)" on one line.
    [[nodiscard]] std::string message() const;
};

/// Success with a value, or an Error.
template <class T = void>
using Result = std::expected<T, Error>;

/// An error to return: `return fail(Errc::corrupt, "...", "...")`.
[[nodiscard]] inline std::unexpected<Error> fail(Errc code, std::string what, std::string hint = {},
                                                 std::string id = {}) {
    return std::unexpected(Error{code, std::move(what), std::move(hint), std::move(id), 0});
}

/// An error made from an errno value. The errno is an argument so that it is read before any
/// formatting can change it. `what` should name the call and the object; ": <strerror>" is
/// appended. ENOENT becomes not_found, EACCES/EPERM permission_denied, ENOSPC no_space, ETIMEDOUT
/// timed_out, EEXIST already_exists, EBUSY conflict; everything else io_error.
[[nodiscard]] std::unexpected<Error> fail_errno(int sys_errno, std::string what,
                                                std::string hint = {});

}  // namespace amilift::core

// libstdc++ 12 has std::expected without its monadic calls: these two macros replace them.
#define AMILIFT_CONCAT_(a, b) a##b
#define AMILIFT_CONCAT(a, b) AMILIFT_CONCAT_(a, b)

/// AMILIFT_TRY(auto x, f()); declares x with the value of f(), or returns f()'s error.
#define AMILIFT_TRY(decl, ...) \
    AMILIFT_TRY_(AMILIFT_CONCAT(amilift_try_, __LINE__), decl, __VA_ARGS__)
#define AMILIFT_TRY_(tmp, decl, ...)                          \
    auto tmp = (__VA_ARGS__);                                 \
    if (!tmp) return std::unexpected(std::move(tmp).error()); \
    decl = *std::move(tmp)

/// AMILIFT_CHECK(f()); returns f()'s error, if any; a value of f() is dropped.
#define AMILIFT_CHECK(...)                                             \
    do {                                                               \
        if (auto amilift_check_ = (__VA_ARGS__); !amilift_check_)      \
            return std::unexpected(std::move(amilift_check_).error()); \
    } while (false)
