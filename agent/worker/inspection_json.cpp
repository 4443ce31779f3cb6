// SPDX-License-Identifier: Apache-2.0
#include "worker/inspection_json.hpp"

#include <fmt/format.h>

#include <concepts>
#include <limits>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <type_traits>

namespace amilift::worker {
namespace {

using nlohmann::json;

constexpr std::size_t kTextLimit = image::kTextLimit;
constexpr std::size_t kListLimit = 20000;

// Each structure's fields are listed once, in members() below; Saver and Loader walk that list.
template <class T>
concept Listed = std::is_class_v<T> && !std::same_as<T, std::string>;

class Saver {
  public:
    template <class T>
    void operator()(const char* key, const T& value) {
        object_[key] = saved(value);
    }
    template <class E>
    void choice(const char* key, const E& value, E /*last*/) {
        object_[key] = static_cast<unsigned>(value);
    }
    [[nodiscard]] json take() { return std::move(object_); }

  private:
    static json saved(const std::string& value) { return value; }
    template <class T>
        requires std::is_arithmetic_v<T>
    static json saved(const T& value) {
        return value;
    }
    template <class T>
    static json saved(const std::vector<T>& list) {
        json array = json::array();
        for (const auto& item : list) array.push_back(saved(item));
        return array;
    }
    template <class T>
    static json saved(const std::optional<T>& value) {
        return value ? saved(*value) : json(nullptr);
    }
    template <Listed T>
    static json saved(const T& value);

    json object_ = json::object();
};

class Loader {
  public:
    explicit Loader(const json& object) : object_(object) {
        if (!object.is_object()) throw std::invalid_argument("expected an object");
    }
    template <class T>
    void operator()(const char* key, T& value) {
        load(at(key), key, value);
    }
    template <class E>
    void choice(const char* key, E& value, E last) {
        unsigned number = 0;
        load(at(key), key, number);
        if (number > static_cast<unsigned>(last)) wrong(key);
        value = static_cast<E>(number);
    }

  private:
    [[nodiscard]] const json& at(const char* key) const {
        const auto found = object_.find(key);
        if (found == object_.end()) {
            throw std::invalid_argument(fmt::format("field '{}' is missing", key));
        }
        return *found;
    }
    [[noreturn]] static void wrong(const char* key) {
        throw std::invalid_argument(fmt::format("field '{}' is not as expected", key));
    }
    static void load(const json& from, const char* key, std::string& value) {
        if (!from.is_string()) wrong(key);
        value = from.get<std::string>();
        if (value.size() > kTextLimit) wrong(key);
    }
    static void load(const json& from, const char* key, bool& value) {
        if (!from.is_boolean()) wrong(key);
        value = from.get<bool>();
    }
    template <std::unsigned_integral T>
    static void load(const json& from, const char* key, T& value) {
        if (!from.is_number_unsigned()) wrong(key);
        const auto number = from.get<std::uint64_t>();
        if (number > std::numeric_limits<T>::max()) wrong(key);
        value = static_cast<T>(number);
    }
    static void load(const json& from, const char* key, int& value) {
        unsigned number = 0;
        load(from, key, number);
        if (number > static_cast<unsigned>(std::numeric_limits<int>::max())) wrong(key);
        value = static_cast<int>(number);
    }
    template <class T>
    static void load(const json& from, const char* key, std::vector<T>& list) {
        if (!from.is_array() || from.size() > kListLimit) wrong(key);
        list.clear();
        for (const auto& item : from) load(item, key, list.emplace_back());
    }
    template <class T>
    static void load(const json& from, const char* key, std::optional<T>& value) {
        value.reset();
        if (!from.is_null()) load(from, key, value.emplace());
    }
    template <Listed T>
    static void load(const json& from, const char* key, T& value);

    const json& object_;
};

template <class A, class T>
void members(A& a, T& x)
    requires std::same_as<std::remove_const_t<T>, dev::FilesystemInfo>
{
    a.choice("type", x.type, dev::Filesystem::unknown);
    a("size_bytes", x.size_bytes);
    a("block_bytes", x.block_bytes);
    a("device_count", x.device_count);
    a("uuid", x.uuid);
    a("label", x.label);
    a("needs_recovery", x.needs_recovery);
    a("has_errors", x.has_errors);
    a("clean", x.clean);
    a("feature_compat", x.feature_compat);
    a("feature_incompat", x.feature_incompat);
    a("feature_ro_compat", x.feature_ro_compat);
}

template <class A, class T>
void members(A& a, T& x)
    requires std::same_as<std::remove_const_t<T>, dev::Partition>
{
    a("number", x.number);
    a("offset_bytes", x.offset_bytes);
    a("size_bytes", x.size_bytes);
    a("type", x.type);
    a("uuid", x.uuid);
    a("active", x.active);
    a.choice("content", x.content, dev::PartitionContent::raid);
    a("content_uuid", x.content_uuid);
    a("filesystem", x.filesystem);
    a("problem", x.problem);
}

template <class A, class T>
void members(A& a, T& x)
    requires std::same_as<std::remove_const_t<T>, image::BootSubvolume>
{
    a("path", x.path);
    a("mount_point", x.mount_point);
}

template <class A, class T>
void members(A& a, T& x)
    requires std::same_as<std::remove_const_t<T>, image::BootVolume>
{
    a("partition", x.partition);
    a("mount_point", x.mount_point);
    a("uuid", x.uuid);
    a("label", x.label);
    a("subvolumes", x.subvolumes);
    a("default_subvolume", x.default_subvolume);
    a("partition_uuid", x.partition_uuid);
    a("grub_module", x.grub_module);
}

template <class A, class T>
void members(A& a, T& x)
    requires std::same_as<std::remove_const_t<T>, image::PartitionName>
{
    a("partition", x.partition);
    a("spec", x.spec);
}

template <class A, class T>
void members(A& a, T& x)
    requires std::same_as<std::remove_const_t<T>, image::BootDisk>
{
    a("is_gpt", x.is_gpt);
    a("volumes", x.volumes);
    a("names", x.names);
    a("device_names", x.device_names);
    a.choice("code", x.code, image::BootCode::extlinux);
    a("evidence", x.evidence);
    a("has_system_partition", x.has_system_partition);
}

template <class A, class T>
void members(A& a, T& x)
    requires std::same_as<std::remove_const_t<T>, image::BootEntry>
{
    a("title", x.title);
    a("where", x.where);
    a("kernel", x.kernel);
    a("initrds", x.initrds);
    a("arguments", x.arguments);
    a("kernel_where", x.kernel_where);
    a("initrd_where", x.initrd_where);
    a("other_disk", x.other_disk);
    a("is_hypervisor", x.is_hypervisor);
    a("choice", x.choice);
}

template <class A, class T>
void members(A& a, T& x)
    requires std::same_as<std::remove_const_t<T>, image::DefaultEdit>
{
    a("path", x.path);
    a("choice", x.choice);
    a.choice("form", x.form, image::DefaultForm::extlinux);
}

template <class A, class T>
void members(A& a, T& x)
    requires std::same_as<std::remove_const_t<T>, image::Driver>
{
    a("place", x.place);
    a("in_initramfs", x.in_initramfs);
    a("blocked_by", x.blocked_by);
    a("version", x.version);
}

template <class A, class T>
void members(A& a, T& x)
    requires std::same_as<std::remove_const_t<T>, image::NvmeTimeout>
{
    a("parameter", x.parameter);
    a("largest", x.largest);
}

template <class A, class T>
void members(A& a, T& x)
    requires std::same_as<std::remove_const_t<T>, image::Initramfs>
{
    a("path", x.path);
    a.choice("builder", x.builder, image::InitramfsBuilder::mkinitrd_suse);
    a("segments", x.segments);
    a("obstacle", x.obstacle);
    a("problem", x.problem);
}

template <class A, class T>
void members(A& a, T& x)
    requires std::same_as<std::remove_const_t<T>, image::Kernel>
{
    a("path", x.path);
    a("version", x.version);
    a.choice("format", x.format, image::KernelFormat::unknown);
    a("is_64_bit", x.is_64_bit);
    a("cannot_boot_hvm", x.cannot_boot_hvm);
    a("compression", x.compression);
    a("starts_on_xen_pv", x.starts_on_xen_pv);
    a("starts_on_efi", x.starts_on_efi);
    a("initrd", x.initrd);
    a("has_initramfs_inside", x.has_initramfs_inside);
    a("config_path", x.config_path);
    a("initramfs", x.initramfs);
    a("nvme", x.nvme);
    a("ena", x.ena);
    a("xen_blkfront", x.xen_blkfront);
    a("xen_netfront", x.xen_netfront);
    a("nvme_timeout", x.nvme_timeout);
}

template <class A, class T>
void members(A& a, T& x)
    requires std::same_as<std::remove_const_t<T>, image::EfiStart>
{
    a("id", x.id);
    a("where", x.where);
    a("seen", x.seen);
    a("action", x.action);
}

template <class A, class T>
void members(A& a, T& x)
    requires std::same_as<std::remove_const_t<T>, image::Finding>
{
    a.choice("severity", x.severity, image::Severity::refusal);
    a("id", x.id);
    a("where", x.where);
    a("seen", x.seen);
    a("consequence", x.consequence);
    a("action", x.action);
}

/// The parsed menu is not among them: the agent parses its text again.
template <class A, class T>
void members(A& a, T& x)
    requires std::same_as<std::remove_const_t<T>, image::ImageFacts>
{
    a("disk", x.disk);
    a("os_id", x.os_id);
    a("os_version", x.os_version);
    a("os_pretty_name", x.os_pretty_name);
    a.choice("init", x.init, image::InitSystem::systemd);
    a("selinux_enforcing", x.selinux_enforcing);
    a("menu_path", x.menu_path);
    a("menu_links", x.menu_links);
    a("menu_text", x.menu_text);
    a("menu_files", x.menu_files);
    a("entry_files", x.entry_files);
    a.choice("menu_kind", x.menu_kind, image::BootMenuKind::extlinux);
    a("boot_entries", x.boot_entries);
    a("boot_order", x.boot_order);
    a("boot_entry", x.boot_entry);
    a("must_set_default", x.must_set_default);
    a("default_edit", x.default_edit);
    a("pv_entries", x.pv_entries);
    a("pv_console", x.pv_console);
    a("kernels", x.kernels);
    a("kernel_of_entry", x.kernel_of_entry);
    a("efi_start", x.efi_start);
    a("fstab_text", x.fstab_text);
    a("has_fstab", x.has_fstab);
    a("findings", x.findings);
}

template <class A, class T>
void members(A& a, T& x)
    requires std::same_as<std::remove_const_t<T>, Inspection>
{
    a.choice("layout", x.disk.layout, dev::DiskLayout::unknown);
    a("partitions", x.partitions);
    a("filesystem", x.filesystem);
    a("facts", x.facts);
}

template <Listed T>
json Saver::saved(const T& value) {
    Saver inner;
    members(inner, value);
    return inner.take();
}

template <Listed T>
void Loader::load(const json& from, const char* /*key*/, T& value) {
    Loader inner(from);
    members(inner, value);
}

/// What the rest of the program takes for granted of an index.
void check_indexes(const image::ImageFacts& facts) {
    const auto entries = facts.boot_entries.size();
    bool right = facts.kernel_of_entry.size() <= entries;
    if (facts.boot_entry) right = right && *facts.boot_entry < entries;
    for (const auto index : facts.boot_order) right = right && index < entries;
    for (const auto index : facts.pv_entries) right = right && index < entries;
    for (const auto& kernel : facts.kernel_of_entry) {
        right = right && (!kernel || *kernel < facts.kernels.size());
    }
    if (!right) throw std::invalid_argument("an index of the boot menu leads nowhere");
}

}  // namespace

json inspection_to_json(const Inspection& inspection) {
    Saver saver;
    members(saver, inspection);
    return saver.take();
}

Inspection inspection_from_json(const json& from) {
    Inspection inspection;
    Loader loader(from);
    members(loader, inspection);
    auto& facts = inspection.facts;
    check_indexes(facts);
    if (facts.menu_kind == image::BootMenuKind::grub_legacy) {
        facts.menu = image::parse_menu(facts.menu_text);
    }
    return inspection;
}

}  // namespace amilift::worker
