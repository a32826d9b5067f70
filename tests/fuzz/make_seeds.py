#!/usr/bin/env python3
"""Writes the seeds of the net targets into tests/fuzz/corpus, each built field by field here.

Run it again after a change: the seeds are part of the tree, so that a run needs nothing else.
"""
import gzip
import pathlib
import struct

ROOT = pathlib.Path(__file__).parent / "corpus"


def seed(target, name, data):
    folder = ROOT / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data)


def u16(n):
    return struct.pack(">H", n)


def ipv4(payload, protocol=17, ident=1, flags=0, source=b"\xc0\x00\x02\x01", options=b""):
    words = 5 + len(options) // 4
    total = words * 4 + len(payload)
    return struct.pack(">BBHHHBBH4s4s", 0x40 | words, 0, total, ident, flags, 64, protocol, 0,
                       source, b"\xc6\x33\x64\x07") + options + payload


def ipv6(payload, protocol=17):
    source = b"\x20\x01\x0d\xb8" + b"\0" * 11
    return struct.pack(">IHBB", 0x60000000, len(payload), protocol, 64) + \
        source + b"\1" + source + b"\2" + payload


def udp(payload, source=40000, destination=53):
    return struct.pack(">HHHH", source, destination, 8 + len(payload), 0) + payload


def tcp(payload, seq=1, flags=0x18, source=40000, destination=443):
    return struct.pack(">HHIIBBHHH", source, destination, seq, 0, 0x50, flags, 65535, 0, 0) + payload


def ethernet(payload, kind=0x0800, tags=b""):
    return b"\2\0\0\0\0\1\2\0\0\0\0\2" + tags + u16(kind) + payload


def name(text):
    return b"".join(bytes([len(part)]) + part.encode() for part in text.split(".")) + b"\0"


def query(text, kind=1):
    return struct.pack(">HHHHHH", 7, 0x0100, 1, 0, 0, 0) + name(text) + struct.pack(">HH", kind, 1)


def answer(text):
    head = struct.pack(">HHHHHH", 7, 0x8180, 1, 5, 0, 0) + name(text) + struct.pack(">HH", 1, 1)

    def record(owner, kind, data, ttl=60):
        return owner + struct.pack(">HHIH", kind, 1, ttl, len(data)) + data
    alias = b"\x05alias\xc0\x0c"
    return (head + record(b"\xc0\x0c", 5, alias) + record(alias, 1, b"\xcb\x00\x71\x09") +
            record(alias, 28, b"\x20\x01\x0d\xb8" + b"\0" * 12) +
            record(b"\xc0\x0c", 15, b"\0\x0a\4mail\xc0\x0c") +
            record(b"\xc0\x0c", 16, b"\4text"))


def extension(kind, data):
    return u16(kind) + u16(len(data)) + data


def hello(host, padding=0):
    host = host.encode()
    extensions = (extension(0x0a0a, b"") +
                  extension(0, u16(len(host) + 3) + b"\0" + u16(len(host)) + host) +
                  extension(16, u16(12) + b"\2h2\x08http/1.1") +
                  extension(43, b"\4\x03\x04\x03\x03") + extension(13, u16(4) + b"\4\3\x08\4"))
    if padding:
        extensions += extension(21, b"\0" * padding)
    body = b"\3\3" + b"\x11" * 32 + b"\0" + u16(6) + b"\x1a\x1a\x13\x01\xc0\x2b" + b"\1\0" + \
        u16(len(extensions)) + extensions
    return b"\1" + struct.pack(">I", len(body))[1:] + body


def records(message, size=16384):
    parts = [message[i:i + size] for i in range(0, len(message), size)]
    return b"".join(b"\x16\3\1" + u16(len(part)) + part for part in parts)


def framed(packets, gap=None):
    head = b"" if gap is None else bytes([gap])
    return b"".join(head + u16(len(packet)) + packet for packet in packets)


def pcap(packets, magic=0xa1b2c3d4, link=1):
    out = struct.pack("<IHHiIII", magic, 2, 4, 0, 0, 65535, link)
    for i, packet in enumerate(packets):
        out += struct.pack("<IIII", 1000 + i, 5, len(packet), len(packet)) + packet
    return out


def pcapng(packets):
    def block(kind, body):
        body += b"\0" * (-len(body) % 4)
        return struct.pack("<II", kind, len(body) + 12) + body + struct.pack("<I", len(body) + 12)
    out = block(0x0a0d0d0a, struct.pack("<IHHq", 0x1a2b3c4d, 1, 0, -1))
    out += block(1, struct.pack("<HHI", 1, 0, 65535))
    for i, packet in enumerate(packets):
        out += block(6, struct.pack("<IIIII", 0, 5, i, len(packet), len(packet)) + packet)
    return out


def conversation():
    client = records(hello("files.example.net", 300))
    return [ethernet(ipv4(udp(query("files.example.net")))),
            ethernet(ipv4(udp(answer("files.example.net"), 53, 40000))),
            ethernet(ipv4(tcp(b"", 99, 2), 6)),
            ethernet(ipv4(tcp(client[200:], 300), 6)),
            ethernet(ipv4(tcp(client[:200], 100), 6)),
            ethernet(ipv4(tcp(b"", 100 + len(client), 0x11), 6)),
            ethernet(ipv4(tcp(b"", 1, 4), 6))]


def asked(messages):
    """A dns_tunnel seed: (step, message) with step as the target reads it."""
    return b"".join(bytes([step]) + u16(len(message)) + message for step, message in messages)


def guard_messages():
    """What guard and engine say to each other, of agent/guard/messages.h: native byte order."""
    version = 5  # kMessagesVersion

    def message(kind, sequence, form="", *values):
        body = struct.pack("<" + form, *values)
        return struct.pack("<HHI", kind, 8 + len(body), sequence) + body

    def framed_all(messages):
        return b"\0" + b"".join(u16(len(m)) + m for m in messages)

    def classify(sequence):
        return message(3, sequence, "QQQIIII", 7, 3, 9, 2, 0, 0, 0)

    address = b"\x20\x01\x0d\xb8" + b"\0" * 12
    seed("guard_messages", "conversation", framed_all([
        message(1, 0, "II", version, 1), message(2, 1, "Q", 5), classify(2),
        message(4, 3, "16sIIQQQII", address, 48, 2, 1, 9, 1 << 40, 1, 0),
        message(5, 4, "QQQII", 77, 9, 1 << 40, 1, 0), message(6, 5, "Q", 7), message(7, 6, "II", 1, 0)]))
    seed("guard_messages", "early_verdict", framed_all([classify(0)]))
    started = struct.pack("<IIQQQIIQII256s", 4, 312, 1, 0, 77, 1000, 42, 5, 1, 1000, b"/usr/bin/curl")
    seed("guard_messages", "process", b"\1" + message(64, 0, "312s", started))
    seed("guard_messages", "stop", b"\1" + message(66, 0))
    seed("guard_messages", "removed", b"\1" + message(72, 0, "IIIIqQ64s160s", 0, 1, 0, 0, 1_000_000_000, 4096,
                                                       b"weir_egress", b"cannot attach weir_egress: no"))


def main():
    tunnel = [(2, query(f"{n:060x}.t.example.com", 16)) for n in range(1 << 200, (1 << 200) + 24)]
    seed("dns_tunnel", "tunnel", asked(tunnel + [(1, answer("www.example.org"))]))
    seed("dns_tunnel", "no_suffix", asked([(0, query(f"agent.{n:050x}", 10)) for n in range(40)]))
    seed("dns_tunnel", "days", asked([(254, query("www.example.com")), (254, query("4.3.2.1.in-addr.arpa", 12)),
                                      (255, answer("d8wwrax5qs75bo.cloudfront.net"))]))
    question = query("www.example.com")
    whole = udp(question * 3)
    fragments = [ipv4(whole[:64], flags=0x2000), ipv4(whole[64:], flags=64 // 8)]
    chain = b"\x2c\0" + b"\0" * 6 + b"\x11\0\0\1" + b"\0\0\0\5" + whole[:64]
    six = [ipv6(chain, 0), ipv6(b"\x11\0" + u16(64) + b"\0\0\0\5" + whole[64:], 44)]
    seed("link_ip", "ethernet", b"\1" + framed([ethernet(p) for p in fragments]))
    seed("link_ip", "vlan", b"\1" + framed([ethernet(fragments[0], tags=b"\x88\xa8\0\5\x81\0\0\6")]))
    seed("link_ip", "mpls", b"\1" + framed([ethernet(b"\0\1\1\x40" + fragments[0], 0x8847)]))
    seed("link_ip", "pppoe", b"\1" + framed([ethernet(b"\x11\0\0\1\0\x40\0\x21" + fragments[1], 0x8864)]))
    seed("link_ip", "raw", b"\2" + framed(fragments + six))
    seed("link_ip", "options", b"\2" + framed([ipv4(whole, options=b"\1\1\1\0")]))
    seed("link_ip", "cooked", b"\3" + framed([b"\0" * 14 + u16(0x0800) + fragments[0]]))
    seed("link_ip", "cooked2", b"\4" + framed([u16(0x86dd) + b"\0" * 18 + six[0]]))
    seed("link_ip", "null", b"\5" + framed([b"\2\0\0\0" + fragments[0]]))
    seed("link_ip", "loop", b"\6" + framed([b"\0\0\0\2" + fragments[1]]))
    seed("tcp", "segment", tcp(b"payload", 7))
    seed("tcp", "datagram", udp(b"payload"))
    seed("tcp", "order", b"".join(struct.pack(">HB", at, 5) + b"abcde" for at in (5, 0, 20, 10, 13, 3)))
    seed("tcp", "consumed", b"".join(struct.pack(">HB", at | 0x8000, 9) + b"123456789" for at in (0, 9, 18)))
    seed("dns", "query", question)
    seed("dns", "answer", answer("www.example.com"))
    seed("dns", "binary", query("ab\\cd", 10).replace(b"\\", b"\xff"))
    seed("tls", "hello", records(hello("www.example.com")))
    seed("tls", "records", records(hello("www.example.com", 50), 37))
    seed("http", "get", b"GET /x HTTP/1.1\r\nUser-Agent: a\r\nHost: WWW.Example.com:8080\r\n\r\n")
    seed("http", "connect", b"CONNECT [2001:db8::1]:443 HTTP/1.1\r\n\r\n")
    seed("http", "absolute", b"PUT http://u@up.example.com/a?b HTTP/1.0\nHost: other\n\n")
    seed("http", "preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
    seed("flows", "conversation", b"\1" + framed(conversation(), 0))
    stream = b"".join(u16(len(m)) + m for m in (question, answer("www.example.com"), question))
    seed("flows", "dns_stream", b"\2" + framed([ipv4(tcp(b"", 0, 2, destination=53), 6),
                                              ipv4(tcp(stream[:40], 1, destination=53), 6),
                                              ipv4(tcp(stream[40:], 41, destination=53), 6)], 1))
    seed("flows", "others", b"\2" + framed([ipv4(b"\x08\0\0\0\0\1\0\1ping", 1), ipv4(b"gre", 47),
                                          ipv4(udp(b"\xc0\0\0\0\1\x08" + b"\7" * 40, 50000, 443)),
                                          ipv4(tcp(b"SSH-2.0-x\r\n", destination=22), 6),
                                          ipv4(tcp(b"220 mail\r\n", source=25, destination=40000), 6),
                                          ipv4(tcp(b"EHLO me\r\n", destination=25), 6)] + six, 20))
    seed("capture_file", "pcap", pcap(conversation()))
    seed("capture_file", "nanoseconds", pcap(fragments, 0xa1b23c4d, 101))
    seed("capture_file", "pcapng", pcapng(conversation()))
    seed("capture_file", "gzip", gzip.compress(pcap(conversation()), mtime=0))
    raw = pcap(conversation()[:2])  # a zstd frame of one raw block
    seed("capture_file", "zstd", b"\x28\xb5\x2f\xfd\x60" + struct.pack("<H", len(raw) - 256) +
         struct.pack("<I", len(raw) << 3 | 1)[:3] + raw)


if __name__ == "__main__":
    main()
    guard_messages()
