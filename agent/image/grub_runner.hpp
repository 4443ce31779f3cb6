// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "core/result.hpp"
#include "image/grub_environment.hpp"
#include "image/grub_script.hpp"

namespace amilift::image::grub_script {

/// Runs the statements of GRUB 2 scripts: conditions, loops, functions, assignments, and what
/// leaves a loop or a function. All other commands are its owner's. Bounded by what `environment`
/// lets it spend, and in depth. Source: GRUB 2.06, grub-core/script/execute.c.
class Runner {
  public:
    /// Runs the command of `node`, whose words are given with their variables put in.
    using Command = std::function<core::Result<>(const Node& node, std::vector<std::string> words)>;

    /// `environment` is not owned.
    Runner(Environment& environment, Command command)
        : env_(environment), command_(std::move(command)) {}

    /// Runs a script; functions that it defines stay. Errors: those of commands.
    core::Result<> run(std::shared_ptr<const Script> script);
    core::Result<> run(const Block& block);
    /// The same, for what `return` ends.
    core::Result<> run_body(const Block& block);

    /// Another script cannot be run from where it is.
    [[nodiscard]] bool is_too_deep() const;

    /// Nothing more is run.
    void end() { is_over_ = true; }
    [[nodiscard]] bool is_over() const { return is_over_; }

  private:
    core::Result<> run_node(const Node& node);
    core::Result<> run_condition(const Node& node);
    core::Result<> run_for(const Node& node);
    core::Result<> run_while(const Node& node);
    core::Result<> run_command(const Node& node);
    core::Result<> call(const std::shared_ptr<const Block>& body,
                        std::vector<std::string> arguments);
    void define(const Node& node);
    /// break and continue, with the number of loops that they are about.
    void leave_loops(const std::vector<std::string>& words);
    /// What follows is not run: a function returns, or a loop is left or begun anew.
    [[nodiscard]] bool is_leaving() const { return returns_ || breaks_ > 0 || is_over_; }
    /// Asked by a loop when it has run a part: does it end here?
    [[nodiscard]] bool leaves_loop();

    Environment& env_;
    Command command_;
    std::map<std::string, std::shared_ptr<const Block>, std::less<>> functions_;
    /// Functions point into them.
    std::vector<std::shared_ptr<const Script>> scripts_;
    int depth_ = 0;
    int calls_ = 0;           ///< of what `return` ends, under way
    std::size_t loops_ = 0;   ///< loops that run in the innermost function
    std::size_t breaks_ = 0;  ///< of them that are to be left
    bool is_continue_ = false;
    bool returns_ = false;
    bool is_over_ = false;
};

}  // namespace amilift::image::grub_script
