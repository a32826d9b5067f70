"""Foreign headers: the heavy ones never in a header of ours, those of an OS only where the OS lives."""
import re

from tree import finding, includes

HEAVY = ("spdlog/", "grpcpp/", "grpc/", "yaml-cpp/", "boost/beast", "boost/asio", "google/protobuf/",
         "weir/v1/", "CLI/", "pcap", "hs/", "openssl/")
# Headers that hold generated code on purpose; they say so in their first lines.
HEAVY_ALLOWED = {"proto/map/enums.h"}

OS = re.compile(r"(sys|linux|net|netinet|arpa|asm|bpf|systemd)/.*"
                r"|(unistd|fcntl|signal|pthread|dlfcn|poll|pwd|grp|sched|syslog|termios|utmpx?|mntent|ifaddrs"
                r"|netdb|dirent|glob|ftw|spawn|seccomp|semaphore|mqueue|time|libgen|link|elf|pty)\.h")
OS_PLACES = ("platform/", "agent/run/", "agent/guard/", "agent/engine/", "agent/spool/", "agent/uplink/", "agent/cli/",
             "collector/fleet/private_files", "collector/main.cpp", "tests/", "bench/")

# core/ is a function of its events: no clock, no thread, no file, no wire.
NOT_IN_CORE = re.compile(r"thread|mutex|shared_mutex|condition_variable|future|atomic|semaphore|stop_token|latch|barrier"
                         r"|chrono|ctime|fstream|filesystem|iostream|random|csignal|clocale|locale|regex"
                         r"|google/protobuf/.*|weir/v1/.*|pcap.*|zlib.h|zstd.h|spdlog/.*")
YAML_PLACE = "core/policy/surface/"


def check(tree):
    """Heavy headers, OS headers, and what core/ has no use for."""
    found = []
    for path in tree.having(".h", ".cpp", ".c"):
        foreign = [(line, target) for line, target, _ in includes(tree.text(path))]
        for line, target in foreign:
            if path.endswith(".h") and target.startswith(HEAVY) and not path.startswith(("tests/", "platform/linux/bpf/")) \
                    and path not in HEAVY_ALLOWED:
                found.append(finding(path, line, f"the heavy header {target} stands in a header: move it to a .cpp"))
            if OS.fullmatch(target) and not path.startswith(OS_PLACES):
                found.append(finding(path, line, f"the OS header {target} belongs below platform/ or a program"))
            if path.startswith("core/") and NOT_IN_CORE.fullmatch(target):
                found.append(finding(path, line, f"core/ does not use {target}: time, files and threads are the caller's"))
            if target.startswith("yaml-cpp/") and not path.startswith((YAML_PLACE, "tests/")):
                found.append(finding(path, line, "YAML is read only below core/policy/surface/"))
        names = {target for _, target in foreign}
        if any(n.startswith("bpf/libbpf") for n in names) and any(n.startswith("pcap") for n in names):
            found.append(finding(path, 1, "libbpf and libpcap in one file: their BPF headers contradict each other"))
    return found
