// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "aws/ec2.hpp"
#include "core/result.hpp"

// What EC2's XML replies say. Pure. Unknown elements are skipped; a reply that is not XML, has
// another root element, lacks an id or holds a bad number is Errc::corrupt.
namespace amilift::aws::ec2 {

/// One page of a describe call.
template <class T>
struct Page {
    std::vector<T> items;
    std::string next_token;  ///< empty: the last page
};

[[nodiscard]] core::Result<Page<Image>> parse_images(std::string_view xml);
[[nodiscard]] core::Result<Page<Volume>> parse_volumes(std::string_view xml);
[[nodiscard]] core::Result<Page<Snapshot>> parse_snapshots(std::string_view xml);
[[nodiscard]] core::Result<Page<Instance>> parse_instances(std::string_view xml);
[[nodiscard]] core::Result<Volume> parse_created_volume(std::string_view xml);
[[nodiscard]] core::Result<Snapshot> parse_created_snapshot(std::string_view xml);
/// The new AMI's id.
[[nodiscard]] core::Result<std::string> parse_registered_image(std::string_view xml);
/// A reply that only says yes: the root must be `action` + "Response", and <return>, if there is
/// one, "true".
[[nodiscard]] core::Result<> parse_acknowledgement(std::string_view xml, const std::string& action);

}  // namespace amilift::aws::ec2
