// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <string_view>

namespace amilift::image {

struct FstabSample {
    std::string_view name;
    std::string_view text;
};

/// fstabs as they are found in the field. The root filesystem of the tests has the label "/" and
/// the UUID 0b9f21a2-6d30-4d5f-9a70-0f3a8c9f5c11.
inline constexpr std::array<FstabSample, 16> kFstabSamples{{
    {"DeviceRoot",
     "/dev/sda1  /   ext3 defaults 1 1\n"
     "/dev/sda10 /d  ext3 defaults 0 0\n"},
    {"LabelRootTwice",
     "LABEL=/ / ext4 defaults,noatime 1 1\n"
     "LABEL=/ /second ext4 defaults 0 2\n"},
    {"CloudConfigMountall",
     "LABEL=/\t/\text4\tdefaults\t0\t0\n"
     "/dev/xvdb\t/mnt\tauto\tdefaults,nobootwait,comment=cloudconfig\t0\t2\n"},
    {"CloudConfigSystemd",
     "/dev/xvdb /mnt auto "
     "defaults,nofail,x-systemd.requires=cloud-init.service,comment=cloudconfig "
     "0 2\n"},
    {"Remarks",
     "# /dev/sdf /old xfs defaults 0 0\n"
     "/dev/sdf /data xfs defaults 0 0  # raid was /dev/md0\n"
     "/dev/sdg /more xfs # nothing else\n"
     "\t# indented /dev/sdh /x\n"},
    {"BindTmpfsAndOctal",
     "/data/x  /srv/x   none  bind 0 0\n"
     "/dev/sda1 /chroot/b none rbind 0 0\n"
     "tmpfs / tmpfs size=1m 0 0\n"
     "/dev/xvdf /mnt/my\\040disk ext3 defaults 0 2\n"},
    {"MappedDevices",
     "/dev/mapper/VolGroup00-LogVol01 /var ext3 defaults 0 2\n"
     "/dev/VG/LV /lv ext3 defaults 0 2\n"
     "/dev/md0 /md xfs defaults 0 2\n"
     "/dev/disk/by-id/xen-x /byid ext3 defaults 0 2\n"
     "/dev/disk/by-uuid/0b9f21a2-6d30-4d5f-9a70-0f3a8c9f5c11 / ext3 defaults 1 1\n"
     "/dev/xvda1p1 /odd ext3 defaults 0 0\n"},
    {"Swap",
     "/dev/sda3 swap swap defaults 0 0\n"
     "/swapfile none swap sw 0 0\n"
     "LABEL=SWAP none swap sw 0 0\n"},
    {"NetworkAndPseudo",
     "fs-1.efs.example:/\t/e\tnfs4\t_netdev\t0\t0\n"
     "//h/s /c cifs credentials=/root/c 0 0\n"
     "\n"
     "none /proc proc defaults\n"
     "devpts /dev/pts devpts gid=5,mode=620 0 0\n"
     "UUID=0B9F21A2-6D30-4D5F-9A70-0F3A8C9F5C11 / ext4 defaults 1 1\n"},
    {"OrphanUuid", "UUID=dead-beef / ext4 defaults 0 1\nPARTUUID=abcd-01 /p ext4 defaults 0 0\n"},
    {"PartuuidRoot", "PARTUUID=1234-01 / ext4 defaults 0 1\n"},
    {"PartlabelRoot", "PARTLABEL=root / ext4 defaults 0 1\n"},
    {"NitroNames",
     "/dev/nvme1n1p1 /d ext4 defaults 0 2\n"
     "/dev/sdb1 /instance ext3 noatime 0 0\n"
     "/dev/sdc /manual ext3 noauto 0 0\n"},
    {"ShortLinesAndCarriageReturns",
     "/dev/sda1 / ext3\r\n/dev/sdb /b ext3\r\n/dev/sdc\r\n/dev/sdd "
     "/d\r\n"},
    {"Empty", ""},
    {"NoFinalNewline", "/dev/xvde1 / ext4 defaults 1 1\n/dev/xvdf /f ext4 defaults 1 2"},
}};

}  // namespace amilift::image
