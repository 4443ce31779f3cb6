// SPDX-License-Identifier: Apache-2.0
// A program in an EFI system partition: whatever its bytes are, what is read of it lies inside of
// them, and following it ends with a verdict.
#include <string>

#include "fuzz.hpp"
#include "image/efi_loader.hpp"
#include "image/efi_start.hpp"
#include "image/facts.hpp"
#include "tests/agent/image/temporary_root.hpp"

namespace core = amilift::core;
namespace fuzz = amilift::fuzz;
namespace image = amilift::image;

namespace {

/// Every file of the partition, and of an archive, is the same.
class SameFiles final : public image::EfiFiles {
  public:
    explicit SameFiles(std::string_view bytes) : bytes_(bytes) {}
    core::Result<image::EfiFile> read(std::string_view path, std::size_t limit) override {
        fuzz::require(limit > 0 && path.starts_with('/'));
        return image::EfiFile{image::FileKind::regular, std::string(bytes_.substr(0, limit))};
    }
    core::Result<std::vector<std::string>> list(std::string_view /*path*/) override {
        return std::vector<std::string>{"BOOT", "vendor"};
    }
    core::Result<image::EfiFile> read_inside(std::string_view archive, std::string_view path,
                                             std::size_t limit) override {
        fuzz::require(!archive.empty());
        return read(path, limit);
    }

  private:
    std::string_view bytes_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    static const image::TemporaryRoot tree;
    static const auto root = tree.open();
    const auto bytes = fuzz::as_text(data, size);
    const auto program = image::read_efi_program(bytes);
    const bool starts = program.kind != image::EfiProgramKind::not_startable;
    fuzz::require(starts == program.problem.empty());
    for (const auto* part : {&program.prefix, &program.config, &program.archive}) {
        fuzz::require(part->empty() || bytes.find(*part) != std::string_view::npos);
    }

    image::ImageFacts facts;
    facts.disk.is_gpt = true;
    facts.disk.volumes = {{.partition = 1, .mount_point = "/", .uuid = "0b5e7a52", .label = "r"}};
    SameFiles files(bytes);
    const auto start = image::follow_efi_start(files, 15, root, facts);
    fuzz::require(!start.is_proven() && !start.where.empty() && !start.seen.empty());
    return 0;
}
