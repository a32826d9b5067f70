// yaml-cpp's events into a tree. The events come before yaml-cpp goes one level deeper, so that
// throwing here bounds its recursion; an alias is refused before anything is copied.
#include "core/policy/surface/node.h"

#include <fmt/format.h>
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/mark.h>
#include <yaml-cpp/parser.h>

#include <sstream>

#include "core/policy/surface/surface.h"

namespace weir::surface {
namespace {

struct Refused {  // never leaves this file
  Trouble trouble;
};

[[noreturn]] void refuse(const YAML::Mark& mark, std::string sentence) {
  throw Refused{{mark.line + 1, mark.column + 1, std::move(sentence)}};
}

class Tree : public YAML::EventHandler {
 public:
  Node take() { return std::move(root_); }

  void OnDocumentStart(const YAML::Mark&) override {}
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    put(start(mark, "", anchor, Node::Kind::null));
  }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t) override {
    refuse(mark, "aliases (*name) are not allowed; write the value out");
  }
  void OnAnchor(const YAML::Mark& mark, const std::string&) override {
    refuse(mark, "anchors (&name) are not allowed; write the value out");
  }
  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& value) override {
    Node node = start(mark, tag, anchor, Node::Kind::scalar);
    const bool plain_null = tag == "?" && (value == "~" || value == "null");
    if (plain_null) node.kind = Node::Kind::null;
    node.text = value;
    put(std::move(node));
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    open(mark, start(mark, tag, anchor, Node::Kind::list));
  }
  void OnSequenceEnd() override { close(); }
  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value) override {
    open(mark, start(mark, tag, anchor, Node::Kind::map));
  }
  void OnMapEnd() override { close(); }

 private:
  Node start(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
             Node::Kind kind) {
    if (anchor != 0) refuse(mark, "anchors (&name) are not allowed; write the value out");
    if (!tag.empty() && tag != "?" && tag != "!") refuse(mark, "tags (!name) are not allowed");
    Node node;
    node.kind = kind;
    node.line = mark.line + 1;
    node.column = mark.column + 1;
    return node;
  }
  void open(const YAML::Mark& mark, Node node) {
    if (open_.size() == kMaxPolicyDepth)
      refuse(mark, fmt::format("nested deeper than {} levels", kMaxPolicyDepth));
    open_.push_back(std::move(node));
  }
  void close() {
    Node done = std::move(open_.back());
    open_.pop_back();
    put(std::move(done));
  }
  void put(Node node) {
    if (open_.empty()) {
      root_ = std::move(node);
      return;
    }
    Node& parent = open_.back();
    const bool is_key = parent.is_map() && parent.keys.size() == parent.items.size();
    if (is_key && !node.is_scalar())
      throw Refused{{node.line, node.column, "a key must be a plain word"}};
    (is_key ? parent.keys : parent.items).push_back(std::move(node));
  }

  Node root_;
  std::vector<Node> open_;
};

}  // namespace

tl::expected<Node, Trouble> read_yaml(std::string_view yaml) {
  if (yaml.size() > kMaxPolicyBytes)
    return tl::unexpected(Trouble{
        1, 1,
        fmt::format("larger than {} bytes, the most that a policy may have", kMaxPolicyBytes)});
  try {
    std::istringstream stream{std::string(yaml)};
    YAML::Parser parser(stream);
    Tree tree;
    if (!parser.HandleNextDocument(tree)) return tl::unexpected(Trouble{1, 1, "is empty"});
    Node root = tree.take();
    Tree second;
    if (parser.HandleNextDocument(second)) {
      const Node more = second.take();
      return tl::unexpected(
          Trouble{more.line, more.column, "a second document begins; a policy file has one"});
    }
    return root;
  } catch (const Refused& refused) {
    return tl::unexpected(refused.trouble);
  } catch (const YAML::Exception& error) {
    return tl::unexpected(Trouble{std::max(error.mark.line, 0) + 1,
                                  std::max(error.mark.column, 0) + 1, "is not YAML: " + error.msg});
  }
}

}  // namespace weir::surface
