"""The scoreboard's judgement: each thing that can be wrong with a line is found, and nothing else is."""
import unittest

import scoreboard

LIMIT = 1000


def row(charged=900, received=900, refused=5000, fullest=900, **other):
    return {"id": "W1", "family": "IPv4", "what": "", "bare": 10_000, "limit": LIMIT, "received": received, "denied": False, "told": 0,
            "fault": "", "accounts": {"of": {"attacker": {"charged": charged, "refused": refused}}, "fullest": fullest}, **other}


def two(first, second, **other):
    accounts = {"of": {"attacker": {"charged": first, "refused": 9}, "colleague": {"charged": second, "refused": 9}}, "fullest": max(first, second)}
    return row(accounts=accounts, **other)


class JudgeTest(unittest.TestCase):
    def says(self, word, state, measured):
        told = scoreboard.judge(state, measured)
        if word:
            self.assertIn(word, told)
        else:
            self.assertEqual(told, "")

    def test_what_is_prevented(self):
        self.says("", "PREVENT", row())
        self.says("", "PREVENT", row(charged=LIMIT, received=LIMIT, fullest=LIMIT))
        self.says("", "PREVENT", row(charged=0, received=0))  # refused whole
        self.says("", "PREVENT", row(charged=0, received=0, refused=0, denied=True))
        self.says("", "PREVENT", two(0, 700, received=600))

    def test_more_than_the_limit_arrives(self):
        self.says("more than the limit arrived", "PREVENT", row(charged=1001, received=1001))
        self.says("more than the limit arrived", "PREVENT", row(received=1001, accounts=None))

    def test_an_account_above_the_limit_is_found_whosever_it_is(self):
        self.says("an account holds 1,001", "PREVENT", row(charged=1001, fullest=1001))
        self.says("an account holds 1,001", "PREVENT", row(fullest=1001))

    def test_two_accounts_may_hold_a_limit_each(self):
        self.says("", "PREVENT", two(800, 800))

    def test_more_arrives_than_was_charged(self):
        self.says("more arrived than was charged", "PREVENT", row(charged=899))
        self.says("more arrived than was charged", "PREVENT", two(400, 400))

    def test_no_number_is_no_proof(self):
        self.says("no account's number", "PREVENT", row(accounts=None))
        self.says("no account's number", "PREVENT", row(accounts={"of": {}, "fullest": 0}))

    def test_what_was_not_tried_is_not_prevented(self):
        self.says("it was not tried", "PREVENT", row(charged=0, received=0, refused=0))

    def test_a_way_that_leads_nowhere_is_not_prevented(self):
        self.says("is there a way", "PREVENT", row(received=0))

    def test_an_attack_that_does_not_work_proves_nothing(self):
        for state in scoreboard.STATES:
            self.says("proves nothing", state, row(bare=LIMIT))

    def test_an_attacks_own_fault(self):
        self.says("not reported of 7", "PREVENT", row(fault="not reported of 7"))

    def test_what_is_only_detected(self):
        self.says("not reported", "DETECT", row(received=10_000))
        self.says("", "DETECT", row(received=10_000, told=1))

    def test_what_is_not_covered(self):
        self.says("bounded now", "NOT COVERED", row())
        self.says("", "NOT COVERED", row(received=10_000, accounts=None))

    def test_the_numbers_stand_side_by_side(self):
        self.assertEqual(scoreboard.shown(two(400, 500)).split(), ["W1", "IPv4", "10,000", "1,000", "400+500", "900", "18"])
        self.assertEqual(scoreboard.shown(row(charged=0, received=0, refused=0, denied=True)).split()[-3:], ["0", "0", "denied"])


if __name__ == "__main__":
    unittest.main()
