"""Counts what arrives at the receiver's end of the wire: TCP payload by sequence (a byte that is sent
twice counts once), UDP as whole IP packets; per destination address. Reads a packet socket, so it sees
what any receiver could have, also bytes that its TCP would not hand on. Writes JSON every 50 ms and at
SIGTERM; `dropped` counts packets that the kernel could not hand over: not 0 means the count is void."""
import argparse
import json
import os
import signal
import socket
import struct
import time

SOL_PACKET, PACKET_STATISTICS, SO_RCVBUFFORCE = 263, 6, 33
PACKET_HOST = 0
ETH_P_ALL, ETH_P_IP, ETH_P_IPV6 = 3, 0x0800, 0x86DD
HEAD = 128  # Ethernet is off already: IPv6 and TCP with all options fit
FLOWS_MAX = 100_000  # a lab's run has a few hundred


class Ranges:
    """The union of the sequence ranges of one direction of one connection."""

    def __init__(self, first):
        self.base = first
        self.parts = []  # disjoint, sorted

    def add(self, seq, length):
        start = (seq - self.base) & 0xFFFFFFFF
        if start >= 0x80000000:
            start -= 1 << 32  # before the first one seen
        end = start + length
        if self.parts and start == self.parts[-1][1]:
            self.parts[-1][1] = end
            return length
        before = sum(b - a for a, b in self.parts)
        merged = []
        for a, b in sorted(self.parts + [[start, end]]):
            if merged and a <= merged[-1][1]:
                merged[-1][1] = max(merged[-1][1], b)
            else:
                merged.append([a, b])
        self.parts = merged
        return sum(b - a for a, b in merged) - before


class Count:
    def __init__(self):
        self.flows = {}
        self.to = {}
        self.refused_flows = 0

    def packet(self, kind, data):
        if kind == ETH_P_IP and len(data) >= 20:
            head = (data[0] & 15) * 4
            total = struct.unpack_from("!H", data, 2)[0]
            protocol, source, target = data[9], data[12:16], data[16:20]
            if struct.unpack_from("!H", data, 6)[0] & 0x1FFF:
                protocol = 0  # a later fragment: its bytes count, its ports are not there
        elif kind == ETH_P_IPV6 and len(data) >= 40:
            head, protocol, source, target = 40, data[6], data[8:24], data[24:40]
            total = 40 + struct.unpack_from("!H", data, 4)[0]
        else:
            return
        row = self.to.setdefault(target, {"tcp": 0, "udp": 0, "datagrams": 0, "flows": 0, "other": 0})
        if protocol == 6 and len(data) >= head + 20:
            self.tcp(row, source, target, data, head, total)
        elif protocol == 17:
            row["udp"] += total
            row["datagrams"] += 1
        else:
            row["other"] += total

    def tcp(self, row, source, target, data, head, total):
        sport, dport, seq = struct.unpack_from("!HHI", data, head)
        offset, flags = (data[head + 12] >> 4) * 4, data[head + 13]
        length = total - head - offset
        key = (source, sport, target, dport)
        if flags & 2 and key in self.flows and self.flows[key].base != (seq + 1) & 0xFFFFFFFF:
            del self.flows[key]  # a new connection with the same ports
        if key not in self.flows:
            if len(self.flows) >= FLOWS_MAX:
                self.refused_flows += 1
                return
            self.flows[key] = Ranges((seq + 1) & 0xFFFFFFFF if flags & 2 else seq)
            row["flows"] += 1
        if length > 0:
            row["tcp"] += self.flows[key].add(seq, length)


def write(path, count, dropped):
    to = {socket.inet_ntop(socket.AF_INET if len(a) == 4 else socket.AF_INET6, a): r for a, r in count.to.items()}
    with open(path + ".new", "w", encoding="utf-8") as f:
        json.dump({"dropped": dropped + count.refused_flows, "to": to}, f)
    os.replace(path + ".new", path)


def main():
    args = argparse.ArgumentParser()
    args.add_argument("--device", required=True)
    args.add_argument("--out", required=True)
    args = args.parse_args()
    s = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETH_P_ALL))
    s.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 64 << 20)
    s.bind((args.device, ETH_P_ALL))
    s.settimeout(0.05)
    ending = []
    signal.signal(signal.SIGTERM, lambda *_: ending.append(True))
    count, dropped, written, changed = Count(), 0, 0.0, True
    while True:
        try:
            data, address = s.recvfrom(HEAD)
            if address[2] == PACKET_HOST:
                count.packet(address[1], data)
                changed = True
            idle = False
        except (TimeoutError, InterruptedError):
            idle = True
        now = time.monotonic()
        if (changed and now - written > 0.05) or (ending and idle):
            dropped += struct.unpack("II", s.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8))[1]
            write(args.out, count, dropped)
            written, changed = now, False
        if ending and idle:
            return


if __name__ == "__main__":
    main()
