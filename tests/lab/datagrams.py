"""datagrams.py SECONDS ADDRESS: sends 1,000-byte datagrams to a host behind a tunnel, for that long;
waits while there is no route to it yet."""
import socket
import sys
import time

end = time.monotonic() + float(sys.argv[1])
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
while time.monotonic() < end:
    try:
        s.sendto(bytes(1000), (sys.argv[2], 9))
        time.sleep(0.005)  # far more than iodine carries
    except OSError:
        time.sleep(0.1)
