// SPDX-License-Identifier: Apache-2.0
#include "image/grub_runner.hpp"

#include <algorithm>
#include <charconv>
#include <string_view>
#include <utility>

namespace amilift::image::grub_script {
namespace {

using core::Result;

constexpr std::size_t kNodeWork = 256;
constexpr int kMaxDepth = 32;

bool is_assignment(std::string_view word) {
    const auto equals = word.find('=');
    return equals != std::string_view::npos && equals > 0 &&
           word.substr(0, equals).find_first_not_of(
               "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") ==
               std::string_view::npos;
}

}  // namespace

Result<> Runner::run(std::shared_ptr<const Script> script) {
    scripts_.push_back(std::move(script));
    const auto running = scripts_.back();
    return run(running->block);
}

Result<> Runner::run(const Block& block) {
    if (is_too_deep()) env_.give_up();
    ++depth_;
    for (const auto& node : block) {
        if (env_.is_spent() || is_leaving()) break;
        if (auto done = run_node(node); !done) {
            --depth_;
            return done;
        }
    }
    --depth_;
    return {};
}

Result<> Runner::run_body(const Block& block) {
    ++calls_;
    auto done = run(block);
    --calls_;
    returns_ = false;
    return done;
}

bool Runner::is_too_deep() const {
    return depth_ >= kMaxDepth;
}

Result<> Runner::run_node(const Node& node) {
    if (!env_.spend(kNodeWork)) return {};
    switch (node.kind) {
        case NodeKind::command:
            return run_command(node);
        case NodeKind::condition:
            return run_condition(node);
        case NodeKind::loop_for:
            return run_for(node);
        case NodeKind::loop_while:
            return run_while(node);
        case NodeKind::function:
            define(node);
            return {};
    }
    return {};
}

Result<> Runner::run_condition(const Node& node) {
    for (const auto& [question, answer] : node.branches) {
        AMILIFT_CHECK(run(question));
        if (is_leaving()) return {};
        if (env_.status()) return run(answer);
    }
    env_.set_status(true);
    return run(node.otherwise);
}

Result<> Runner::run_for(const Node& node) {
    std::vector<std::string> items;
    for (std::size_t i = 1; i < node.words.size(); ++i) env_.expand(node.words[i], items);
    std::vector<std::string> names;
    env_.expand(node.words[0], names);
    ++loops_;
    Result<> done;
    for (const auto& item : items) {
        if (env_.is_spent() || names.empty()) break;
        env_.set(names[0], item);
        done = run(*node.body);
        if (!done || leaves_loop()) break;
    }
    --loops_;
    return done;
}

Result<> Runner::run_while(const Node& node) {
    ++loops_;
    Result<> done;
    while (!env_.is_spent()) {
        done = run(node.branches.front().first);
        if (!done || leaves_loop()) break;
        if (env_.status() == node.negated || !env_.spend(kNodeWork)) break;
        done = run(*node.body);
        if (!done || leaves_loop()) break;
    }
    --loops_;
    return done;
}

Result<> Runner::run_command(const Node& node) {
    std::vector<std::string> words;
    for (const auto& word : node.words) env_.expand(word, words);
    if (words.empty() || env_.is_spent()) return {};
    const auto& name = words[0];
    if (node.words.size() == 1 && !node.words[0].empty() && is_assignment(name)) {
        for (const auto& word : words) env_.assign(word);
        return {};
    }
    if (const auto function = functions_.find(name); function != functions_.end()) {
        return call(function->second, {words.begin() + 1, words.end()});
    }
    if (name == "return") {
        returns_ = calls_ > 0;
        env_.set_status(returns_);
        return {};
    }
    if (name == "break" || name == "continue") {
        leave_loops(words);
        return {};
    }
    return command_(node, std::move(words));
}

Result<> Runner::call(const std::shared_ptr<const Block>& body,
                      std::vector<std::string> arguments) {
    env_.enter_function(std::move(arguments));
    const auto loops = std::exchange(loops_, 0);
    auto done = run_body(*body);
    loops_ = loops;
    env_.leave_function();
    return done;
}

void Runner::define(const Node& node) {
    std::vector<std::string> names;
    env_.expand(node.words[0], names);
    if (!names.empty()) functions_[names[0]] = node.body;
}

void Runner::leave_loops(const std::vector<std::string>& words) {
    std::size_t count = 1;
    if (words.size() > 1) {
        const auto& text = words[1];
        const auto read = std::from_chars(text.data(), text.data() + text.size(), count);
        if (read.ec != std::errc()) count = 0;
    }
    env_.set_status(count > 0);
    if (count == 0) return;
    is_continue_ = words[0] == "continue";
    breaks_ = std::min(count, loops_);
}

bool Runner::leaves_loop() {
    if (returns_ || is_over_) return true;
    if (breaks_ == 0) return false;
    --breaks_;
    return breaks_ > 0 || !is_continue_;
}

}  // namespace amilift::image::grub_script
