// SPDX-License-Identifier: Apache-2.0
#include "image/network.hpp"

#include <fmt/format.h>
#include <fnmatch.h>

#include <algorithm>
#include <array>
#include <functional>
#include <map>
#include <set>
#include <utility>

#include "image/editable_file.hpp"
#include "image/network_files.hpp"

namespace amilift::image {

namespace {

using core::Result;

constexpr std::size_t kFileLimit = std::size_t{256} << 10;
/// Files of ifupdown that name each other.
constexpr std::size_t kMostFiles = 200;
constexpr std::string_view kGenerator = "/etc/udev/rules.d/75-persistent-net-generator.rules";
constexpr std::string_view kGeneratorText =
    "# Written by amilift: network cards keep the names that the kernel gives them, so that an "
    "image\n"
    "# of this instance does not take its MAC address along.\n";

constexpr std::string_view kLinkFile = "/etc/systemd/network/10-amilift.link";

/// A card's own configuration, in whatever file.
struct Candidate {
    EditableFile file;
    std::string interface;  ///< empty: it matches a MAC, or any name
    std::string_view kind;  ///< candidates of one kind are alternatives for different cards
    bool by_mac = false;
    std::function<NetworkEdit(std::string_view)> edit;
};

/// No card of its own: made of others, or of nothing.
bool is_virtual(std::string_view name) {
    constexpr std::array<std::string_view, 13> kPrefixes{"lo",   "bond",  "br",  "docker", "virbr",
                                                         "veth", "tun",   "tap", "wg",     "ppp",
                                                         "sit",  "dummy", "vlan"};
    return std::ranges::any_of(kPrefixes, [&](std::string_view prefix) {
        return name.starts_with(prefix) && (name.size() == prefix.size() || prefix != "lo");
    });
}

bool is_alias(std::string_view name) {
    return name.find_first_of(":.@") != std::string_view::npos;
}

bool is_pattern(std::string_view name) {
    return name.find_first_of("*?[ !") != std::string_view::npos;
}

class Reader {
  public:
    explicit Reader(const SafeRoot& root) : root_(root) {}

    Result<GuestNetwork> run() {
        AMILIFT_CHECK(read_candidates());
        choose_primary();
        AMILIFT_CHECK(edit_udev_rules());
        bool any_static = false;
        for (const auto& candidate : candidates_) any_static |= edit_candidate(candidate);
        for (auto& [path, file] : edited_) {
            if (!file.changes.empty()) network_.changes.push_back(std::move(file));
        }
        if (any_static) AMILIFT_CHECK(edit_gateways());
        AMILIFT_CHECK(decide_naming());
        return std::move(network_);
    }

  private:
    // Reading --------------------------------------------------------------------------------

    Result<> read_candidates() {
        AMILIFT_CHECK(read_ifcfg("/etc/sysconfig/network-scripts"));
        AMILIFT_CHECK(read_ifcfg("/etc/sysconfig/network"));
        AMILIFT_CHECK(read_interfaces());
        AMILIFT_CHECK(read_netplan());
        AMILIFT_CHECK(read_networkd());
        return read_keyfiles();
    }

    Result<> each_file(std::string_view directory,
                       const std::function<void(EditableFile, std::string_view)>& use) {
        AMILIFT_TRY(const auto names, config_names(root_, directory));
        for (const auto& name : names) {
            AMILIFT_TRY(auto file,
                        editable_file(root_, fmt::format("{}/{}", directory, name), kFileLimit));
            if (file) use(*std::move(file), name);
        }
        return {};
    }

    /// A card that is made of others is not edited; where it has the address, that is told.
    void add_candidate(Candidate candidate) {
        if (!is_virtual(candidate.interface)) {
            candidates_.push_back(std::move(candidate));
            return;
        }
        if (candidate.interface == "lo") return;
        const auto result = candidate.edit(candidate.file.text);
        if (!result.static_at) return;
        add_left(fmt::format("{}:{}", candidate.file.path, *result.static_at),
                 fmt::format("'{}', which is made of other cards, has a static address",
                             printable(candidate.interface, 40)));
    }

    void add_left(std::string where, std::string seen) {
        add(Severity::warning, "network-left-as-it-is", std::move(where), std::move(seen),
            "an address that is bound to the source instance stays in it",
            "change it in the source image if the new instance has no network");
    }

    Result<> read_ifcfg(std::string_view directory) {
        return each_file(directory, [this](EditableFile file, std::string_view name) {
            if (!name.starts_with("ifcfg-")) return;
            auto interface = ifcfg_interface(file.text, name);
            add_candidate({std::move(file), std::move(interface), "ifcfg", false, edit_ifcfg});
        });
    }

    Result<> read_interfaces() {
        AMILIFT_CHECK(read_interfaces_file("/etc/network/interfaces"));
        return read_interfaces_in("/etc/network/interfaces.d", "*");
    }

    Result<> read_interfaces_file(const std::string& path) {
        auto file = editable_file(root_, path, kFileLimit);
        if (!file) return std::unexpected(std::move(file).error());
        if (!*file || !read_.insert((*file)->path).second || read_.size() > kMostFiles) return {};
        for (const auto& interface : interfaces_names((*file)->text)) {
            add_candidate({**file, interface, "interfaces", false,
                           [interface](auto text) { return edit_interfaces(text, interface); }});
        }
        for (const auto& source : interfaces_sources((*file)->text)) {
            const auto named = source.path.starts_with('/')
                                   ? source.path
                                   : fmt::format("/etc/network/{}", source.path);
            if (source.is_directory) {
                AMILIFT_CHECK(read_interfaces_in(named, "*"));
                continue;
            }
            const auto slash = named.rfind('/');
            AMILIFT_CHECK(read_interfaces_in(named.substr(0, slash), named.substr(slash + 1)));
        }
        return {};
    }

    Result<> read_interfaces_in(const std::string& directory, const std::string& pattern) {
        AMILIFT_TRY(const auto names, config_names(root_, directory));
        for (const auto& name : names) {
            if (::fnmatch(pattern.c_str(), name.c_str(), FNM_PERIOD) != 0) continue;
            AMILIFT_CHECK(read_interfaces_file(fmt::format("{}/{}", directory, name)));
        }
        return {};
    }

    Result<> read_netplan() {
        return each_file("/etc/netplan", [this](const EditableFile& file, std::string_view name) {
            if (!name.ends_with(".yaml")) return;
            if (const auto line = netplan_address_elsewhere(file.text)) {
                add_left(fmt::format("{}:{}", file.path, *line),
                         "an address stands elsewhere than in an entry of 'ethernets'");
            }
            const auto entries = netplan_interfaces(file.text);
            // Else each entry tells.
            if (auto problem = netplan_problem(file.text); entries.empty() && !problem.empty()) {
                add_left(file.path, std::move(problem));
            }
            for (const auto& entry : entries) {
                add_candidate({file, entry.name, "netplan", entry.by_mac,
                               [id = entry.id](auto text) { return edit_netplan(text, id); }});
            }
        });
    }

    Result<> read_networkd() {
        const auto read = [this](EditableFile file, std::string_view name) {
            const bool is_network = name.ends_with(".network");
            if (!is_network && !name.ends_with(".link")) return;
            const auto kind = is_network ? NetworkdFile::network : NetworkdFile::link;
            auto interface = networkd_interface(file.text, kind);
            const bool by_mac = networkd_matches_mac(file.text);
            add_candidate({std::move(file), std::move(interface), is_network ? "networkd" : "link",
                           by_mac, [kind](auto text) { return edit_networkd(text, kind); }});
        };
        AMILIFT_CHECK(each_file("/etc/systemd/network", read));
        AMILIFT_TRY(const auto names, config_names(root_, "/etc/systemd/network"));
        for (const auto& name : names) {
            if (!name.ends_with(".network.d")) continue;
            AMILIFT_CHECK(each_file(
                fmt::format("/etc/systemd/network/{}", name),
                [this](const EditableFile& file, std::string_view /*name*/) {
                    const auto result = edit_networkd(file.text, NetworkdFile::network);
                    if (result.edited.changes.empty()) return;
                    add_left(fmt::format("{}:{}", file.path, result.edited.changes.front().line),
                             "an addition to another file binds an address");
                }));
        }
        return {};
    }

    Result<> read_keyfiles() {
        const auto read = [this](EditableFile file, std::string_view /*name*/) {
            auto interface = keyfile_interface(file.text);
            if (!interface) return;
            add_candidate({std::move(file), *std::move(interface), "keyfile", false, edit_keyfile});
        };
        return each_file("/etc/NetworkManager/system-connections", read);
    }

    // Deciding -------------------------------------------------------------------------------

    void choose_primary() {
        std::set<std::string_view> names;
        for (const auto& candidate : candidates_) {
            const auto& name = candidate.interface;
            if (!name.empty() && !is_alias(name) && !is_pattern(name)) names.insert(name);
        }
        if (names.contains("eth0")) {
            network_.primary = "eth0";
        } else if (names.size() == 1) {
            network_.primary = *names.begin();
        }
    }

    /// A configuration without a card's name is the first card's when it is the only one.
    [[nodiscard]] bool is_primary(const Candidate& candidate) const {
        const auto& name = candidate.interface;
        if (!name.empty() && !is_pattern(name)) return name == network_.primary;
        return std::ranges::count(candidates_, candidate.kind, &Candidate::kind) == 1;
    }

    // Editing --------------------------------------------------------------------------------

    /// True if a static address of it became DHCP.
    bool edit_candidate(const Candidate& candidate) {
        auto& file = edited_[candidate.file.path];
        if (!file.before) {
            file.path = candidate.file.path;
            file.before = candidate.file.text;
            file.after = candidate.file.text;
        }
        const auto result = candidate.edit(candidate.file.text);
        const auto& changes = result.edited.changes;
        const auto name = printable(
            candidate.interface.empty() ? "any card" : std::string_view(candidate.interface), 40);
        if (!result.left.empty()) {
            add_left(file.path, fmt::format("{}: {}", name, result.left));
        }
        if (changes.empty()) return false;
        const auto where =
            fmt::format("{}:{}", file.path, result.static_at.value_or(changes.front().line));
        if (!is_primary(candidate)) {
            add(Severity::warning, "network-secondary-card", where,
                fmt::format("the configuration of '{}' is bound to the source instance", name),
                "a further card of a new instance has other addresses: it stays without them",
                "nothing is changed: configure it on the new instance if it has such a card");
            return false;
        }
        // Two cards in one file: the second edit starts from the first one's result, and the lines
        // of both are those of the file.
        auto next = candidate.edit(file.after);
        file.after = std::move(next.edited.text);
        file.changes.insert(file.changes.end(), changes.begin(), changes.end());
        if (result.static_at) {
            add(Severity::warning, "network-static-address", where,
                fmt::format("'{}' has a static address", name),
                "another instance has another address: with this one it cannot be reached",
                "amilift comments the address out and turns DHCP on");
        } else {
            add(Severity::info, "network-bound-to-mac", where,
                fmt::format("'{}' is bound to a MAC address", name),
                "another instance has another MAC address: the card would not come up",
                "amilift takes the address out");
        }
        return result.static_at.has_value();
    }

    Result<> edit_udev_rules() {
        bool any = false;
        AMILIFT_CHECK(each_file("/etc/udev/rules.d", [&](EditableFile file, std::string_view name) {
            if (!name.ends_with(".rules")) return;
            auto edited = edit_udev_names(file.text);
            if (edited.changes.empty()) return;
            any = true;
            // The same file under another name.
            if (std::ranges::find(network_.changes, file.path, &NetworkFileChange::path) !=
                network_.changes.end()) {
                return;
            }
            add(Severity::info, "network-name-by-mac",
                fmt::format("{}:{}", file.path, edited.changes.front().line),
                "a udev rule gives a card its name by its MAC address",
                "the card of another instance would become eth1, which nothing configures",
                "amilift removes the rule");
            network_.changes.push_back({std::move(file.path),
                                        std::move(file.text),
                                        std::move(edited.text),
                                        std::move(edited.changes),
                                        {}});
        }));
        AMILIFT_TRY(const auto there, link_kind(root_, kGenerator));
        if (!any || there != FileKind::missing) return {};
        for (const std::string_view directory : {"/lib/udev/rules.d", "/usr/lib/udev/rules.d"}) {
            AMILIFT_TRY(
                const auto kind,
                file_kind(root_, fmt::format("{}/75-persistent-net-generator.rules", directory)));
            if (kind != FileKind::regular) continue;
            network_.changes.push_back({std::string(kGenerator),
                                        std::nullopt,
                                        std::string(kGeneratorText),
                                        {},
                                        "no card is bound to its MAC address again"});
            break;
        }
        return {};
    }

    /// The gateway of the address that is gone.
    Result<> edit_gateways() {
        using Edit = EditedText (*)(std::string_view);
        const auto& card = network_.primary;
        const std::array<std::pair<std::string, Edit>, 4> files{
            {{"/etc/sysconfig/network", edit_sysconfig_network},
             {"/etc/sysconfig/network/routes", edit_routes},
             {fmt::format("/etc/sysconfig/network/ifroute-{}", card), edit_routes},
             {fmt::format("/etc/sysconfig/network-scripts/route-{}", card), edit_routes}}};
        for (const auto& [path, edit] : files) {
            AMILIFT_TRY(auto file, editable_file(root_, path, kFileLimit));
            if (!file) continue;
            auto edited = edit(file->text);
            if (edited.changes.empty()) continue;
            network_.changes.push_back({std::move(file->path),
                                        std::move(file->text),
                                        std::move(edited.text),
                                        std::move(edited.changes),
                                        {}});
        }
        return {};
    }

    // Names ----------------------------------------------------------------------------------

    Result<bool> has_active_rules(std::string_view name) {
        AMILIFT_TRY(const bool masked, is_masked(root_, fmt::format("/etc/udev/rules.d/{}", name)));
        if (masked) return false;
        for (const std::string_view directory :
             {"/lib/udev/rules.d", "/usr/lib/udev/rules.d", "/etc/udev/rules.d"}) {
            AMILIFT_TRY(const auto kind, file_kind(root_, fmt::format("{}/{}", directory, name)));
            if (kind == FileKind::regular) return true;
        }
        return false;
    }

    Result<> decide_naming() {
        const auto& primary = network_.primary;
        if (primary.empty()) return {};
        // Since systemd 209; 197 to 208 had other rules and no .link files.
        AMILIFT_TRY(const bool has_links, has_active_rules("80-net-setup-link.rules"));
        AMILIFT_TRY(const bool has_slots, has_active_rules("80-net-name-slot.rules"));
        AMILIFT_TRY(const bool no_default,
                    is_masked(root_, "/etc/systemd/network/99-default.link"));
        if (primary == "eth0") {
            if ((has_links || has_slots) && !no_default) {
                network_.naming.push_back({"net.ifnames", "0"});
            }
            return forget_biosdevname();
        }
        // The name that another machine's slots gave: 5 is the first card's on Nitro.
        if (primary == "ens5" || is_pattern(primary)) return {};
        if (!has_links || !is_plain_name(primary)) {
            add(Severity::warning, "network-names-other-card", "",
                fmt::format("the network configuration is for '{}'", printable(primary, 40)),
                "the first card of a Nitro instance is called ens5, or eth0: it could come up "
                "without an address",
                fmt::format("configure eth0 instead of '{}' in the source image, then make the "
                            "image again",
                            printable(primary, 40)));
            return {};
        }
        AMILIFT_CHECK(keep_name());
        network_.naming.push_back({"net.ifnames", "0"});
        AMILIFT_CHECK(switch_biosdevname_off());
        add(Severity::info, "network-card-renamed", "",
            fmt::format("the network configuration names {}", primary),
            "the first card of a Nitro instance would be ens5, which nothing configures",
            fmt::format("{} gives the first card that name", kLinkFile));
        return {};
    }

    Result<> switch_biosdevname_off() {
        for (const std::string_view path : {"/sbin/biosdevname", "/usr/sbin/biosdevname"}) {
            AMILIFT_TRY(const auto kind, file_kind(root_, path));
            if (kind != FileKind::regular) continue;
            network_.naming.push_back({"biosdevname", "0"});
            break;
        }
        return {};
    }

    Result<> forget_biosdevname() {
        AMILIFT_CHECK(switch_biosdevname_off());
        if (network_.naming.empty()) return {};
        add(Severity::info, "network-card-renamed", "",
            "the network configuration names eth0, and the guest's udev gives other names",
            "the card of a Nitro instance would be ens5, which nothing configures",
            fmt::format("kernels are told {}=0, unless they are told otherwise already",
                        network_.naming.front().key));
        return {};
    }

    /// A name that no kernel gives, so that a card can be called so: of systemd (enp0s3) or of
    /// biosdevname (em1, p1p1).
    static bool is_plain_name(std::string_view name) {
        const auto is_letter = [](char c) { return c >= 'a' && c <= 'z'; };
        const bool is_word = std::ranges::all_of(
            name, [&](char c) { return is_letter(c) || (c >= '0' && c <= '9'); });
        if (!is_word || name.size() >= 16) return false;
        if (name.starts_with("en")) return true;
        const std::string text(name);
        return std::ranges::count_if(name, is_letter) == 2 &&
               (::fnmatch("em[0-9]*", text.c_str(), 0) == 0 ||
                ::fnmatch("p[0-9]*p[0-9]*", text.c_str(), 0) == 0);
    }

    /// net.ifnames=0 leaves the kernel's eth0, in the initramfs too, and this file renames it:
    /// Name= holds although the policies are switched off. Source: systemd.link(5).
    Result<> keep_name() {
        AMILIFT_TRY(const auto there, link_kind(root_, kLinkFile));
        if (there != FileKind::missing) return {};
        network_.changes.push_back(
            {std::string(kLinkFile),
             std::nullopt,
             fmt::format("# Written by amilift: the first card keeps the name that it had.\n"
                         "[Match]\nOriginalName=eth0\n\n[Link]\nName={}\n",
                         network_.primary),
             {},
             fmt::format("the first card keeps the name {}", network_.primary)});
        return {};
    }

    void add(Severity severity, std::string id, std::string where, std::string seen,
             std::string consequence, std::string action) {
        if (where.empty()) {
            const auto found =
                std::ranges::find(candidates_, network_.primary, &Candidate::interface);
            if (found != candidates_.end()) where = found->file.path;
        }
        network_.findings.push_back({severity, std::move(id), std::move(where), std::move(seen),
                                     std::move(consequence), std::move(action)});
    }

    const SafeRoot& root_;
    std::vector<Candidate> candidates_;
    std::map<std::string, NetworkFileChange> edited_;
    std::set<std::string> read_;  ///< files of ifupdown, each read once
    GuestNetwork network_;
};

}  // namespace

Result<GuestNetwork> inspect_network(const SafeRoot& root) {
    return Reader(root).run();
}

}  // namespace amilift::image
