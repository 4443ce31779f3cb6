// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <nlohmann/json.hpp>

#include "app/ami_inspection.hpp"
#include "app/commands.hpp"
#include "app/image_json.hpp"
#include "app/inspection.hpp"
#include "app/local_disk.hpp"
#include "app/output.hpp"
#include "app/page_file.hpp"
#include "app/with_signals.hpp"
#include "core/atomic_file.hpp"
#include "job/job_yaml_values.hpp"

namespace amilift::app {
namespace {

ExitCode exit_code_of(image::Verdict verdict) {
    switch (verdict) {
        case image::Verdict::ready:
            return ExitCode::ok;
        case image::Verdict::repairable:
            return ExitCode::repairable;
        case image::Verdict::refused:
            break;
    }
    return ExitCode::refused;
}

core::Result<InspectionReport> look(const InspectOptions& options, image::Platform platform,
                                    const core::Cancel& cancel) {
    if (job::is_ami_id(options.source)) {
        AMILIFT_TRY(auto seen, inspect_ami(options, cancel));
        return report_on(platform, std::move(seen));
    }
    worker::ConversionObserver silent;
    AMILIFT_TRY(auto seen, inspect_disk(options.source, silent, cancel));
    return report_on(options.source, platform, std::move(seen));
}

core::Result<ExitCode> inspect(const InspectOptions& options, const core::Cancel& cancel) {
    const auto platform = std::ranges::find(image::kPlatforms, options.platform,
                                            [](image::Platform p) { return image::to_string(p); });
    if (platform == image::kPlatforms.end()) {
        return core::fail(core::Errc::invalid_input,
                          "no platform is called '" + printable(options.platform) + "'",
                          "pv, xen, nitro and nitro-uefi are known");
    }
    if (!options.html.empty()) AMILIFT_CHECK(require_page_place(options.html, options.source));
    AMILIFT_TRY(const auto report, look(options, *platform, cancel));
    if (!options.html.empty()) {
        AMILIFT_CHECK(core::write_file_atomically(options.html, inspection_page(report)));
    }
    if (options.json) {
        print_json(to_json(report));
    } else {
        print_inspection(report);
    }
    return exit_code_of(report.readiness.on(*platform).verdict);
}

}  // namespace

ExitCode run_inspect(const InspectOptions& options) {
    return with_signals(options.json, [&](const core::Cancel& cancel) {
        const auto code = inspect(options, cancel);
        return code ? *code : tell_error(code.error(), options.json);
    });
}

}  // namespace amilift::app
