// SPDX-License-Identifier: Apache-2.0
#include "modules/manifest.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "core/sha256.hpp"
#include "image/hard_links.hpp"

namespace amilift::modules {
namespace {

using core::Errc;
using core::fail;
using core::Result;
using image::FileKind;
using image::SafeRoot;
using nlohmann::ordered_json;

constexpr int kSchema = 1;
constexpr std::size_t kDocumentLimit = 16U << 20;
constexpr std::size_t kEntryLimit = 100000;
constexpr std::size_t kOverwriteLimit = 16U << 20;
constexpr std::size_t kAppendLimit = 256U << 20;

using image::parent_of;

std::string joined(const std::string& directory, std::string_view name) {
    return directory == "/" ? fmt::format("/{}", name) : fmt::format("{}/{}", directory, name);
}

Result<> require_absolute(std::string_view path) {
    if (path.size() < 2 || path.front() != '/' || path.back() == '/') {
        return fail(Errc::internal, fmt::format("'{}' is no absolute path of a file", path));
    }
    return {};
}

/// The path with links resolved in its directories only; directories that do not exist yet are
/// taken as they are written.
Result<std::string> with_real_parent(const SafeRoot& root, std::string_view path) {
    std::string missing;
    std::string directory = parent_of(path);
    std::string name(path.substr(path.rfind('/') + 1));
    while (directory != "/") {
        AMILIFT_TRY(const auto status, root.link_status(directory));
        if (status.kind != FileKind::missing) {
            AMILIFT_TRY(directory, root.resolve(directory));
            break;
        }
        const auto part = directory.substr(directory.rfind('/') + 1);
        missing = missing.empty() ? part : fmt::format("{}/{}", part, missing);
        directory = parent_of(directory);
    }
    if (!missing.empty()) directory = joined(directory, missing);
    return joined(directory, name);
}

Result<FileVersion> version_of(std::string_view contents) {
    AMILIFT_TRY(auto sha256, core::sha256_hex(contents));
    return FileVersion{std::move(sha256), contents.size()};
}

Result<FileVersion> version_of(const SafeRoot& root, std::string_view path,
                               const image::FileStatus& status) {
    if (status.kind == FileKind::symlink) {
        AMILIFT_TRY(const auto text, root.read_link(path));
        return version_of(text);
    }
    AMILIFT_TRY(auto sha256, image::sha256_of(root, path));
    return FileVersion{std::move(sha256), status.size_bytes};
}

ordered_json to_json(const FileVersion& version) {
    return {{"sha256", version.sha256}, {"size_bytes", version.size_bytes}};
}

bool is_sha256(std::string_view text) {
    return text.size() == 64 && std::ranges::all_of(text, [](char c) {
               return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
           });
}

std::optional<FileVersion> version_from_json(const ordered_json& entry, const char* key,
                                             const std::string& kind) {
    const auto found = entry.find(key);
    if (found == entry.end()) return std::nullopt;
    FileVersion version{found->at("sha256").get<std::string>(),
                        found->at("size_bytes").get<std::uint64_t>()};
    const bool right = kind == "directory" ? version.sha256.empty() : is_sha256(version.sha256);
    if (!right) throw std::invalid_argument(fmt::format("'{}.sha256' is no SHA-256", key));
    return version;
}

ManifestEntry entry_from_json(const ordered_json& entry) {
    ManifestEntry result;
    result.path = entry.at("path").get<std::string>();
    result.module = entry.at("module").get<std::string>();
    result.kind = entry.at("kind").get<std::string>();
    if (result.path.empty() || result.path.front() != '/') {
        throw std::invalid_argument(fmt::format("path '{}' is not absolute", result.path));
    }
    if (result.kind != "file" && result.kind != "directory" && result.kind != "link") {
        throw std::invalid_argument(fmt::format("kind '{}' is unknown", result.kind));
    }
    result.before = version_from_json(entry, "before", result.kind);
    result.after = version_from_json(entry, "after", result.kind);
    if (!result.before && !result.after) {
        throw std::invalid_argument(
            fmt::format("'{}' has neither 'before' nor 'after'", result.path));
    }
    return result;
}

}  // namespace

void Manifest::record(ManifestEntry entry) {
    const auto known = std::ranges::find(entries_, entry.path, &ManifestEntry::path);
    if (known == entries_.end()) {
        entries_.push_back(std::move(entry));
        return;
    }
    known->after = std::move(entry.after);
    known->kind = std::move(entry.kind);
    known->module = std::move(entry.module);
    if (known->before == known->after) entries_.erase(known);
}

Result<> Manifest::require_place(const SafeRoot& root, std::string_view path) {
    const auto taken = [&](std::string_view by, std::string_view what) {
        return fail(
            Errc::refused,
            fmt::format("amilift has to write '{}' into the image, but '{}' is {}", path, by, what),
            "rename it in the source image", "path-taken");
    };
    AMILIFT_CHECK(require_absolute(path));
    // A link is refused too: the file that it names is another's, and would be replaced.
    AMILIFT_TRY(const auto link, root.link_status(path));
    if (link.kind == FileKind::regular) return {};
    if (link.kind != FileKind::missing) return taken(path, "no regular file");
    for (auto directory = parent_of(path); directory != "/"; directory = parent_of(directory)) {
        AMILIFT_TRY(const auto above, root.status(directory));
        if (above.kind == FileKind::directory) return {};
        AMILIFT_TRY(const auto itself, root.link_status(directory));
        if (itself.kind != FileKind::missing) return taken(directory, "no directory");
    }
    return {};
}

Result<> Manifest::require_unprotected(const SafeRoot& root, std::string_view path) {
    AMILIFT_TRY(const auto by, root.protection(path));
    if (by.empty()) return {};
    return fail(
        Errc::refused,
        fmt::format("amilift has to write '{}', but '{}' is immutable or append-only", path, by),
        "take the attribute away in the source image: chattr -i -a", "protected-file");
}

Result<> Manifest::make_parents(const SafeRoot& root, std::string_view module,
                                const std::string& path) {
    std::vector<ManifestEntry> coming;
    for (auto directory = parent_of(path); notes_changes_ && directory != "/";
         directory = parent_of(directory)) {
        AMILIFT_TRY(const auto there, root.status(directory));
        if (there.kind != FileKind::missing) break;
        coming.insert(coming.begin(), {std::string(directory), std::string(module), "directory",
                                       std::nullopt, FileVersion{}});
    }
    if (!coming.empty()) AMILIFT_CHECK(note(root, coming));
    AMILIFT_TRY(const auto made, root.make_directories(parent_of(path)));
    for (const auto& directory : made) {
        record({directory, std::string(module), "directory", std::nullopt, FileVersion{}});
    }
    return {};
}

Result<std::vector<ManifestEntry>> Manifest::entries_for(const SafeRoot& root,
                                                         std::string_view module,
                                                         const std::string& real,
                                                         const std::optional<FileVersion>& before,
                                                         const FileVersion& after) const {
    // The other names of the file change with it.
    AMILIFT_TRY(auto names, image::other_names(root, real));
    names.insert(names.begin(), real);
    std::vector<ManifestEntry> entries;
    for (auto& name : names) {
        entries.push_back({std::move(name), std::string(module), "file", before, after});
    }
    return entries;
}

Result<> Manifest::append(const SafeRoot& root, std::string_view module, std::string_view path,
                          const FileVersion& before, std::string_view bytes) {
    AMILIFT_CHECK(require_absolute(path));
    AMILIFT_TRY(const auto real, root.resolve(path));
    AMILIFT_TRY(auto text, root.read(real, kAppendLimit));
    AMILIFT_TRY(const auto now, version_of(text));
    if (now != before) {
        return fail(
            Errc::conflict,
            fmt::format("'{}' of the target does not hold what the plan was made from", path),
            "nothing else may write to source or target during a conversion: start again");
    }
    text += bytes;
    AMILIFT_TRY(const auto after, version_of(text));
    AMILIFT_TRY(auto entries, entries_for(root, module, real, before, after));
    AMILIFT_CHECK(note(root, entries));
    AMILIFT_CHECK(root.append(real, before.size_bytes, bytes));
    for (auto& entry : entries) record(std::move(entry));
    return {};
}

Result<> Manifest::write(const SafeRoot& root, std::string_view module, std::string_view path,
                         std::string_view contents, std::uint32_t mode_if_new) {
    AMILIFT_CHECK(require_absolute(path));
    AMILIFT_TRY(auto status, root.status(path));
    AMILIFT_TRY(auto real, with_real_parent(root, path));
    AMILIFT_TRY(const auto after, version_of(contents));
    std::optional<FileVersion> before;
    if (status.kind == FileKind::regular) {
        AMILIFT_TRY(real, root.resolve(path));
        AMILIFT_TRY(before, version_of(root, real, status));
        if (before == after) return {};
    } else if (status.kind == FileKind::missing) {
        AMILIFT_TRY(const auto link, root.link_status(path));
        if (link.kind == FileKind::symlink) {
            return fail(Errc::conflict,
                        fmt::format("cannot write '{}' of the image: it is a link that leads "
                                    "nowhere, expected a file or nothing",
                                    path),
                        "remove the link in the source image or make its target");
        }
        AMILIFT_CHECK(make_parents(root, module, real));
    } else {
        return fail(
            Errc::conflict,
            fmt::format("cannot write '{}' of the image: it is a {}, expected a file or "
                        "nothing",
                        path, status.kind == FileKind::directory ? "directory" : "special file"),
            "remove it in the source image");
    }
    AMILIFT_TRY(auto entries, entries_for(root, module, real, before, after));
    AMILIFT_CHECK(note(root, entries));
    AMILIFT_CHECK(root.write(real, contents, mode_if_new));
    for (auto& entry : entries) record(std::move(entry));
    return {};
}

Result<> Manifest::overwrite(const SafeRoot& root, std::string_view module, std::string_view path,
                             std::uint64_t offset, std::span<const std::byte> bytes) {
    AMILIFT_CHECK(require_absolute(path));
    AMILIFT_TRY(auto real, root.resolve(path));
    AMILIFT_TRY(auto text, root.read(real, kOverwriteLimit));
    if (offset > text.size() || bytes.size() > text.size() - offset) {
        return fail(Errc::internal, fmt::format("'{}' of the image has {} bytes, {} are to be "
                                                "overwritten from byte {}",
                                                path, text.size(), bytes.size(), offset));
    }
    AMILIFT_TRY(const auto before, version_of(text));
    std::ranges::transform(bytes, text.begin() + static_cast<std::ptrdiff_t>(offset),
                           [](std::byte b) { return std::to_integer<char>(b); });
    AMILIFT_TRY(const auto after, version_of(text));
    if (before == after) return {};
    ManifestEntry entry{real, std::string(module), "file", before, after};
    AMILIFT_CHECK(note(root, {entry}));
    AMILIFT_CHECK(root.overwrite(real, offset, bytes));
    record(std::move(entry));
    return {};
}

Result<> Manifest::note(const SafeRoot& root, const std::vector<ManifestEntry>& coming) {
    if (!notes_changes_) return {};
    Manifest then;
    then.entries_ = entries_;
    then.volume_ = volume_;
    for (const auto& entry : coming) {
        // A change that is taken back is a change until it has been.
        const auto known = std::ranges::find(then.entries_, entry.path, &ManifestEntry::path);
        if (known == then.entries_.end() || known->before != entry.after) then.record(entry);
    }
    return root.write(kPendingPath, then.to_json(), 0600);
}

Result<> Manifest::note_changes(const SafeRoot& root, bool interrupted, const std::string& volume) {
    notes_changes_ = true;
    volume_ = volume;
    if (interrupted) {
        for (const auto path : {kPendingPath, kManifestPath}) {
            AMILIFT_TRY(const auto status, root.link_status(path));
            if (status.kind != FileKind::regular) continue;
            AMILIFT_TRY(const auto text, root.read(path, kDocumentLimit));
            AMILIFT_TRY(auto noted, from_json(text));
            if (noted.volume_ == volume) entries_ = std::move(noted.entries_);
            break;
        }
    }
    return note(root, {});
}

Result<std::vector<Manifest::UnfinishedAppend>> Manifest::unfinished_appends(
    const SafeRoot& root, const std::string& volume) {
    std::vector<UnfinishedAppend> found;
    AMILIFT_TRY(const auto notes, root.link_status(kPendingPath));
    if (notes.kind != FileKind::regular) return found;
    AMILIFT_TRY(const auto text, root.read(kPendingPath, kDocumentLimit));
    AMILIFT_TRY(const auto noted, from_json(text));
    if (noted.volume_ != volume) return found;
    for (const auto& entry : noted.entries_) {
        if (entry.kind != "file" || !entry.before || !entry.after) continue;
        const auto old_bytes = entry.before->size_bytes;
        AMILIFT_TRY(const auto status, root.link_status(entry.path));
        if (status.kind != FileKind::regular || status.size_bytes <= old_bytes ||
            old_bytes > kAppendLimit) {
            continue;
        }
        AMILIFT_TRY(const auto now, version_of(root, entry.path, status));
        if (now == *entry.after) continue;
        AMILIFT_TRY(const auto prefix, root.read_prefix(entry.path, old_bytes));
        AMILIFT_TRY(const auto prefix_sum, core::sha256_hex(prefix));
        if (prefix_sum != entry.before->sha256) continue;
        // Another name of the same file is short as soon as this one is.
        AMILIFT_TRY(const auto names, image::other_names(root, entry.path));
        const bool known = std::ranges::any_of(found, [&names](const UnfinishedAppend& other) {
            return std::ranges::find(names, other.path) != names.end();
        });
        if (!known) found.push_back({entry.path, old_bytes});
    }
    return found;
}

Result<> Manifest::add_copied(const SafeRoot& root, std::string_view module,
                              const std::string& path, const std::string& kind) {
    FileVersion version;
    if (kind == "link") {
        AMILIFT_TRY(const auto text, root.read_link(path));
        AMILIFT_TRY(version, version_of(text));
    } else if (kind == "file") {
        AMILIFT_TRY(const auto status, root.link_status(path));
        AMILIFT_TRY(version, version_of(root, path, status));
    }
    record({path, std::string(module), kind, std::nullopt, std::move(version)});
    return {};
}

Result<> Manifest::make_link(const SafeRoot& root, std::string_view module, std::string_view path,
                             std::string_view text) {
    AMILIFT_CHECK(require_absolute(path));
    AMILIFT_TRY(auto real, with_real_parent(root, path));
    AMILIFT_TRY(const auto status, root.link_status(real));
    if (status.kind == FileKind::symlink) {
        AMILIFT_TRY(const auto present, root.read_link(real));
        if (present == text) return {};
    }
    if (status.kind == FileKind::missing) AMILIFT_CHECK(make_parents(root, module, real));
    AMILIFT_TRY(auto after, version_of(text));
    ManifestEntry entry{real, std::string(module), "link", std::nullopt, std::move(after)};
    AMILIFT_CHECK(note(root, {entry}));
    AMILIFT_CHECK(root.make_link(real, text));
    record(std::move(entry));
    return {};
}

Result<> Manifest::remove(const SafeRoot& root, std::string_view module, std::string_view path) {
    AMILIFT_CHECK(require_absolute(path));
    AMILIFT_TRY(auto real, with_real_parent(root, path));
    AMILIFT_TRY(const auto status, root.link_status(real));
    if (status.kind == FileKind::missing) return {};
    if (status.kind != FileKind::regular && status.kind != FileKind::symlink) {
        return fail(
            Errc::conflict,
            fmt::format("cannot remove '{}' of the image: it is neither a file nor a link", path),
            "remove it in the source image");
    }
    AMILIFT_TRY(auto before, version_of(root, real, status));
    ManifestEntry entry{real, std::string(module),
                        status.kind == FileKind::symlink ? "link" : "file", std::move(before),
                        std::nullopt};
    AMILIFT_CHECK(note(root, {entry}));
    AMILIFT_CHECK(root.remove(real));
    record(std::move(entry));
    return {};
}

std::string Manifest::to_json() const {
    ordered_json document{{"schema", kSchema}, {"tool", "amilift"}, {"version", AMILIFT_VERSION}};
    if (!volume_.empty()) document["volume"] = volume_;
    document["entries"] = ordered_json::array();
    for (const auto& entry : entries_) {
        ordered_json item{{"path", entry.path}, {"module", entry.module}, {"kind", entry.kind}};
        if (entry.before) item["before"] = modules::to_json(*entry.before);
        if (entry.after) item["after"] = modules::to_json(*entry.after);
        document["entries"].push_back(std::move(item));
    }
    // A file name of the image need not be UTF-8, JSON must be.
    return document.dump(2, ' ', false, ordered_json::error_handler_t::replace) + "\n";
}

Result<Manifest> Manifest::from_json(std::string_view text) {
    if (text.size() > kDocumentLimit) {
        return fail(Errc::corrupt, fmt::format("manifest has {} bytes, expected at most {}",
                                               text.size(), kDocumentLimit));
    }
    try {
        const auto document = ordered_json::parse(text);
        if (const int schema = document.at("schema").get<int>(); schema != kSchema) {
            return fail(
                Errc::corrupt,
                fmt::format("manifest has schema {}, this amilift reads {}", schema, kSchema),
                "use the amilift that wrote it");
        }
        const auto& entries = document.at("entries");
        if (!entries.is_array() || entries.size() > kEntryLimit) {
            return fail(
                Errc::corrupt,
                fmt::format("manifest: 'entries' is no list of at most {} entries", kEntryLimit));
        }
        Manifest manifest;
        manifest.volume_ = document.value("volume", "");
        for (const auto& entry : entries) manifest.entries_.push_back(entry_from_json(entry));
        return manifest;
    } catch (const std::exception& e) {
        return fail(Errc::corrupt, fmt::format("manifest cannot be read: {}", e.what()));
    }
}

Result<> Manifest::write_itself(const SafeRoot& root) {
    AMILIFT_TRY(const auto real, with_real_parent(root, kManifestPath));
    AMILIFT_CHECK(make_parents(root, "manifest", real));
    AMILIFT_CHECK(root.write(real, to_json(), 0644));
    return notes_changes_ ? root.remove(kPendingPath) : Result<>{};
}

}  // namespace amilift::modules
