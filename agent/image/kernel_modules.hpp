// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.hpp"
#include "image/safe_root.hpp"

namespace amilift::image {

/// "nvme_core" for "kernel/drivers/nvme/host/nvme-core.ko.xz": '-' and '_' are the same in names of
/// modules. Empty for what is no module file.
[[nodiscard]] std::string module_name(std::string_view path);

/// The same for a word of a configuration file, which has no ending.
[[nodiscard]] std::string normalized_module(std::string_view word);

/// What /lib/modules/<version> says of its modules. Names are as module_name() gives them, files
/// are relative to that directory. Source: depmod(8), modules.dep(5), modules.builtin of kbuild.
struct ModuleIndex {
    struct Module {
        std::string file;                       ///< "kernel/drivers/net/ethernet/amazon/ena/ena.ko"
        std::vector<std::string> dependencies;  ///< names of modules
        std::vector<std::string> dependency_files;  ///< the same, as files
    };
    std::map<std::string, Module> modules;
    std::set<std::string> built_in;
    std::map<std::string, std::vector<std::string>> soft_dependencies;
};

/// Adds the lines of a modules.dep. Old ones name files by absolute paths below `directory`
/// ("/lib/modules/2.6.18-8.el5"); a file of elsewhere is passed over.
void parse_modules_dep(std::string_view text, std::string_view directory, ModuleIndex& index);
void parse_modules_builtin(std::string_view text, ModuleIndex& index);
void parse_modules_softdep(std::string_view text, ModuleIndex& index);

/// The index of that kernel; empty if the image has no modules of it, or for a version that is no
/// name of a directory (it comes from the kernel's header). Errors: those of SafeRoot for the disk
/// itself; a file that is no text of sensible size counts as missing.
[[nodiscard]] core::Result<ModuleIndex> read_module_index(const SafeRoot& root,
                                                          std::string_view version);

/// "/lib/modules/<version>"; absent for a version that cannot be the name of a directory.
[[nodiscard]] std::optional<std::string> module_root(std::string_view version);

/// The module and all that it needs which is not built in, dependencies first, as names; empty if
/// there is no such module. Soft dependencies are in it when they exist.
[[nodiscard]] std::vector<std::string> with_dependencies(const ModuleIndex& index,
                                                         const std::string& name);

/// A module file of the image (.ko, .ko.gz, .ko.xz, .ko.zst), unpacked. Errors: those of SafeRoot;
/// corrupt if it cannot be unpacked.
[[nodiscard]] core::Result<std::string> read_unpacked_module(const SafeRoot& root,
                                                             const std::string& path);

/// The fields of a module's .modinfo section, in order: {"version", "2.8.0"}, {"parmtype",
/// "io_timeout:uint"}. `bytes` is an unpacked .ko file (ELF, either word size, little-endian).
/// Absent if it is not one, or has no such section.
using ModuleFields = std::vector<std::pair<std::string, std::string>>;
[[nodiscard]] std::optional<ModuleFields> parse_modinfo(std::string_view bytes);

/// The fields of one built-in module in a modules.builtin.modinfo ("nvme_core.parmtype=...").
[[nodiscard]] ModuleFields parse_builtin_modinfo(std::string_view bytes, std::string_view module);

/// The .modinfo of a module file of the image (.ko, .ko.gz, .ko.xz, .ko.zst); absent when it cannot
/// be read as a module.
[[nodiscard]] core::Result<std::optional<ModuleFields>> read_modinfo(const SafeRoot& root,
                                                                     const std::string& path);

/// What keeps modules from being loaded. Source: modprobe.d(5), dracut.cmdline(7),
/// initramfs-tools(7), Documentation/admin-guide/kernel-parameters.txt.
class ModuleRules {
  public:
    /// Lines of a file of modprobe.d, or of modprobe.conf; `where` names it.
    void add_settings(std::string_view text, std::string_view where);
    /// modprobe.blacklist=, rd.driver.blacklist=, rdblacklist=, blacklist= and module_blacklist=.
    void add_command_line(std::string_view arguments);
    /// Where it is said that the module, whose hard dependencies are `dependencies`, is not loaded
    /// when its device is found: "/etc/modprobe.d/x.conf:3". Empty: nowhere. `blacklist` keeps a
    /// module from being loaded for a device, but not as a dependency; `install x /bin/true` does
    /// both.
    [[nodiscard]] std::string block_of(const std::string& name,
                                       const std::vector<std::string>& dependencies) const;

  private:
    std::map<std::string, std::string> blacklisted_;  ///< module -> where
    std::map<std::string, std::string> replaced_;     ///< module that a command stands for -> where
};

/// The rules of the image's own files: /etc/modprobe.conf, and modprobe.d of /etc, /usr/local/lib,
/// /usr/lib and /lib; a file hides those of the same name in later directories.
[[nodiscard]] core::Result<ModuleRules> read_module_rules(const SafeRoot& root);

}  // namespace amilift::image
