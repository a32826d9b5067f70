"""What the tests that others name print becomes a line of the board, and none that failed passes for one that passed."""
import unittest

import others

ONE = "1/1 Test  #390: lab.known_places .................   Passed   20.77 sec\n"
LINE = "390: IPv6, what: limit 1000 charged {} received {}\n"


class OthersTest(unittest.TestCase):
    def test_lines_that_make_evasion_tries_are_not_listed_and_the_same_is_that_of_the_line_before(self):
        told = {"N1": ("PREVENT", "make evasion; iodine: lab.row_3_holds"), "N7.4": ("PREVENT", "kernel.qemu_6_1, kernel.qemu_6_12"),
                "N7.5": ("PREVENT", "the same: one's own account"), "N10.2": ("DETECT", "kernel.Families, that"),
                "A12.3": ("PREVENT", "kernel.StarvedAgent"), "N19": ("PREVENT", "kernel.kernel/Bound.")}
        self.assertEqual(list(others.lines_of_others(told)), [
            ("N7.4", ["kernel.qemu_6_1", "kernel.qemu_6_12"]), ("N7.5", ["kernel.qemu_6_1", "kernel.qemu_6_12"]),
            ("A12.3", ["kernel.StarvedAgent"]), ("N19", ["kernel.kernel/Bound"])])

    def test_what_passes(self):
        self.assertEqual(others.verdict(0, LINE.format(1000, 900) + ONE), ("passed", "1 tests"))

    def test_what_fails(self):
        output = "The following tests FAILED:\n\t390 - lab.known_places (Failed)\n\t391 - lab.other (Skipped)\n"
        self.assertEqual(others.verdict(8, ONE + output), ("failed", "lab.known_places"))

    def test_more_received_than_charged_fails_whatever_the_test_says(self):
        self.assertEqual(others.verdict(0, LINE.format(899, 900) + ONE)[0], "failed")

    def test_more_charged_than_the_limit_fails_whatever_the_test_says(self):
        self.assertEqual(others.verdict(0, LINE.format(1001, 900) + ONE)[0], "failed")

    def test_what_was_not_run_has_not_passed(self):
        self.assertEqual(others.verdict(8, "No tests were found!!!\n")[0], "not built")
        self.assertEqual(others.verdict(8, "1/1 Test #1: a ...***Not Run   0.00 sec\n")[0], "not built")
        self.assertEqual(others.verdict(0, "1/1 Test #1: a ...***Skipped   0.00 sec\n")[0], "skipped")


if __name__ == "__main__":
    unittest.main()
