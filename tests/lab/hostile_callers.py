#!/usr/bin/env python3
"""hostile_callers.py SOCKET: what a user who means harm does to the agent's socket. 0: all of it was refused."""
import os
import socket
import struct
import sys
import time

PATH = sys.argv[1]
MAGIC = 0x31584557
HOUR = 3600 * 10**9


def connect():
    caller = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    caller.settimeout(20)
    caller.connect(PATH)
    return caller


def answer(request):
    """(refused, sentence); None: closed without a word."""
    caller = connect()
    try:
        caller.send(request)
        got = caller.recv(4096)
    except (ConnectionError, BrokenPipeError):
        return None
    finally:
        caller.close()
    if len(got) != 256:
        return None
    _, refused = struct.unpack_from("<II", got)
    return refused, got[8:].split(b"\0")[0].decode()


def request(magic=MAGIC, flags=0, limit=1 << 20, window=0):
    return struct.pack("<IIQQ", magic, flags, limit, window)


def garbage():
    for bad in (b"x", os.urandom(23), os.urandom(24), os.urandom(25), os.urandom(60000), request() + b"x",
                request(magic=MAGIC + 1), request(flags=4), request(flags=0xffffffff), request(limit=1 << 63),
                request(window=1), request(window=25 * HOUR), request(window=(1 << 64) - 1)):
        got = answer(bad)
        assert got is None or got[0] == 1, (bad[:32], got)
        time.sleep(0.02)


def a_dead_callers_number():
    """Connects in a child that ends: nobody is there to be bounded, whoever has its number then."""
    caller = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    caller.settimeout(20)
    child = os.fork()
    if child == 0:
        caller.connect(PATH)
        os._exit(0)
    os.waitpid(child, 0)
    try:
        caller.send(request())
        got = caller.recv(4096)
        assert not got or struct.unpack_from("<II", got)[1] == 1, got
    except (ConnectionError, BrokenPipeError):
        pass
    caller.close()


def bounded(*, fds=()):
    """Whether a child of ours is served; it ends with its connection."""
    child = os.fork()
    if child == 0:
        caller = connect()
        socket.send_fds(caller, [request()], list(fds))
        got = caller.recv(4096)
        os._exit(0 if len(got) == 256 and struct.unpack_from("<II", got)[1] == 0 else 1)
    return os.waitpid(child, 0)[1] == 0


def somebody_elses():
    """A descriptor of another's process goes along with the request: nothing takes it."""
    assert bounded(fds=[os.pidfd_open(os.getppid())])  # the child itself, and nobody else


def half_open():
    """Many that say nothing: they are closed after a while, and the number of them is small."""
    silent = []
    for _ in range(10000):
        try:
            silent.append(connect())
        except (BlockingIOError, OSError):
            pass
        if len(silent) > 200:
            silent.pop(0).close()
    time.sleep(3)
    closed = 0
    for caller in silent:
        caller.setblocking(False)
        try:
            closed += caller.recv(1) == b""
        except BlockingIOError:
            pass
        except OSError:
            closed += 1
    assert closed == len(silent), (closed, len(silent))


garbage()
time.sleep(2.5)  # our four waiting connections are over
a_dead_callers_number()
somebody_elses()
half_open()
assert bounded()
print("ok")
