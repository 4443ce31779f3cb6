// SPDX-License-Identifier: Apache-2.0
#include "modules/arguments.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <iterator>
#include <span>
#include <utility>

#include "image/boot_menu.hpp"
#include "image/default_entry.hpp"
#include "image/grub2_edit.hpp"
#include "image/network.hpp"
#include "image/root_name.hpp"
#include "modules/text_edit.hpp"

namespace amilift::modules {

namespace {

using core::Errc;
using core::fail;
using core::Result;
using image::ArgumentEdit;
using image::EditedText;
using image::WhenNoArgument;

constexpr std::string_view kName = "arguments";

class Planner {
  public:
    Planner(const image::SafeRoot& root, const ArgumentEdit& edit, const image::ImageFacts& facts)
        : root_(root), edit_(edit), facts_(facts), default_edit_(facts.default_edit) {}

    Result<std::vector<PathEdit>> run() {
        const bool is_extlinux = facts_.menu_kind == image::BootMenuKind::extlinux;
        const auto edit_grub = [this](std::string_view text) {
            return image::edit_grub_cfg(text, edit_);
        };
        const auto edit_extlinux = [this](std::string_view text) {
            return image::edit_extlinux(text, edit_);
        };
        // What the loader reads in (custom.cfg, INCLUDE) counts as much as its configuration.
        for (const auto& path : facts_.menu_files) {
            AMILIFT_CHECK(is_extlinux ? edit_file(path, edit_extlinux)
                                      : edit_file(path, edit_grub));
        }
        for (const auto path : image::kGrub2Configs) AMILIFT_CHECK(edit_file(path, edit_grub));
        for (const std::string_view path : {"/boot/grub/grubenv", "/boot/grub2/grubenv"}) {
            AMILIFT_CHECK(edit_environment(path));
        }
        const auto edit_entry = [this](std::string_view text) {
            return image::edit_bls_entry(text, edit_);
        };
        for (const auto& path : facts_.entry_files) AMILIFT_CHECK(edit_file(path, edit_entry));
        // What kernel-install made, whether or not the menu shows it.
        AMILIFT_TRY(const auto entries, image::config_names(root_, "/boot/loader/entries"));
        for (const auto& name : entries) {
            if (!name.ends_with(".conf")) continue;
            AMILIFT_CHECK(edit_file(fmt::format("/boot/loader/entries/{}", name), edit_entry));
        }
        for (const auto path : image::kExtlinuxConfigs) {
            AMILIFT_CHECK(edit_file(path, edit_extlinux));
        }
        AMILIFT_CHECK(edit_file("/etc/kernel/cmdline", [this](std::string_view text) {
            return image::edit_kernel_cmdline(text, edit_);
        }));
        AMILIFT_CHECK(edit_file("/etc/sysconfig/bootloader", [this](std::string_view text) {
            return image::edit_sysconfig_bootloader(text, edit_);
        }));
        AMILIFT_CHECK(edit_default_grub());
        if (default_edit_ && !is_default_set_) {
            AMILIFT_CHECK(edit_file(default_edit_->path, [](std::string_view text) {
                return EditedText{std::string(text), {}};
            }));
        }
        return std::move(edits_);
    }

  private:
    static void chain(EditedText& result, EditedText more) {
        result.text = std::move(more.text);
        std::ranges::move(more.changes, std::back_inserter(result.changes));
    }

    void add(image::EditableFile file, EditedText result) {
        if (default_edit_ && file.path == default_edit_->path) {
            is_default_set_ = true;
            chain(result, image::set_default_entry(result.text, *default_edit_));
        }
        add_edit(edits_, std::move(file), std::move(result));
    }

    [[nodiscard]] bool is_known(const std::string& path) const {
        return std::ranges::find(edits_, path, &PathEdit::path) != edits_.end();
    }

    template <class Edit>
    Result<> edit_file(std::string_view path, const Edit& edit) {
        AMILIFT_TRY(auto file, image::editable_file(root_, path, image::kTextLimit));
        if (!file || is_known(file->path)) return {};
        EditedText result = edit(file->text);
        add(*std::move(file), std::move(result));
        return {};
    }

    Result<> edit_environment(std::string_view path) {
        AMILIFT_TRY(auto file, image::editable_file(root_, path, image::kTextLimit));
        if (!file || is_known(file->path)) return {};
        auto result = image::edit_grubenv(file->text, edit_);
        if (!result) {
            // GRUB does not read such a block either.
            if (result.error().is(Errc::corrupt)) return {};
            return std::unexpected(std::move(result).error());
        }
        add(*std::move(file), *std::move(result));
        return {};
    }

    /// /etc/default/grub, and the files that grub-mkconfig of Debian systems reads behind it.
    Result<> edit_default_grub() {
        std::vector<image::EditableFile> files;
        AMILIFT_TRY(auto main, image::editable_file(root_, "/etc/default/grub", image::kTextLimit));
        if (!main) return {};
        files.push_back(*std::move(main));
        AMILIFT_TRY(const auto names, image::config_names(root_, "/etc/default/grub.d"));
        for (const auto& name : names) {
            if (!name.ends_with(".cfg")) continue;
            AMILIFT_TRY(auto file,
                        image::editable_file(root_, fmt::format("/etc/default/grub.d/{}", name),
                                             image::kTextLimit));
            if (file) files.push_back(*std::move(file));
        }
        std::size_t last = 0;
        for (std::size_t i = 0; i < files.size(); ++i) {
            if (image::assigns_grub_cmdline(files[i].text)) last = i;
        }
        std::vector<EditedText> results;
        for (std::size_t i = 0; i < files.size(); ++i) {
            std::string elsewhere;
            for (std::size_t k = 0; k < files.size(); ++k) {
                if (k != i) elsewhere += files[k].text + "\n";
            }
            results.push_back(
                image::edit_default_grub(files[i].text, edit_, elsewhere,
                                         i == last ? WhenNoArgument::add : WhenNoArgument::keep));
        }
        if (default_edit_ && default_edit_->form == image::DefaultForm::grub_cfg) {
            std::size_t place = 0;
            for (std::size_t i = 0; i < files.size(); ++i) {
                if (image::assigns_grub_default(files[i].text)) place = i;
            }
            chain(results[place],
                  image::set_grub_default(results[place].text, default_edit_->choice));
        }
        for (std::size_t i = 0; i < files.size(); ++i) {
            add(std::move(files[i]), std::move(results[i]));
        }
        return {};
    }

    const image::SafeRoot& root_;
    const ArgumentEdit& edit_;
    const image::ImageFacts& facts_;
    const std::optional<image::DefaultEdit>& default_edit_;
    bool is_default_set_ = false;
    std::vector<PathEdit> edits_;
};

/// What only one of two command lines has, as the author wrote it.
std::string only_in(std::string_view line, std::string_view other) {
    const auto known = image::kernel_arguments(other);
    std::string out;
    for (const auto& argument : image::kernel_arguments(line)) {
        const bool is_known =
            std::ranges::find(known, argument.text, &image::KernelArgument::text) != known.end();
        if (is_known) continue;
        out += fmt::format("{}{}", out.empty() ? "" : " ", image::printable(argument.text, 80));
    }
    return out;
}

/// "is not told a=1, is still told b=2"; empty: the kernel is told what was planned.
std::string difference_of(std::string_view told, std::string_view planned) {
    const auto missing = only_in(planned, told);
    const auto extra = only_in(told, planned);
    return fmt::format("{}{}{}", missing.empty() ? "" : "is not told " + missing,
                       missing.empty() || extra.empty() ? "" : ", ",
                       extra.empty() ? "" : "is still told " + extra);
}

/// What the edit would still change of the command line that the loader gives to the kernel.
std::string still_to_do(const image::BootEntry& entry, const ArgumentEdit& edit) {
    return difference_of(
        entry.arguments,
        image::edit_arguments(entry.arguments, edit, edit.arguments_of(entry.kernel),
                              image::WhenNoConsole::add, WhenNoArgument::add,
                              !entry.initrds.empty()));
}

/// Of that, what the guest does not find its root or its network without, and a resume= that its
/// initramfs would wait for.
std::string still_needed(const image::BootEntry& entry, const ArgumentEdit& edit) {
    auto needed = image::remove_device_resume(entry.arguments);
    if (edit.root_argument && !entry.initrds.empty()) {
        needed = image::replace_root_argument(needed, edit.old_root_devices, *edit.root_argument);
    }
    std::vector<image::WantedArgument> naming;
    for (const auto& argument : edit.arguments_of(entry.kernel)) {
        if (argument.key == "net.ifnames" || argument.key == "biosdevname") {
            naming.push_back(argument);
        }
    }
    return difference_of(entry.arguments, image::set_arguments(needed, naming));
}

/// Runs the menu in `root` as its loader does, with `instead` for some of its files: an editor
/// knows lines, the loader what they mean.
Result<> prove_entries(const image::SafeRoot& root, const image::ImageFacts& facts,
                       const ArgumentEdit& edit, std::span<const image::FileInstead> instead,
                       std::vector<std::string>& proofs) {
    if (!facts.boot_entry || facts.menu_links.empty() ||
        facts.menu_kind == image::BootMenuKind::grub_legacy) {
        return {};
    }
    AMILIFT_TRY(const auto menu, image::simulate_menu(root, facts, instead));
    if (menu.entries.size() != facts.boot_entries.size()) {
        return fail(Errc::internal,
                    fmt::format("{}, edited, makes {} boot entries, that of the source {}",
                                facts.menu_path, menu.entries.size(), facts.boot_entries.size()));
    }
    std::size_t others = 0;
    for (std::size_t i = 0; i < menu.entries.size(); ++i) {
        const auto& entry = menu.entries[i];
        const bool is_known = i < facts.kernel_of_entry.size() && facts.kernel_of_entry[i];
        if (!is_known || entry.is_hypervisor) continue;
        const auto title = image::printable(entry.title, 80);
        const bool is_default = i == *facts.boot_entry;
        const auto needed = still_needed(entry, edit);
        if (is_default && !needed.empty()) {
            return fail(
                Errc::refused,
                fmt::format("{}: the kernel of '{}', which boots by default, is told '{}' by the "
                            "edited menu: it {}",
                            entry.where, title, image::printable(entry.arguments), needed),
                "write the arguments of that entry out in its own line, in the source image, then "
                "convert it again",
                "not-ready");
        }
        if (is_default) {
            proofs.push_back(
                fmt::format("{}: '{}' boots with {}", entry.where, title, told_of(entry, edit)));
        }
        if (const auto missing = still_to_do(entry, edit); !missing.empty()) {
            proofs.push_back(fmt::format(
                "{}: '{}'{} {}: its command line is put together by the menu", entry.where, title,
                is_default ? "" : ", which is not the default,", missing));
        } else if (!is_default) {
            ++others;
        }
    }
    if (others > 0) {
        proofs.push_back(fmt::format("{}: {} other entries are told all that was planned too",
                                     facts.menu_path, others));
    }
    return {};
}

Result<std::vector<Step>> plan(const PlanContext& context) {
    AMILIFT_TRY(const auto edit, argument_edit(context.options, context.facts, context.filesystem,
                                               context.source_root));
    AMILIFT_TRY(auto edits, Planner(context.source_root, edit, context.facts).run());
    // What cannot be edited is better found before the copy than behind it.
    std::vector<image::FileInstead> edited;
    for (const auto& made : edits) edited.push_back({made.path, made.after.value_or("")});
    std::vector<std::string> proofs;
    AMILIFT_CHECK(prove_entries(context.source_root, context.facts, edit, edited, proofs));
    return steps_of(kName, std::move(edits));
}

Result<std::vector<std::string>> verify(const VerifyContext& context) {
    AMILIFT_TRY(const auto edit, argument_edit(context.options, context.facts, context.filesystem,
                                               context.target_root));
    AMILIFT_TRY(const auto edits, Planner(context.target_root, edit, context.facts).run());
    if (!edits.empty()) {
        return fail(Errc::internal,
                    fmt::format("kernel command lines of the target are not converted: still to "
                                "do: {}",
                                edits.front().text));
    }
    std::vector<std::string> proofs;
    if (context.facts.default_edit) {
        AMILIFT_TRY(const bool boots, image::boots_by_default(context.target_root, context.facts));
        const auto& entry = context.facts.boot_entries[*context.facts.boot_entry];
        const auto title = image::printable(entry.title, 80);
        if (!boots) {
            return fail(Errc::internal,
                        fmt::format("'{}' is not the default of the target's menu {}", title,
                                    context.facts.menu_path));
        }
        proofs.push_back(fmt::format("'{}' is the default of {}", title, context.facts.menu_path));
    }
    AMILIFT_CHECK(prove_entries(context.target_root, context.facts, edit, {}, proofs));
    return proofs;
}

constexpr Module kModule{kName, plan, verify};

}  // namespace

Result<ArgumentEdit> argument_edit(const job::ConversionOptions& options,
                                   const image::ImageFacts& facts,
                                   const dev::FilesystemInfo& filesystem,
                                   const image::SafeRoot& root) {
    ArgumentEdit edit;
    edit.consoles = options.consoles;
    edit.old_root_devices = image::old_root_devices(facts);
    for (auto& name : image::lost_root_names(facts)) {
        edit.old_root_devices.push_back(std::move(name));
    }
    if (auto label = image::shared_root_label(facts); !label.empty()) {
        // With quotes and escapes it is the same name.
        const image::BootVolume shared{.partition = 0,
                                       .mount_point = {},
                                       .uuid = {},
                                       .label = label.substr(std::string_view("LABEL=").size())};
        for (const auto& entry : facts.boot_entries) {
            auto name = image::last_value(entry.arguments, "root").value_or("");
            if (image::names_volume(name, shared) == true) {
                edit.old_root_devices.push_back(std::move(name));
            }
        }
        edit.old_root_devices.push_back(std::move(label));
    }
    if (auto spec = root_spec(filesystem); !spec.empty()) edit.root_argument = std::move(spec);
    AMILIFT_TRY(const auto network, image::inspect_network(root));
    for (const auto& kernel : facts.kernels) {
        image::KernelArguments wanted{kernel.path, {}};
        if (kernel.nvme_timeout) {
            const auto& timeout = *kernel.nvme_timeout;
            wanted.arguments.push_back(
                {timeout.parameter, fmt::format("{}", timeout.largest), timeout.largest});
        }
        wanted.arguments.insert(wanted.arguments.end(), network.naming.begin(),
                                network.naming.end());
        edit.kernels.push_back(std::move(wanted));
    }
    edit.later_kernels = network.naming;
    if (facts.boot_entry && *facts.boot_entry < facts.kernel_of_entry.size()) {
        if (const auto kernel = facts.kernel_of_entry[*facts.boot_entry]) {
            edit.later_kernels = edit.kernels[*kernel].arguments;
        }
    }
    return edit;
}

std::string told_of(const image::BootEntry& entry, const ArgumentEdit& edit) {
    const auto wanted = edit.arguments_of(entry.kernel);
    std::string out = fmt::format(
        "root={}", image::printable(image::last_value(entry.arguments, "root").value_or("(none)")));
    for (const auto& argument : image::kernel_arguments(entry.arguments)) {
        const bool is_wanted = std::ranges::any_of(wanted, [&](const image::WantedArgument& want) {
            return image::is_same_argument(want.key, argument.key);
        });
        if (argument.key != "console" && !is_wanted) continue;
        out += fmt::format(" {}={}", argument.key, image::printable(argument.value, 80));
    }
    return out;
}

const Module& arguments_module() {
    return kModule;
}

}  // namespace amilift::modules
