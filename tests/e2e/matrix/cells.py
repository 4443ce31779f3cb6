# SPDX-License-Identifier: Apache-2.0
"""What the boot matrix covers: sources, what they are converted to, and where the result boots, or why it does not."""
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Source:
    """Arguments of tests/cloud/images/build-source."""
    suite: str = 'bookworm'
    kernel: str = 'cloud'
    filesystem: str = 'ext3'
    menu: str = 'debian'
    disk: str = 'none'
    state: str = 'fresh'

    @property
    def name(self) -> str:
        return '-'.join([self.suite, self.kernel, self.filesystem, *([] if self.disk == 'none' else [self.disk]), self.menu,
                         *([] if self.state == 'fresh' else [self.state])])

    @property
    def arguments(self) -> list[str]:
        return ['--suite', self.suite, '--kernel', self.kernel, '--filesystem', self.filesystem, '--menu', self.menu,
                '--disk', self.disk, '--state', self.state]

    @property
    def places(self) -> dict[str, int]:
        """Where its filesystems are mounted, by partition number; 0 is the whole disk."""
        return {'none': {'/': 0}, 'mbr': {'/': 1}, 'mbr-boot': {'/boot': 1, '/': 2}, 'gpt': {'/': 1}}[self.disk]


@dataclass(frozen=True)
class Target:
    """What of the job's part about the conversion differs from the default."""
    bootloader: str = 'grub2'
    layout: str = 'mbr'
    """"kept": a disk with partitions is edited as it is; "bare": one filesystem for PV-GRUB; "none": the source is not
    converted at all."""
    size_gib: int = 0
    """Of the disk, which the root is grown to; 0: the root keeps its size."""

    @property
    def name(self) -> str:
        words = {'kept': 'partitions kept', 'bare': 'paravirtual', 'none': 'not converted'}
        if self.layout in words:
            return words[self.layout]
        return f'{self.layout} {self.bootloader}' + (f' {self.size_gib}GiB' if self.size_gib else '')

    @property
    def job(self) -> str:
        """A job for a local conversion; its source is not looked at."""
        lines = ['source:', '  ami: ami-0123456789abcdef0', 'target:']
        if self.layout == 'kept':
            lines += ['  platform: nitro']
        elif self.layout == 'bare':
            lines += ['  virtualization: paravirtual']
        else:
            lines += [f'  layout: {self.layout}', 'conversion:', f'  bootloader: {self.bootloader}']
        if self.size_gib:
            lines.insert(3, f'  size: {self.size_gib}GiB')
        return '\n'.join(lines) + '\n'

    def places(self, source: Source) -> dict[str, int]:
        """As Source.places, of the converted disk."""
        if self.layout in ('kept', 'none'):
            return source.places
        return {'/': 0 if self.layout in ('in-place', 'bare') else 1}


@dataclass(frozen=True)
class Conversion:
    source: Source
    target: Target = field(default_factory=Target)


@dataclass(frozen=True)
class Cell:
    conversion: Conversion
    bus: str
    firmware: str = 'seabios'
    card: str = ''
    """The network card, as QEMU names it: the guest must get an address by it, too. Of worn sources only; empty: none."""
    explained: str = ''
    """Why this cell cannot boot, by design; it is listed and not run."""
    refused: str = ''
    """What amilift must say when it refuses this conversion."""

    @property
    def name(self) -> str:
        source, target = self.conversion.source, self.conversion.target
        return f'{source.name} / {target.name} / {self.firmware} / {self.bus}' + (f' / {self.card}' if self.card else '')


BUSES = ('nvme', 'virtio', 'ide')
LEGACY = Target(bootloader='grub-legacy')
GPT = Target(layout='gpt')
IN_PLACE = Target(layout='in-place')
KEPT = Target(layout='kept')
PARAVIRTUAL = Target(layout='bare')
AS_IT_IS = Target(layout='none')
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
    Source(kernel='dracut', filesystem='ext4', menu='amazon'),
    # Its modules are packed by xz, those in the initramfs are not.
    Source(suite='trixie', kernel='xen', filesystem='ext4', menu='amazon'),
)
PARTITIONED = (
    Source(filesystem='ext4', disk='mbr', menu='grub2'),
    Source(filesystem='ext4', disk='mbr-boot', menu='grub2'),
    Source(filesystem='xfs', disk='gpt', menu='grub2'),
    Source(suite='bullseye', kernel='generic', filesystem='ext3', disk='mbr-boot', menu='grub2'),
    Source(suite='trixie', filesystem='ext4', disk='gpt', menu='grub2'),
)
TO_PARAVIRTUAL = (
    Source(kernel='generic', filesystem='ext4-2010', disk='mbr-boot', menu='grub2'),
    Source(suite='bullseye', kernel='generic', filesystem='ext3', disk='mbr-boot', menu='grub2'),
    Source(suite='bullseye', kernel='xen', filesystem='ext3', disk='mbr', menu='grub2'),
)
BTRFS = (
    Source(filesystem='btrfs'),
    Source(filesystem='btrfs-default', menu='amazon'),
)
PARTITIONED_BTRFS = (
    Source(filesystem='btrfs', disk='mbr', menu='grub2'),
    Source(filesystem='btrfs-default', disk='gpt', menu='grub2'),
)
# Disks that other loaders start than GRUB 2.
OTHER_LOADERS = (
    Source(filesystem='ext3', disk='mbr', menu='legacy'),
    Source(filesystem='ext4-2010', disk='mbr-boot', menu='legacy'),
    Source(filesystem='ext4-2010', disk='mbr', menu='extlinux'),
    Source(suite='bullseye', kernel='generic', filesystem='ext3', disk='mbr-boot', menu='extlinux'),
    Source(filesystem='ext4', disk='gpt', menu='bls'),
    Source(filesystem='ext4-2010', disk='mbr-boot', menu='bls'),
)
# The menu of PV-GRUB beside a grub.cfg that does not boot.
TWO_MENUS = Source(filesystem='ext4-2010', menu='ubuntu')
# Bound to the instance that they were made of; and what each is converted to.
WORN = (
    (Source(state='worn'), Target(), 'seabios', 'virtio-net-pci'),
    (Source(filesystem='ext4', menu='el', state='worn'), GPT, 'ovmf', 'virtio-net-pci'),
    (Source(suite='bullseye', kernel='generic', menu='amazon', state='worn'), IN_PLACE, 'seabios', 'e1000'),
    (Source(filesystem='ext4', disk='mbr', menu='grub2', state='worn'), KEPT, 'seabios', 'virtio-net-pci'),
    (Source(suite='bullseye', kernel='generic', disk='mbr', menu='legacy', state='worn'), KEPT, 'seabios', 'e1000'),
)
PARTITIONED_XEN_ONLY = Source(kernel='xen', filesystem='ext4-2010', disk='mbr', menu='grub2')
NO_SUCH_BUS = 'the initramfs is made for Xen; EC2 has no such bus, so no driver for it is added'


def repaired_cells(source: Source, target: Target) -> list[Cell]:
    """Of an initramfs that knows the disks of Xen only."""
    conversion = Conversion(source, target)
    return [Cell(conversion, 'nvme'), *(Cell(conversion, bus, explained=NO_SUCH_BUS) for bus in ('virtio', 'ide'))]


def bare_cells() -> list[Cell]:
    """Of sources without partitions."""
    cells = [Cell(Conversion(source), bus) for source in SOURCES for bus in BUSES]
    for source in SOURCES:
        cells += [Cell(Conversion(source, GPT), 'nvme', firmware) for firmware in ('seabios', 'ovmf')]
    for bus in ('virtio', 'ide'):
        cells += [Cell(Conversion(SOURCES[0], GPT), bus, firmware) for firmware in ('seabios', 'ovmf')]
    cells.append(Cell(Conversion(SOURCES[0]), 'nvme', 'ovmf', explained='a disk with a DOS partition table is for BIOS'))
    cells.append(Cell(Conversion(SOURCES[0], Target('grub-legacy', 'gpt')), 'nvme', refused='GRUB 0.97 cannot start from a GPT'))
    for source, layout in zip(SOURCES[:4], ('mbr', 'gpt', 'gpt', 'mbr')):
        cells.append(Cell(Conversion(source, Target(layout=layout, size_gib=5)), 'nvme', 'ovmf' if layout == 'gpt' else 'seabios'))
    for source in BTRFS:
        cells += [Cell(Conversion(source), 'nvme'), Cell(Conversion(source, GPT), 'nvme', 'ovmf')]
    cells += [Cell(Conversion(TWO_MENUS, target), 'nvme') for target in (Target(), LEGACY)]
    for source in XEN_ONLY_INITRAMFS:
        cells += repaired_cells(source, Target())
    for source in SOURCES:
        conversion = Conversion(source, LEGACY)
        if source.filesystem in ('ext3', 'ext4-2010'):
            cells += [Cell(conversion, bus) for bus in (BUSES if source == SOURCES[0] else ('nvme',))]
        else:
            reason = 'GRUB 0.97 is installed here on ext2' if source.filesystem == 'xfs' else 'which GRUB 0.97 may not read'
            cells.append(Cell(conversion, 'nvme', refused=reason))
    for source in SOURCES:
        conversion = Conversion(source, IN_PLACE)
        if source.filesystem == 'xfs':
            cells.append(Cell(conversion, 'nvme', refused='only ext2, ext3 and ext4 leave room for boot code'))
        else:
            cells += [Cell(conversion, bus) for bus in (BUSES if source == SOURCES[0] else ('nvme',))]
    return cells


def partitioned_cells() -> list[Cell]:
    """Of sources with partitions, which keep them."""
    cells = []
    for source in PARTITIONED:
        conversion = Conversion(source, KEPT)
        cells += [Cell(conversion, bus) for bus in BUSES]
        if source.disk == 'gpt':
            cells += [Cell(conversion, bus, 'ovmf') for bus in BUSES]
        else:
            cells.append(Cell(conversion, 'nvme', 'ovmf', explained='a disk with a DOS partition table is for BIOS'))
    for source in OTHER_LOADERS:
        cells += [Cell(Conversion(source, KEPT), bus) for bus in (BUSES if source.disk == 'mbr' else ('nvme',))]
        if source.disk == 'gpt':
            cells.append(Cell(Conversion(source, KEPT), 'nvme', 'ovmf'))
    for source in PARTITIONED_BTRFS:
        cells.append(Cell(Conversion(source, KEPT), 'nvme', 'ovmf' if source.disk == 'gpt' else 'seabios'))
    return cells + repaired_cells(PARTITIONED_XEN_ONLY, KEPT)


def worn_cells() -> list[Cell]:
    """Of guests that have to find the network again, and disks of which some are gone."""
    return [Cell(Conversion(source, target), 'nvme', firmware, card) for source, target, firmware, card in WORN]


def xen_cells() -> list[Cell]:
    """Guests of Xen: each source without partitions, before it is converted, and disks made for PV-GRUB."""
    cells = []
    for source in (*SOURCES, TWO_MENUS, *XEN_ONLY_INITRAMFS):
        reason = 'neither PV-GRUB nor pygrub reads XFS version 5' if source.filesystem == 'xfs' else ''
        cells.append(Cell(Conversion(source, AS_IT_IS), 'pv', 'xen', explained=reason))
    cells += [Cell(Conversion(source, PARAVIRTUAL), 'pv', 'xen') for source in TO_PARAVIRTUAL]
    cells.append(Cell(Conversion(PARTITIONED[1], PARAVIRTUAL), 'pv', 'xen',
                      refused='the kernel is packed by lz4'))
    return cells


def all_cells() -> list[Cell]:
    """But for those that need Xen."""
    return bare_cells() + partitioned_cells() + worn_cells()
