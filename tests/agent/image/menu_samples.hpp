// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <string_view>

namespace amilift::image {

struct MenuSample {
    std::string_view name;
    std::string_view text;
};

/// Menus as they are found in the field, shortened. Tests about every one of them loop over this.
inline constexpr std::array<MenuSample, 24> kMenuSamples{{
    {"PlainAmazon",
     "default=0\n"
     "timeout=0\n"
     "hiddenmenu\n"
     "\n"
     "# made by an image builder\n"
     "title Amazon Linux 2014.03 (3.10.34-37.137.amzn1.x86_64)\n"
     "root (hd0)\n"
     "kernel /boot/vmlinuz-3.10.34-37.137.amzn1.x86_64 root=LABEL=/ console=hvc0\n"
     "initrd /boot/initramfs-3.10.34-37.137.amzn1.x86_64.img\n"},
    {"TwoDisksOnALine",
     "title one\n"
     "kernel (hd0)/boot/vmlinuz-1 root=LABEL=/ splash=(hd0)/boot/s.xpm.gz\n"
     "initrd (hd0)/boot/initrd-1\n"},
    {"Converted",
     "default 0\n"
     "title done\n"
     "root (hd0,0)\n"
     "kernel /boot/v ro root=LABEL=/ console=tty0 console=ttyS0,115200n8\n"
     "initrd /boot/i\n"},
    {"MarkAndCarriageReturns",
     "\xef\xbb\xbf"
     "default=0\r\n"
     "title dos\r\n"
     "\troot\t( hd0 )\r\n"
     "\tkernel\t/boot/v\tro\tconsole=hvc0\r\n"
     "\tinitrd\t(HD0)/boot/i\r\n"},
    {"ManyConsoles",
     "title many\n"
     "root (hd0)\n"
     "kernel /boot/v ro console=tty0 console=hvc0 console=xvc0,9600\n"},
    {"ConsoleInTitle",
     "title rescue console=hvc0 root (hd0) test\n"
     "root (hd0)\n"
     "kernel /boot/v root=/dev/xvda1 single\n"},
    {"SavedAndFallback",
     "default saved\n"
     "fallback 1 2\n"
     "title a\nroot (hd0)\nkernel /boot/a console=hvc0\nsavedefault\n"
     "title b\nroot (hd0)\nkernel /boot/b console=hvc0\nsavedefault fallback\n"
     "title c\nroot (hd0)\nkernel /boot/c console=hvc0\n"},
    {"DefaultOutOfRange", "default 5\ntitle a\nkernel /boot/a\ntitle b\nkernel /boot/b\n"},
    {"PasswordAndTimeout",
     "default=0\n"
     "timeout=-1\n"
     "hiddenmenu\n"
     "password --md5 $1$abc$def (hd0)/boot/grub/other.lst\n"
     "title a\nlock\nroot (hd0)\nkernel /boot/a ro\n"},
    {"SeparateBoot",
     "title CentOS (2.6.18-398.el5xen)\n"
     "root (hd0,0)\n"
     "kernel /vmlinuz-2.6.18-398.el5xen ro root=/dev/sda2\n"
     "initrd /initrd-2.6.18-398.el5xen.img\n"},
    {"ExplicitPartition", "title p\nkernel (hd0,1)/boot/vmlinuz-2 root=/dev/sda2\n"},
    {"Hypervisor",
     "title Xen\n"
     "root (hd0)\n"
     "kernel /xen.gz dom0_mem=256M console=hvc0\n"
     "module /vmlinuz-2.6.18-398.el5xen ro console=hvc0\n"
     "module /initrd.img\n"},
    {"NoInitrdDeviceRoot", "title bz\nroot (hd0)\nkernel /boot/bz root=/dev/sda1 ro 4\n"},
    {"RootById",
     "title SLES\n"
     "root (hd0)\n"
     "kernel /boot/vmlinuz root=/dev/disk/by-id/scsi-abc-part1 resume=/dev/sda2 splash=silent "
     "showopts\n"
     "initrd /boot/initrd\n"},
    {"ShiftedDevice",
     "title EL6\n"
     "root (hd0)\n"
     "kernel /boot/vmlinuz-2.6.32-431.el6.x86_64 ro root=/dev/xvde1 rd_NO_LUKS "
     "xen_blkfront.sda_is_xvda=1\n"
     "initrd /boot/initramfs-2.6.32-431.el6.x86_64.img\n"},
    {"DebianTemplates",
     "default\t\t0\n"
     "timeout\t\t0\n"
     "### BEGIN AUTOMAGIC KERNELS LIST\n"
     "## e.g. kopt=root=/dev/hda1 ro console=hvc0\n"
     "# kopt=root=LABEL=cloudimg-rootfs ro console=hvc0\n"
     "# kopt_2_6=root=/dev/xvda1 ro\n"
     "## default grub root device, e.g. groot=(hd0,0)\n"
     "# groot=(hd0)\n"
     "# alternative=true\n"
     "# defoptions=console=hvc0 quiet\n"
     "# altoptions=(recovery mode) single\n"
     "# xenkopt=console=hvc0\n"
     "## ## End Default Options ##\n"
     "\n"
     "title\t\tUbuntu 12.04, kernel 3.2.0-23-virtual\n"
     "root\t\t(hd0)\n"
     "kernel\t\t/boot/vmlinuz-3.2.0-23-virtual root=LABEL=cloudimg-rootfs ro console=hvc0 quiet\n"
     "initrd\t\t/boot/initrd.img-3.2.0-23-virtual\n"
     "quiet\n"
     "### END DEBIAN AUTOMAGIC KERNELS LIST\n"},
    {"Quoted",
     "title q\n"
     "root (hd0)\n"
     "kernel /boot/v root=LABEL=\"my root\" init=\"/sbin/init console=hvc0\" x=\\x2f\n"
     "initrd /boot/i\n"},
    {"ContinuedNoFinalNewline",
     "# a remark \\\ngoes on\n"
     "title c\n"
     "root (hd0)\n"
     "kernel /boot/v root=/dev/sda1 \\\r\n"
     "  console=hvc0\n"
     "initrd /boot/i"},
    {"OtherCommands",
     "default 1\n"
     "splashimage=(hd0)/boot/grub/splash.xpm.gz\n"
     "gfxmenu (hd0)/boot/message\n"
     "setkey a b\n"
     "title next\nconfigfile (hd0,1)/boot/grub/other.lst\n"
     "title chain\nmap (hd0) (hd1)\nmap (hd1) (hd0)\nrootnoverify (hd0)\nchainloader +1\n"
     "title install\nsetup (hd0)\n"},
    {"UuidCommand", "title u\nuuid 1111-2222\nkernel /boot/v ro\ninitrd /boot/i\n"},
    {"FindSetRoot", "title f\nfind --set-root /boot/v\nkernel /boot/v root=LABEL=/\n"},
    {"KernelOptions",
     "title k\n"
     "root (hd0)\n"
     "kernel --type=linux --no-mem-option (hd0)/boot/v root=/dev/xvda1 console=xvc0\n"
     "initrd /boot/i\n"},
    {"Empty", ""},
    {"OnlyOddLines", "\n\n  \n#\n=\ntitle\nkernel\ninitrd\nroot\ndefault\n(hd0)\n\\\n"},
}};

}  // namespace amilift::image
