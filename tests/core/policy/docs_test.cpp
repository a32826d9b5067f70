// What the manual and the sample policies say is true: each example compiles, each mistake is told
// as printed, and what says `enforce` can be enforced.
#include <filesystem>

#include "core/policy/evaluate.h"
#include "tests/core/policy/sample.h"

namespace weir {
namespace {

struct Block {
  std::string language;  // after the three backquotes
  std::string text;
};

std::vector<Block> blocks_of(const std::string& page) {
  std::vector<Block> blocks;
  std::istringstream lines(page);
  std::string line;
  bool inside = false;
  while (std::getline(lines, line)) {
    if (line.starts_with("```")) {
      if (!inside) blocks.push_back({line.substr(3), ""});
      inside = !inside;
    } else if (inside) {
      blocks.back().text += line + "\n";
    }
  }
  EXPECT_FALSE(inside);
  return blocks;
}

std::string indented(const std::string& text) {
  std::istringstream lines(text);
  std::string line, out;
  while (std::getline(lines, line)) out += "  " + line + "\n";
  return out;
}

void expect_enforceable(const Policy& policy, const std::string& what) {
  if (policy.mode != Mode::enforce) return;
  for (const std::string& sentence : unenforceable(policy))
    ADD_FAILURE() << what << ": " << sentence;
}

// The lists that an example names have one domain each.
Policy parse_example(const std::string& text) {
  ListTexts lists;
  for (const std::string& name : lists_of(text)) lists.emplace(name, "example.com\n");
  auto policy = parse_policy(text, "example.yaml", lists);
  EXPECT_TRUE(policy) << (policy ? "" : policy.error().sentence);
  return policy ? *policy : Policy{};
}

TEST(policy_manual, every_example_compiles_and_every_mistake_is_told_as_printed) {
  const auto blocks = blocks_of(read_tree_file("docs/policy.md"));
  std::size_t examples = 0, mistakes = 0;
  for (std::size_t i = 0; i < blocks.size(); ++i) {
    const Block& block = blocks[i];
    if (block.language == "yaml") {
      ++examples;
      const bool whole = block.text.starts_with("apiVersion");
      const Policy policy = parse_example(whole ? block.text : with_rules(indented(block.text)));
      if (whole) expect_enforceable(policy, block.text);
    } else if (block.language == "yaml wrong") {
      ++mistakes;
      const auto policy = parse_policy(block.text, "first.yaml");
      ASSERT_FALSE(policy) << block.text;
      ASSERT_LT(i + 1, blocks.size());
      EXPECT_EQ(policy.error().sentence + "\n", blocks[i + 1].text);
    }
  }
  EXPECT_GE(examples, 4u);
  EXPECT_GE(mistakes, 1u);
}

TEST(sample_policies, all_compile_and_those_that_enforce_can) {
  std::size_t files = 0;
  for (const auto& entry :
       std::filesystem::directory_iterator(std::string(WEIR_SOURCE_DIR) + "/data/policies")) {
    ++files;
    const std::string name = entry.path().filename().string();
    expect_enforceable(must_parse(read_tree_file("data/policies/" + name)), name);
  }
  EXPECT_GE(files, 3u);
}

TEST(sample_policies, the_first_one_is_the_manuals) {
  const auto blocks = blocks_of(read_tree_file("docs/policy.md"));
  ASSERT_FALSE(blocks.empty());
  const std::string file = read_tree_file("data/policies/first.yaml");
  EXPECT_EQ(file.substr(file.find('\n') + 1), blocks[0].text);
}

TEST(sample_policies, the_schema_in_the_tree_is_the_tables) {
  EXPECT_EQ(read_tree_file("data/policy.schema.json"), json_schema() + "\n")
      << "after a change of core/policy/surface/table.cpp, write json_schema() to the file again";
}

TEST(sample_policies, a_small_desk_bounds_uploads_and_leaves_known_places_alone) {
  const Policy policy = must_parse(read_tree_file("data/policies/small-desk.yaml"));
  Facts facts;
  facts.destination.name = "content.dropboxapi.com";
  facts.destination.service = "dropbox";
  facts.destination.category = "cloud_storage";
  facts.destination.trust = Trust::upload;
  EXPECT_EQ(evaluate(policy, facts).limits, 0b0011u);
  facts.destination = {};
  facts.destination.trust = Trust::unknown;
  EXPECT_EQ(evaluate(policy, facts).limits, 0b1100u);
  facts.destination.trust = Trust::known;
  EXPECT_EQ(evaluate(policy, facts).limits, 0u);
}

}  // namespace
}  // namespace weir
