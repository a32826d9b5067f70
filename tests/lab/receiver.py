"""A storage service that takes uploads over TLS: answers the success path of an HTTPS upload, and counts
what it could read: body bytes after decryption, and different customers whose whole CSV row arrived.
Writes JSON every 100 ms and at SIGTERM. How many bytes arrived on the wire is wire.py's business."""
import argparse
import json
import os
import signal
import socket
import ssl
import threading

HEAD_MAX = 64 << 10
COLUMNS = 9  # of customers.py: a row that is cut short has fewer
IDLE_S = 60


class Tally:
    def __init__(self):
        self.lock = threading.Lock()
        self.customers = set()
        self.body_bytes = self.connections = self.whole_uploads = 0

    def rows(self, lines):
        ids = {line[: line.index(b",")] for line in lines if line.count(b",") == COLUMNS - 1 and line[:1].isdigit()}
        with self.lock:
            self.customers |= ids

    def json(self):
        with self.lock:
            return {"customers": len(self.customers), "bodyBytes": self.body_bytes,
                    "connections": self.connections, "wholeUploads": self.whole_uploads}


def read_head(s):
    data = b""
    while b"\r\n\r\n" not in data:
        more = s.recv(16384)
        if not more or len(data) > HEAD_MAX:
            return None
        data += more
    head, body = data.split(b"\r\n\r\n", 1)
    fields = {}
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        fields[name.strip().lower()] = value.strip()
    return fields, body


def take_body(s, tally, body, length):
    tail, got, data = b"", 0, body
    while True:
        if data:
            got += len(data)
            with tally.lock:
                tally.body_bytes += len(data)
            lines = (tail + data).split(b"\n")
            tail = lines.pop()
            tally.rows(lines)
        if got >= length:
            return True
        data = s.recv(65536)
        if not data:
            return False


def serve(connection, context, tally):
    try:
        connection.settimeout(IDLE_S)
        with context.wrap_socket(connection, server_side=True) as s:
            while (request := read_head(s)) is not None:
                fields, body = request
                if fields.get(b"expect", b"").lower() == b"100-continue":
                    s.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
                whole = take_body(s, tally, body, int(fields.get(b"content-length", b"0")))
                if not whole:
                    return
                with tally.lock:
                    tally.whole_uploads += 1
                s.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}")
    except (OSError, ValueError):
        pass  # the client's end of it, cut off or broken: what arrived is counted
    finally:
        connection.close()


def accept(listener, context, tally):
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        with tally.lock:
            tally.connections += 1
        threading.Thread(target=serve, args=(connection, context, tally), daemon=True).start()


def main():
    args = argparse.ArgumentParser()
    args.add_argument("--cert", required=True)
    args.add_argument("--key", required=True)
    args.add_argument("--listen", action="append", required=True)
    args.add_argument("--port", type=int, default=443)
    args.add_argument("--out", required=True)
    args = args.parse_args()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(args.cert, args.key)
    tally = Tally()
    for address in args.listen:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address, args.port))
        listener.listen(512)
        threading.Thread(target=accept, args=(listener, context, tally), daemon=True).start()
    ending = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ending.set())
    while True:
        last = ending.is_set()
        with open(args.out + ".new", "w", encoding="utf-8") as f:
            json.dump(tally.json(), f)
        os.replace(args.out + ".new", args.out)
        if last:
            os._exit(0)  # connections that still hang are not waited for
        ending.wait(0.1)


if __name__ == "__main__":
    main()
