// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.hpp"
#include "image/safe_root.hpp"

namespace amilift::modules {

/// Where the manifest lies inside the converted image.
inline constexpr std::string_view kManifestPath = "/var/lib/amilift/manifest.json";

/// Where the changes of a volume that is edited where it lies are noted before they are done.
inline constexpr std::string_view kPendingPath = "/.amilift-pending.json";

struct FileVersion {
    std::string sha256;  ///< lower-case hex; of a link: of its text; empty for a directory
    std::uint64_t size_bytes = 0;
    friend bool operator==(const FileVersion&, const FileVersion&) = default;
};

/// One path of the image that amilift touched. before absent: added; after absent: removed.
struct ManifestEntry {
    std::string path;
    std::string module;
    std::string kind;  ///< "file", "directory", "link"
    std::optional<FileVersion> before;
    std::optional<FileVersion> after;
    friend bool operator==(const ManifestEntry&, const ManifestEntry&) = default;
};

/// Every path of the image that was added, changed or removed. The only way for modules to write
/// into the image is through it, so it cannot be forgotten. A write that changes nothing is not
/// listed and not done. Paths are listed as they are without links: a write to /etc/grub.conf that
/// leads to /boot/grub/grub.conf lists the latter; a file of several names (hard links) stays one,
/// and is listed under those in the same top directory. Two changes of one path make one entry.
class Manifest {
  public:
    /// Replaces or creates a regular file, with missing parent directories (each is listed).
    /// Errors: conflict when the path is a directory, device or dangling link; those of SafeRoot.
    [[nodiscard]] core::Result<> write(const image::SafeRoot& root, std::string_view module,
                                       std::string_view path, std::string_view contents,
                                       std::uint32_t mode_if_new = 0644);
    /// Overwrites bytes of a file where they lie, see SafeRoot::overwrite().
    [[nodiscard]] core::Result<> overwrite(const image::SafeRoot& root, std::string_view module,
                                           std::string_view path, std::uint64_t offset,
                                           std::span<const std::byte> bytes);
    /// Puts bytes behind a file where it lies, see SafeRoot::append(). `before` is what it is.
    /// Errors: conflict if it is not.
    [[nodiscard]] core::Result<> append(const image::SafeRoot& root, std::string_view module,
                                        std::string_view path, const FileVersion& before,
                                        std::string_view bytes);
    /// Makes a symbolic link; a link of the same text is left alone. Errors: already_exists.
    [[nodiscard]] core::Result<> make_link(const image::SafeRoot& root, std::string_view module,
                                           std::string_view path, std::string_view text);
    /// Removes a file or a symbolic link (the link itself); nothing happens if it is missing.
    [[nodiscard]] core::Result<> remove(const image::SafeRoot& root, std::string_view module,
                                        std::string_view path);

    /// For a volume that is edited where it lies, before its first change: from now on each change
    /// is noted at kPendingPath before it is done, so that a conversion which goes on after a crash
    /// still knows what every path was like. `interrupted`: there was such a crash; what it has
    /// noted is taken over, or the manifest, if it had come so far. `volume` is the EBS id, which
    /// the manifest has from then on: that of an earlier conversion, which came along in the
    /// snapshot, is of another volume.
    [[nodiscard]] core::Result<> note_changes(const image::SafeRoot& root, bool interrupted,
                                              const std::string& volume = {});

    /// Files at which a crash has kept append() from its end, with their sizes of before, by the
    /// notes of that `volume`: whoever goes on has to make them that short again before anything
    /// else reads them.
    struct UnfinishedAppend {
        std::string path;
        std::uint64_t old_bytes = 0;
    };
    [[nodiscard]] static core::Result<std::vector<UnfinishedAppend>> unfinished_appends(
        const image::SafeRoot& root, const std::string& volume);

    /// Lists what has been copied into the image from another of its filesystems; `kind` as in
    /// ManifestEntry. The path is taken as added.
    [[nodiscard]] core::Result<> add_copied(const image::SafeRoot& root, std::string_view module,
                                            const std::string& path, const std::string& kind);

    /// For plans: could write() put a regular file there? Errc::refused (id "path-taken") when the
    /// path, or a directory of it, is something else.
    [[nodiscard]] static core::Result<> require_place(const image::SafeRoot& root,
                                                      std::string_view path);

    /// For plans: Errc::refused (id "protected-file") when the path, or the directory that holds
    /// it, is immutable or append-only.
    [[nodiscard]] static core::Result<> require_unprotected(const image::SafeRoot& root,
                                                            std::string_view path);

    [[nodiscard]] const std::vector<ManifestEntry>& entries() const { return entries_; }
    /// The document of kManifestPath (schema version, tool version, the volume if one was named,
    /// entries). The same entries give the same bytes.
    [[nodiscard]] std::string to_json() const;
    /// Errors: corrupt, with the field that is wrong.
    [[nodiscard]] static core::Result<Manifest> from_json(std::string_view text);
    /// Lists the directories of kManifestPath that are missing, then writes the document there. It
    /// lists everything but itself. The last write into an image; the notes are removed then.
    [[nodiscard]] core::Result<> write_itself(const image::SafeRoot& root);

  private:
    core::Result<> make_parents(const image::SafeRoot& root, std::string_view module,
                                const std::string& path);
    /// Writes the entries to kPendingPath as they will be when `coming` is done.
    core::Result<> note(const image::SafeRoot& root, const std::vector<ManifestEntry>& coming);
    void record(ManifestEntry entry);
    /// What all names of a file become, `real` the first.
    core::Result<std::vector<ManifestEntry>> entries_for(const image::SafeRoot& root,
                                                         std::string_view module,
                                                         const std::string& real,
                                                         const std::optional<FileVersion>& before,
                                                         const FileVersion& after) const;
    std::vector<ManifestEntry> entries_;
    std::string volume_;
    bool notes_changes_ = false;
};

}  // namespace amilift::modules
