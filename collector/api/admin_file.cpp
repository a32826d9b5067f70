// DIR/admin.json as text, both ways.
#include "collector/api/admin_file.h"

#include <google/protobuf/struct.pb.h>
#include <google/protobuf/util/json_util.h>

#include <array>
#include <utility>

namespace weir {
namespace {

constexpr std::array<std::pair<const char*, std::string AdminFile::*>, 7> kFields{{
    {"address", &AdminFile::address},
    {"doorKeySha256", &AdminFile::door_key_sha256},
    {"principal", &AdminFile::principal},
    {"secret", &AdminFile::secret},
    {"policyKeyId", &AdminFile::policy_key_id},
    {"policyPublicKey", &AdminFile::policy_public_key},
    {"policySecretKey", &AdminFile::policy_secret_key},
}};
constexpr char kFormer[] = "formerPublicKeys";

}  // namespace

std::string admin_file_text(const AdminFile& file) {
  google::protobuf::Struct object;
  for (const auto& [name, field] : kFields)
    (*object.mutable_fields())[name].set_string_value(file.*field);
  if (!file.former_public_keys.empty())
    (*object.mutable_fields())[kFormer].set_string_value(file.former_public_keys);
  google::protobuf::util::JsonPrintOptions options;
  options.add_whitespace = true;
  std::string text;
  (void)google::protobuf::util::MessageToJsonString(object, &text, options);
  return text;
}

Result<AdminFile> read_admin_file_text(const std::string& text) {
  google::protobuf::Struct object;
  if (!google::protobuf::util::JsonStringToMessage(text, &object).ok())
    return fail("is no JSON object");
  AdminFile file;
  for (const auto& [name, field] : kFields) {
    auto found = object.fields().find(name);
    if (found == object.fields().end() || found->second.string_value().empty())
      return fail(std::string("has no ") + name);
    file.*field = found->second.string_value();
  }
  if (auto former = object.fields().find(kFormer); former != object.fields().end())
    file.former_public_keys = former->second.string_value();
  return file;
}

}  // namespace weir
