// SPDX-License-Identifier: Apache-2.0
#include "image/os_facts.hpp"

#include <algorithm>
#include <array>
#include <optional>
#include <utility>

#include "core/text.hpp"
#include "image/text_lines.hpp"

namespace amilift::image {

namespace {

using core::Result;

constexpr std::size_t kReleaseLimit = 64U << 10;

/// Text of a file if it is a regular one of sensible size.
Result<std::optional<std::string>> text_of(const SafeRoot& root, std::string_view path) {
    auto status = root.status(path);
    if (!status) {
        // A loop of links is the image's own fault and tells nothing about the system.
        if (status.error().is(core::Errc::corrupt)) return std::nullopt;
        return std::unexpected(std::move(status).error());
    }
    if (status->kind != FileKind::regular || status->size_bytes > kReleaseLimit) {
        return std::nullopt;
    }
    AMILIFT_TRY(auto text, root.read(path, kReleaseLimit));
    return text;
}

std::string printable_first_line(std::string_view text) {
    const auto lines = split_lines(text);
    return lines.empty() ? std::string() : printable(trim(lines.front().body));
}

Result<bool> exists(const SafeRoot& root, std::string_view path) {
    auto status = root.status(path);
    if (!status) {
        if (status.error().is(core::Errc::corrupt)) return false;
        return std::unexpected(std::move(status).error());
    }
    return status->kind != FileKind::missing;
}

Result<InitSystem> init_of(const SafeRoot& root) {
    auto init = root.resolve("/sbin/init");
    if (init && init->ends_with("/systemd")) return InitSystem::systemd;
    if (!init && init.error().is(core::Errc::io_error)) {
        return std::unexpected(std::move(init).error());
    }
    AMILIFT_TRY(const bool initctl, exists(root, "/sbin/initctl"));
    if (initctl) {
        for (const std::string_view job : {"/etc/init/rcS.conf", "/etc/init/rc-sysinit.conf",
                                           "/etc/init/rc.conf", "/etc/event.d/rcS"}) {
            AMILIFT_TRY(const bool there, exists(root, job));
            if (there) return InitSystem::upstart;
        }
    }
    AMILIFT_TRY(const bool inittab, exists(root, "/etc/inittab"));
    if (init && inittab) return InitSystem::sysvinit;
    for (const std::string_view path : {"/lib/systemd/systemd", "/usr/lib/systemd/systemd"}) {
        AMILIFT_TRY(const bool there, exists(root, path));
        if (there) return InitSystem::systemd;
    }
    return inittab ? InitSystem::sysvinit : InitSystem::unknown;
}

Result<OsFacts> identity_of(const SafeRoot& root) {
    OsFacts facts;
    for (const std::string_view path : {"/etc/os-release", "/usr/lib/os-release"}) {
        AMILIFT_TRY(const auto text, text_of(root, path));
        if (!text) continue;
        facts.id = assignment(*text, "ID");
        facts.version = assignment(*text, "VERSION_ID");
        facts.pretty_name = assignment(*text, "PRETTY_NAME");
        if (!facts.id.empty()) return facts;
    }
    for (const std::string_view path :
         {"/etc/system-release", "/etc/redhat-release", "/etc/SuSE-release"}) {
        AMILIFT_TRY(const auto text, text_of(root, path));
        if (!text) continue;
        facts = parse_release_line(printable_first_line(*text));
        if (!facts.id.empty()) return facts;
    }
    AMILIFT_TRY(const auto lsb, text_of(root, "/etc/lsb-release"));
    if (lsb && !assignment(*lsb, "DISTRIB_ID").empty()) {
        facts.id = core::lower(assignment(*lsb, "DISTRIB_ID"));
        facts.version = assignment(*lsb, "DISTRIB_RELEASE");
        facts.pretty_name = assignment(*lsb, "DISTRIB_DESCRIPTION");
        return facts;
    }
    AMILIFT_TRY(const auto debian, text_of(root, "/etc/debian_version"));
    if (debian) {
        facts.id = "debian";
        facts.version = printable_first_line(*debian);
        facts.pretty_name = "Debian " + facts.version;
    }
    return facts;
}

}  // namespace

std::string_view to_string(InitSystem init) noexcept {
    switch (init) {
        case InitSystem::sysvinit:
            return "sysvinit";
        case InitSystem::upstart:
            return "upstart";
        case InitSystem::systemd:
            return "systemd";
        case InitSystem::unknown:
            break;
    }
    return "unknown";
}

std::string assignment(std::string_view text, std::string_view key) {
    std::string out;
    for (const auto& line : split_lines(text)) {
        const auto body = trim(line.body);
        if (body.size() <= key.size() || !body.starts_with(key) || body[key.size()] != '=')
            continue;
        auto value = trim(body.substr(key.size() + 1));
        if (value.size() >= 2 && (value.front() == '"' || value.front() == '\'') &&
            value.back() == value.front()) {
            value = value.substr(1, value.size() - 2);
        }
        out = printable(value);
    }
    return out;
}

OsFacts parse_release_line(std::string_view line) {
    // Longer names first: "Red Hat Enterprise Linux" is also in the text of others.
    constexpr std::array<std::pair<std::string_view, std::string_view>, 11> kNames{{
        {"Amazon Linux", "amzn"},
        {"CentOS", "centos"},
        {"Scientific Linux", "scientific"},
        {"Oracle Linux", "ol"},
        {"Enterprise Linux Enterprise Linux", "ol"},
        {"Red Hat Enterprise Linux", "rhel"},
        {"Red Hat Linux", "redhat"},
        {"Fedora", "fedora"},
        {"openSUSE", "opensuse"},
        {"SUSE Linux Enterprise", "sles"},
        {"CloudLinux", "cloudlinux"},
    }};
    OsFacts facts;
    const auto name = std::ranges::find_if(
        kNames, [&](const auto& known) { return line.starts_with(known.first); });
    if (name == kNames.end()) return facts;
    facts.id = name->second;
    facts.pretty_name = printable(line);
    for (const auto word : split_words(line)) {
        if (core::is_digit(word.front())) {
            facts.version = printable(word, 40);
            break;
        }
    }
    return facts;
}

Result<OsFacts> read_os_facts(const SafeRoot& root) {
    AMILIFT_TRY(auto facts, identity_of(root));
    AMILIFT_TRY(facts.init, init_of(root));
    AMILIFT_TRY(const auto selinux, text_of(root, "/etc/selinux/config"));
    facts.selinux_enforcing = selinux && assignment(*selinux, "SELINUX") == "enforcing";
    return facts;
}

}  // namespace amilift::image
