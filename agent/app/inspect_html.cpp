// SPDX-License-Identifier: Apache-2.0
// The page of `amilift inspect --html`.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <iterator>

#include "app/inspection.hpp"
#include "app/output.hpp"
#include "app/version.hpp"

namespace amilift::app {
namespace {

/// Text for an element or a quoted attribute.
std::string escaped(std::string_view text) {
    std::string out;
    for (const char c : printable(text)) {
        switch (c) {
            case '&':
                out += "&amp;";
                break;
            case '<':
                out += "&lt;";
                break;
            case '>':
                out += "&gt;";
                break;
            case '"':
                out += "&quot;";
                break;
            case '\'':
                out += "&#39;";
                break;
            default:
                out += c;
        }
    }
    return out;
}

// default-src 'none': even if markup of the image got through, the browser would load and run
// nothing.
constexpr std::string_view kHead = R"(<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<style>
:root { --text: #1b1f24; --page: #ffffff; --quiet: #57606a; --line: #d0d7de; --panel: #f6f8fa;
        --ready: #116329; --repairable: #7d4e00; --refused: #a40e26; }
@media (prefers-color-scheme: dark) {
  :root { --text: #e6edf3; --page: #0d1117; --quiet: #9198a1; --line: #3d444d; --panel: #151b23;
          --ready: #56d364; --repairable: #e3b341; --refused: #ff7b72; } }
@media print {
  :root { --text: #000; --page: #fff; --quiet: #333; --line: #999; --panel: #fff;
          --ready: #000; --repairable: #000; --refused: #000; }
  section, tr { break-inside: avoid; } }
body { color: var(--text); background: var(--page); font: 16px/1.5 system-ui, sans-serif;
       max-width: 64rem; margin: 0 auto; padding: 1.5rem; }
h1 { font-size: 1.5rem; overflow-wrap: anywhere; } h2 { font-size: 1.2rem; margin-top: 2rem; }
h3 { font-size: 1rem; overflow-wrap: anywhere; }
table { border-collapse: collapse; width: 100%; } caption { text-align: left; color: var(--quiet); }
th, td { border: 1px solid var(--line); padding: .35rem .6rem; text-align: left; vertical-align: top;
         overflow-wrap: anywhere; }
th { background: var(--panel); font-weight: 600; } th[scope=row] { width: 10rem; }
code { font: .9em ui-monospace, monospace; overflow-wrap: anywhere; }
ul { margin: 0; padding-left: 1.1rem; } .quiet { color: var(--quiet); }
.ready { color: var(--ready); } .repairable, .warning { color: var(--repairable); }
.refused, .refusal { color: var(--refused); } strong { white-space: nowrap; }
</style>
)";

class Page {
  public:
    explicit Page(const InspectionReport& report) : report_(report), facts_(report.seen.facts) {}

    std::string make() && {
        out_ += kHead;
        print("<title>amilift: {0}</title>\n</head>\n<body>\n<main>\n<h1>{0}</h1>\n",
              escaped(report_.source));
        overview();
        platforms();
        entries();
        findings();
        print(
            "</main>\n<footer class=\"quiet\"><p>Made by amilift {}. The image was not "
            "changed.</p></footer>\n</body>\n</html>\n",
            kVersion);
        return std::move(out_);
    }

  private:
    template <class... Args>
    void print(fmt::format_string<Args...> format, Args&&... args) {
        fmt::format_to(std::back_inserter(out_), format, std::forward<Args>(args)...);
    }

    void row(std::string_view name, std::string_view text) {
        print("<tr><th scope=\"row\">{}</th><td>{}</td></tr>\n", name, escaped(text));
    }

    void overview() {
        const auto& filesystem = report_.seen.filesystem;
        out_ += "<table>\n<tbody>\n";
        if (report_.ami) row("AMI", describe_ami(*report_.ami));
        row("Disk", layout_name(report_.seen.disk.layout));
        row("Filesystem",
            fmt::format("{} of {}{}{}", dev::to_string(filesystem.type),
                        format_bytes(filesystem.size_bytes),
                        filesystem.label.empty() ? "" : ", label '" + filesystem.label + "'",
                        filesystem.uuid.empty() ? "" : ", UUID " + filesystem.uuid));
        row("System", describe_system(facts_));
        row("Menu", facts_.menu_path.empty() ? "none"
                                             : fmt::format("{} ({})", facts_.menu_path,
                                                           image::to_string(facts_.menu_kind)));
        out_ += "</tbody>\n</table>\n";
    }

    void verdict(const image::PlatformVerdict& verdict) {
        const auto name = image::to_string(verdict.verdict);
        print("<strong class=\"{0}\">{0}</strong>", name);
    }

    void platforms() {
        out_ +=
            "<h2>Where it can run</h2>\n<table>\n<thead><tr><th scope=\"col\">Platform</th>"
            "<th scope=\"col\">Verdict</th><th scope=\"col\">Reasons</th></tr></thead>\n"
            "<tbody>\n";
        for (const auto platform : image::kPlatforms) {
            const auto& judged = report_.readiness.on(platform);
            print("<tr><th scope=\"row\">{}</th><td>", image::title_of(platform));
            verdict(judged);
            out_ += "</td><td>";
            reasons(judged);
            out_ += "</td></tr>\n";
        }
        out_ += "</tbody>\n</table>\n";
    }

    void reasons(const image::PlatformVerdict& judged) {
        if (judged.reasons.empty()) return;
        out_ += "<ul>";
        for (const auto& reason : judged.reasons) {
            print("<li><code>{}</code>{}: {}", escaped(reason.id),
                  reason.where.empty() ? "" : " at <code>" + escaped(reason.where) + "</code>",
                  escaped(reason.seen));
            if (!reason.action.empty()) {
                print(" <span class=\"quiet\">{}</span>", escaped(reason.action));
            }
            out_ += "</li>";
        }
        out_ += "</ul>";
    }

    void entries() {
        out_ += "<h2>Boot entries with a kernel</h2>\n";
        if (report_.readiness.entries.empty()) out_ += "<p>None.</p>\n";
        for (const auto& entry : report_.readiness.entries) this->entry(entry);
    }

    void entry(const image::EntryReadiness& readiness) {
        const auto& entry = facts_.boot_entries[readiness.entry];
        const auto& kernel = facts_.kernels[readiness.kernel];
        print("<section>\n<h3>{}: {}{}</h3>\n<table>\n<tbody>\n", readiness.entry,
              escaped(entry.title), readiness.boots ? " <span class=\"quiet\">(boots)</span>" : "");
        row("Entry", entry.where);
        row("Kernel", fmt::format("{}: {}", kernel.path, describe_kernel(kernel)));
        if (kernel.cannot_boot_hvm) row("HVM", *kernel.cannot_boot_hvm);
        row("Initramfs", entry.initrds.empty()
                             ? "none"
                             : fmt::format("{}: {}", fmt::join(entry.initrds, " "),
                                           describe_initramfs(kernel.initramfs)));
        row("Command line", entry.arguments);
        row("Root", describe_root(entry));
        for (const auto& [name, text] : driver_lines(readiness, kernel)) row(name, text);
        for (const auto platform : image::kPlatforms) {
            const auto& judged = readiness.platforms[static_cast<std::size_t>(platform)];
            print("<tr><th scope=\"row\">{}</th><td>", image::title_of(platform));
            verdict(judged);
            reasons(judged);
            out_ += "</td></tr>\n";
        }
        out_ += "</tbody>\n</table>\n</section>\n";
    }

    void findings() {
        out_ += "<h2>Findings</h2>\n";
        if (facts_.findings.empty()) {
            out_ += "<p>None.</p>\n";
            return;
        }
        out_ +=
            "<table>\n<thead><tr><th scope=\"col\">Severity</th><th scope=\"col\">Where</th>"
            "<th scope=\"col\">What</th></tr></thead>\n<tbody>\n";
        for (const auto& f : facts_.findings) {
            const auto severity = image::to_string(f.severity);
            print(
                "<tr><td><strong class=\"{0}\">{0}</strong></td><td><code>{1}</code></td>"
                "<td><code>{2}</code>: {3}",
                severity, escaped(f.where), escaped(f.id), escaped(f.seen));
            if (!f.consequence.empty()) print("; {}", escaped(f.consequence));
            if (!f.action.empty()) print(" <span class=\"quiet\">{}</span>", escaped(f.action));
            out_ += "</td></tr>\n";
        }
        out_ += "</tbody>\n</table>\n";
    }

    const InspectionReport& report_;
    const image::ImageFacts& facts_;
    std::string out_;
};

}  // namespace

std::string inspection_page(const InspectionReport& report) {
    return Page(report).make();
}

}  // namespace amilift::app
