// The data folder: made once, insisted on afterwards.
#include "collector/serve/first_start.h"

#include <sys/stat.h>

#include <fstream>

#include "collector/api/admin_file.h"
#include "collector/fleet/crypto.h"
#include "tests/collector/store/store_fixture.h"

namespace weir {
namespace {

constexpr std::int64_t kNow = 1'800'000'000;

class FirstStart : public ::testing::Test {
 protected:
  FirstStart() : data(folder.path() + "/data") {}
  Result<DataFolder> open(const std::string& certificate = "") {
    return open_data_folder({data, "collector.example", certificate}, kNow);
  }
  std::string sentence() {
    auto opened = open();
    return opened ? "" : opened.error().sentence;
  }
  std::string text_of_file(const std::string& path) {
    std::ifstream file(path);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  Folder folder;
  std::string data;
};

TEST_F(FirstStart, an_empty_folder_becomes_a_collectors_and_stays_the_same) {
  std::string authority, pin;
  {
    auto opened = open();
    ASSERT_TRUE(opened) << opened.error().sentence;
    authority = opened->authority.certificate().pem();
    pin = hex(opened->console_key_sha256);
  }
  auto again = open();
  ASSERT_TRUE(again) << again.error().sentence;
  EXPECT_EQ(again->authority.certificate().pem(), authority);
  EXPECT_EQ(hex(again->console_key_sha256), pin);
  auto admin = read_admin_file_text(text_of_file(data + "/admin.json"));
  ASSERT_TRUE(admin) << admin.error().sentence;
  EXPECT_EQ(admin->door_key_sha256, pin);
  EXPECT_EQ(again->store->principal(sha256_of({bytes_of(unhex(admin->secret))})), "admin");
  ASSERT_EQ(again->store->policy_trust().keys.size(), 1u);
  std::string signature = sign_ed25519(unhex(admin->policy_secret_key), "c", bytes_of("m"));
  EXPECT_TRUE(verify_ed25519(again->store->policy_trust().keys[0].public_key, "c", bytes_of("m"),
                             signature));
}

TEST_F(FirstStart, its_files_are_their_owners_alone) {
  ASSERT_TRUE(open());
  for (const char* file : {"/admin.json", "/ca/authority.key", "/console/door.key"}) {
    struct stat info {};
    ASSERT_EQ(::stat((data + file).c_str(), &info), 0) << file;
    EXPECT_EQ(info.st_mode & 0777, 0600u) << file;
  }
}

TEST_F(FirstStart, the_policy_key_and_the_secret_stand_nowhere_but_in_the_administrators_file) {
  ASSERT_TRUE(open());
  auto admin = read_admin_file_text(text_of_file(data + "/admin.json"));
  for (const auto& entry : std::filesystem::recursive_directory_iterator(data)) {
    if (!entry.is_regular_file() || entry.path().filename() == "admin.json") continue;
    std::string text = text_of_file(entry.path());
    EXPECT_EQ(text.find(unhex(admin->secret)), std::string::npos) << entry.path();
    EXPECT_EQ(text.find(unhex(admin->policy_secret_key).substr(0, 32)), std::string::npos)
        << entry.path();
  }
}

TEST_F(FirstStart, a_part_that_is_gone_is_named_and_never_made_anew) {
  ASSERT_TRUE(open());
  for (const char* part : {"/ca/authority.key", "/ca/authority.pem", "/ca", "/console/door.key",
                           "/console", "/store.db"}) {
    std::filesystem::rename(data + part, data + "/away");
    EXPECT_NE(sentence().find("is missing"), std::string::npos) << part;
    std::filesystem::rename(data + "/away", data + part);
    EXPECT_EQ(sentence(), "") << part;
  }
}

TEST_F(FirstStart, a_damaged_or_foreign_authority_is_refused) {
  ASSERT_TRUE(open());
  const std::string path = data + "/ca/authority";
  std::string pem = text_of_file(path + ".pem"), key = text_of_file(path + ".key");
  std::ofstream(path + ".pem") << pem.substr(0, pem.size() / 2);
  EXPECT_NE(sentence().find("ca/authority"), std::string::npos);
  Authority foreign = Authority::create({kNow - 60, kNow + 60});
  std::ofstream(path + ".pem") << foreign.certificate().pem();
  EXPECT_NE(sentence().find("do not belong together"), std::string::npos);
  std::ofstream(path + ".key") << foreign.key_pem();
  EXPECT_NE(sentence().find("is not the authority"), std::string::npos);
  std::ofstream(path + ".pem") << pem;
  std::ofstream(path + ".key") << key;
  EXPECT_EQ(sentence(), "");
}

TEST_F(FirstStart, a_first_start_that_was_cut_off_is_done_again) {
  ASSERT_TRUE(open());
  {
    auto db = Database::open(data + "/store.db", Database::Mode::write);
    ASSERT_TRUE(db->run("DELETE FROM meta WHERE name = 'set_up'"));
  }
  std::filesystem::remove(data + "/admin.json");
  EXPECT_EQ(sentence(), "");
  EXPECT_TRUE(std::filesystem::exists(data + "/admin.json"));
}

TEST_F(FirstStart, a_second_collector_is_kept_out_of_the_folder) {
  auto first = open();
  ASSERT_TRUE(first);
  EXPECT_NE(sentence().find("another collector"), std::string::npos);
}

TEST_F(FirstStart, a_certificate_of_ones_own_is_used_and_must_fit_its_key) {
  PrivateKey key = PrivateKey::generate();
  X509Certificate own = *self_signed(key, "collector.example", {kNow - 60, kNow + 60});
  const std::string file = folder.path() + "/own.pem";
  std::ofstream(file) << own.pem() << key.pem();
  {
    auto opened = open(file);
    ASSERT_TRUE(opened) << opened.error().sentence;
    EXPECT_EQ(opened->console_key_sha256, own.key_sha256());
    ASSERT_TRUE(write_address(data, "collector.example:8443", opened->console_key_sha256));
  }
  auto admin = read_admin_file_text(text_of_file(data + "/admin.json"));
  EXPECT_EQ(admin->address, "collector.example:8443");
  EXPECT_EQ(admin->door_key_sha256, hex(own.key_sha256()));
  std::ofstream(file) << own.pem() << PrivateKey::generate().pem();
  EXPECT_FALSE(open(file));
}

}  // namespace
}  // namespace weir
