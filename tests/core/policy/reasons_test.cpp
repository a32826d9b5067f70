// Every reason code of the tree has its sentence in both languages, and every sentence uses what it
// is given. The tree is read: a new code without a line in core/policy/reasons.h fails here.
#include "core/policy/reasons.h"

#include <filesystem>
#include <map>
#include <regex>
#include <set>

#include "core/policy/explain.h"
#include "core/policy/words.h"
#include "tests/core/policy/sample.h"

namespace weir {
namespace {

// Codes where they are made: {"code", {…}} and push_back({a ? "code" : "code", {…}}), also through
// a function that takes code and arguments.
std::map<std::string, std::string> codes_in_the_tree() {
  const std::regex direct(R"re("([a-z0-9]+(?:_[a-z0-9]+)+)",\s*\{)re");
  const std::regex either(R"re(\?\s*"([a-z0-9_]+)"\s*:\s*"([a-z0-9_]+)",\s*\{)re");
  const std::regex returned(R"re(return "([a-z0-9]+(?:_[a-z0-9]+)+)";)re");
  std::map<std::string, std::string> found;
  for (const char* root : {"core", "agent", "platform"})
    for (const auto& entry :
         std::filesystem::recursive_directory_iterator(std::string(WEIR_SOURCE_DIR) + "/" + root)) {
      const std::string path = entry.path().lexically_relative(WEIR_SOURCE_DIR).string();
      if (entry.path().extension() != ".cpp" || path.starts_with("core/policy/explain")) continue;
      if (path.starts_with("core/policy/surface/")) continue;
      const std::string text = read_tree_file(path);
      std::vector<std::regex> patterns = {direct, either};
      if (text.find("because") != std::string::npos) patterns.push_back(returned);
      for (const auto& pattern : patterns)
        for (std::sregex_iterator at(text.begin(), text.end(), pattern), end; at != end; ++at)
          for (std::size_t group = 1; group < at->size(); ++group)
            found.emplace((*at)[group].str(), path);
    }
  return found;
}

bool is_detector(std::string_view id) {  // a detector's id() is returned where codes are made too
  return std::any_of(detector_names().begin(), detector_names().end(),
                     [&](const DetectorName& name) { return name.id == id; });
}

TEST(reasons, every_code_that_the_tree_uses_is_in_the_table) {
  std::set<std::string_view> known;
  for (const ReasonText& text : reason_texts()) known.insert(text.code);
  const auto used = codes_in_the_tree();
  EXPECT_TRUE(used.contains("rule_set_aside")) << "the search must find what evaluate.cpp makes";
  EXPECT_TRUE(used.contains("limit_total"));
  EXPECT_TRUE(used.contains("upload_by_http_host")) << "and what a function returns";
  for (const auto& [code, path] : used)
    EXPECT_TRUE(known.contains(code) || is_detector(code))
        << code << " of " << path << " has no sentence in reasons.h";
}

TEST(reasons, each_code_stands_once) {
  std::set<std::string_view> known;
  for (const ReasonText& text : reason_texts())
    EXPECT_TRUE(known.insert(text.code).second) << text.code;
}

TEST(reasons, each_sentence_renders_in_both_languages_with_all_its_arguments) {
  for (const ReasonText& text : reason_texts()) {
    Reason reason;
    reason.code = text.code;
    for (int i = 0; i < text.arguments; ++i) reason.args.push_back("<" + std::to_string(i) + ">");
    for (Language language : {Language::english, Language::chinese}) {
      const std::string_view form = language == Language::english ? text.english : text.chinese;
      const std::string shown = explain(reason, language);
      EXPECT_EQ(shown.find_first_of("{}"), std::string::npos) << shown;
      for (int i = 0; i < text.arguments; ++i) {
        const std::string plain = "{" + std::to_string(i);
        EXPECT_NE(form.find(plain), std::string::npos) << text.code << " leaves out argument " << i;
        // {n:per} shows words for a key; every other form shows what it is given.
        if (form.find(plain + ":per}") == std::string::npos)
          EXPECT_NE(shown.find(reason.args[static_cast<std::size_t>(i)]), std::string::npos)
              << shown;
      }
      EXPECT_EQ(form.find("{" + std::to_string(text.arguments)), std::string::npos)
          << text.code << " uses more arguments than it says";
      EXPECT_TRUE(form.ends_with(language == Language::english ? "." : "。")) << form;
    }
    EXPECT_NE(text.english, text.chinese);
  }
}

TEST(reasons, an_unknown_code_is_shown_as_it_is) {
  EXPECT_EQ(explain(Reason{"new_thing", {"a", "b"}}, Language::english), "new_thing(a, b)");
  EXPECT_EQ(explain(Reason{"new_thing", {}}, Language::chinese), "new_thing()");
}

TEST(reasons, too_few_arguments_are_shown_as_missing) {
  EXPECT_EQ(explain(Reason{"rule_matched", {}}, Language::english), "Rule ? applies.");
}

TEST(reasons, foreign_text_can_not_steer_a_terminal) {
  EXPECT_EQ(explain(Reason{"rule_matched", {"a\x1b[2J\n"}}, Language::english),
            "Rule a?[2J? applies.");
  const std::string shown =
      explain(Reason{"rule_matched", {std::string(5000, 'x')}}, Language::english);
  EXPECT_LT(shown.size(), 300u);
}

}  // namespace
}  // namespace weir
