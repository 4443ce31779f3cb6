// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "core/result.hpp"
#include "flow/states.hpp"

namespace amilift::flow {

enum class Outcome { running, succeeded, failed };
[[nodiscard]] std::string_view to_string(Outcome outcome) noexcept;

/// What survives a crash of the helper: written before a state is entered and whenever an id
/// becomes known. A restarted agent goes on in `state`; each state first looks for what it made
/// earlier.
struct Record {
    std::string instance_id;
    std::string job_id;
    State state = State::fetch_job;
    Outcome outcome = Outcome::running;
    std::string error;     ///< message of the first failure
    std::string error_id;  ///< its stable id, may be empty
    std::string warning;   ///< something that went wrong and did not spoil the result
    std::string started_at;

    /// Empty for a job that converts in place: then the target is made from the source's snapshot.
    std::string source_volume;
    std::string target_volume;
    std::string source_attach_name;  ///< the device name asked of EC2, "/dev/sdf"
    std::string target_attach_name;
    std::string snapshot;
    std::string image_name;
    std::string image;      ///< the new AMI
    std::string kernel_id;  ///< of a paravirtual AMI: the PV-GRUB that starts it
    /// Bytes may be on the target: a repeated conversion must not trust it to be empty.
    bool conversion_started = false;
    /// This record's own CreateVolume made the target: only then is it known to be empty, or what
    /// its snapshot is.
    bool target_is_new = false;
    /// The kernel that boots is proven to have the driver for enhanced networking, which Nitro
    /// instance types demand.
    bool ena_support = false;
    /// The new AMI's boot mode; empty: EC2's default for its virtualization type.
    std::string boot_mode;
    /// Services::boot_id when this helper was told to stop at the end of its job; empty: it was
    /// not.
    std::string stopped_in_boot;
    /// How often each state was entered; breaks restart loops.
    std::map<std::string, int> entries;

    /// The volumes that the job has or had, source first.
    [[nodiscard]] std::vector<std::string> volumes() const;
};

/// Reads the record at `path`; absent file: nullopt. A file of another version or with missing
/// fields is Errc::corrupt.
[[nodiscard]] core::Result<std::optional<Record>> load_record(const std::string& path);

/// Writes it durably (see core::write_file_atomically), mode 0600.
[[nodiscard]] core::Result<> save_record(const std::string& path, const Record& record);

}  // namespace amilift::flow
