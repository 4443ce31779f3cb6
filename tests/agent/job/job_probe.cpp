// SPDX-License-Identifier: Apache-2.0
//
// Lets tests in other languages ask the reader of jobs: documents come on standard input, each
// after a line with its length in bytes; one line of JSON per document goes to standard output.
// `job_probe user-data` takes them for user-data instead.
#include <iostream>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <variant>

#include "job/job_yaml.hpp"
#include "job/user_data.hpp"

namespace amilift::job {
namespace {

std::string_view to_string(Bootloader value) {
    return value == Bootloader::grub2 ? "grub2" : "grub-legacy";
}
std::string_view to_string(Layout value) {
    if (value == Layout::in_place) return "in-place";
    return value == Layout::mbr ? "mbr" : "gpt";
}
std::string_view to_string(Virtualization value) {
    return value == Virtualization::hvm ? "hvm" : "paravirtual";
}
std::string_view to_string(NameCollision value) {
    return value == NameCollision::fail ? "fail" : "suffix";
}
std::string_view to_string(FinishAction value) {
    if (value == FinishAction::terminate) return "terminate";
    return value == FinishAction::stop ? "stop" : "keep";
}

nlohmann::json to_json(const Job& job) {
    return {{"id", job.id},
            {"source", {{"ami", job.source.ami}}},
            {"target",
             {{"name", job.target.name},
              {"description", job.target.description},
              {"tags", job.target.tags},
              {"copy_source_tags", job.target.copy_source_tags},
              {"virtualization", to_string(job.conversion.virtualization)},
              {"aki", job.target.aki},
              {"root_device_name", job.target.root_device_name},
              {"volume_type", job.target.volume_type},
              {"on_name_collision", to_string(job.target.on_name_collision)},
              {"layout", to_string(job.conversion.layout)}}},
            {"conversion",
             {{"bootloader", to_string(job.conversion.bootloader)},
              {"consoles", job.conversion.consoles},
              {"verify_copy", job.conversion.verify_copy}}},
            {"finish",
             {{"on_success", to_string(job.finish.on_success)},
              {"on_failure", to_string(job.finish.on_failure)}}},
            {"deadline_seconds", job.deadline.count()},
            {"endpoints", job.endpoints}};
}

nlohmann::json to_json(const JobPointer& pointer) {
    return {{"bucket", pointer.bucket},
            {"key", pointer.key},
            {"version", pointer.version.value_or("")},
            {"sha256", pointer.sha256}};
}

core::Result<ParsedJob> ask(const std::string& document, bool as_user_data) {
    if (!as_user_data) return parse_job(document, "job");
    AMILIFT_TRY(const auto found, decode_user_data(document));
    return parse_job(found.text, found.origin);
}

}  // namespace
}  // namespace amilift::job

int main(int argc, char** argv) {
    const bool as_user_data = argc > 1 && std::string_view(argv[1]) == "user-data";
    for (std::size_t size = 0; std::cin >> size;) {
        std::cin.get();
        std::string document(size, '\0');
        if (!std::cin.read(document.data(), static_cast<std::streamsize>(size))) return 1;
        nlohmann::json answer;
        if (const auto parsed = amilift::job::ask(document, as_user_data)) {
            answer =
                std::visit([](const auto& job) { return amilift::job::to_json(job); }, *parsed);
        } else {
            answer = {{"error", parsed.error().what}};
        }
        std::cout << answer.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) << '\n';
    }
    return 0;
}
