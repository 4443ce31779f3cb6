// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "core/result.hpp"
#include "dev/mount.hpp"
#include "image/facts.hpp"
#include "image/kernel_arguments.hpp"
#include "image/safe_root.hpp"
#include "job/job.hpp"
#include "modules/module.hpp"

namespace amilift::modules {

/// What every kernel command line of this image needs: the job's consoles, the root by UUID, the
/// NVMe time-out of each kernel and names of network cards that the guest's files expect. Later
/// kernels get what the one that boots gets. The same for the source and for the finished target.
[[nodiscard]] core::Result<image::ArgumentEdit> argument_edit(const job::ConversionOptions& options,
                                                              const image::ImageFacts& facts,
                                                              const dev::FilesystemInfo& filesystem,
                                                              const image::SafeRoot& root);

/// What this boot entry tells its kernel of all that: "root=UUID=... console=tty0 net.ifnames=0",
/// for people to read.
[[nodiscard]] std::string told_of(const image::BootEntry& entry, const image::ArgumentEdit& edit);

/// Edits the kernel command lines that GRUB 2, boot loader specification entries and extlinux read,
/// and the files from which they are made again after a kernel update: grub.cfg, grubenv,
/// /etc/default/grub, /boot/loader/entries, /etc/kernel/cmdline, /etc/sysconfig/bootloader,
/// extlinux.conf, and what GRUB 2 and extlinux read in from these, entries in another directory
/// (blsdir) among it. plan() runs the edited menu
/// as its loader does, verify() the finished one. Errors of both: refused (id "not-ready") when the
/// default entry does not tell its kernel the root or the names of cards that were planned, or
/// still tells it to resume from a device. What else is not told, verify() says in its proofs.
[[nodiscard]] const Module& arguments_module();

}  // namespace amilift::modules
