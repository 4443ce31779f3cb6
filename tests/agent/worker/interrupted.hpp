// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <fmt/format.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "core/command.hpp"
#include "dev/mount.hpp"
#include "modules/in_place.hpp"
#include "tests/agent/worker/pv_image.hpp"
#include "worker/conversion.hpp"

/// What tests of conversions that are killed share.
namespace amilift::worker::test {

/// Path -> the rest of its line, without what every writing changes: times, and the number of links
/// of a directory.
inline std::map<std::string, std::string> tree_of(const std::string& image,
                                                  std::uint64_t offset = 0) {
    const TestMount mounted(image, offset);
    std::map<std::string, std::string> tree;
    for (auto line : describe_tree(mounted.path())) {
        for (const std::string field : {" links=", " mtime="}) {
            const auto at = line.find(field);
            line.erase(at, line.find(' ', at + 1) - at);
        }
        const auto end = line.find(" mode=");
        tree[line.substr(0, end)] = line.substr(end);
    }
    return tree;
}

inline std::vector<std::string> differing_paths(const std::map<std::string, std::string>& a,
                                                const std::map<std::string, std::string>& b) {
    std::set<std::string> paths;
    for (const auto& [path, line] : a) {
        if (!b.contains(path) || b.at(path) != line) paths.insert(path);
    }
    for (const auto& [path, line] : b) {
        if (!a.contains(path)) paths.insert(path);
    }
    return {paths.begin(), paths.end()};
}

inline std::vector<std::string> listed_paths(const modules::Manifest& manifest) {
    std::set<std::string> paths{std::string(modules::kManifestPath)};
    for (const auto& entry : manifest.entries()) paths.insert(entry.path);
    return {paths.begin(), paths.end()};
}

/// Path -> what the manifest says of it.
inline std::map<std::string, std::string> entries_of(const modules::Manifest& manifest) {
    std::map<std::string, std::string> entries;
    for (const auto& entry : manifest.entries()) {
        // Where the loader lies is part of it, and may be elsewhere.
        const bool placed = entry.path == modules::kCorePath;
        entries[entry.path] = fmt::format("{} {} {} -> {}", entry.module, entry.kind,
                                          entry.before ? entry.before->sha256 : "nothing",
                                          !entry.after ? "nothing"
                                          : placed     ? "loader"
                                                       : entry.after->sha256);
    }
    return entries;
}

/// Kills its process at step `at`, or before the verification if there are fewer.
class Killer : public ConversionObserver {
  public:
    explicit Killer(std::size_t at) : at_(at) {}
    void on_step(std::size_t index, std::size_t, const std::string&) override {
        if (index == at_) (void)::kill(::getpid(), SIGKILL);
    }
    void on_stage(const std::string& stage) override {
        if (stage == "verify") (void)::kill(::getpid(), SIGKILL);
    }

  private:
    std::size_t at_;
};

/// Converts in a child that is killed at step `at`; what it leaves of mounts goes with it. False
/// if it was not killed.
inline bool convert_and_die(const ConversionRequest& request, std::size_t at) {
    namespace fs = std::filesystem;
    const auto places = [] {
        std::set<fs::path> names;
        std::error_code error;
        for (const auto& entry : fs::directory_iterator("/run/amilift", error)) names.insert(entry);
        return names;
    };
    const auto before = places();
    const pid_t child = ::fork();
    if (child == 0) {
        if (!dev::enter_private_mount_namespace()) ::_exit(1);
        Killer killer(at);
        const core::Cancel never;
        core::ProcessRunner commands;
        (void)convert(request, commands, killer, never);
        ::_exit(0);
    }
    int status = 0;
    if (::waitpid(child, &status, 0) != child) return false;
    for (const auto& name : places()) {
        if (!before.contains(name)) fs::remove(name);
    }
    return WIFSIGNALED(status);
}

}  // namespace amilift::worker::test
