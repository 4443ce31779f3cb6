// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

namespace amilift::job {

/// The whole file; a test that reads nothing fails at its first expectation.
inline std::string read_whole(const std::filesystem::path& path) {
    std::ifstream in(path, std::ios::binary);
    std::ostringstream out;
    out << in.rdbuf();
    return out.str();
}

/// The files of tests/data/<folder> with this extension, sorted.
inline std::vector<std::filesystem::path> corpus(const std::string& folder,
                                                 const std::string& extension) {
    std::vector<std::filesystem::path> files;
    for (const auto& entry : std::filesystem::directory_iterator("tests/data/" + folder)) {
        if (entry.path().extension() == extension) files.push_back(entry.path());
    }
    std::ranges::sort(files);
    return files;
}

inline std::filesystem::path beside(std::filesystem::path path, const std::string& extension) {
    return path.replace_extension(extension);
}

/// Variants of `bytes` that transport and typing make: every prefix, and at each place one byte
/// replaced, removed and doubled. About seven for each byte.
template <class Visit>
void each_variant(const std::string& bytes, Visit visit) {
    for (std::size_t i = 0; i < bytes.size(); ++i) {
        visit(bytes.substr(0, i));
        for (const char c : {'\0', '\x80', '\n', '{', static_cast<char>(bytes[i] ^ 1)}) {
            auto changed = bytes;
            changed[i] = c;
            visit(changed);
        }
        visit(bytes.substr(0, i) + bytes.substr(i + 1));
        visit(bytes.substr(0, i) + bytes[i] + bytes.substr(i));
    }
}

}  // namespace amilift::job
