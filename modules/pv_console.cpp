// SPDX-License-Identifier: Apache-2.0
#include "modules/pv_console.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "image/text_lines.hpp"
#include "modules/text_edit.hpp"

namespace amilift::modules {
namespace {

using core::Errc;
using core::fail;
using core::Result;
using image::FileKind;

constexpr std::string_view kName = "pv-console";

/// "id:runlevels:action:process": the process of a line that starts one; empty for other lines.
std::string_view process_of(std::string_view body) {
    if (image::trim(body).starts_with('#')) return {};
    std::string_view action;
    for (int i = 0; i < 3; ++i) {
        const auto colon = body.find(':');
        if (colon == std::string_view::npos) return {};
        action = image::trim(body.substr(0, colon));
        body.remove_prefix(colon + 1);
    }
    return action == "off" || action == "initdefault" ? std::string_view() : image::trim(body);
}

bool names_device(std::string_view process, std::string_view device) {
    return std::ranges::any_of(image::split_words(process), [&](std::string_view word) {
        if (word.starts_with("/dev/")) word.remove_prefix(5);
        return word == device;
    });
}

/// A name in the first field of an inittab, at most four characters.
std::string free_id(const std::vector<image::Line>& lines) {
    for (char c = '0'; c <= '9'; ++c) {
        const auto id = fmt::format("xc{}", c);
        if (std::ranges::none_of(lines, [&](const image::Line& line) {
                return image::trim(line.body).starts_with(id + ":");
            })) {
            return id;
        }
    }
    return "xcon";
}

Result<bool> is_program(const image::SafeRoot& root, std::string_view path) {
    AMILIFT_TRY(const auto kind, file_kind(root, path));
    return kind == FileKind::regular;
}

class Planner {
  public:
    Planner(const image::SafeRoot& root, const std::string& device)
        : root_(root), device_(device) {}

    Result<std::vector<PathEdit>> run() {
        AMILIFT_CHECK(edit_inittab());
        AMILIFT_CHECK(add_upstart_job());
        AMILIFT_CHECK(edit_file(
            root_, "/etc/securetty",
            [&](std::string_view text) { return edit_securetty(text, SerialPort{device_, ""}); },
            edits_));
        return std::move(edits_);
    }

  private:
    Result<> edit_inittab() {
        for (const std::string_view getty : {"/sbin/agetty", "/sbin/getty"}) {
            AMILIFT_TRY(const bool there, is_program(root_, getty));
            if (!there) continue;
            return edit_file(
                root_, "/etc/inittab",
                [&](std::string_view text) { return add_inittab_login(text, device_, getty); },
                edits_);
        }
        return {};
    }

    /// Ubuntu has one job for each console; RHEL 6 has serial.conf for the kernel's.
    Result<> add_upstart_job() {
        const auto path = fmt::format("/etc/init/{}.conf", device_);
        AMILIFT_TRY(const auto sample, file_kind(root_, "/etc/init/tty1.conf"));
        AMILIFT_TRY(const auto by_itself, file_kind(root_, "/etc/init/serial.conf"));
        AMILIFT_TRY(const auto there, link_kind(root_, path));
        AMILIFT_TRY(const bool getty, is_program(root_, "/sbin/getty"));
        if (sample != FileKind::regular || by_itself != FileKind::missing ||
            there != FileKind::missing || !getty) {
            return {};
        }
        edits_.push_back({path, std::nullopt,
                          fmt::format("# {0} - getty, written by amilift\n"
                                      "start on stopped rc RUNLEVEL=[2345]\n"
                                      "stop on runlevel [!2345]\n\n"
                                      "respawn\nexec /sbin/getty -8 38400 {0}\n",
                                      device_),
                          fmt::format("add {}: a login on the Xen console", path)});
        return {};
    }

    const image::SafeRoot& root_;
    const std::string& device_;
    std::vector<PathEdit> edits_;
};

std::string console_of(const image::ImageFacts& facts) {
    return facts.pv_console.empty() ? "hvc0" : facts.pv_console;
}

Result<std::vector<Step>> plan(const PlanContext& context) {
    AMILIFT_TRY(auto edits, pv_console_edits(context.source_root, console_of(context.facts)));
    return steps_of(kName, std::move(edits));
}

Result<std::vector<std::string>> verify(const VerifyContext& context) {
    const auto device = console_of(context.facts);
    AMILIFT_TRY(const auto edits, pv_console_edits(context.target_root, device));
    if (!edits.empty()) {
        return fail(Errc::internal, fmt::format("the target's logins are not converted: still to "
                                                "do: {}",
                                                edits.front().text));
    }
    return std::vector<std::string>{fmt::format("a login may be on {}", device)};
}

constexpr Module kModule{kName, plan, verify};

}  // namespace

image::EditedText add_inittab_login(std::string_view text, std::string_view device,
                                    std::string_view getty) {
    image::EditedText result{std::string(text), {}};
    const auto lines = image::split_lines(text);
    bool starts_something = false;
    for (const auto& line : lines) {
        const auto process = process_of(line.body);
        if (process.empty()) continue;
        starts_something = true;
        if (names_device(process, device)) return result;
    }
    if (!starts_something) return result;
    if (!text.empty() && !text.ends_with('\n')) result.text += '\n';
    const auto added =
        getty == "/sbin/agetty"
            ? fmt::format("{}:2345:respawn:{} {} 38400", free_id(lines), getty, device)
            : fmt::format("{}:2345:respawn:{} 38400 {}", free_id(lines), getty, device);
    result.text += added + "\n";
    result.changes.push_back({static_cast<int>(lines.size()) + 1, fmt::format("add '{}'", added)});
    return result;
}

Result<std::vector<PathEdit>> pv_console_edits(const image::SafeRoot& root,
                                               const std::string& device) {
    return Planner(root, device).run();
}

const Module& pv_console_module() {
    return kModule;
}

}  // namespace amilift::modules
