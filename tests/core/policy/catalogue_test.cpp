// The catalogue: what it knows, and that a name only matches on label boundaries.
#include "core/policy/catalogue.h"

#include <gtest/gtest.h>

#include <random>

#include "core/policy/host_patterns.h"

namespace weir {
namespace {

std::string id_of(std::string_view host, bool* uploads = nullptr) {
  const Service* service = Catalogue::built_in().find_name(host, uploads);
  return service ? service->id : "";
}

TEST(catalogue, has_the_services_that_public_lists_confirm) {
  std::size_t a = 0, b = 0;
  for (const Service& service : Catalogue::built_in().services()) {
    (service.confidence == 'A' ? a : b) += 1;
    EXPECT_FALSE(service.title.empty()) << service.id;
    EXPECT_FALSE(service.category.ends_with("_cn")) << "the region stands apart: " << service.id;
    EXPECT_FALSE(service.domains.empty() && service.upload_hosts.empty()) << service.id;
  }
  EXPECT_GE(a, 146u);
  EXPECT_GE(b, 150u);
}

TEST(catalogue, upload_hosts_are_told_from_the_rest_of_a_service) {
  bool uploads = false;
  EXPECT_EQ(id_of("content.dropboxapi.com", &uploads), "dropbox");
  EXPECT_TRUE(uploads);
  EXPECT_EQ(id_of("www.dropbox.com", &uploads), "dropbox");
  EXPECT_FALSE(uploads);
  EXPECT_EQ(id_of("block-edge-12.dropbox.com", &uploads), "dropbox");
  EXPECT_TRUE(uploads);
  EXPECT_EQ(id_of("Content.DropboxAPI.com.", &uploads), "dropbox") << "case and final dot";
  EXPECT_TRUE(uploads);
  EXPECT_EQ(id_of("bucket.s3.eu-west-1.amazonaws.com", &uploads), "s3");
  EXPECT_TRUE(uploads);
  EXPECT_EQ(id_of("ec2-1-2-3-4.compute.amazonaws.com"), "") << "not every Amazon host is storage";
  EXPECT_EQ(id_of("1.up.1drv.com", &uploads), "onedrive");
  EXPECT_TRUE(uploads);
  EXPECT_EQ(id_of("web.telegram.org"), "telegram");
  EXPECT_EQ(id_of("api.telegram.org", &uploads), "telegrambot") << "more labels win";
  EXPECT_TRUE(uploads);
}

TEST(catalogue, a_host_with_an_upload_path_is_shared) {
  bool uploads = false;
  const Service* service = Catalogue::built_in().find_name("www.googleapis.com", &uploads);
  ASSERT_TRUE(service);
  EXPECT_TRUE(uploads);
  EXPECT_TRUE(service->shared_host);
}

TEST(catalogue, a_name_that_only_looks_alike_matches_nothing) {
  for (const char* host :
       {"evil-dropbox.com", "dropbox.com.evil.example", "xdropboxapi.com", "com", "", ".",
        "dropbox..com", ".dropbox.com", "dropbox", "content.dropboxapi.com.x"})
    EXPECT_EQ(id_of(host), "") << host;
  EXPECT_EQ(id_of(std::string(300, 'a') + ".dropbox.com"), "") << "longer than a name can be";
}

TEST(catalogue, addresses_of_telegram_are_known_without_a_name) {
  const Catalogue& catalogue = Catalogue::built_in();
  for (const char* text : {"149.154.167.51", "91.108.56.130", "91.105.193.1", "185.76.151.9",
                           "2001:67c:4e8:f002::a", "2a0a:f280::1"}) {
    const Service* service = catalogue.find_address(*IpAddress::parse(text));
    ASSERT_TRUE(service) << text;
    EXPECT_EQ(service->id, "telegram");
    EXPECT_TRUE(service->no_sni);
  }
  EXPECT_FALSE(catalogue.find_address(*IpAddress::parse("149.154.176.1")));
  EXPECT_FALSE(catalogue.find_address(*IpAddress::parse("192.0.2.1")));
}

TEST(catalogue, services_and_categories_are_found_by_id) {
  EXPECT_EQ(Catalogue::built_in().find_id("baidupan")->region, "cn");
  EXPECT_EQ(Catalogue::built_in().find_id("baidupan")->category, "cloud_storage");
  EXPECT_FALSE(Catalogue::built_in().find_id("nothing"));
  const auto& categories = Catalogue::built_in().categories();
  EXPECT_TRUE(std::is_sorted(categories.begin(), categories.end()));
  for (const char* used : {"cloud_storage", "object_storage", "file_transfer", "paste", "ai_chat",
                           "webmail", "messaging"})
    EXPECT_TRUE(std::binary_search(categories.begin(), categories.end(), used)) << used;
}

TEST(catalogue, a_broken_line_is_told_by_its_number) {
  const struct {
    const char* text;
    const char* error;
  } cases[] = {
      {"title x\n", "catalogue line 1: a 'service' line comes first"},
      {"# c\nservice a C x -\n", "catalogue line 2: confidence is A or B"},
      {"service a A x\n", "catalogue line 1: 'service' needs id, confidence, category and region"},
      {"service a A x us\n", "catalogue line 1: region is 'cn' or '-'"},
      {"service A A x -\n", "catalogue line 1: id and category are a-z, 0-9 and '_'"},
      {"service a A x -\nservice a A x -\n", "catalogue line 2: service 'a' stands there twice"},
      {"service a A x -\ndomain *\n", "catalogue line 2: '*' is no host"},
      {"service a A x -\ndomain a.*\n", "catalogue line 2: 'a.*' is no host"},
      {"service a A x -\ndomain 1.2.3.4\n", "catalogue line 2: '1.2.3.4' is no host"},
      {"service a A x -\nupload a.com/x\n", "catalogue line 2: 'a.com/x' is no host"},
      {"service a A x -\nrange 1.2.3.4/33\n",
       "catalogue line 2: '1.2.3.4/33' needs a prefix length from 0 to 32"},
      {"service a A x -\nflag odd\n", "catalogue line 2: flags are shared_host and no_sni"},
      {"service a A x -\nhost a\n",
       "catalogue line 2: 'host' is none of service, title, upload, domain, range, flag"},
      {"service a A x -\ndomain\n", "catalogue line 2: 'domain' has no value"},
  };
  for (const auto& bad : cases) {
    const auto parsed = Catalogue::parse(bad.text);
    ASSERT_FALSE(parsed) << bad.text;
    EXPECT_EQ(parsed.error().sentence, bad.error);
  }
}

TEST(host_patterns, a_star_stays_inside_one_label) {
  EXPECT_TRUE(host_matches("*.a.com", "x.a.com"));
  EXPECT_TRUE(host_matches("*.a.com", "y.x.a.com")) << "below a match";
  EXPECT_FALSE(host_matches("*.a.com", "a.com"));
  EXPECT_FALSE(host_matches("*.a.com", "xa.com"));
  EXPECT_TRUE(host_matches("p*-ws.a.com", "p12-ws.a.com"));
  EXPECT_FALSE(host_matches("p*-ws.a.com", "p1.2-ws.a.com"));
  EXPECT_TRUE(host_matches("s3.*.a.com", "s3.eu.a.com"));
  EXPECT_FALSE(host_matches("s3.*.a.com", "s3.eu.west.a.com"));
  EXPECT_TRUE(label_matches("*a*b*", "xxaxbx"));
  EXPECT_FALSE(label_matches("*a*b*", "xbxa"));
  EXPECT_TRUE(label_matches("**", ""));
}

// The oracle: a pattern matches if its labels, taken from the end, match one by one.
bool slow_match(std::string_view pattern, std::string_view host) {
  while (true) {
    const std::size_t p = pattern.rfind('.'), h = host.rfind('.');
    if (!label_matches(pattern.substr(p + 1), host.substr(h + 1))) return false;
    if (p == std::string_view::npos) return true;
    if (h == std::string_view::npos) return false;
    pattern = pattern.substr(0, p);
    host = host.substr(0, h);
  }
}

TEST(host_patterns, the_trie_agrees_with_label_by_label_matching_on_random_names) {
  std::mt19937 random(7);
  const auto pick = [&](int n) { return static_cast<int>(random() % static_cast<unsigned>(n)); };
  const auto name = [&](bool stars) {
    std::string out;
    for (int i = 0, labels = 1 + pick(4); i < labels; ++i) {
      if (i > 0) out += '.';
      for (int c = 0, size = 1 + pick(3); c < size; ++c)
        out += stars && pick(4) == 0 && i + 1 < labels ? '*' : static_cast<char>('a' + pick(2));
    }
    return out;
  };
  std::size_t matched = 0;
  for (int round = 0; round < 300; ++round) {
    HostPatterns trie;
    std::vector<std::string> patterns;
    for (int i = 0; i < 20; ++i) {
      patterns.push_back(name(true));
      trie.add(patterns.back(), static_cast<std::uint32_t>(i));
    }
    for (int i = 0; i < 30; ++i) {
      const std::string host = name(false);
      std::vector<HostPatterns::Match> found;
      trie.find(host, found);
      std::vector<bool> hit(patterns.size());
      for (const auto& match : found) hit[match.value] = true;
      for (std::size_t p = 0; p < patterns.size(); ++p) {
        EXPECT_EQ(hit[p], slow_match(patterns[p], host)) << patterns[p] << " " << host;
        EXPECT_EQ(hit[p], host_matches(patterns[p], host)) << patterns[p] << " " << host;
        matched += hit[p];
      }
    }
  }
  EXPECT_GT(matched, 1000u) << "the random names must exercise matches";
}

TEST(host_patterns, putting_letters_before_a_listed_domain_never_matches_it) {
  for (const Service& service : Catalogue::built_in().services())
    for (const std::string& domain : service.domains) {
      EXPECT_TRUE(Catalogue::built_in().find_name(domain)) << domain;
      const Service* other = Catalogue::built_in().find_name("evil-" + domain);
      // The altered name may itself lie below a listed domain (evil-drive.google.com: no).
      const std::string parent = domain.substr(domain.find('.') + 1);
      if (!Catalogue::built_in().find_name(parent)) {
        EXPECT_FALSE(other) << domain;
      }
      EXPECT_FALSE(host_matches(domain, "evil-" + domain)) << domain;
    }
}

}  // namespace
}  // namespace weir
