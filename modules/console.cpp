// SPDX-License-Identifier: Apache-2.0
#include "modules/console.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <iterator>
#include <utility>

#include "image/kernel_arguments.hpp"

namespace amilift::modules {

namespace {

using core::Errc;
using core::fail;
using core::Result;
using image::FileKind;
using image::SafeRoot;

constexpr std::string_view kName = "console";

/// "serial-getty@hvc0.service" -> "hvc0"; empty for other units.
std::string_view getty_instance(std::string_view unit) {
    for (const std::string_view prefix : {"serial-getty@", "getty@"}) {
        if (!unit.starts_with(prefix) || !unit.ends_with(".service")) continue;
        unit.remove_prefix(prefix.size());
        unit.remove_suffix(std::string_view(".service").size());
        return unit;
    }
    return {};
}

bool is_pv_device(std::string_view device) {
    return image::is_pv_console(device) && device.find(',') == std::string_view::npos;
}

class Planner {
  public:
    Planner(const SafeRoot& root, std::optional<SerialPort> port)
        : root_(root), port_(std::move(port)) {}

    Result<std::vector<PathEdit>> run() {
        AMILIFT_CHECK(remove_systemd_links());
        if (port_) {
            AMILIFT_CHECK(remove_systemd_mask());
            AMILIFT_CHECK(edit_file(
                root_, "/etc/inittab",
                [&](std::string_view text) { return edit_inittab(text, *port_); }, edits_));
            AMILIFT_CHECK(move_upstart_jobs());
            AMILIFT_CHECK(edit_sysconfig());
            AMILIFT_CHECK(edit_file(
                root_, "/etc/securetty",
                [&](std::string_view text) { return edit_securetty(text, *port_); }, edits_));
        }
        return std::move(edits_);
    }

  private:
    Result<> remove_systemd_links() {
        for (const std::string_view directory : {"/etc/systemd/system/getty.target.wants",
                                                 "/etc/systemd/system/multi-user.target.wants",
                                                 "/etc/systemd/system/default.target.wants"}) {
            AMILIFT_TRY(const auto status, file_kind(root_, directory));
            if (status != FileKind::directory) continue;
            AMILIFT_TRY(const auto names, root_.list(directory));
            for (const auto& name : names) {
                if (!is_pv_device(getty_instance(name))) continue;
                const auto path = fmt::format("{}/{}", directory, name);
                AMILIFT_TRY(const auto link, link_kind(root_, path));
                if (link != FileKind::symlink) continue;
                edits_.push_back(
                    {path, std::nullopt, std::nullopt,
                     fmt::format("remove {}: systemd would wait 90 s at each boot for the PV "
                                 "console {}",
                                 path, getty_instance(name))});
            }
        }
        return {};
    }

    Result<bool> is_masked(std::string_view unit) {
        const auto path = fmt::format("/etc/systemd/system/{}", unit);
        AMILIFT_TRY(const auto link, link_kind(root_, path));
        if (link != FileKind::symlink) return false;
        AMILIFT_TRY(const auto text, root_.read_link(path));
        return text == "/dev/null";
    }

    /// A PV image that masks the login on a port that it has not, and has its login on hvc0, shall
    /// have one on the port now. Who masked both wants none.
    Result<> remove_systemd_mask() {
        const auto unit = fmt::format("serial-getty@{}.service", port_->device);
        AMILIFT_TRY(const bool masked, is_masked(unit));
        if (!masked) return {};
        for (const std::string_view pv :
             {"serial-getty@hvc0.service", "serial-getty@xvc0.service"}) {
            AMILIFT_TRY(const bool pv_masked, is_masked(pv));
            if (pv_masked) return {};
        }
        const auto path = "/etc/systemd/system/" + unit;
        edits_.push_back({path, std::nullopt, std::nullopt,
                          fmt::format("remove {}: the login of hvc0 moves to {}, which is masked",
                                      path, port_->device)});
        return {};
    }

    /// A job per console. Upstart would start one for hvc0 again and again until it gives up.
    Result<> move_upstart_jobs() {
        bool made = false;
        for (const std::string_view directory : {"/etc/init", "/etc/event.d"}) {
            const std::string_view suffix = directory == "/etc/init" ? ".conf" : "";
            for (const std::string_view device : {"hvc0", "xvc0"}) {
                const auto path = fmt::format("{}/{}{}", directory, device, suffix);
                AMILIFT_TRY(const auto link, link_kind(root_, path));
                if (link != FileKind::regular) continue;
                // An override is the admin's own word on this job.
                AMILIFT_TRY(const auto overridden,
                            link_kind(root_, fmt::format("{}/{}.override", directory, device)));
                if (overridden != FileKind::missing) continue;
                AMILIFT_TRY(auto job, editable_file(root_, path, image::kConfigFileLimit));
                if (!job) continue;
                const auto new_path = fmt::format("{}/{}{}", directory, port_->device, suffix);
                AMILIFT_TRY(const auto there, link_kind(root_, new_path));
                if (there == FileKind::missing && !made) {
                    edits_.push_back({new_path, std::nullopt, moved_job(job->text, device),
                                      fmt::format("add {}: the login of {} on {}", new_path, path,
                                                  port_->device)});
                    made = true;
                }
                edits_.push_back({std::move(job->path), std::move(job->text), std::nullopt,
                                  fmt::format("remove {}: there is no console {}", path, device)});
            }
        }
        return {};
    }

    /// The job's text with the device exchanged wherever it is a word of its own.
    [[nodiscard]] std::string moved_job(std::string_view text, std::string_view device) const {
        const auto in_word = [](char c) {
            return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        };
        std::string out;
        std::size_t copied = 0;
        for (auto at = text.find(device); at != std::string_view::npos;
             at = text.find(device, at + device.size())) {
            const auto end = at + device.size();
            if ((at > 0 && in_word(text[at - 1])) || (end < text.size() && in_word(text[end]))) {
                continue;
            }
            out += text.substr(copied, at - copied);
            out += port_->device;
            copied = end;
        }
        out += text.substr(copied);
        return out;
    }

    Result<> edit_sysconfig() {
        // RHEL 6 starts /etc/init/serial.conf for each serial console of the kernel by itself.
        AMILIFT_TRY(const auto serial, file_kind(root_, "/etc/init/serial.conf"));
        const auto item =
            serial == FileKind::missing ? PvConsoleItem::replace : PvConsoleItem::drop;
        return edit_file(
            root_, "/etc/sysconfig/init",
            [&](std::string_view text) { return edit_active_consoles(text, *port_, item); },
            edits_);
    }

    const SafeRoot& root_;
    std::optional<SerialPort> port_;
    std::vector<PathEdit> edits_;
};

Result<std::vector<Step>> plan(const PlanContext& context) {
    AMILIFT_TRY(auto edits, console_edits(context.source_root, context.options.consoles));
    return steps_of(kName, std::move(edits));
}

Result<std::vector<std::string>> verify(const VerifyContext& context) {
    AMILIFT_TRY(const auto edits, console_edits(context.target_root, context.options.consoles));
    if (!edits.empty()) {
        return fail(Errc::internal, fmt::format("the target's logins are not converted: still to "
                                                "do: {}",
                                                edits.front().text));
    }
    std::vector<std::string> proofs{"no login waits for a PV console"};
    const auto port = serial_port(context.options.consoles);
    AMILIFT_TRY(const auto securetty,
                editable_file(context.target_root, "/etc/securetty", image::kConfigFileLimit));
    if (port && securetty) {
        proofs.push_back(fmt::format("{} lists {}", securetty->path, port->device));
    }
    return proofs;
}

/// Lines of one file that are findings.
constexpr std::size_t kMostLines = 10;

using image::Finding;
using image::Severity;

Finding securetty_finding(const std::string& path, std::string_view device) {
    return {Severity::info,
            "securetty-without-serial",
            path,
            fmt::format("it does not list {}", device),
            "root may not log in on the serial console",
            fmt::format("amilift adds {}", device)};
}

Finding login_finding(std::string where, std::string seen) {
    return {Severity::warning,
            "pv-console-login",
            std::move(where),
            std::move(seen),
            "no HVM instance has that console: the login on it fails or is waited for at each boot",
            "amilift moves it to the serial port, or removes it where there is a login already"};
}

/// The lines of a file that an edit changes one by one.
std::vector<Finding> changed_lines(const PathEdit& edit) {
    std::vector<Finding> findings;
    const auto old_lines = image::split_lines(*edit.before);
    const auto new_lines = image::split_lines(*edit.after);
    for (std::size_t i = 0; i < old_lines.size() && findings.size() < kMostLines; ++i) {
        const auto& old = old_lines[i];
        if (i < new_lines.size() && new_lines[i].body == old.body) continue;
        findings.push_back(login_finding(fmt::format("{}:{}", edit.path, old.number),
                                         image::printable(image::trim(old.body), 120)));
    }
    return findings;
}

void add_argument_finding(const image::ImageFacts& facts, std::vector<Finding>& findings) {
    if (!facts.boot_entry || *facts.boot_entry >= facts.boot_entries.size()) return;
    const auto& entry = facts.boot_entries[*facts.boot_entry];
    for (const auto& argument : image::kernel_arguments(entry.arguments)) {
        if (argument.key != "console" || !image::is_pv_console(argument.value)) continue;
        findings.push_back({Severity::warning, "pv-console-argument", entry.where,
                            image::printable(argument.text, 80),
                            "no HVM instance has that console: EC2's console output stays empty",
                            "amilift names the consoles of the job in its place"});
        return;
    }
}

constexpr Module kModule{kName, plan, verify};

}  // namespace

Result<std::vector<PathEdit>> console_edits(const SafeRoot& root,
                                            const std::vector<std::string>& consoles) {
    return Planner(root, serial_port(consoles)).run();
}

Result<std::vector<Finding>> console_findings(const SafeRoot& root, const image::ImageFacts& facts,
                                              const std::vector<std::string>& consoles) {
    std::vector<Finding> findings;
    add_argument_finding(facts, findings);
    const auto port = serial_port(consoles);
    AMILIFT_TRY(const auto edits, console_edits(root, consoles));
    for (const auto& edit : edits) {
        if (edit.before && edit.after && edit.path.ends_with("/securetty")) {
            findings.push_back(securetty_finding(edit.path, port ? port->device : ""));
        } else if (edit.before && edit.after) {
            std::ranges::move(changed_lines(edit), std::back_inserter(findings));
        } else if (edit.before) {
            findings.push_back(login_finding(edit.path, "a job for a login on a PV console"));
        } else if (edit.path.find(".wants/") != std::string::npos) {
            findings.push_back(
                login_finding(edit.path, "a link by which systemd starts a login on a PV console"));
        }
    }
    return findings;
}

const Module& console_module() {
    return kModule;
}

}  // namespace amilift::modules
