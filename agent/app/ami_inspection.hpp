// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "app/commands.hpp"
#include "aws/ec2.hpp"
#include "core/clock.hpp"
#include "core/result.hpp"
#include "image/facts.hpp"
#include "image/readiness.hpp"
#include "worker/conversion.hpp"

namespace amilift::app {

struct AmiInspection {
    aws::Image ami;
    worker::Inspection root;
};

/// Inspects the root of an AMI on a volume of its snapshot, which is attached to this instance and
/// removed again, also after `cancel`. The disk is read by a sandboxed child. What happens is told
/// on standard error. Errors: invalid_input when this is no EC2 instance; those of
/// flow::with_attached_root() and worker::inspect().
[[nodiscard]] core::Result<AmiInspection> inspect_ami(const InspectOptions& options,
                                                      const core::Cancel& cancel);

/// A finding about an AMI's settings, and what it means for where the AMI runs as it is.
struct AmiFinding {
    image::Finding finding;
    image::Verdict verdict = image::Verdict::ready;
    std::vector<image::Platform> platforms{};  ///< where the verdict counts
};

/// What the AMI's settings say against what its root has, and against a platform. Ids:
/// "ami-is-hvm", "ami-is-paravirtual", "not-64-bit", "aki-does-not-fit", "ena-not-set",
/// "ena-not-proven", "billing-codes", "kernel-id", "ramdisk-id", "uefi-without-partition",
/// "uefi-start-unproven", "boot-mode". Sources: the EC2 user guide on boot modes, on virtualization
/// types and on enhanced networking.
[[nodiscard]] std::vector<AmiFinding> ami_findings(const aws::Image& ami,
                                                   const image::ImageFacts& facts);

/// "'web', hvm, x86_64, boot mode uefi-preferred, EnaSupport".
[[nodiscard]] std::string describe_ami(const aws::Image& ami);

}  // namespace amilift::app
