// The floor under every reader of captures: a bare libpcap loop that touches each packet's first
// byte.
#include <pcap/pcap.h>

#include <cstdint>
#include <cstdio>

int main(int argc, char** argv) {
  char error[PCAP_ERRBUF_SIZE];
  pcap_t* in = argc == 2 ? pcap_open_offline(argv[1], error) : nullptr;
  if (in == nullptr) return std::fprintf(stderr, "usage: pcap_loop CAPTURE\n"), 2;
  struct Sum {
    std::uint64_t packets = 0, bytes = 0, first = 0;
  } sum;
  pcap_loop(
      in, 0,
      [](u_char* user, const pcap_pkthdr* head, const u_char* data) {
        auto& s = *reinterpret_cast<Sum*>(user);
        ++s.packets;
        s.bytes += head->len;
        if (head->caplen > 0) s.first += data[0];
      },
      reinterpret_cast<u_char*>(&sum));
  pcap_close(in);
  std::printf("%llu packets, %llu bytes (%llu)\n", static_cast<unsigned long long>(sum.packets),
              static_cast<unsigned long long>(sum.bytes),
              static_cast<unsigned long long>(sum.first));
}
