// SPDX-License-Identifier: Apache-2.0
#include "flow/record.hpp"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "core/atomic_file.hpp"
#include "core/fd.hpp"

namespace amilift::flow {
namespace {

constexpr int kVersion = 1;
constexpr std::size_t kMaxRecordBytes = 1U << 20;

std::optional<Outcome> outcome_from_string(std::string_view name) {
    for (const auto value : {Outcome::running, Outcome::succeeded, Outcome::failed}) {
        if (to_string(value) == name) return value;
    }
    return std::nullopt;
}

}  // namespace

std::string_view to_string(Outcome outcome) noexcept {
    switch (outcome) {
        case Outcome::running:
            return "running";
        case Outcome::succeeded:
            return "succeeded";
        case Outcome::failed:
            return "failed";
    }
    return "running";
}

std::vector<std::string> Record::volumes() const {
    std::vector<std::string> ids;
    for (const auto& id : {source_volume, target_volume}) {
        if (!id.empty()) ids.push_back(id);
    }
    return ids;
}

core::Result<std::optional<Record>> load_record(const std::string& path) {
    auto text = core::read_file(path, kMaxRecordBytes);
    if (!text) {
        if (text.error().is(core::Errc::not_found)) return std::nullopt;
        return std::unexpected(std::move(text).error());
    }
    const auto unusable = [&](std::string_view why) {
        return core::fail(core::Errc::corrupt,
                          fmt::format("the state file '{}' cannot be used: {}", path, why),
                          "run the job on a new helper");
    };
    try {
        const auto json = nlohmann::json::parse(*text);
        if (json.at("version").get<int>() != kVersion) {
            return unusable(fmt::format("it has version {}, this agent reads version {}",
                                        json.at("version").dump(), kVersion));
        }
        Record r;
        const auto state = state_from_string(json.at("state").get<std::string>());
        const auto outcome = outcome_from_string(json.at("outcome").get<std::string>());
        if (!state || !outcome) return unusable("its state or outcome has an unknown name");
        r.state = *state;
        r.outcome = *outcome;
        const std::pair<const char*, std::string Record::*> texts[] = {
            {"instance_id", &Record::instance_id},
            {"job_id", &Record::job_id},
            {"error", &Record::error},
            {"error_id", &Record::error_id},
            {"warning", &Record::warning},
            {"started_at", &Record::started_at},
            {"source_volume", &Record::source_volume},
            {"target_volume", &Record::target_volume},
            {"source_attach_name", &Record::source_attach_name},
            {"target_attach_name", &Record::target_attach_name},
            {"snapshot", &Record::snapshot},
            {"image_name", &Record::image_name},
            {"image", &Record::image},
            {"kernel_id", &Record::kernel_id},
            {"boot_mode", &Record::boot_mode}};
        for (const auto& [key, member] : texts) r.*member = json.at(key).get<std::string>();
        r.conversion_started = json.at("conversion_started").get<bool>();
        r.target_is_new = json.at("target_is_new").get<bool>();
        r.ena_support = json.at("ena_support").get<bool>();
        // Absent in older records.
        r.stopped_in_boot = json.value("stopped_in_boot", std::string());
        r.entries = json.at("entries").get<std::map<std::string, int>>();
        return r;
    } catch (const nlohmann::json::exception& e) {
        return unusable(e.what());
    }
}

core::Result<> save_record(const std::string& path, const Record& r) {
    const nlohmann::ordered_json json{{"version", kVersion},
                                      {"instance_id", r.instance_id},
                                      {"job_id", r.job_id},
                                      {"state", to_string(r.state)},
                                      {"outcome", to_string(r.outcome)},
                                      {"error", r.error},
                                      {"error_id", r.error_id},
                                      {"warning", r.warning},
                                      {"started_at", r.started_at},
                                      {"source_volume", r.source_volume},
                                      {"target_volume", r.target_volume},
                                      {"source_attach_name", r.source_attach_name},
                                      {"target_attach_name", r.target_attach_name},
                                      {"snapshot", r.snapshot},
                                      {"image_name", r.image_name},
                                      {"image", r.image},
                                      {"kernel_id", r.kernel_id},
                                      {"conversion_started", r.conversion_started},
                                      {"target_is_new", r.target_is_new},
                                      {"ena_support", r.ena_support},
                                      {"boot_mode", r.boot_mode},
                                      {"stopped_in_boot", r.stopped_in_boot},
                                      {"entries", r.entries}};
    // An error message may hold bytes of an image that are no UTF-8: they become U+FFFD.
    const auto text = json.dump(2, ' ', false, nlohmann::json::error_handler_t::replace);
    return core::write_file_atomically(path, text + "\n", 0600);
}

}  // namespace amilift::flow
