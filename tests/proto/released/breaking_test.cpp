// The tree against what the last releases spoke, and the comparison against breaks of every kind.
#include <gtest/gtest.h>
#include <stdlib.h>

#include <functional>
#include <regex>
#include <sstream>

#include "tests/proto/released/breaking.h"
#include "tests/proto/released/images.h"

namespace weir {
namespace {

using google::protobuf::DescriptorProto;
using google::protobuf::FieldDescriptorProto;
namespace fs = std::filesystem;

const fs::path kSource = WEIR_SOURCE_DIR;

std::string told(const std::vector<std::string>& breaks) {
  std::string text;
  for (const std::string& sentence : breaks) text += sentence + "\n";
  return text;
}

class Scratch {
 public:
  Scratch() {
    std::string pattern = (fs::temp_directory_path() / "weir-released-XXXXXX").string();
    path = ::mkdtemp(pattern.data());
  }
  ~Scratch() {
    std::error_code ignored;
    fs::remove_all(path, ignored);
  }
  fs::path path;
};

std::string first_line_of(const std::string& command) {
  FILE* pipe = ::popen((command + " 2>/dev/null").c_str(), "r");
  char line[256] = {};
  if (pipe == nullptr || std::fgets(line, sizeof line, pipe) == nullptr) line[0] = '\0';
  if (pipe != nullptr) ::pclose(pipe);
  return std::string(line).substr(0, std::string(line).find('\n'));
}

// A clone without tags, or no clone at all, has none.
std::string last_tag() {
  return first_line_of("git -C '" + kSource.string() + "' describe --tags --abbrev=0");
}

TEST(released, the_tree_still_speaks_what_the_last_two_releases_spoke) {
  auto tree = image_of_protos(kSource / "proto");
  ASSERT_TRUE(tree);
  std::vector<Image> images = released_images(kSource);
  ASSERT_FALSE(images.empty());
  for (std::size_t n = 0; n < images.size() && n < kReleasesKept; ++n) {
    std::printf("against release %s\n", images[n].name.c_str());
    EXPECT_EQ(told(Breaking::between(images[n].files, *tree)), "") << "of " << images[n].name;
  }
}

TEST(released, the_tree_still_speaks_what_the_last_tag_spoke) {
  const std::string tag = last_tag();
  if (tag.empty()) {
    std::printf("no tag here: the images alone count\n");
    return;
  }
  Scratch scratch;
  ASSERT_EQ(std::system(fmt::format("git -C '{}' archive '{}' proto | tar -x -C '{}'",
                                    kSource.string(), tag, scratch.path.string())
                            .c_str()),
            0);
  auto tagged = image_of_protos(scratch.path / "proto"), tree = image_of_protos(kSource / "proto");
  ASSERT_TRUE(tagged && tree);
  EXPECT_EQ(told(Breaking::between(*tagged, *tree)), "") << "of " << tag;
}

// CHANGELOG.md has a heading for each version; all but the first are released.
TEST(released, every_release_but_the_oldest_ones_left_its_image) {
  std::ifstream file(kSource / "CHANGELOG.md");
  std::stringstream text;
  text << file.rdbuf();
  const std::string changes = text.str();
  const std::regex heading("(^|\n)## ([0-9]+\\.[0-9]+\\.[0-9]+)");
  std::vector<std::string> versions;
  for (std::sregex_iterator at(changes.begin(), changes.end(), heading), end; at != end; ++at)
    versions.push_back((*at)[2]);
  ASSERT_FALSE(versions.empty());
  std::vector<Image> images = released_images(kSource);
  for (std::size_t n = 1; n < versions.size() && n <= kReleasesKept; ++n)
    EXPECT_TRUE(std::any_of(images.begin(), images.end(),
                            [&](const Image& image) { return image.name == versions[n]; }))
        << "proto/released/add " << versions[n];
}

// ---- that it can fail -------------------------------------------------------------------------

// Each message of an image as an image of its own, and a copy of it to change.
void each_message(const FileDescriptorSet& whole,
                  const std::function<void(const FileDescriptorSet& image, FileDescriptorSet& copy,
                                           DescriptorProto& message)>& change) {
  for (const auto& file : whole.file()) {
    if (file.package() != "weir.v1") continue;
    for (const DescriptorProto& message : file.message_type()) {
      FileDescriptorSet image;
      image.add_file()->set_package(file.package());
      *image.mutable_file(0)->add_message_type() = message;
      FileDescriptorSet copy = image;
      change(image, copy, *copy.mutable_file(0)->mutable_message_type(0));
    }
  }
}

void each_field(const FileDescriptorSet& whole, const char* what,
                const std::function<void(FieldDescriptorProto&)>& change) {
  int tried = 0;
  each_message(whole, [&](const FileDescriptorSet& image, FileDescriptorSet& copy,
                          DescriptorProto& message) {
    const DescriptorProto was = message;
    for (int n = 0; n < message.field_size(); ++n, ++tried) {
      change(*message.mutable_field(n));
      EXPECT_EQ(Breaking::between(image, copy).size(), 1u)
          << what << " " << was.name() << " field " << n;
      *message.mutable_field(n) = was.field(n);
    }
  });
  EXPECT_GT(tried, 300) << what;
}

TEST(released, a_change_of_any_field_is_found) {
  const FileDescriptorSet image = released_images(kSource).at(0).files;
  ASSERT_EQ(told(Breaking::between(image, image)), "");
  each_field(image, "renumbered", [](FieldDescriptorProto& f) { f.set_number(1'999); });
  each_field(image, "of another type", [](FieldDescriptorProto& f) {
    f.set_type(f.type() == FieldDescriptorProto::TYPE_STRING ? FieldDescriptorProto::TYPE_BYTES
                                                             : FieldDescriptorProto::TYPE_STRING);
  });
  each_field(image, "another label", [](FieldDescriptorProto& f) {
    f.set_label(f.label() == FieldDescriptorProto::LABEL_REPEATED
                    ? FieldDescriptorProto::LABEL_OPTIONAL
                    : FieldDescriptorProto::LABEL_REPEATED);
  });
  each_field(image, "renamed in JSON", [](FieldDescriptorProto& f) { f.set_json_name("other"); });
  each_field(image, "renamed", [](FieldDescriptorProto& f) { f.set_name("other"); });
}

TEST(released, whatever_is_taken_out_is_found_unless_it_is_reserved) {
  const FileDescriptorSet whole = released_images(kSource).at(0).files;
  each_message(whole, [&](const FileDescriptorSet& image, FileDescriptorSet& copy,
                          DescriptorProto& message) {
    const DescriptorProto was = message;
    const std::string& name = was.name();
    for (int n = 0; n < was.field_size(); ++n) {
      message.mutable_field()->DeleteSubrange(n, 1);
      EXPECT_EQ(Breaking::between(image, copy).size(), 1u) << name << " field " << n;
      auto* range = message.add_reserved_range();
      range->set_start(was.field(n).number());
      range->set_end(was.field(n).number() + 1);
      EXPECT_EQ(Breaking::between(image, copy).size(), 1u) << "its name is free";
      message.add_reserved_name(was.field(n).name());
      EXPECT_EQ(told(Breaking::between(image, copy)), "");
      EXPECT_EQ(Breaking::between(copy, image).size(), 2u) << "reserved no more";
      message = was;
    }
    for (int e = 0; e < was.enum_type_size(); ++e)
      for (int n = 1; n < was.enum_type(e).value_size(); ++n) {
        message.mutable_enum_type(e)->mutable_value()->DeleteSubrange(n, 1);
        EXPECT_EQ(Breaking::between(image, copy).size(), 1u) << name << " enum " << e;
        message = was;
        message.mutable_enum_type(e)->mutable_value(n)->set_name("other");
        EXPECT_EQ(Breaking::between(image, copy).size(), 1u) << name << " enum " << e;
        message = was;
      }
  });
}

TEST(released, a_message_or_a_method_that_is_gone_is_found) {
  const FileDescriptorSet image = released_images(kSource).at(0).files;
  for (int f = 0; f < image.file_size(); ++f) {
    for (int m = 0; m < image.file(f).message_type_size(); ++m) {
      FileDescriptorSet copy = image;
      copy.mutable_file(f)->mutable_message_type()->DeleteSubrange(m, 1);
      EXPECT_EQ(Breaking::between(image, copy).empty(), image.file(f).package() != "weir.v1");
    }
    for (int s = 0; s < image.file(f).service_size(); ++s)
      for (int m = 0; m < image.file(f).service(s).method_size(); ++m) {
        FileDescriptorSet copy = image;
        auto& service = *copy.mutable_file(f)->mutable_service(s);
        auto& method = *service.mutable_method(m);
        method.set_client_streaming(!method.client_streaming());
        EXPECT_EQ(Breaking::between(image, copy).size(), 1u) << method.name();
        service.mutable_method()->DeleteSubrange(m, 1);
        EXPECT_EQ(Breaking::between(image, copy).size(), 1u);
      }
  }
}

// The same way that the tree is read: a copy of its files, with one line another.
TEST(released, a_changed_line_of_the_protos_is_found_and_an_added_one_is_none) {
  const struct {
    const char *file, *was, *is;
    std::size_t breaks;
  } kChanges[] = {
      {"agent.proto", "uint64 epoch = 2;    // of", "uint64 epoch = 22;  // of", 1},
      {"agent.proto", "string version = 1;  //", "bytes version = 1;  //", 1},
      {"agent.proto", "    alert = 1; ", "    alarm = 1; ", 1},
      {"enrol.proto", "  bytes csr = 2;", "  // bytes csr = 2;", 1},
      {"agent.proto", "rpc Connect(", "rpc Talk(", 1},
      {"agent.proto", "string version = 1;  //", "string version = 1; string more = 99; //", 0},
      {"agent.proto", "    alert = 1; ", "    alert = 1; more = 9; ", 0},
      {"agent.proto", "message Hello {", "message More {} message Hello {", 0},
  };
  auto tree = image_of_protos(kSource / "proto");
  ASSERT_TRUE(tree);
  for (const auto& change : kChanges) {
    Scratch scratch;
    fs::create_directories(scratch.path / "weir");
    fs::copy(kSource / "proto/weir/v1", scratch.path / "weir/v1");
    const fs::path path = scratch.path / "weir/v1" / change.file;
    std::stringstream text;
    text << std::ifstream(path).rdbuf();
    std::string changed = text.str();
    const std::size_t at = changed.find(change.was);
    ASSERT_NE(at, std::string::npos) << change.was;
    changed.replace(at, std::string(change.was).size(), change.is);
    std::ofstream(path) << changed;
    auto copy = image_of_protos(scratch.path);
    ASSERT_TRUE(copy) << change.is;
    EXPECT_EQ(Breaking::between(*tree, *copy).size(), change.breaks)
        << change.is << "\n"
        << told(Breaking::between(*tree, *copy));
  }
}

}  // namespace
}  // namespace weir
