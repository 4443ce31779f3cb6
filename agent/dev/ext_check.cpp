// SPDX-License-Identifier: Apache-2.0
#include "dev/ext_check.hpp"

#include <fmt/format.h>

#include <chrono>
#include <utility>

namespace amilift::dev {
namespace {

using core::Errc;
using core::fail;
using core::Result;

/// e2fsck(8): bit 0 is "errors corrected", bit 1 "reboot", which is for mounted filesystems.
constexpr int kCorrected = 3;
/// Bit 2 is "errors left uncorrected". The others say that the check itself has failed.
constexpr int kUncorrected = 4;
/// A large volume on slow disks takes its time; the job's deadline is the real bound.
constexpr auto kTimeout = std::chrono::hours(4);

}  // namespace

bool needs_check(const FilesystemInfo& info) {
    return is_ext(info.type) && !info.clean && !info.needs_recovery;
}

Result<> check_ext(core::CommandRunner& commands, const std::string& device,
                   const std::string& name) {
    core::Command command;
    command.argv = {"e2fsck", "-f", "-p", device};
    command.timeout = kTimeout;
    auto checked = commands.run(command);
    if (!checked) {
        if (checked.error().is(Errc::not_installed)) {
            checked.error().hint = "install the package e2fsprogs";
        }
        return std::unexpected(std::move(checked).error());
    }
    if ((checked->exit_code & ~kCorrected) == 0) return {};
    auto what = fmt::format("e2fsck -f -p of {} ends with {}: {}", name, checked->exit_code,
                            core::last_words({.out = checked->out + checked->err}));
    if ((checked->exit_code & kUncorrected) == 0) {
        return fail(Errc::io_error, std::move(what),
                    "see the helper's kernel log for errors of the disk; use a helper with more "
                    "memory if it ran out of it");
    }
    return fail(Errc::refused, std::move(what),
                "repair a copy of it with 'e2fsck -f', where its questions can be answered, and "
                "convert that",
                "filesystem-has-errors");
}

}  // namespace amilift::dev
