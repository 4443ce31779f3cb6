// SPDX-License-Identifier: Apache-2.0
#include "job/job_yaml.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <functional>
#include <initializer_list>
#include <map>
#include <numeric>
#include <span>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "core/text.hpp"
#include "core/yaml_tree.hpp"
#include "job/field_reader.hpp"
#include "job/job_yaml_values.hpp"
#include "job/template.hpp"

namespace amilift::job {
namespace {

using core::Errc;
using core::first_line;
using core::in_quotes;
using core::nearest;
using core::normalized;
using core::parse_yaml;
using core::Problem;
using core::scalar_type;
using core::ScalarType;
using core::trimmed;
using core::YamlNode;

constexpr std::size_t kMaxProblems = 20;
/// EC2 allows 50 tags on a resource; the source's tags and amilift's own need room, too.
constexpr std::size_t kMaxTags = 40;
constexpr std::size_t kMaxConsoles = 4;
constexpr std::string_view kAutoAki = "auto";
constexpr std::string_view kWrapperKey = "amilift";
constexpr std::string_view kPointerKey = "job";

constexpr std::array<std::string_view, 7> kJobKeys{"id",     "source",   "target",   "conversion",
                                                   "finish", "deadline", "endpoints"};
constexpr std::array<std::string_view, 1> kSourceKeys{"ami"};
constexpr std::array<std::string_view, 12> kTargetKeys{"name",
                                                       "description",
                                                       "tags",
                                                       "copy_source_tags",
                                                       "virtualization",
                                                       "platform",
                                                       "root_device_name",
                                                       "volume_type",
                                                       "on_name_collision",
                                                       "layout",
                                                       "size",
                                                       "aki"};
constexpr std::array<std::string_view, 3> kConversionKeys{"bootloader", "consoles", "verify_copy"};
constexpr std::array<std::string_view, 2> kFinishKeys{"on_success", "on_failure"};
constexpr std::array<std::string_view, 3> kPointerKeys{"s3", "version", "sha256"};

struct Section {
    std::string_view path;  ///< empty: the top level
    std::span<const std::string_view> keys;
};
const std::array<Section, 5> kSections{{{"", kJobKeys},
                                        {"source", kSourceKeys},
                                        {"target", kTargetKeys},
                                        {"conversion", kConversionKeys},
                                        {"finish", kFinishKeys}}};

/// Where the problem with an unknown key lies.
std::string advise(std::string_view key, std::string_view path,
                   std::span<const std::string_view> valid) {
    for (const auto& section : kSections) {
        if (section.path == path || std::ranges::find(section.keys, key) == section.keys.end()) {
            continue;
        }
        return section.path.empty() ? std::string("it belongs at the top level")
                                    : fmt::format("it belongs under '{}'", section.path);
    }
    if (const auto near = nearest(key, valid); !near.empty()) {
        return fmt::format("did you mean '{}'?", near);
    }
    return fmt::format("valid keys here: {}", fmt::join(valid, ", "));
}

/// Reads the tree into the model and collects what is wrong with it.
class Reader : public FieldReader {
  public:
    [[nodiscard]] ParsedJob read(const YamlNode& document, bool wrapped);

  private:
    /// Reads the value of the key `index` of a mapping's valid keys.
    using ReadField =
        std::function<void(std::size_t index, const std::string& path, const YamlNode& value)>;

    Job read_job(const YamlNode& top);
    JobPointer read_pointer(const YamlNode& top);
    void read_source(const YamlNode& node, Source& out);
    void read_target(const YamlNode& node, Job& job);
    /// What the job does not say gets the defaults of a paravirtual target; what it says of hvm's
    /// boot loader is a problem. `conversion` is null where the job has no such key.
    void set_pv_defaults(const YamlNode& target, const YamlNode* conversion, Job& out);
    void read_size(const YamlNode& node, std::string_view path, std::uint32_t& out);
    void read_conversion(const YamlNode& node, ConversionOptions& out);
    void read_finish(const YamlNode& node, Finish& out);
    void read_deadline(const YamlNode& node, std::chrono::seconds& out);
    void read_endpoints(const YamlNode& node, std::map<std::string, std::string>& out);
    void read_tags(const YamlNode& node, std::map<std::string, std::string>& out);
    void read_consoles(const YamlNode& node, std::vector<std::string>& out);

    void read_mapping(const YamlNode& node, std::string_view path,
                      std::span<const std::string_view> valid,
                      std::initializer_list<std::string_view> required, const ReadField& read);
};

const YamlNode* find(const YamlNode& mapping, std::string_view key) {
    if (mapping.kind != YamlNode::Kind::mapping) return nullptr;
    for (std::size_t i = 0; i + 1 < mapping.items.size(); i += 2) {
        const auto& node = mapping.items[i];
        if (node.kind == YamlNode::Kind::scalar && node.value == key) return &mapping.items[i + 1];
    }
    return nullptr;
}

ParsedJob Reader::read(const YamlNode& document, bool wrapped) {
    const YamlNode* top = &document;
    if (wrapped) {
        top = find(document, kWrapperKey);
        if (top == nullptr) {
            add(document, fmt::format("this cloud-config has no key '{}'", kWrapperKey));
            return Job{};
        }
        std::size_t count = 0;
        for (std::size_t i = 0; i < document.items.size(); i += 2) {
            const auto& key = document.items[i];
            if (key.kind == YamlNode::Kind::scalar && key.value == kWrapperKey && ++count == 2) {
                add(key, fmt::format("key '{}' is here a second time", kWrapperKey));
            }
        }
    }
    if (find(*top, kPointerKey) != nullptr) return read_pointer(*top);
    return read_job(*top);
}

Job Reader::read_job(const YamlNode& top) {
    Job job;
    if (top.kind == YamlNode::Kind::scalar && scalar_type(top) == ScalarType::null) {
        add(top, "the job is empty, expected at least 'source: {ami: ami-...}'");
        return job;
    }
    const YamlNode* target = nullptr;
    const YamlNode* conversion = nullptr;
    read_mapping(top, "", kJobKeys, {"source"},
                 [&](std::size_t index, const std::string& path, const YamlNode& value) {
                     switch (index) {
                         case 0:
                             return read_text(value, path, kJobIdRule, job.id);
                         case 1:
                             return read_source(value, job.source);
                         case 2:
                             target = &value;
                             return read_target(value, job);
                         case 3:
                             conversion = &value;
                             return read_conversion(value, job.conversion);
                         case 4:
                             return read_finish(value, job.finish);
                         case 5:
                             return read_deadline(value, job.deadline);
                         default:
                             return read_endpoints(value, job.endpoints);
                     }
                 });
    if (job.conversion.virtualization == Virtualization::paravirtual) {
        set_pv_defaults(*target, conversion, job);
    } else if (job.target.aki != kAutoAki) {
        add(*find(*target, "aki"), "'target.aki' needs 'target.virtualization: paravirtual'");
    }
    return job;
}

void Reader::set_pv_defaults(const YamlNode& target, const YamlNode* conversion, Job& out) {
    if (find(target, "name") == nullptr) out.target.name = kPvName;
    if (find(target, "description") == nullptr) out.target.description = kPvDescription;
    if (find(target, "root_device_name") == nullptr) {
        out.target.root_device_name = kPvRootDeviceName;
    }
    if (out.conversion.platform == Platform::nitro) {
        add(*find(target, "platform"),
            "'target.platform: nitro' needs 'target.virtualization: hvm'");
    }
    for (const auto key : {"layout", "size"}) {
        if (const auto* value = find(target, key); value != nullptr) {
            add(*value,
                fmt::format("'target.{}' is for 'target.virtualization: hvm': a paravirtual "
                            "image is the bare filesystem as it is",
                            key));
        }
    }
    if (conversion == nullptr) return;
    for (const auto key : {"bootloader", "consoles"}) {
        if (const auto* value = find(*conversion, key); value != nullptr) {
            add(*value, fmt::format("'conversion.{}' is for 'target.virtualization: hvm': a "
                                    "paravirtual image starts by PV-GRUB and its console is hvc0",
                                    key));
        }
    }
}

JobPointer Reader::read_pointer(const YamlNode& top) {
    JobPointer pointer;
    std::size_t pointers = 0;
    for (std::size_t i = 0; i + 1 < top.items.size(); i += 2) {
        const auto& key = top.items[i];
        if (key.value != kPointerKey) {
            add(key, fmt::format("'job' points to another document and stands alone: move {} there",
                                 in_quotes(key.value)));
        } else if (++pointers == 2) {
            add(key, "key 'job' is here a second time");
        }
    }
    read_mapping(*find(top, kPointerKey), kPointerKey, kPointerKeys, {"s3", "sha256"},
                 [&](std::size_t index, const std::string& path, const YamlNode& value) {
                     std::string text;
                     switch (index) {
                         case 0:
                             if (!read_text(value, path, text)) return;
                             if (auto location = parse_s3_location(text)) {
                                 std::tie(pointer.bucket, pointer.key) = *std::move(location);
                             } else {
                                 add(value, fmt::format("'{}' is {}, expected bucket/key or "
                                                        "s3://bucket/key",
                                                        path, in_quotes(text)));
                             }
                             return;
                         case 1:
                             read_text(value, path, kS3VersionRule, text);
                             pointer.version = std::move(text);
                             return;
                         default:
                             return read_text(value, path, kSha256Rule, pointer.sha256);
                     }
                 });
    return pointer;
}

void Reader::read_source(const YamlNode& node, Source& out) {
    read_mapping(node, "source", kSourceKeys, {"ami"},
                 [&](std::size_t, const std::string& path, const YamlNode& value) {
                     read_text(value, path, kAmiIdRule, out.ami);
                 });
}

void Reader::read_target(const YamlNode& node, Job& job) {
    auto& out = job.target;
    read_mapping(
        node, "target", kTargetKeys, {},
        [&](std::size_t index, const std::string& path, const YamlNode& value) {
            switch (index) {
                case 0:
                    return read_template(value, path, check_image_name_template, out.name);
                case 1:
                    return read_template(value, path, check_text_template, out.description);
                case 2:
                    return read_tags(value, out.tags);
                case 3:
                    return read_boolean(value, path, out.copy_source_tags);
                case 4:
                    return read_choice<Virtualization>(
                        value, path,
                        {{"hvm", Virtualization::hvm},
                         {"paravirtual", Virtualization::paravirtual}},
                        job.conversion.virtualization);
                case 5:
                    return read_choice<std::optional<Platform>>(
                        value, path, {{"nitro", Platform::nitro}, {"xen", Platform::xen}},
                        job.conversion.platform);
                case 6:
                    return read_text(value, path, kRootDeviceRule, out.root_device_name);
                case 7:
                    // A root volume cannot be st1 or sc1; io1 and io2 need a number of IOPS.
                    return read_choice<std::string>(
                        value, path, {{"gp3", "gp3"}, {"gp2", "gp2"}, {"standard", "standard"}},
                        out.volume_type);
                case 8:
                    return read_choice<NameCollision>(
                        value, path,
                        {{"fail", NameCollision::fail}, {"suffix", NameCollision::suffix}},
                        out.on_name_collision);
                case 9:
                    return read_choice<Layout>(value, path,
                                               {{"mbr", Layout::mbr},
                                                {"gpt", Layout::gpt},
                                                {"in-place", Layout::in_place}},
                                               job.conversion.layout);
                case 10:
                    return read_size(value, path, job.conversion.size_gib);
                default:
                    return read_text(value, path, kAkiRule, out.aki);
            }
        });
}

void Reader::read_size(const YamlNode& node, std::string_view path, std::uint32_t& out) {
    if (node.kind == YamlNode::Kind::scalar && scalar_type(node) == ScalarType::number) {
        add(node,
            fmt::format("'{}' is {}, expected its unit with it: 20GiB", path, describe(node)));
        return;
    }
    std::string text;
    if (!read_text(node, path, text)) return;
    const auto size = parse_size_gib(text);
    if (!size) {
        add(node, fmt::format("'{}' is {}, expected 1GiB to {}GiB, in whole GiB", path,
                              in_quotes(text), kMaxSizeGib));
        return;
    }
    out = *size;
}

void Reader::read_conversion(const YamlNode& node, ConversionOptions& out) {
    read_mapping(node, "conversion", kConversionKeys, {},
                 [&](std::size_t index, const std::string& path, const YamlNode& value) {
                     if (index == 1) return read_consoles(value, out.consoles);
                     if (index == 2) return read_boolean(value, path, out.verify_copy);
                     read_choice<Bootloader>(
                         value, path,
                         {{"grub2", Bootloader::grub2}, {"grub-legacy", Bootloader::grub_legacy}},
                         out.bootloader);
                 });
}

void Reader::read_finish(const YamlNode& node, Finish& out) {
    read_mapping(node, "finish", kFinishKeys, {},
                 [&](std::size_t index, const std::string& path, const YamlNode& value) {
                     read_choice<FinishAction>(value, path,
                                               {{"terminate", FinishAction::terminate},
                                                {"stop", FinishAction::stop},
                                                {"keep", FinishAction::keep}},
                                               index == 0 ? out.on_success : out.on_failure);
                 });
}

void Reader::read_deadline(const YamlNode& node, std::chrono::seconds& out) {
    if (node.kind == YamlNode::Kind::scalar && scalar_type(node) == ScalarType::number) {
        add(node, fmt::format("'deadline' is {}, expected a unit with it: 30s, 90m or 2h",
                              describe(node)));
        return;
    }
    std::string text;
    if (!read_text(node, "deadline", text)) return;
    const auto duration = parse_duration(text);
    if (!duration || *duration < kMinDeadline || *duration > kMaxDeadline) {
        add(node, fmt::format("'deadline' is {}, expected {}s to {}h, written as 30s, 90m or 2h",
                              in_quotes(text), kMinDeadline.count(), kMaxDeadline.count() / 3600));
        return;
    }
    out = *duration;
}

void Reader::read_endpoints(const YamlNode& node, std::map<std::string, std::string>& out) {
    read_mapping(node, "endpoints", kEndpointServices, {},
                 [&](std::size_t index, const std::string& path, const YamlNode& value) {
                     std::string url;
                     if (!read_text(value, path, url)) return;
                     if (!kEndpointUrlRule.accepts(url)) {
                         // The URL is not repeated: what is wrong may be a password in it.
                         add(value, fmt::format("'{}' is not a URL of the form {}", path,
                                                kEndpointUrlRule.expected));
                         return;
                     }
                     out[std::string(kEndpointServices[index])] = std::move(url);
                 });
}

void Reader::read_tags(const YamlNode& node, std::map<std::string, std::string>& out) {
    constexpr std::string_view kPath = "target.tags";
    if (!is(node, YamlNode::Kind::mapping, kPath, "a mapping of keys to texts")) return;
    const auto tags = members(node, kPath);
    for (const auto& [key, value] : tags) {
        if (!kTagKeyRule.accepts(key->value)) {
            add(*key, fmt::format("tag key {}, expected {}", in_quotes(key->value),
                                  kTagKeyRule.expected));
        }
        read_template(*value, fmt::format("{}.{}", kPath, key->value), check_text_template,
                      out[key->value]);
    }
    if (tags.size() > kMaxTags) {
        add(node,
            fmt::format("'{}' has {} tags, expected at most {}", kPath, tags.size(), kMaxTags));
    }
}

void Reader::read_consoles(const YamlNode& node, std::vector<std::string>& out) {
    constexpr std::string_view kPath = "conversion.consoles";
    if (!is(node, YamlNode::Kind::sequence, kPath, "a list of kernel consoles")) return;
    if (node.items.empty() || node.items.size() > kMaxConsoles) {
        add(node, fmt::format("'{}' has {} entries, expected 1 to {}", kPath, node.items.size(),
                              kMaxConsoles));
        return;
    }
    out.clear();
    for (std::size_t i = 0; i < node.items.size(); ++i) {
        std::string console;
        read_text(node.items[i], fmt::format("{}[{}]", kPath, i), kConsoleRule, console);
        if (!console.empty() && std::ranges::find(out, console) != out.end()) {
            add(node.items[i], fmt::format("'{}' names {} twice", kPath, in_quotes(console)));
        }
        out.push_back(std::move(console));
    }
}

void Reader::read_mapping(const YamlNode& node, std::string_view path,
                          std::span<const std::string_view> valid,
                          std::initializer_list<std::string_view> required, const ReadField& read) {
    if (!is(node, YamlNode::Kind::mapping, path,
            fmt::format("a mapping with the keys {}", fmt::join(valid, ", ")))) {
        return;
    }
    std::vector<std::string_view> given;
    for (const auto& [key, value] : members(node, path)) {
        const auto known = std::ranges::find(valid, key->value);
        if (known == valid.end()) {
            add(*key, fmt::format("unknown key {} ({})", in_quotes(key->value),
                                  advise(key->value, path, valid)));
            continue;
        }
        given.push_back(*known);
        read(static_cast<std::size_t>(known - valid.begin()),
             path.empty() ? std::string(*known) : fmt::format("{}.{}", path, *known), *value);
    }
    for (const auto key : required) {
        if (std::ranges::find(given, key) == given.end()) {
            add(node, fmt::format("'{}{}{}' is missing", path, path.empty() ? "" : ".", key));
        }
    }
}

/// Whether the job is the value of `amilift` in `document`.
bool is_wrapped(const YamlNode& document, std::string_view text) {
    if (first_line(text) == "#cloud-config") return true;
    if (first_line(text) == "#amilift" || find(document, kWrapperKey) == nullptr) return false;
    return find(document, kPointerKey) == nullptr &&
           std::ranges::none_of(
               kJobKeys, [&](std::string_view key) { return find(document, key) != nullptr; });
}

core::Error make_error(const std::vector<Problem>& problems, std::string_view source_name) {
    // Not std::stable_sort: clang rejects libstdc++ 12's for its deprecated temporary buffer.
    std::vector<std::size_t> order(problems.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::ranges::sort(order, {}, [&](std::size_t i) { return std::pair(problems[i].at, i); });
    std::string what;
    for (std::size_t i = 0; i < std::min(problems.size(), kMaxProblems); ++i) {
        const auto& [at, text] = problems[order[i]];
        if (i > 0) what += '\n';
        what += fmt::format("{}:{}:{}: {}", source_name, at.line, at.column, text);
    }
    if (problems.size() > kMaxProblems) {
        what += fmt::format("\n{}: and {} more", source_name, problems.size() - kMaxProblems);
    }
    return {Errc::invalid_input, std::move(what), "amilift-job(5) describes every key",
            "invalid-job"};
}

}  // namespace

core::Result<ParsedJob> parse_job(std::string_view text, std::string_view source_name) {
    const auto document_text = normalized(text);
    auto document = parse_yaml(document_text);
    if (!document) {
        return std::unexpected(make_error({std::move(document).error()}, source_name));
    }
    Reader reader;
    auto parsed = reader.read(*document, is_wrapped(*document, document_text));
    auto problems = std::move(reader).take_problems();
    if (!problems.empty()) return std::unexpected(make_error(problems, source_name));
    return parsed;
}

bool cloud_config_has_job(std::string_view text) {
    if (text.find(kWrapperKey) == std::string_view::npos) return false;
    const auto document_text = normalized(text);
    if (const auto document = parse_yaml(document_text)) {
        return find(*document, kWrapperKey) != nullptr;
    }
    for (std::size_t begin = 0; begin < document_text.size();) {
        const auto end = std::min(document_text.find('\n', begin), document_text.size());
        auto line = std::string_view(document_text).substr(begin, end - begin);
        begin = end + 1;
        if (line.starts_with('"') || line.starts_with('\'')) line.remove_prefix(1);
        if (!line.starts_with(kWrapperKey)) continue;
        line.remove_prefix(kWrapperKey.size());
        if (line.starts_with('"') || line.starts_with('\'')) line.remove_prefix(1);
        if (trimmed(line).starts_with(':')) return true;
    }
    return false;
}

}  // namespace amilift::job
