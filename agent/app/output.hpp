// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

#include "app/exit_code.hpp"
#include "core/clock.hpp"
#include "core/printable.hpp"
#include "core/result.hpp"
#include "dev/copy_progress.hpp"

namespace amilift::app {

/// Tells an error on standard error ("amilift: what", "hint: ..."), or with `json` as one JSON
/// object on standard output, and gives its exit code.
[[nodiscard]] ExitCode tell_error(const core::Error& error, bool json);

/// One document on standard output; what is no UTF-8 is replaced.
void print_json(const nlohmann::ordered_json& document);

using core::format_bytes;
using core::printable;

/// The same for a text of several lines: line breaks stay.
[[nodiscard]] std::string printable_lines(std::string_view text);

/// Progress of a copy and of its check on standard error: a bar on a terminal, a line for every ten
/// percent elsewhere.
class ProgressBar {
  public:
    explicit ProgressBar(core::Clock& clock);
    void update(const dev::CopyProgress& progress);
    /// Ends the line of a bar, so that other output can follow.
    void finish();

  private:
    core::Clock& clock_;
    dev::CopyMeter meter_;
    bool terminal_;
    bool open_ = false;
    dev::CopyPass last_pass_ = dev::CopyPass::copy;
    int last_tenth_ = -1;
};

}  // namespace amilift::app
