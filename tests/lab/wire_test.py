"""The wire's count: a byte of TCP counts once, however often and in whatever order it arrives."""
import struct
import unittest

import wire

SOURCE, TARGET = bytes([192, 0, 2, 10]), bytes([203, 0, 113, 10])


def tcp(seq, length, flags=0x10, sport=40000):
    ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 40 + length, 0, 0, 64, 6, 0, SOURCE, TARGET)
    return ip + struct.pack("!HHIIBBHHH", sport, 443, seq & 0xFFFFFFFF, 0, 0x50, flags, 0, 0, 0)


class WireTest(unittest.TestCase):
    def count(self, *packets):
        c = wire.Count()
        for p in packets:
            c.packet(wire.ETH_P_IP, p)
        return c.to[TARGET]

    def test_in_order(self):
        row = self.count(tcp(999, 0, 2), tcp(1000, 100), tcp(1100, 50))
        self.assertEqual((row["tcp"], row["flows"]), (150, 1))

    def test_a_retransmission_counts_once(self):
        self.assertEqual(self.count(tcp(999, 0, 2), tcp(1000, 100), tcp(1000, 100), tcp(1050, 100))["tcp"], 150)

    def test_a_hole_is_not_counted_until_it_is_filled(self):
        self.assertEqual(self.count(tcp(999, 0, 2), tcp(1200, 100))["tcp"], 100)
        self.assertEqual(self.count(tcp(999, 0, 2), tcp(1200, 100), tcp(1000, 250))["tcp"], 300)

    def test_sequence_numbers_wrap(self):
        self.assertEqual(self.count(tcp(0xFFFFFFF0, 0, 2), tcp(0xFFFFFFF1, 100), tcp(0xFFFFFFF1 + 100, 10))["tcp"], 110)

    def test_a_connection_that_was_open_before(self):
        self.assertEqual(self.count(tcp(5000, 100), tcp(4900, 100))["tcp"], 200)

    def test_a_new_connection_with_the_same_ports(self):
        row = self.count(tcp(999, 0, 2), tcp(1000, 100), tcp(1049, 0, 2), tcp(1050, 100))
        self.assertEqual((row["tcp"], row["flows"]), (200, 2))

    def test_flows_are_told_apart(self):
        self.assertEqual(self.count(tcp(1000, 100), tcp(1000, 100, sport=40001))["tcp"], 200)

    def test_datagrams_count_whole(self):
        ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 128, 0, 0, 64, 17, 0, SOURCE, TARGET)
        row = self.count(ip + bytes(8))
        self.assertEqual((row["udp"], row["datagrams"]), (128, 1))


if __name__ == "__main__":
    unittest.main()
