# SPDX-License-Identifier: Apache-2.0
"""What the boot matrix covers: sources, what they are converted to, and where the result boots."""
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Source:
    """Arguments of tests/cloud/images/build-source."""
    suite: str = 'bookworm'
    kernel: str = 'cloud'
    filesystem: str = 'ext3'
    menu: str = 'debian'

    @property
    def name(self) -> str:
        return f'{self.suite}-{self.kernel}-{self.filesystem}-{self.menu}'


@dataclass(frozen=True)
class Target:
    """What of the job's part about the conversion differs from the default."""
    bootloader: str = 'grub2'

    @property
    def name(self) -> str:
        return f'mbr {self.bootloader}'


@dataclass(frozen=True)
class Conversion:
    source: Source
    target: Target = field(default_factory=Target)


@dataclass(frozen=True)
class Cell:
    conversion: Conversion
    bus: str
    firmware: str = 'seabios'
    explained: str = ''
    """Why this cell cannot boot, by design; it is listed and not run."""

    @property
    def name(self) -> str:
        source, target = self.conversion.source, self.conversion.target
        return f'{source.name} / {target.name} / {self.firmware} / {self.bus}'


BUSES = ('nvme', 'virtio', 'ide')
LEGACY = Target(bootloader='grub-legacy')
SOURCES = (
    Source(),
    Source(filesystem='ext4-2010', menu='amazon'),
    Source(filesystem='ext4', menu='el'),
    Source(filesystem='xfs', menu='amazon'),
    Source(suite='bullseye', kernel='generic', filesystem='ext3', menu='amazon'),
    Source(suite='bullseye', kernel='generic', filesystem='ext4-2010', menu='debian'),
    Source(suite='trixie', filesystem='ext4', menu='debian'),
    Source(suite='trixie', filesystem='xfs', menu='el'),
)
XEN_ONLY_INITRAMFS = (
    Source(kernel='xen', filesystem='ext4', menu='amazon'),
    Source(suite='bullseye', kernel='xen', filesystem='ext3', menu='debian'),
)


def all_cells() -> list[Cell]:
    cells = [Cell(Conversion(source), bus) for source in SOURCES for bus in BUSES]
    for source in XEN_ONLY_INITRAMFS:
        cells.append(Cell(Conversion(source), 'nvme'))
        cells += [Cell(Conversion(source), bus, explained='the initramfs is made for Xen; EC2 has no such bus, so no driver for it is added')
                  for bus in ('virtio', 'ide')]
    for source in SOURCES:
        conversion = Conversion(source, LEGACY)
        if source.filesystem in ('ext3', 'ext4-2010'):
            cells += [Cell(conversion, bus) for bus in (BUSES if source == SOURCES[0] else ('nvme',))]
        else:
            reason = 'GRUB 0.97 is not installed on ' + ('XFS' if source.filesystem == 'xfs' else 'ext4 with 64bit and metadata_csum')
            cells.append(Cell(conversion, 'nvme', explained=reason))
    return cells


def short_cells() -> list[Cell]:
    """One of each kind, for every change: about three minutes."""
    plain = Conversion(SOURCES[0])
    return [Cell(plain, 'nvme'), Cell(plain, 'ide'), Cell(Conversion(SOURCES[0], LEGACY), 'nvme'),
            Cell(Conversion(XEN_ONLY_INITRAMFS[0]), 'nvme')]
