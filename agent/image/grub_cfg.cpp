// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdlib>
#include <map>
#include <set>

#include "image/boot_menu.hpp"
#include "image/grub_script.hpp"
#include "image/text_lines.hpp"

namespace amilift::image {

namespace {

using core::Errc;
using core::Result;
using grub_script::Block;
using grub_script::Node;
using grub_script::NodeKind;
using grub_script::Word;

/// Bytes of words that may be made: a script that doubles a variable grows without end.
constexpr std::size_t kWorkLimit = std::size_t{32} << 20;
constexpr std::size_t kNodeWork = 32;
constexpr std::size_t kVariableBytes = std::size_t{16} << 10;
constexpr std::size_t kMaxVariables = 1024;
constexpr std::size_t kArgumentBytes = std::size_t{16} << 10;
constexpr int kMaxDepth = 32;
constexpr int kMaxFiles = 64;
constexpr std::size_t kMaxBlsFiles = 512;
constexpr std::size_t kEnvBlockBytes = 65536;

/// One item of a menu: an entry, or a submenu with items of its own.
struct Item {
    std::string title;
    std::string id;
    std::optional<std::size_t> entry;  ///< index into the entries; absent: a submenu
    std::vector<Item> items;
};

struct Variables {
    std::map<std::string, std::string, std::less<>> values;
    std::set<std::string, std::less<>> exported;
};

class Grub2 {
  public:
    Grub2(const SafeRoot& root, const BootDisk& disk) : root_(root), disk_(disk) {}

    Result<BootMenu> run(std::string_view path) {
        menu_.kind = BootMenuKind::grub2;
        menu_.path = std::string(path);
        AMILIFT_TRY(menu_.text, root_.read(path, kTextLimit));
        start(path);
        AMILIFT_CHECK(run_text(menu_.path, menu_.text));
        if (from_bls_ && menu_.kind == BootMenuKind::grub2) {
            menu_.kind = BootMenuKind::boot_loader_spec;
        }
        if (too_complex_) {
            note(Severity::warning, "grub-cfg-too-complex", menu_.path,
                 "running the configuration takes too long", "not all entries are known",
                 "make it anew with grub-mkconfig");
        }
        choose();
        return std::move(menu_);
    }

  private:
    // --- variables ---------------------------------------------------------------------------

    void start(std::string_view path) {
        const auto* volume = disk_.holder_of(path);
        const auto device = volume == nullptr ? std::string("hd0") : grub2_device(disk_, *volume);
        const auto inside = volume == nullptr ? std::string(path) : path_on_volume(*volume, path);
        const auto directory = inside.substr(0, inside.rfind('/'));
        set("root", device);
        set("prefix", fmt::format("({}){}", device, directory));
        set("grub_cpu", "i386");
        set("grub_platform", "pc");
        set("cmdpath", "(hd0)");
        for (const char* name :
             {"chainloader_bpb", "default_font_path", "menuentry_id", "menuentry_options",
              "nativedisk_cmd", "ntldr", "platform_search_hint", "timeout_style",
              "all_video_module", "200_final"}) {
            set(fmt::format("feature_{}", name), "y");
        }
        set_config_place(device, inside);
        for (const auto& [name, value] : variables_.values) variables_.exported.insert(name);
    }

    void set_config_place(const std::string& device, const std::string& inside) {
        set("config_file", fmt::format("({}){}", device, inside));
        set("config_directory", fmt::format("({}){}", device, inside.substr(0, inside.rfind('/'))));
    }

    [[nodiscard]] const std::string& get(std::string_view name) const {
        static const std::string empty;
        const auto found = variables_.values.find(name);
        return found == variables_.values.end() ? empty : found->second;
    }

    void set(const std::string& name, std::string_view value) {
        if (value.size() > kVariableBytes || variables_.values.size() >= kMaxVariables ||
            !work(value.size())) {
            too_complex_ = true;
            return;
        }
        variables_.values[name] = std::string(value);
    }

    /// A copy, to be put back.
    Variables saved_variables() {
        std::size_t bytes = 0;
        for (const auto& [key, value] : variables_.values) bytes += key.size() + value.size();
        return work(bytes) ? variables_ : Variables{};
    }

    bool work(std::size_t bytes) {
        work_ += bytes + 1;
        if (work_ > kWorkLimit) too_complex_ = true;
        return !too_complex_;
    }

    // --- words -------------------------------------------------------------------------------

    void expand(const Word& word, std::vector<std::string>& out) {
        std::string text;
        bool is_word = false;
        for (const auto& piece : word) {
            const auto& value = piece.is_variable ? variable(piece.text) : piece.text;
            if (!work(value.size())) return;
            if (piece.is_variable && !piece.is_quoted) {
                split(value, text, is_word, out);
                continue;
            }
            text += value;
            is_word = is_word || piece.is_quoted || !value.empty();
        }
        if (is_word) out.push_back(std::move(text));
    }

    /// What stands outside of quotes is cut at blanks.
    static void split(const std::string& value, std::string& text, bool& is_word,
                      std::vector<std::string>& out) {
        for (const char c : value) {
            if (c == ' ' || c == '\t' || c == '\n') {
                if (is_word) out.push_back(std::move(text));
                text.clear();
                is_word = false;
            } else {
                text += c;
                is_word = true;
            }
        }
    }

    [[nodiscard]] const std::string& variable(const std::string& name) {
        if (!arguments_.empty() && name.size() == 1 && name[0] >= '1' && name[0] <= '9') {
            const auto index = static_cast<std::size_t>(name[0] - '1');
            scratch_ = index < arguments_.back().size() ? arguments_.back()[index] : "";
            return scratch_;
        }
        if (name == "?") {
            scratch_ = status_ ? "0" : "1";
            return scratch_;
        }
        if (name == "@" || name == "*" || name == "#") {
            scratch_.clear();
            if (arguments_.empty()) return scratch_;
            if (name == "#") {
                scratch_ = fmt::format("{}", arguments_.back().size());
            } else {
                for (const auto& a : arguments_.back())
                    scratch_ += (scratch_.empty() ? "" : " ") + a;
            }
            return scratch_;
        }
        return get(name);
    }

    // --- files -------------------------------------------------------------------------------

    /// Where a file of GRUB's lies in the tree; `device` receives the name of a device that the
    /// image does not have.
    [[nodiscard]] std::optional<std::string> file_path(std::string_view name,
                                                       std::string* device = nullptr) const {
        std::string_view on = get("root");
        if (name.starts_with('(')) {
            const auto end = name.find(')');
            if (end == std::string_view::npos) return std::nullopt;
            on = name.substr(1, end - 1);
            name.remove_prefix(end + 1);
        }
        const auto* volume = find_grub2_device(disk_, on);
        auto path = volume == nullptr ? std::nullopt : tree_path(*volume, name);
        if (!path && device != nullptr) {
            *device = on.starts_with('(') ? std::string(on) : fmt::format("({})", on);
        }
        return path;
    }

    [[nodiscard]] Result<FileStatus> status_of(std::string_view name) const {
        const auto path = file_path(name);
        if (!path) return FileStatus{};
        auto status = root_.status(*path);
        if (!status && !status.error().is(Errc::io_error)) return FileStatus{};
        return status;
    }

    /// Absent for what cannot be read.
    Result<std::optional<std::string>> read(std::string_view name, std::size_t limit) const {
        const auto path = file_path(name);
        if (!path) return std::nullopt;
        auto text = root_.read(*path, limit);
        if (text) return *std::move(text);
        if (text.error().is(Errc::io_error)) return std::unexpected(std::move(text).error());
        return std::nullopt;
    }

    Result<> run_text(const std::string& path, std::string_view text) {
        if (++files_ > kMaxFiles || depth_ >= kMaxDepth) {
            too_complex_ = true;
            return {};
        }
        const auto script = std::make_shared<const grub_script::Script>(grub_script::parse(text));
        scripts_.push_back(script);
        if (script->bad_line != 0) {
            note(Severity::warning, "grub-cfg-syntax", fmt::format("{}:{}", path, script->bad_line),
                 script->bad_because, "GRUB stops to read here; what follows is not known",
                 "make the configuration anew with grub-mkconfig");
        }
        const auto outer = std::exchange(file_, path);
        auto done = run_block(script->block);
        file_ = outer;
        return done;
    }

    // --- statements --------------------------------------------------------------------------

    Result<> run_block(const Block& block) {
        if (depth_ >= kMaxDepth) too_complex_ = true;
        ++depth_;
        for (const auto& node : block) {
            if (too_complex_ || stop_) break;
            if (auto done = run_node(node); !done) {
                --depth_;
                return done;
            }
        }
        --depth_;
        return {};
    }

    Result<> run_node(const Node& node) {
        if (!work(kNodeWork)) return {};
        switch (node.kind) {
            case NodeKind::command:
                return run_command(node);
            case NodeKind::condition:
                for (const auto& [question, answer] : node.branches) {
                    AMILIFT_CHECK(run_block(question));
                    if (status_) return run_block(answer);
                }
                status_ = true;
                return run_block(node.otherwise);
            case NodeKind::loop_for: {
                std::vector<std::string> items;
                for (std::size_t i = 1; i < node.words.size(); ++i) expand(node.words[i], items);
                std::vector<std::string> names;
                expand(node.words[0], names);
                for (const auto& item : items) {
                    if (too_complex_ || stop_ || names.empty()) break;
                    set(names[0], item);
                    AMILIFT_CHECK(run_block(*node.body));
                }
                return {};
            }
            case NodeKind::loop_while:
                while (!too_complex_ && !stop_) {
                    AMILIFT_CHECK(run_block(node.branches.front().first));
                    if (status_ == node.negated || !work(kNodeWork)) break;
                    AMILIFT_CHECK(run_block(*node.body));
                }
                return {};
            case NodeKind::function: {
                std::vector<std::string> names;
                expand(node.words[0], names);
                if (!names.empty()) functions_[names[0]] = node.body;
                return {};
            }
        }
        return {};
    }

    Result<> run_command(const Node& node) {
        std::vector<std::string> words;
        for (const auto& word : node.words) expand(word, words);
        if (words.empty() || too_complex_) return {};
        line_ = node.line;
        const auto name = words[0];
        if (node.words.size() == 1 && !node.words[0].empty() && is_assignment(name)) {
            words.insert(words.begin(), "set");
            assign(words);
            return {};
        }
        if (const auto function = functions_.find(name); function != functions_.end()) {
            return call(function->second, {words.begin() + 1, words.end()});
        }
        if (name == "menuentry" || name == "submenu") return add_item(node, words);
        status_ = true;
        if (name == "set") {
            assign(words);
        } else if (name == "unset") {
            for (std::size_t i = 1; i < words.size(); ++i) variables_.values.erase(words[i]);
        } else if (name == "export") {
            for (std::size_t i = 1; i < words.size(); ++i) variables_.exported.insert(words[i]);
        } else if (name == "false" || name == "keystatus") {
            status_ = false;
        } else if (name == "[" || name == "test") {
            if (name == "[" && words.size() > 1 && words.back() == "]") words.pop_back();
            AMILIFT_TRY(status_, Test(*this, words).run());
        } else if (name == "return" || name == "break" || name == "continue") {
            stop_ = name == "return";
        } else if (name.starts_with("search")) {
            AMILIFT_CHECK(search(words));
        } else if (name == "load_env") {
            AMILIFT_CHECK(load_env(words));
        } else if (name == "source" || name == "." || name == "configfile" || name == "normal") {
            AMILIFT_CHECK(run_file(words, name == "configfile" || name == "normal"));
        } else if (name == "legacy_configfile" || name == "legacy_source") {
            if (entry_ == nullptr && words.size() > 1) {
                menu_.legacy_menu = file_path(words[1]).value_or("");
            }
        } else if (name == "blscfg") {
            AMILIFT_CHECK(load_bls());
        } else if (entry_ != nullptr) {
            boot_command(words);
        }
        return {};
    }

    static bool is_assignment(std::string_view word) {
        const auto equals = word.find('=');
        return equals != std::string_view::npos && equals > 0 &&
               word.substr(0, equals).find_first_not_of(
                   "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") ==
                   std::string_view::npos;
    }

    void assign(const std::vector<std::string>& words) {
        for (std::size_t i = 1; i < words.size(); ++i) {
            const auto equals = words[i].find('=');
            if (equals == std::string::npos) continue;
            set(words[i].substr(0, equals), std::string_view(words[i]).substr(equals + 1));
        }
    }

    Result<> call(const std::shared_ptr<const Block>& body, std::vector<std::string> arguments) {
        arguments_.push_back(std::move(arguments));
        auto done = run_block(*body);
        arguments_.pop_back();
        stop_ = false;
        return done;
    }

    Result<> run_file(const std::vector<std::string>& words, bool new_context) {
        // A menu that an entry leads to is shown; nobody is there to choose from it.
        if (entry_ != nullptr || words.size() < 2) return {};
        AMILIFT_TRY(const auto text, read(words[1], kTextLimit));
        if (!text) {
            status_ = false;
            note(Severity::warning, "grub-cfg-file-missing", fmt::format("{}:{}", file_, line_),
                 fmt::format("'{}' cannot be read", printable(words[1])), "GRUB goes on without it",
                 "");
            return {};
        }
        const auto path = *file_path(words[1]);
        if (!new_context) return run_text(path, *text);
        auto outer = saved_variables();
        std::erase_if(variables_.values,
                      [this](const auto& v) { return !variables_.exported.contains(v.first); });
        if (const auto* volume = disk_.holder_of(path)) {
            set_config_place(grub2_device(disk_, *volume), path_on_volume(*volume, path));
        }
        // A menu without entries of its own hands over to the other file for good.
        const bool takes_over = items_.empty();
        auto done = run_text(path, *text);
        if (takes_over && !items_.empty()) {
            menu_.path = path;
            menu_.text = *text;
            return done;
        }
        variables_ = std::move(outer);
        return done;
    }

    Result<> search(const std::vector<std::string>& words) {
        enum class What { none, uuid, label, file };
        auto what = words[0] == "search.fs_uuid"    ? What::uuid
                    : words[0] == "search.fs_label" ? What::label
                    : words[0] == "search.file"     ? What::file
                                                    : What::none;
        std::string name;
        std::string target = what == What::none ? "" : "root";
        std::size_t positional = 0;
        for (std::size_t i = 1; i < words.size(); ++i) {
            const std::string_view word = words[i];
            if (what != What::none && words[0] != "search") {
                if (positional == 0) name = words[i];
                if (positional == 1) target = words[i];
                ++positional;
            } else if (word == "--fs-uuid" || word == "-u") {
                what = What::uuid;
            } else if (word == "--label" || word == "-l" || word == "--fs-label") {
                what = What::label;
            } else if (word == "--file" || word == "-f") {
                what = What::file;
            } else if (word == "--set" || word == "-s") {
                target = "root";
            } else if (word.starts_with("--set=")) {
                target = words[i].substr(6);
            } else if (word == "--hint" || word == "-h") {
                ++i;
            } else if (!word.starts_with('-')) {
                if (name.empty()) name = words[i];
            }
        }
        status_ = false;
        for (const auto& volume : disk_.volumes) {
            if (name.empty()) break;
            bool found = false;
            if (what == What::uuid) found = same_uuid(volume.uuid, name);
            if (what == What::label || what == What::none) found = volume.label == name;
            if (what == What::file) {
                const auto path = tree_path(volume, name);
                if (!path) continue;
                const auto status = root_.status(*path);
                if (!status && status.error().is(Errc::io_error)) {
                    return std::unexpected(status.error());
                }
                found = status && status->kind == FileKind::regular;
            }
            if (!found) continue;
            status_ = true;
            if (!target.empty()) set(target, grub2_device(disk_, volume));
            break;
        }
        return {};
    }

    static bool same_uuid(std::string_view a, std::string_view b) {
        return std::ranges::equal(a, b, [](char x, char y) {
            return std::tolower(static_cast<unsigned char>(x)) ==
                   std::tolower(static_cast<unsigned char>(y));
        });
    }

    Result<> load_env(const std::vector<std::string>& words) {
        std::string file = get("prefix") + "/grubenv";
        std::vector<std::string> wanted;
        for (std::size_t i = 1; i < words.size(); ++i) {
            if ((words[i] == "-f" || words[i] == "--file") && i + 1 < words.size()) {
                file = words[++i];
            } else if (words[i].starts_with("--file=")) {
                file = words[i].substr(7);
            } else if (!words[i].starts_with('-')) {
                wanted.push_back(words[i]);
            }
        }
        AMILIFT_TRY(const auto text, read(file, kEnvBlockBytes));
        status_ = text && text->starts_with("# GRUB Environment Block\n");
        if (!status_) return {};
        for (const auto& line : split_lines(*text)) {
            const auto equals = line.body.find('=');
            if (line.body.starts_with('#') || equals == std::string_view::npos) continue;
            const std::string key(line.body.substr(0, equals));
            if (!wanted.empty() && std::ranges::find(wanted, key) == wanted.end()) continue;
            std::string value;
            for (std::size_t i = equals + 1; i < line.body.size(); ++i) {
                if (line.body[i] == '\\' && i + 1 < line.body.size()) ++i;
                value += line.body[i];
            }
            set(key, value);
        }
        return {};
    }

    // --- conditions --------------------------------------------------------------------------

    /// The command `test`: -o binds weaker than -a, ! and parentheses as usual.
    class Test {
      public:
        Test(Grub2& grub, const std::vector<std::string>& words) : grub_(grub), words_(words) {}
        Result<bool> run() { return either(0); }

      private:
        [[nodiscard]] bool more() const { return at_ < words_.size(); }
        [[nodiscard]] bool is(std::string_view word) const { return more() && words_[at_] == word; }

        Result<bool> either(int depth) {
            AMILIFT_TRY(auto value, both(depth));
            while (is("-o")) {
                ++at_;
                AMILIFT_TRY(const auto right, both(depth));
                value = value || right;
            }
            return value;
        }
        Result<bool> both(int depth) {
            AMILIFT_TRY(auto value, one(depth));
            while (is("-a")) {
                ++at_;
                AMILIFT_TRY(const auto right, one(depth));
                value = value && right;
            }
            return value;
        }
        Result<bool> one(int depth) {
            if (!more() || depth > kMaxDepth) return false;
            if (is("!") && at_ + 1 < words_.size()) {
                ++at_;
                AMILIFT_TRY(const auto value, one(depth + 1));
                return !value;
            }
            if (is("(")) {
                ++at_;
                AMILIFT_TRY(const auto value, either(depth + 1));
                if (is(")")) ++at_;
                return value;
            }
            if (at_ + 2 < words_.size()) {
                if (const auto value = compare(words_[at_], words_[at_ + 1], words_[at_ + 2])) {
                    at_ += 3;
                    return *value;
                }
            }
            const auto& word = words_[at_++];
            if (word.size() == 2 && word[0] == '-' && more()) return ask(word[1], words_[at_++]);
            return !word.empty();
        }
        Result<bool> ask(char what, const std::string& operand) {
            if (what == 'z') return operand.empty();
            if (what == 'n') return !operand.empty();
            AMILIFT_TRY(const auto status, grub_.status_of(operand));
            if (what == 'd') return status.kind == FileKind::directory;
            if (what == 'e') return status.kind != FileKind::missing;
            if (what == 's') return status.kind != FileKind::missing && status.size_bytes > 0;
            return what == 'f' && status.kind == FileKind::regular;
        }
        static std::optional<bool> compare(const std::string& a, std::string_view how,
                                           const std::string& b) {
            if (how == "=" || how == "==") return a == b;
            if (how == "!=") return a != b;
            if (how == "<") return a < b;
            if (how == ">") return a > b;
            if (how == "<=") return a <= b;
            if (how == ">=") return a >= b;
            const auto x = std::strtoll(a.c_str(), nullptr, 0);
            const auto y = std::strtoll(b.c_str(), nullptr, 0);
            if (how == "-eq") return x == y;
            if (how == "-ne") return x != y;
            if (how == "-lt") return x < y;
            if (how == "-le") return x <= y;
            if (how == "-gt") return x > y;
            if (how == "-ge") return x >= y;
            return std::nullopt;
        }

        Grub2& grub_;
        const std::vector<std::string>& words_;
        std::size_t at_ = 1;
    };

    // --- menus -------------------------------------------------------------------------------

    Result<> add_item(const Node& node, const std::vector<std::string>& words) {
        // An entry's own text cannot add entries that anybody sees.
        if (entry_ != nullptr) return {};
        if (menu_.entries.size() >= kMaxSimulatedEntries) {
            too_complex_ = true;
            return {};
        }
        Item item;
        bool has_title = false;
        for (std::size_t i = 1; i < words.size(); ++i) {
            const std::string_view word = words[i];
            if (word == "--class" || word == "--users" || word == "--hotkey" ||
                word == "--source") {
                ++i;
            } else if (word == "--id" && i + 1 < words.size()) {
                item.id = words[++i];
            } else if (word.starts_with("--id=")) {
                item.id = words[i].substr(5);
            } else if (!word.starts_with("--") && !has_title) {
                item.title = words[i];
                has_title = true;
            }
        }
        if (words[0] == "submenu") return add_submenu(node, std::move(item));
        BootEntry entry;
        entry.title = item.title;
        entry.where = fmt::format("{}:{}", file_, node.line);
        entry.kernel_where = entry.where;
        entry.initrd_where = entry.where;
        if (node.body) AMILIFT_CHECK(run_entry(*node.body, entry));
        item.entry = menu_.entries.size();
        menu_.entries.push_back(std::move(entry));
        items().push_back(std::move(item));
        status_ = true;
        return {};
    }

    /// The items of the menu that is being made.
    std::vector<Item>& items() {
        auto* list = &items_;
        for (std::size_t i = 0; i < menu_depth_; ++i) list = &list->back().items;
        return *list;
    }

    /// What the entry's commands do happens when it is chosen, and to nobody else's variables.
    Result<> run_entry(const Block& body, BootEntry& entry) {
        auto outer = saved_variables();
        entry_ = &entry;
        auto done = run_block(body);
        entry_ = nullptr;
        stop_ = false;
        variables_ = std::move(outer);
        return done;
    }

    Result<> add_submenu(const Node& node, Item item) {
        items().push_back(std::move(item));
        if (!node.body) return {};
        auto outer = saved_variables();
        std::erase_if(variables_.values,
                      [this](const auto& v) { return !variables_.exported.contains(v.first); });
        ++menu_depth_;
        auto done = run_block(*node.body);
        --menu_depth_;
        variables_ = std::move(outer);
        return done;
    }

    void boot_command(const std::vector<std::string>& words) {
        const auto& name = words[0];
        const auto where = fmt::format("{}:{}", file_, line_);
        if (name == "linux" || name == "linux16" || name == "linuxefi") {
            if (words.size() < 2) return;
            entry_->kernel_where = where;
            entry_->kernel = boot_file(words[1]);
            entry_->arguments.clear();
            for (std::size_t i = 2; i < words.size(); ++i) add_argument(words[i]);
        } else if (name == "initrd" || name == "initrd16" || name == "initrdefi") {
            entry_->initrd_where = where;
            entry_->initrds.clear();
            for (std::size_t i = 1; i < words.size(); ++i) {
                entry_->initrds.push_back(boot_file(words[i]));
            }
        } else if (name.starts_with("multiboot") || name.starts_with("xen_hypervisor")) {
            entry_->is_hypervisor = true;
            entry_->kernel_where = where;
            if (words.size() > 1) entry_->kernel = boot_file(words[1]);
        }
    }

    /// Path in the tree of a file to boot; empty, with the entry told to be of another disk, where
    /// the image has no such place.
    std::string boot_file(const std::string& name) {
        std::string device;
        auto path = file_path(name, &device);
        if (path) return *std::move(path);
        if (entry_->other_disk.empty()) entry_->other_disk = device.empty() ? name : device;
        return name;
    }

    /// GRUB quotes an argument with blanks again before the kernel sees it.
    void add_argument(const std::string& word) {
        auto& line = entry_->arguments;
        if (line.size() + word.size() > kArgumentBytes) return;
        if (!line.empty()) line += ' ';
        const bool quote = word.find(' ') != std::string::npos;
        if (quote) line += '"';
        line += word;
        if (quote) line += '"';
    }

    Result<> load_bls() {
        if (entry_ != nullptr) return {};
        std::string directory;
        std::vector<std::string> names;
        const auto wanted = get("blsdir");
        const auto boot = get("boot");
        for (const std::string& place :
             {wanted, std::string("/loader/entries"), std::string("/boot/loader/entries")}) {
            if (place.empty()) continue;
            const auto path = file_path(place.starts_with('(') || boot.empty()
                                            ? place
                                            : fmt::format("({}){}", boot, place));
            if (!path) continue;
            auto list = root_.list(*path, std::size_t{4096});
            if (!list) {
                if (list.error().is(Errc::io_error)) return std::unexpected(list.error());
                continue;
            }
            std::erase_if(*list, [](const std::string& n) { return !n.ends_with(".conf"); });
            if (list->empty()) continue;
            directory = *path;
            names = *std::move(list);
            break;
        }
        if (names.empty()) {
            note(Severity::warning, "bls-no-entry", fmt::format("{}:{}", file_, line_),
                 "there is no entry in /boot/loader/entries", "GRUB shows none",
                 "install a kernel again");
            return {};
        }
        std::ranges::sort(names, [](const std::string& a, const std::string& b) {
            if (is_newer_version(a, b)) return true;
            return !is_newer_version(b, a) && a > b;
        });
        if (names.size() > kMaxBlsFiles) names.resize(kMaxBlsFiles);
        for (const auto& name : names) AMILIFT_CHECK(add_bls(directory, name));
        return {};
    }

    Result<> add_bls(const std::string& directory, const std::string& name) {
        const auto path = fmt::format("{}/{}", directory, name);
        auto text = root_.read(path, std::size_t{64} << 10);
        if (!text) {
            if (text.error().is(Errc::io_error)) return std::unexpected(std::move(text).error());
            return {};
        }
        if (menu_.entries.size() >= kMaxSimulatedEntries || !work(text->size())) return {};
        const auto parsed = parse_bls_entry(name.substr(0, name.size() - 5), *text);
        BootEntry entry;
        entry.title = parsed.title;
        entry.where = fmt::format("{}:{}", path, std::max(parsed.kernel_line, 1));
        entry.kernel_where = entry.where;
        entry.initrd_where = fmt::format("{}:{}", path, std::max(parsed.initrd_line, 1));
        entry_ = &entry;
        if (!parsed.kernel.empty()) entry.kernel = boot_file(on_boot(parsed.kernel));
        for (const auto& initrd : parsed.initrds) {
            for (const auto& file : with_variables(initrd)) {
                entry.initrds.push_back(boot_file(on_boot(file)));
            }
        }
        for (const auto& word : with_variables(parsed.options)) add_argument(word);
        entry_ = nullptr;
        from_bls_ = true;
        Item item{
            .title = entry.title, .id = parsed.id, .entry = menu_.entries.size(), .items = {}};
        menu_.entries.push_back(std::move(entry));
        items().push_back(std::move(item));
        return {};
    }

    [[nodiscard]] std::string on_boot(const std::string& name) const {
        const auto boot = get("boot");
        return boot.empty() || name.starts_with('(') ? name : fmt::format("({}){}", boot, name);
    }

    /// Words of a BLS line with GRUB's variables put in.
    std::vector<std::string> with_variables(std::string_view text) {
        std::vector<std::string> out;
        for (const auto word : split_words(text)) {
            if (!word.starts_with('$')) {
                out.emplace_back(word);
                continue;
            }
            auto name = word.substr(1);
            if (name.starts_with('{') && name.ends_with('}')) {
                name.remove_prefix(1);
                name.remove_suffix(1);
            }
            for (const auto part : split_words(get(name))) out.emplace_back(part);
        }
        return out;
    }

    // --- the choice --------------------------------------------------------------------------

    /// Number or name of an item, as grub-core/normal/menu.c takes it.
    static std::optional<std::size_t> find_item(const std::vector<Item>& items,
                                                std::string_view name) {
        const auto digits = std::min(name.find_first_not_of("0123456789"), name.size());
        if (digits > 0 && (digits == name.size() || name[digits] == '>')) {
            std::size_t number = 0;
            std::from_chars(name.data(), name.data() + digits, number);
            return number < items.size() ? std::optional(number) : std::nullopt;
        }
        for (std::size_t i = 0; i < items.size(); ++i) {
            if (!items[i].id.empty() && leads(items[i].id, name)) return i;
            if (leads(items[i].title, name)) return i;
        }
        return std::nullopt;
    }

    /// Is `text` all of `name`, or all of it before a single '>'? A '>' of its own is doubled.
    static bool leads(std::string_view text, std::string_view name) {
        return name == doubled(text) ||
               (name.starts_with(doubled(text)) && rest_of(name, text).has_value());
    }
    static std::string doubled(std::string_view text) {
        std::string out;
        for (const char c : text) out += c == '>' ? ">>" : std::string(1, c);
        return out;
    }
    static std::optional<std::string_view> rest_of(std::string_view name, std::string_view text) {
        const auto size = doubled(text).size();
        if (name.size() <= size || name[size] != '>') return std::nullopt;
        if (name.size() > size + 1 && name[size + 1] == '>') return std::nullopt;
        return name.substr(size + 1);
    }

    /// The part of a choice behind the item's own name or number: "1>2" leaves "2".
    static std::string_view below(std::string_view name, const Item& item) {
        for (const auto& text : {item.id, item.title}) {
            if (const auto rest = rest_of(name, text); rest && !text.empty()) return *rest;
        }
        const auto digits = std::min(name.find_first_not_of("0123456789"), name.size());
        return digits > 0 && digits < name.size() && name[digits] == '>' ? name.substr(digits + 1)
                                                                         : std::string_view{};
    }

    /// The entry that a choice leads to: the first one of each submenu that it does not look into.
    static std::optional<std::size_t> follow(const std::vector<Item>& top, std::string_view name) {
        const auto* items = &top;
        while (!items->empty()) {
            const auto& item = (*items)[find_item(*items, name).value_or(0)];
            if (item.entry) return item.entry;
            name = below(name, item);
            items = &item.items;
        }
        return std::nullopt;
    }

    void choose() {
        if (!menu_.legacy_menu.empty() || menu_.entries.empty()) return;
        const auto& wanted = get("default");
        if (!wanted.empty() && !find_item(items_, wanted)) {
            note(Severity::warning, "default-not-found", menu_.path,
                 fmt::format("the default is '{}', which is no entry", printable(wanted, 80)),
                 "GRUB boots the first entry", "");
        }
        if (const auto entry = follow(items_, wanted)) menu_.order.push_back(*entry);
        for (const auto name : split_words(get("fallback"))) {
            if (!find_item(items_, name)) continue;
            if (const auto entry = follow(items_, name)) menu_.order.push_back(*entry);
        }
    }

    void note(Severity severity, std::string_view id, std::string where, std::string seen,
              std::string consequence, std::string action) {
        if (menu_.findings.size() >= 32) return;
        menu_.findings.push_back({severity, std::string(id), std::move(where), std::move(seen),
                                  std::move(consequence), std::move(action)});
    }

    const SafeRoot& root_;
    const BootDisk& disk_;
    BootMenu menu_;
    Variables variables_;
    std::map<std::string, std::shared_ptr<const Block>, std::less<>> functions_;
    /// Functions point into them.
    std::vector<std::shared_ptr<const grub_script::Script>> scripts_;
    std::vector<std::vector<std::string>> arguments_;
    std::vector<Item> items_;
    std::size_t menu_depth_ = 0;
    BootEntry* entry_ = nullptr;  ///< whose commands run; null: the menu is being made
    std::string file_;
    std::string scratch_;
    int line_ = 0;
    int depth_ = 0;
    int files_ = 0;
    std::size_t work_ = 0;
    bool status_ = true;
    bool stop_ = false;
    bool from_bls_ = false;
    bool too_complex_ = false;
};

}  // namespace

Result<BootMenu> simulate_grub2(const SafeRoot& root, const BootDisk& disk,
                                std::string_view config_path) {
    return Grub2(root, disk).run(config_path);
}

}  // namespace amilift::image
