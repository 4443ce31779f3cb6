#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Tests what the matrix makes of its cells, consoles and trees: no virtual machine, no root."""
import importlib.machinery
import importlib.util
import unittest
from pathlib import Path
from unittest import mock

HERE = Path(__file__).resolve().parent
LOADER = importlib.machinery.SourceFileLoader('matrix_run', str(HERE / 'run'))
RUN = importlib.util.module_from_spec(importlib.util.spec_from_loader('matrix_run', LOADER))
LOADER.exec_module(RUN)

import boot_test  # noqa: E402  from here on, run has said where it is
import cells  # noqa: E402
import compare_trees  # noqa: E402


class Cells(unittest.TestCase):
    def test_no_two_cells_have_one_name_and_many_are_run(self) -> None:
        listed = cells.all_cells() + cells.xen_cells()
        self.assertEqual(len(listed), len({cell.name for cell in listed}))
        self.assertGreaterEqual(sum(not cell.explained and not cell.refused for cell in listed), 30)

    def test_the_cells_of_a_conversion_are_refused_together_or_not(self) -> None:
        refused = {cell.conversion for cell in cells.all_cells() if cell.refused}
        self.assertEqual({cell.conversion for cell in cells.all_cells() if not cell.refused} & refused, set())

    def test_a_job_says_what_differs_from_the_default(self) -> None:
        self.assertIn('  size: 5GiB\n  layout: gpt\n', cells.Target(layout='gpt', size_gib=5).job)
        self.assertIn('  platform: nitro\n', cells.KEPT.job)
        self.assertNotIn('layout', cells.PARAVIRTUAL.job)


class Gate(unittest.TestCase):
    SOURCE = cells.SOURCES[0]
    CELL = cells.Cell(cells.Conversion(SOURCE), 'nvme')

    def result_of(self, of_source: str) -> str:
        results = RUN.Results(None)
        with mock.patch('builtins.print'), mock.patch.object(RUN, 'convert', return_value=Path('/disk')), \
                mock.patch.object(RUN, 'boot_cell', return_value=(True, b'login: ', 20.0)):
            results.put(f'{self.SOURCE.name} / not converted / xen / pv', of_source)
            RUN.run_conversion(Path('/amilift'), self.CELL.conversion, [self.CELL], results)
        return results.cells[self.CELL.name]['result']

    def test_what_is_made_of_a_source_that_does_not_boot_is_red(self) -> None:
        self.assertEqual(self.result_of('boots'), 'boots')
        self.assertEqual(self.result_of('not run'), 'boots')
        self.assertEqual(self.result_of('red'), 'red')


class Boot(unittest.TestCase):
    STARVED = (False, b"Kernel panic - not syncing: IO-APIC + timer doesn't work!", 9.0)

    def boot(self, *outcomes: tuple[bool, bytes, float]) -> tuple[tuple[bool, bytes, float], int]:
        with mock.patch('console.boot', side_effect=outcomes) as booted:
            return boot_test.boot(Path('/disk'), 'nvme', 60), booted.call_count

    def test_a_machine_without_a_processor_boots_again_but_not_for_ever(self) -> None:
        login = (True, b'login: ', 20.0)
        self.assertEqual(self.boot(self.STARVED, login), (login, 2))
        self.assertEqual(self.boot(self.STARVED, self.STARVED, self.STARVED), (self.STARVED, 3))

    def test_another_panic_is_the_result(self) -> None:
        panic = (False, b'Kernel panic - not syncing: VFS: Unable to mount root fs', 9.0)
        self.assertEqual(self.boot(panic), (panic, 1))

    def test_a_disk_that_systemd_waits_for_is_a_failure_and_a_slow_one_is_not(self) -> None:
        waits = b'[ *** ] A start job is running for /dev/xvdf (%s / 30min)'
        self.assertTrue(boot_test.FAILURES.search(waits % b'5min 1s'))
        self.assertTrue(boot_test.FAILURES.search(waits % b'12min 40s'))
        self.assertFalse(boot_test.FAILURES.search(waits % b'1min 40s'))
        self.assertFalse(boot_test.FAILURES.search(b'[ TIME ] Timed out waiting for device /dev/xvdf.'))
        self.assertTrue(boot_test.FAILURES.search(b'[DEPEND] Dependency failed for local-fs.target - Local File Systems.'))

    def test_with_a_card_a_login_is_not_enough(self) -> None:
        said = b'report-address[99]: address after 3 s: 2: eth0    inet %s/24 brd 10.0.2.255 scope global eth0\n'
        self.assertTrue(boot_test.ADDRESS.search(said % b'10.0.2.15'))
        self.assertFalse(boot_test.NO_ADDRESS.search(said % b'10.0.2.15'))
        self.assertFalse(boot_test.ADDRESS.search(said % b'10.0.0.5'))
        self.assertTrue(boot_test.NO_ADDRESS.search(said % b'10.0.0.5'))
        with mock.patch('console.boot', return_value=(True, b'', 9.0)) as booted:
            boot_test.boot(Path('/disk'), 'nvme', 60, card='e1000')
        self.assertIn('user,model=e1000,restrict=on', booted.call_args.args[0])
        self.assertEqual(booted.call_args.kwargs['wanted'], (boot_test.console.LOGIN, boot_test.ADDRESS))


class Trees(unittest.TestCase):
    def test_only_what_the_manifest_names_may_differ(self) -> None:
        before = {'/a': {'size': 1}, '/b': {'size': 1}, '/gone': {}}
        after = {'/a': {'size': 2}, '/b': {'size': 2}, '/new': {}}
        self.assertEqual(compare_trees.differences(before, after, {'/a', '/new'}),
                         ['/b: size was 1, is 2', '/gone: only in the source'])

    def test_a_mount_is_a_path_and_a_place(self) -> None:
        self.assertEqual(compare_trees.a_mount('/boot=1048576:2048'), ('/boot', (1048576, 2048)))
        with self.assertRaises(ValueError):
            compare_trees.a_mount('1048576')


class Table(unittest.TestCase):
    def test_a_row_is_a_conversion_and_a_column_a_machine(self) -> None:
        results = RUN.Results(None)
        with mock.patch('builtins.print'):
            results.put('s / t / seabios / nvme', 'boots', 20)
            results.put('s / t / ovmf / nvme', 'not run', detail='BIOS only')
            results.put('s / u / seabios / nvme', 'refused', detail='no room')
        self.assertEqual(RUN.markdown(results).splitlines(), [
            '| source | target | BIOS NVMe | UEFI NVMe |', '|---|---|---|---|', '| s | t | boots | (1) |', '| s | u | (2) |  |',
            '', '(1) not run: BIOS only  ', '(2) refused: no room  '])


if __name__ == '__main__':
    unittest.main()
