// SPDX-License-Identifier: Apache-2.0
#include "tests/agent/worker/pv_image.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <map>
#include <random>
#include <sstream>

#include "core/sha256.hpp"

namespace amilift::worker::test {
namespace {

namespace fs = std::filesystem;

void run(const std::vector<std::string>& argv) {
    core::ProcessRunner runner;
    const auto done = runner.run_ok({.argv = argv});
    ASSERT_TRUE(done) << done.error().message();
}

std::string extended_attributes(const std::string& path) {
    std::string names(4096, '\0');
    const auto n = ::llistxattr(path.c_str(), names.data(), names.size());
    std::vector<std::string> found;
    for (std::size_t at = 0; n > 0 && at < static_cast<std::size_t>(n);) {
        const std::string name(names.c_str() + at);
        at += name.size() + 1;
        std::string value(4096, '\0');
        const auto size = ::lgetxattr(path.c_str(), name.c_str(), value.data(), value.size());
        value.resize(size < 0 ? 0 : static_cast<std::size_t>(size));
        found.push_back(name + "=" + core::sha256_hex(value).value());
    }
    std::ranges::sort(found);
    return fmt::format("{}", fmt::join(found, ","));
}

}  // namespace

std::string noise(std::size_t bytes, unsigned seed) {
    std::mt19937 random(seed);
    std::string text(bytes, '\0');
    for (auto& c : text) c = static_cast<char>(random());
    return text;
}

std::string bz_image(const std::string& version, std::size_t bytes) {
    std::string text = noise(bytes, 7);
    const auto put = [&](std::size_t offset, std::initializer_list<int> values) {
        for (const int value : values) text[offset++] = static_cast<char>(value);
    };
    put(0x1f1, {4});           // setup sectors
    put(0x1fe, {0x55, 0xaa});  // boot flag
    text.replace(0x202, 4, "HdrS");
    put(0x206, {0x0c, 0x02});  // protocol 2.12
    put(0x20e, {0x00, 0x04});  // the version's place, less 0x200
    put(0x236, {0x03, 0x00});  // 64-bit entry
    text.replace(0x600, version.size() + 1, version + '\0');
    return text;
}

void write_pv_tree(const std::string& tree) {
    const std::string kernel = "2.6.32-754.el6.x86_64";
    write_text(tree + "/boot/vmlinuz-" + kernel, bz_image(kernel + " (builder@host) #1", 300000));
    write_text(tree + "/boot/initramfs-" + kernel + ".img", noise(200000, 8));
    write_text(tree + "/boot/config-" + kernel, "CONFIG_XEN=y\n# CONFIG_X86_XEN is not set\n");
    write_text(tree + "/boot/grub/grub.conf",
               "# menu of the image\n"
               "default=0\ntimeout=0\nhiddenmenu\n"
               "title Enterprise (" +
                   kernel +
                   ")\n"
                   "\troot (hd0)\n"
                   "\tkernel /boot/vmlinuz-" +
                   kernel +
                   " ro root=LABEL=/ console=hvc0\n"
                   "\tinitrd /boot/initramfs-" +
                   kernel + ".img\n");
    fs::create_symlink("./grub.conf", tree + "/boot/grub/menu.lst");
    write_text(tree + "/sbin/init", "ELF");
    write_text(tree + "/etc/fstab",
               "# made by hand\n"
               "LABEL=/      /         ext3    defaults,noatime  1 1\n"
               "/dev/xvdb    /mnt      ext3    defaults          0 0\n"
               "tmpfs        /dev/shm  tmpfs   defaults          0 0\n");
    fs::create_symlink("../boot/grub/grub.conf", tree + "/etc/grub.conf");
    write_text(tree + "/etc/redhat-release", "CentOS release 6.10 (Final)\n");
    write_text(tree + "/etc/securetty", "console\nhvc0\n");
    write_text(tree + "/etc/shadow", "root:*:1::::::\n");
    fs::permissions(tree + "/etc/shadow", fs::perms::none);
    write_text(tree + "/usr/bin/suid", "#!/bin/sh\n");
    ASSERT_EQ(::chown((tree + "/usr/bin/suid").c_str(), 12, 34), 0);
    ASSERT_EQ(::chmod((tree + "/usr/bin/suid").c_str(), 06755), 0);
    ASSERT_EQ(::setxattr((tree + "/usr/bin/suid").c_str(), "user.note", "kept", 4, 0), 0);
    fs::create_hard_link(tree + "/usr/bin/suid", tree + "/usr/bin/other-name");
    write_text(tree + "/home/user/caf\xe9 with blanks", "x");
    fs::create_symlink("../../../../etc/passwd", tree + "/home/user/link");
    ASSERT_EQ(::mkfifo((tree + "/home/fifo").c_str(), 0600), 0);
    fs::create_directories(tree + "/dev");
    if (::geteuid() == 0) {
        ASSERT_EQ(::mknod((tree + "/dev/console").c_str(), S_IFCHR | 0600, ::makedev(5, 1)), 0);
    }
    for (unsigned i = 0; i < 40; ++i) {
        write_text(fmt::format("{}/usr/share/data/{}/file", tree, i),
                   noise(std::size_t{i} * 997, i));
    }
    write_text(tree + "/usr/share/sparse", "end");
    fs::resize_file(tree + "/usr/share/sparse", 3U << 20);
    fs::create_directories(tree + "/var/lib");
    fs::create_directories(tree + "/tmp");
    ASSERT_EQ(::chmod((tree + "/tmp").c_str(), 01777), 0);
    // Old times everywhere, so that a changed one is seen.
    run({"find", tree, "-depth", "-exec", "touch", "-h", "-d", "2012-03-04 05:06:07 UTC", "{}",
         "+"});
}

void make_ext_image(const std::string& path, const std::string& tree, unsigned mebibytes,
                    const std::string& type, const std::vector<std::string>& options) {
    modules::test::make_file(path, std::uint64_t{mebibytes} << 20);
    // A fixed UUID and hash seed keep plans and manifests comparable.
    std::vector<std::string> argv{"mke2fs",
                                  "-q",
                                  "-F",
                                  "-t",
                                  type,
                                  "-L",
                                  "/",
                                  "-U",
                                  "0b5e7a52-6d3c-4f0a-9a35-0d9d3f1a7c11",
                                  "-E",
                                  "hash_seed=0b5e7a52-6d3c-4f0a-9a35-0d9d3f1a7c12",
                                  "-d",
                                  tree};
    argv.insert(argv.end(), options.begin(), options.end());
    argv.push_back(path);
    run(argv);
}

void make_older_maps(const std::string& image, std::uint64_t offset, const std::string& path) {
    const auto device = offset == 0 ? image : fmt::format("{}?offset={}", image, offset);
    core::ProcessRunner runner;
    const auto output = [&](const std::vector<std::string>& argv) {
        const auto done = runner.run_ok({.argv = argv});
        EXPECT_TRUE(done) << done.error().message();
        return done ? done->out : std::string();
    };
    const auto number_after = [](const std::string& text, const std::string& field,
                                 std::size_t from = 0) {
        const auto at = text.find(field, from);
        EXPECT_NE(at, std::string::npos) << field;
        return at == std::string::npos ? 0 : std::stoul(text.substr(at + field.size()));
    };
    const auto layout = output({"dumpe2fs", device});
    const auto first_block = number_after(layout, "First block:");
    const auto group_blocks = number_after(layout, "Blocks per group:");
    std::map<std::size_t, std::size_t> freed;  // by group
    std::string script;
    std::size_t total = 0;
    std::istringstream blocks(output({"debugfs", "-R", "blocks " + path, device}));
    for (std::size_t block = 0; blocks >> block; ++total) {
        script += fmt::format("freeb {}\n", block);
        ++freed[(block - first_block) / group_blocks];
    }
    ASSERT_GT(total, 0U) << path;
    for (const auto& [group, count] : freed) {
        const auto at = layout.find(fmt::format("\nGroup {}:", group));
        ASSERT_NE(at, std::string::npos);
        // "  8045 free blocks, 2036 free inodes, ..."
        const auto word = layout.find(" free blocks", at);
        const auto digits = layout.find_last_not_of("0123456789", word - 1) + 1;
        script += fmt::format("set_bg {} free_blocks_count {}\n", group,
                              std::stoul(layout.substr(digits)) + count);
    }
    script += fmt::format("ssv free_blocks_count {}\nssv state 0\n",
                          number_after(layout, "Free blocks:") + total);
    const auto commands = image + ".debugfs";
    write_text(commands, script);
    run({"debugfs", "-w", "-f", commands, device});
    fs::remove(commands);
}

std::vector<std::string> describe_tree(const std::string& root) {
    std::vector<std::string> lines;
    const auto describe = [&](const std::string& path) {
        struct stat status{};
        ASSERT_EQ(::lstat(path.c_str(), &status), 0) << path;
        std::string content;
        if (S_ISREG(status.st_mode)) content = core::sha256_hex(read_text(path)).value();
        if (S_ISLNK(status.st_mode)) content = fs::read_symlink(path).string();
        if (S_ISCHR(status.st_mode) || S_ISBLK(status.st_mode)) {
            content = fmt::format("{}", status.st_rdev);
        }
        lines.push_back(
            fmt::format("{} mode={:o} owner={}:{} links={} size={} mtime={}.{} xattrs=[{}] {}",
                        path.size() == root.size() ? "/" : path.substr(root.size()), status.st_mode,
                        status.st_uid, status.st_gid, status.st_nlink,
                        S_ISDIR(status.st_mode) ? 0 : status.st_size, status.st_mtim.tv_sec,
                        status.st_mtim.tv_nsec, extended_attributes(path), content));
    };
    describe(root);
    for (const auto& entry : fs::recursive_directory_iterator(root)) describe(entry.path());
    std::ranges::sort(lines);
    return lines;
}

std::vector<std::string> loops_on(const std::string& directory) {
    std::vector<std::string> found;
    for (const auto& entry : fs::directory_iterator("/sys/block")) {
        const auto backing = read_text(entry.path().string() + "/loop/backing_file");
        if (backing.starts_with(directory)) found.push_back(entry.path().filename());
    }
    return found;
}

std::vector<std::string> image_mounts() {
    std::vector<std::string> found;
    std::ifstream mounts("/proc/self/mountinfo");
    for (std::string line; std::getline(mounts, line);) {
        if (line.find("amilift") != std::string::npos) found.push_back(line);
    }
    return found;
}

TestMount::TestMount(const std::string& image, std::uint64_t offset, const std::string& options) {
    core::ProcessRunner runner;
    const auto done =
        runner.run_ok({.argv = {"mount", "-o", fmt::format("loop,offset={},{}", offset, options),
                                image, directory_.path()}});
    EXPECT_TRUE(done) << done.error().message();
    mounted_ = done.has_value();
}

TestMount::~TestMount() {
    core::ProcessRunner runner;
    if (!mounted_) return;
    EXPECT_TRUE(runner.run_ok({.argv = {"umount", directory_.path()}}));
}

}  // namespace amilift::worker::test
