// SPDX-License-Identifier: Apache-2.0
#include "flow/aki.hpp"

#include <fmt/format.h>

#include <charconv>
#include <utility>

namespace amilift::flow {
namespace {

using core::Errc;
using core::fail;
using core::Result;

constexpr std::string_view kAmazon = "amazon";

/// Takes `text` off the front.
bool take(std::string_view& rest, std::string_view text) {
    if (!rest.starts_with(text)) return false;
    rest.remove_prefix(text.size());
    return true;
}

std::optional<unsigned> take_number(std::string_view& rest) {
    unsigned number = 0;
    const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), number);
    if (error != std::errc{}) return std::nullopt;
    rest.remove_prefix(static_cast<std::size_t>(end - rest.data()));
    return number;
}

Result<Aki> newest_aki(aws::Ec2Api& ec2, const std::string& architecture,
                       const std::string& region) {
    AMILIFT_TRY(auto images,
                ec2.describe_images({}, {std::string(kAmazon)},
                                    {{"image-type", {"kernel"}}, {"name", {"pv-grub-hd0_*"}}}));
    const aws::Image* best = nullptr;
    std::pair<unsigned, unsigned> version;
    for (const auto& image : images) {
        const auto name = parse_pv_grub_name(image.name);
        if (!name || !name->bare_filesystem || name->architecture != architecture ||
            image.state != "available") {
            continue;
        }
        const std::pair seen(name->major, name->minor);
        // EC2 lists them in any order; of one version the lower id is as good as another.
        if (best != nullptr && (seen < version || (seen == version && image.id >= best->id))) {
            continue;
        }
        best = &image;
        version = seen;
    }
    if (best == nullptr) {
        return fail(Errc::refused,
                    fmt::format("region '{}' has no PV-GRUB of Amazon (pv-grub-hd0_*) for {}: "
                                "paravirtual instances cannot be made of a new AMI there",
                                region, architecture),
                    "run the job in a Region that has it, or make an HVM image "
                    "(target.virtualization: hvm)",
                    "no-aki");
    }
    return Aki{best->id, best->name};
}

}  // namespace

std::optional<PvGrubName> parse_pv_grub_name(std::string_view name) {
    PvGrubName out;
    if (!take(name, "pv-grub-")) return std::nullopt;
    out.bare_filesystem = !name.starts_with("hd00_");
    if (!take(name, "hd00_") && !take(name, "hd0_")) return std::nullopt;
    const auto major = take_number(name);
    if (!major || !take(name, ".")) return std::nullopt;
    const auto minor = take_number(name);
    if (!minor || !take(name, "-")) return std::nullopt;
    out.major = *major;
    out.minor = *minor;
    if (name.ends_with(".gz")) name.remove_suffix(3);
    if (name != "x86_64" && name != "i386") return std::nullopt;
    out.architecture = name;
    return out;
}

Result<Aki> choose_aki(aws::Ec2Api& ec2, const std::string& wanted, const std::string& architecture,
                       const std::string& region) {
    if (wanted == "auto") return newest_aki(ec2, architecture, region);
    AMILIFT_TRY(const auto images, ec2.describe_images({wanted}, {std::string(kAmazon)}, {}));
    const auto misfit = [&](const std::string& why) {
        return fail(Errc::refused, fmt::format("target.aki '{}' {}", wanted, why),
                    "set target.aki: auto", "aki-does-not-fit");
    };
    if (images.empty()) return misfit("is not one of Amazon's");
    const auto& image = images.front();
    const auto name = parse_pv_grub_name(image.name);
    if (!name) return misfit(fmt::format("is '{}', which is no PV-GRUB", image.name));
    if (!name->bare_filesystem) {
        return misfit(
            fmt::format("is '{}', which looks for the menu in a partition (hd00), while "
                        "the new image is a bare filesystem (hd0)",
                        image.name));
    }
    if (name->architecture != architecture) {
        return misfit(fmt::format("is '{}', which starts {} kernels only, while the image is {}",
                                  image.name, name->architecture, architecture));
    }
    return Aki{image.id, image.name};
}

}  // namespace amilift::flow
