// Files of the tree and short policies for the tests of core/policy.
#pragma once

#include <gtest/gtest.h>

#include <fstream>
#include <sstream>
#include <string>

#include "core/policy/surface/surface.h"

namespace weir {

inline std::string read_tree_file(const std::string& path) {
  std::ifstream file(std::string(WEIR_SOURCE_DIR) + "/" + path);
  EXPECT_TRUE(file) << path;
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

// A policy of these rules (YAML, each line indented by two), with a label and a network to refer
// to.
inline std::string with_rules(const std::string& rules) {
  return "apiVersion: weir/v1\n"
         "name: test\n"
         "mode: enforce\n"
         "networks: {office: {interface: tun0}}\n"
         "services: {crm: {domains: [crm.example], ranges: [198.51.100.0/24]}}\n"
         "labels: {list: {any: [{type: cn_resident_id, unique: 5}]}, code: {any: [{path: /srv}]}}\n"
         "rules:\n" +
         rules;
}

inline Policy must_parse(const std::string& yaml) {
  auto policy = parse_policy(yaml, "p.yaml");
  EXPECT_TRUE(policy) << (policy ? "" : policy.error().sentence);
  return policy ? *policy : Policy{};
}

}  // namespace weir
