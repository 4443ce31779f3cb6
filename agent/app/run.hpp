// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace amilift::app {

/// The command line: parses it, runs one command, gives the exit code (see exit_code.hpp).
[[nodiscard]] int run(int argc, char** argv);

}  // namespace amilift::app
