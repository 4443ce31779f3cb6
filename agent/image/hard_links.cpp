// SPDX-License-Identifier: Apache-2.0
#include "image/hard_links.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace amilift::image {

using core::Result;

Result<std::vector<std::string>> other_names(const SafeRoot& root, std::string_view path) {
    std::vector<std::string> found;
    AMILIFT_TRY(const auto wanted, root.link_status(path));
    if (wanted.kind != FileKind::regular || wanted.links < 2) return found;
    const auto slash = path.find('/', 1);
    if (slash == std::string_view::npos) return found;
    std::vector<std::string> directories{std::string(path.substr(0, slash))};
    std::size_t looked_at = 0;
    while (!directories.empty() && found.size() + 1 < wanted.links) {
        const auto directory = std::exchange(directories.back(), {});
        directories.pop_back();
        auto names = root.list(directory, kMaxLinkSearch);
        if (!names) {
            if (is_content_problem(names.error())) continue;
            return std::unexpected(std::move(names).error());
        }
        for (const auto& name : *names) {
            if (++looked_at > kMaxLinkSearch) return found;
            auto candidate = fmt::format("{}/{}", directory, name);
            AMILIFT_TRY(const auto status, root.link_status(candidate));
            if (status.kind == FileKind::directory && status.device == wanted.device) {
                directories.push_back(std::move(candidate));
            } else if (status.is_same_file(wanted) && candidate != path) {
                found.push_back(std::move(candidate));
            }
        }
    }
    std::ranges::sort(found);
    return found;
}

}  // namespace amilift::image
