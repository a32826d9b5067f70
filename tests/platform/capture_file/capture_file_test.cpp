// Capture files of every kind that is read, whole, cut and damaged.
#include "platform/capture_file/capture_file.h"

#include <gtest/gtest.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

namespace weir {
namespace {

std::string little(std::uint64_t n, int width) {
  std::string out;
  for (int i = 0; i < width; ++i) out += static_cast<char>(n >> (8 * i));
  return out;
}

struct Record {
  std::uint32_t seconds = 0, fraction = 0;
  std::string bytes;
  std::uint32_t wire = 0;  // 0: as captured
};

std::string pcap(const std::vector<Record>& records, std::uint32_t link = 1,
                 std::uint32_t magic = 0xa1b2c3d4) {
  std::string out = little(magic, 4) + little(2, 2) + little(4, 2) + little(0, 8) +
                    little(65535, 4) + little(link, 4);
  for (const Record& r : records) {
    const auto size = static_cast<std::uint32_t>(r.bytes.size());
    out += little(r.seconds, 4) + little(r.fraction, 4) + little(size, 4) +
           little(r.wire ? r.wire : size, 4) + r.bytes;
  }
  return out;
}

std::string block(std::uint32_t kind, std::string body) {
  body.resize((body.size() + 3) / 4 * 4);
  const auto size = static_cast<std::uint32_t>(body.size() + 12);
  return little(kind, 4) + little(size, 4) + body + little(size, 4);
}

std::string pcapng(const std::vector<Record>& records) {
  std::string out = block(
      0x0a0d0d0a, little(0x1a2b3c4d, 4) + little(1, 2) + little(0, 2) + std::string(8, '\xff'));
  out += block(1, little(1, 2) + little(0, 2) + little(65535, 4));
  for (const Record& r : records) {
    const std::uint64_t micros = r.seconds * std::uint64_t{1'000'000} + r.fraction;
    const auto size = static_cast<std::uint32_t>(r.bytes.size());
    out += block(6, little(0, 4) + little(static_cast<std::uint32_t>(micros >> 32), 4) +
                        little(static_cast<std::uint32_t>(micros), 4) + little(size, 4) +
                        little(size, 4) + r.bytes);
  }
  return out;
}

std::string gzipped(const std::string& data) {
  z_stream stream{};
  EXPECT_EQ(deflateInit2(&stream, 6, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY), Z_OK);
  std::string out(deflateBound(&stream, data.size()) + 32, '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(data.data()));
  stream.avail_in = static_cast<uInt>(data.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  EXPECT_EQ(deflate(&stream, Z_FINISH), Z_STREAM_END);
  out.resize(out.size() - stream.avail_out);
  deflateEnd(&stream);
  return out;
}

std::string zstd(const std::string& data) {
  ZSTD_CCtx* context = ZSTD_createCCtx();
  ZSTD_CCtx_setParameter(context, ZSTD_c_checksumFlag, 1);
  std::string out(ZSTD_compressBound(data.size()), '\0');
  out.resize(ZSTD_compress2(context, out.data(), out.size(), data.data(), data.size()));
  ZSTD_freeCCtx(context);
  return out;
}

struct capture_file : testing::Test {
  std::filesystem::path folder =
      std::filesystem::temp_directory_path() / ("weir-capture-" + std::to_string(getpid()));
  std::vector<std::string> packets;  // of the file that was read last
  std::vector<Stamp> stamps;
  LinkType link = LinkType::unsupported;
  std::string ending;

  void SetUp() override { std::filesystem::create_directories(folder); }
  void TearDown() override { std::filesystem::remove_all(folder); }

  std::string file(const std::string& data) {
    const auto path = folder / "capture";
    std::ofstream(path, std::ios::binary) << data;
    return path;
  }

  // "" or the sentence of the failure to open it.
  std::string read(const std::string& data) {
    packets.clear(), stamps.clear(), ending.clear();
    auto capture = CaptureFile::open(file(data));
    if (!capture) return capture.error().sentence;
    Event event;
    while (capture->next(event)) {
      const Packet& packet = std::get<Packet>(event.body);
      EXPECT_GE(packet.wire_length, packet.bytes.size());
      packets.emplace_back(text_of(packet.bytes));
      stamps.push_back(event.at);
      link = packet.link;
    }
    EXPECT_FALSE(capture->next(event));
    ending = capture->ending();
    return "";
  }
};

const std::vector<Record> kThree = {{100, 5, "first"}, {101, 6, "second"}, {102, 7, "third"}};
const std::vector<std::string> kBytes = {"first", "second", "third"};

TEST_F(capture_file, pcap_and_pcapng_plain_and_compressed_give_the_same_packets) {
  for (const std::string& data : {pcap(kThree), pcapng(kThree)})
    for (const std::string& packed : {data, gzipped(data), zstd(data)}) {
      EXPECT_EQ(read(packed), "");
      EXPECT_EQ(packets, kBytes);
      EXPECT_EQ(ending, "");
      EXPECT_EQ(link, LinkType::ethernet);
      EXPECT_EQ(stamps[1].wall_ns, 101'000'006'000);
    }
}

TEST_F(capture_file, several_gzip_members_and_zstd_frames_are_one_file) {
  const std::string data = pcap(kThree);
  EXPECT_EQ(read(gzipped(data.substr(0, 50)) + gzipped(data.substr(50))), "");
  EXPECT_EQ(packets, kBytes);
  EXPECT_EQ(read(zstd(data.substr(0, 50)) + zstd(data.substr(50))), "");
  EXPECT_EQ(packets, kBytes);
  EXPECT_EQ(ending, "");
}

TEST_F(capture_file, nanoseconds_are_kept) {
  EXPECT_EQ(read(pcap(kThree, 1, 0xa1b23c4d)), "");
  EXPECT_EQ(stamps[1].wall_ns, 101'000'000'006);
}

TEST_F(capture_file, times_that_run_backwards_do_not_take_the_order_back) {
  EXPECT_EQ(read(pcap({{100, 0, "a"}, {50, 0, "b"}, {101, 0, "c"}})), "");
  ASSERT_EQ(stamps.size(), 3u);
  EXPECT_EQ(stamps[1].wall_ns, 50'000'000'000);
  EXPECT_EQ(stamps[1].boot_ns, 100'000'000'000);
  EXPECT_EQ(stamps[2].boot_ns, 101'000'000'000);
}

TEST_F(capture_file, link_types_have_their_name_and_unknown_ones_still_give_packets) {
  const std::vector<std::pair<std::uint32_t, LinkType>> known = {
      {0, LinkType::null},     {1, LinkType::ethernet},    {101, LinkType::raw_ip},
      {108, LinkType::loop},   {113, LinkType::linux_sll}, {276, LinkType::linux_sll2},
      {228, LinkType::raw_ip}, {229, LinkType::raw_ip},    {105, LinkType::unsupported}};
  for (const auto& [number, type] : known) {
    EXPECT_EQ(read(pcap(kThree, number)), "");
    EXPECT_EQ(link, type) << number;
    EXPECT_EQ(packets.size(), 3u);
  }
}

TEST_F(capture_file, cut_anywhere_it_gives_the_whole_packets_and_one_sentence) {
  const std::string data = pcap(kThree);
  for (std::size_t n = 24; n < data.size(); ++n) {
    EXPECT_EQ(read(data.substr(0, n)), "");
    const std::size_t whole = n < 24 + 21 ? 0 : n < 24 + 21 + 22 ? 1 : 2;
    EXPECT_EQ(packets.size(), whole) << n;
    const bool between = n == 24 || n == 24 + 21 || n == 24 + 21 + 22;
    EXPECT_EQ(ending.empty(), between) << n;
  }
  EXPECT_NE(ending.find("capture: reading ended after packet 2: "), std::string::npos) << ending;
}

TEST_F(capture_file, compressed_data_that_ends_early_or_breaks_is_told) {
  std::vector<Record> many;
  for (std::uint32_t i = 0; i < 20000; ++i) many.push_back({i, 0, std::to_string(i * 2654435761u)});
  for (const std::string& packed : {gzipped(pcap(many)), zstd(pcap(many))}) {
    EXPECT_EQ(read(packed.substr(0, packed.size() / 2)), "");
    EXPECT_GT(packets.size(), 5000u);
    EXPECT_NE(ending.find("ends early"), std::string::npos) << ending;
    std::string broken = packed;
    for (std::size_t i = packed.size() / 2; i < packed.size() / 2 + 64; ++i) broken[i] ^= 0x55;
    EXPECT_EQ(read(broken), "");
    EXPECT_NE(ending, "");  // by whichever notices first: decompression, checksum or libpcap
  }
}

TEST_F(capture_file, what_is_no_capture_is_refused_with_its_name) {
  for (const std::string& data : {std::string(), std::string("hello, this is text"),
                                  pcap({}).substr(0, 20), gzipped("text"), zstd("text")}) {
    const std::string sentence = read(data);
    EXPECT_NE(sentence.find("capture: not a capture file"), std::string::npos) << sentence;
  }
  const auto missing = CaptureFile::open("/does/not/exist");
  EXPECT_NE(missing.error().sentence.find("/does/not/exist: No such file"), std::string::npos);
  EXPECT_FALSE(CaptureFile::open("/tmp"));
}

TEST_F(capture_file, a_capture_length_that_is_absurd_ends_it_with_a_sentence) {
  EXPECT_EQ(read(pcap({{1, 0, "good"}}) + little(2, 4) + little(0, 4) + little(0xffffffff, 4) +
                 little(0xffffffff, 4) + "rest"),
            "");
  EXPECT_EQ(packets.size(), 1u);
  EXPECT_NE(ending, "");
}

}  // namespace
}  // namespace weir
