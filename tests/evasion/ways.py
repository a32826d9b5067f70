"""Ways to send that no ordinary client takes: ways.py WAY ADDRESS [PORT]. Sends a MiB or as much as goes,
then ends. Each is what an attacker would write in an afternoon; python's own modules alone."""
import array
import ctypes
import fcntl
import ipaddress
import mmap
import os
import socket
import ssl
import struct
import subprocess
import sys
import time

BYTES = 1 << 20
DATAGRAM = 1200
PATIENCE_S = 3  # of a sender that is refused
ETH_P_IP, ETH_P_IPV6 = 0x0800, 0x86DD
SOL_PACKET, PACKET_QDISC_BYPASS = 263, 20
TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 1, 0x1000
DEVICE = "eth0"
AF_XDP, SOL_XDP, XDP_COPY = 44, 283, 2
XDP_MMAP_OFFSETS, XDP_TX_RING, XDP_UMEM_REG, XDP_UMEM_FILL_RING, XDP_UMEM_COMPLETION_RING = 1, 3, 4, 5, 6
XDP_PGOFF_TX_RING, XDP_UMEM_PGOFF_COMPLETION_RING = 0x80000000, 0x180000000
RING, CHUNK = 256, 2048  # entries, bytes of each


def family_of(address):
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def push(send):
    """Calls `send` until a MiB went, or it was refused for PATIENCE_S."""
    sent, last = 0, time.monotonic()
    while sent < BYTES and time.monotonic() - last < PATIENCE_S:
        try:
            n = send()
        except OSError:
            n = 0
        if n:
            sent, last = sent + n, time.monotonic()
        else:
            time.sleep(0.002)


def wait_to_go():
    """What is open by now is from before Weir."""
    print("open", flush=True)
    with open(os.environ["GO"], encoding="ascii") as go:
        go.read()


def checksum(data):
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def ip_packet(source, target, protocol, body):
    if family_of(target) == socket.AF_INET6:
        head = struct.pack("!IHBB", 6 << 28, len(body), protocol, 64)
        return head + socket.inet_pton(socket.AF_INET6, source) + socket.inet_pton(socket.AF_INET6, target) + body
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(body), 0, 0, 64, protocol, 0,
                       socket.inet_aton(source), socket.inet_aton(target))
    return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + body


def udp_packet(source, target, port):
    """A whole IP packet with a datagram, as a raw sender builds it."""
    size = 8 + DATAGRAM
    head = struct.pack("!HHHH", 40000, port, size, 0)
    ends = socket.inet_pton(family_of(target), source) + socket.inet_pton(family_of(target), target)
    body = head + b"x" * DATAGRAM
    sum_ = checksum(ends + struct.pack("!IHH", size, 0, 17) + body) or 0xFFFF
    return ip_packet(source, target, 17, head[:6] + struct.pack("!H", sum_) + body[8:])


def own_address(target, port):
    s = socket.socket(family_of(target), socket.SOCK_DGRAM)
    s.connect((target, port))
    return s.getsockname()[0]


def udp(target, port):
    s = socket.socket(family_of(target), socket.SOCK_DGRAM)
    push(lambda: s.sendto(b"x" * DATAGRAM, (target, port)))


def udp_many(target, port):
    """A new socket for each datagram: no flow lives long enough to be judged."""
    def send():
        with socket.socket(family_of(target), socket.SOCK_DGRAM) as s:
            return s.sendto(b"x" * DATAGRAM, (target, port))
    push(send)


def v4_mapped(target, port):
    s = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
    s.settimeout(PATIENCE_S)
    s.connect((f"::ffff:{target}", port))
    push(lambda: s.send(b"x" * 16384))


def v4_mapped_udp(target, port):
    s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    push(lambda: s.sendto(b"x" * DATAGRAM, (f"::ffff:{target}", port)))


def drip(target, port):
    """One connection that grows slowly, in small writes."""
    s = socket.create_connection((target, port), PATIENCE_S)
    s.settimeout(PATIENCE_S)
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send():
        time.sleep(0.001)
        return s.send(b"x" * 1000)
    push(send)


def icmp(target, port):
    six = family_of(target) == socket.AF_INET6
    s = socket.socket(family_of(target), socket.SOCK_RAW, socket.IPPROTO_ICMPV6 if six else socket.IPPROTO_ICMP)
    body = struct.pack("!BBHHH", 128 if six else 8, 0, 0, 1, 1) + b"x" * DATAGRAM
    if not six:
        body = body[:2] + struct.pack("!H", checksum(body)) + body[4:]
    push(lambda: s.sendto(body, (target, 0)))


def raw(target, port):
    """The whole packet by hand, IP header included."""
    s = socket.socket(family_of(target), socket.SOCK_RAW, socket.IPPROTO_RAW)
    packet = udp_packet(own_address(target, port), target, port)
    push(lambda: s.sendto(packet, (target, 0)))


def other_protocol(target, port):
    """A protocol number that nobody uses."""
    s = socket.socket(family_of(target), socket.SOCK_RAW, 253)
    push(lambda: s.sendto(b"x" * DATAGRAM, (target, 0)))


def frame_to(target, port):
    """A whole frame of Ethernet with a datagram, to the neighbour that the device knows."""
    with open(f"/sys/class/net/{DEVICE}/address", encoding="ascii") as f:
        own = bytes.fromhex(f.read().strip().replace(":", ""))
    route = subprocess.run(["ip", "neigh", "show", "dev", DEVICE], capture_output=True, text=True, check=True).stdout
    six = family_of(target) == socket.AF_INET6
    peer = next(line.split("lladdr ")[1].split()[0] for line in route.splitlines()
                if "lladdr" in line and (":" in line.split()[0]) == six)
    head = bytes.fromhex(peer.replace(":", "")) + own + struct.pack("!H", ETH_P_IPV6 if six else ETH_P_IP)
    return head + udp_packet(own_address(target, port), target, port)


def frames(target, port, bypass=False, early=False):
    """Frames by a packet socket, below IP."""
    s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_IPV6 if ":" in target else ETH_P_IP))
    if bypass:
        s.setsockopt(SOL_PACKET, PACKET_QDISC_BYPASS, 1)
    s.bind((DEVICE, 0))
    if early:
        wait_to_go()
    frame = frame_to(target, port)
    push(lambda: s.send(frame))


def frames_past_queue(target, port):
    frames(target, port, bypass=True)


def frames_from_before(target, port):
    frames(target, port, bypass=True, early=True)


def stream_from_before(target, port):
    s = socket.create_connection((target, port))
    s.settimeout(PATIENCE_S)
    wait_to_go()
    push(lambda: s.send(b"x" * 16384))


class XdpRing:
    """A ring that user space and the kernel share: numbers of who fills and who empties it, then its entries."""

    def __init__(self, s, offsets, at, entry):
        producer, consumer, entries, _ = offsets
        self.memory = mmap.mmap(s.fileno(), entries + RING * entry, flags=mmap.MAP_SHARED, offset=at)
        self.producer = ctypes.c_uint32.from_buffer(self.memory, producer)
        self.consumer = ctypes.c_uint32.from_buffer(self.memory, consumer)
        self.entries, self.entry = entries, entry


def xdp_socket():
    """(memory, ring of what is sent, ring of what was) of a new AF_XDP socket."""
    s = socket.socket(AF_XDP, socket.SOCK_RAW, 0)
    memory = mmap.mmap(-1, RING * CHUNK)
    where = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    s.setsockopt(SOL_XDP, XDP_UMEM_REG, struct.pack("QQIIII", where, RING * CHUNK, CHUNK, 0, 0, 0))
    for ring in (XDP_UMEM_FILL_RING, XDP_UMEM_COMPLETION_RING, XDP_TX_RING):
        s.setsockopt(SOL_XDP, ring, struct.pack("I", RING))
    offsets = struct.unpack("16Q", s.getsockopt(SOL_XDP, XDP_MMAP_OFFSETS, 128))
    sending = XdpRing(s, offsets[4:8], XDP_PGOFF_TX_RING, 16)
    sent = XdpRing(s, offsets[12:16], XDP_UMEM_PGOFF_COMPLETION_RING, 8)
    bind = ctypes.CDLL(None, use_errno=True).bind
    if bind(s.fileno(), struct.pack("HHIII", AF_XDP, XDP_COPY, socket.if_nametoindex(DEVICE), 0, 0), 16) != 0:
        raise OSError(ctypes.get_errno(), "bind of AF_XDP")
    return s, memory, sending, sent


def xdp_frames(target, port):
    """Frames by the sending ring of an AF_XDP socket, copied by the kernel: to the driver itself."""
    s, memory, sending, sent = xdp_socket()
    frame = frame_to(target, port)
    for n in range(RING):
        memory[n * CHUNK:n * CHUNK + len(frame)] = frame
        sending.memory[sending.entries + 16 * n:sending.entries + 16 * (n + 1)] = struct.pack("QII", n * CHUNK, len(frame), 0)

    def send():
        sent.consumer.value = sent.producer.value  # their memory may be used again
        before = sending.consumer.value
        sending.producer.value = before + 16
        s.send(b"", socket.MSG_DONTWAIT)
        return (sending.consumer.value - before) % (1 << 32) * len(frame)
    push(send)


def corked(target, port):
    """Datagrams that leave when their socket has neither port nor peer any more."""
    UDP_CORK = 1

    def send():
        with socket.socket(family_of(target), socket.SOCK_DGRAM) as s:
            s.connect((target, port))
            s.send(b"x" * DATAGRAM)  # marks the socket, if anything does
            s.setsockopt(socket.IPPROTO_UDP, UDP_CORK, 1)
            sent = s.send(b"x" * 16384)
            ctypes.CDLL(None).connect(s.fileno(), struct.pack("H", socket.AF_UNSPEC) + bytes(26), 28)
            s.setsockopt(socket.IPPROTO_UDP, UDP_CORK, 0)
            return sent
    push(send)


def passed(target, port):
    """Sockets that are connected here and used by a child that got them by SCM_RIGHTS."""
    ours, theirs = socket.socketpair()
    s = socket.create_connection((target, port), PATIENCE_S)
    if os.fork() == 0:
        os.setsid()
        _, rights, _, _ = theirs.recvmsg(1, socket.CMSG_SPACE(4))
        number = array.array("i", rights[0][2][:4])[0]
        got = socket.socket(fileno=number)
        got.settimeout(PATIENCE_S)
        push(lambda: got.send(b"x" * 16384))
        os._exit(0)
    ours.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [s.fileno()]))])
    s.close()
    os.wait()


def tunnel(target, port):
    """A tunnel device of one's own: what is sent into it leaves as somebody else's datagrams."""
    device = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH", b"weir-own", IFF_TUN | IFF_NO_PI))
    for command in ("addr add 198.18.0.1/24 dev weir-own", "link set weir-own up"):
        subprocess.run(["ip", *command.split()], check=True)
    outer = socket.socket(family_of(target), socket.SOCK_DGRAM)
    inner = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)

    def send():
        inner.sendto(b"x" * DATAGRAM, ("198.18.0.2", 9))
        return outer.sendto(os.read(device, 2048), (target, port))
    push(send)


def question(number):
    """A DNS message that asks for a name with data in it, a new one for each number."""
    labels = [f"{number:06x}".encode() + b"x" * 50, b"y" * 55, b"z" * 55, b"lab-tunnel", b"net"]
    name = b"".join(bytes([len(label)]) + label for label in labels) + b"\0"
    return struct.pack(">6H", number & 0xFFFF, 0x100, 1, 0, 0, 0) + name + struct.pack(">2H", 16, 1)


def names(target, port):
    """Data in the names of questions to a resolver."""
    s = socket.socket(family_of(target), socket.SOCK_DGRAM)
    count = [0]

    def send():
        count[0] += 1
        return s.sendto(question(count[0]), (target, port))
    push(send)


def over_tls(target, port, wrap):
    """Questions with data in their names, each in what `wrap` makes of it, over one connection."""
    context = ssl._create_unverified_context()
    s = context.wrap_socket(socket.create_connection((target, port), PATIENCE_S), server_hostname="dns.example.org")
    s.settimeout(PATIENCE_S)
    count = [0]

    def send():
        count[0] += 1
        message = wrap(question(count[0]))
        s.sendall(message)
        return len(message)
    push(send)


def names_in_tls(target, port):
    over_tls(target, port, lambda q: struct.pack("!H", len(q)) + q)


def names_in_https(target, port):
    over_tls(target, port, lambda q: b"POST /dns-query HTTP/1.1\r\nHost: dns.example.org\r\nContent-Type: application/dns-message\r\n"
             + f"Content-Length: {len(q)}\r\n\r\n".encode() + q)


def events(target, port):
    """What the kernel tells the engine of and no account is charged for: questions on loopback, programs."""
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    end, n = time.monotonic() + PATIENCE_S + 1, 0
    while time.monotonic() < end:
        n += 1
        s.sendto(question(n), (target, port))
        if n % 200 == 0 and os.fork() == 0:
            os.execv("/bin/true", ["true"])
        if n % 200 == 0:
            os.wait()
    print(n, "questions")


def many_sockets(target, port):
    """Sockets until there are no more; then one datagram by each, and again."""
    sockets = []
    try:
        while True:
            sockets.append(socket.socket(family_of(target), socket.SOCK_DGRAM))
            sockets[-1].connect((target, port))
    except OSError:
        pass
    turn = [0]

    def send():
        turn[0] += 1
        return sockets[turn[0] % len(sockets)].send(b"x" * DATAGRAM)
    push(send)


class CloneArgs(ctypes.Structure):  # clone_args of linux/sched.h, its version of 80 bytes
    _fields_ = [(name, ctypes.c_uint64) for name in
                ("flags", "pidfd", "child_tid", "parent_tid", "exit_signal", "stack", "stack_size", "tls", "set_tid", "set_tid_size")]


def same_number(target, port, number):
    """Programs one after the other with one process id, each with a connection of its own."""
    SYS_CLONE3 = 435
    wanted = ctypes.c_int32(number)
    libc = ctypes.CDLL(None, use_errno=True)
    for _ in range(32):
        arguments = CloneArgs(exit_signal=17, set_tid=ctypes.addressof(wanted), set_tid_size=1)
        pid = libc.syscall(SYS_CLONE3, ctypes.byref(arguments), ctypes.sizeof(arguments))
        if pid < 0:
            sys.exit(f"process id {number}: {os.strerror(ctypes.get_errno())}")
        if pid == 0:
            assert os.getpid() == number
            s = socket.create_connection((target, port), 1)
            s.settimeout(0.3)
            s.sendall(b"x" * 65536)
            os._exit(0)
        os.wait()


def main():
    way, target = sys.argv[1], sys.argv[2]
    ipaddress.ip_address(target)
    globals()[way](target, *([int(word) for word in sys.argv[3:]] or [9000]))


if __name__ == "__main__":
    main()
