// Two BPF headers.
#include <bpf/libbpf.h>
#include <pcap/pcap.h>
