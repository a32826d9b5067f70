// Messages of an image: made, filled and read by its descriptors alone, as a program does that was
// built when the image was.
#pragma once

#include <fmt/format.h>
#include <google/protobuf/descriptor.h>
#include <google/protobuf/descriptor.pb.h>
#include <google/protobuf/dynamic_message.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>

namespace weir {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

inline constexpr int kDeepest = 5;  // of what is filled

class Dynamic {
 public:
  explicit Dynamic(const google::protobuf::FileDescriptorSet& files) {
    for (const auto& file : files.file()) EXPECT_NE(pool_.BuildFile(file), nullptr) << file.name();
  }
  // "Hello": of weir.v1
  std::unique_ptr<Message> make(const std::string& name) {
    const auto* type = pool_.FindMessageTypeByName("weir.v1." + name);
    EXPECT_NE(type, nullptr) << name;
    return std::unique_ptr<Message>(factory_.GetPrototype(type)->New());
  }
  std::unique_ptr<Message> read(const std::string& name, const std::string& bytes) {
    auto message = make(name);
    EXPECT_TRUE(message->ParseFromString(bytes)) << name;
    return message;
  }
  int alternatives(const std::string& name) {  // of its first oneof
    return make(name)->GetDescriptor()->oneof_decl(0)->field_count();
  }

 private:
  google::protobuf::DescriptorPool pool_;
  google::protobuf::DynamicMessageFactory factory_{&pool_};
};

inline const FieldDescriptor* field(const Message& message, const std::string& name) {
  const FieldDescriptor* found = message.GetDescriptor()->FindFieldByName(name);
  EXPECT_NE(found, nullptr) << message.GetTypeName() << "." << name;
  return found;
}
inline Message& part(Message& message, const std::string& name) {
  return *message.GetReflection()->MutableMessage(&message, field(message, name));
}
inline Message& add(Message& message, const std::string& name) {
  return *message.GetReflection()->AddMessage(&message, field(message, name));
}
inline bool has(const Message& message, const std::string& name) {
  return message.GetReflection()->HasField(message, field(message, name));
}
inline int count(const Message& message, const std::string& name) {
  return message.GetReflection()->FieldSize(message, field(message, name));
}
inline std::string text(const Message& message, const std::string& name) {
  return message.GetReflection()->GetString(message, field(message, name));
}
inline std::string text(const Message& message, const std::string& name, int n) {
  return message.GetReflection()->GetRepeatedString(message, field(message, name), n);
}
inline const Message& at(const Message& message, const std::string& name, int n = -1) {
  return n < 0 ? message.GetReflection()->GetMessage(message, field(message, name))
               : message.GetReflection()->GetRepeatedMessage(message, field(message, name), n);
}
inline std::uint64_t number(const Message& message, const std::string& name) {
  const FieldDescriptor* of = field(message, name);
  const auto* reflection = message.GetReflection();
  if (of->cpp_type() == FieldDescriptor::CPPTYPE_UINT64) return reflection->GetUInt64(message, of);
  if (of->cpp_type() == FieldDescriptor::CPPTYPE_UINT32) return reflection->GetUInt32(message, of);
  return static_cast<std::uint64_t>(reflection->GetEnumValue(message, of));
}
inline void put(Message& message, const std::string& name, const std::string& value) {
  message.GetReflection()->SetString(&message, field(message, name), value);
}
inline void put(Message& message, const std::string& name, std::uint64_t value) {
  const FieldDescriptor* of = field(message, name);
  const auto* reflection = message.GetReflection();
  if (of->cpp_type() == FieldDescriptor::CPPTYPE_UINT64)
    reflection->SetUInt64(&message, of, value);
  else if (of->cpp_type() == FieldDescriptor::CPPTYPE_UINT32)
    reflection->SetUInt32(&message, of, static_cast<std::uint32_t>(value));
  else
    reflection->SetEnumValue(&message, of, static_cast<int>(value));
}

void fill(Message& message, int choice, int depth = 0);

// A value that is not the default; for enums the last, which in an image of a release to come is
// one that nobody knows today.
inline void fill_one(Message& message, const FieldDescriptor* of, int choice, int depth) {
  const auto* r = message.GetReflection();
  const bool many = of->is_repeated();
  const std::string words = fmt::format("{}-{}", of->name(), choice);
  switch (of->cpp_type()) {
#define WEIR_FILL(KIND, Name, value)                                              \
  case FieldDescriptor::CPPTYPE_##KIND:                                           \
    many ? r->Add##Name(&message, of, value) : r->Set##Name(&message, of, value); \
    break;
    WEIR_FILL(INT32, Int32, 7)
    WEIR_FILL(INT64, Int64, 7)
    WEIR_FILL(UINT32, UInt32, 7)
    WEIR_FILL(UINT64, UInt64, 7)
    WEIR_FILL(DOUBLE, Double, 0.5)
    WEIR_FILL(FLOAT, Float, 0.5F)
    WEIR_FILL(BOOL, Bool, true)
    WEIR_FILL(STRING, String, words)
    WEIR_FILL(ENUM, Enum, of->enum_type()->value(of->enum_type()->value_count() - 1))
#undef WEIR_FILL
    case FieldDescriptor::CPPTYPE_MESSAGE:
      if (depth < kDeepest)
        fill(many ? *r->AddMessage(&message, of) : *r->MutableMessage(&message, of), choice,
             depth + 1);
      break;
  }
}

// Every field; of a oneof the alternative number `choice`, round and round.
inline void fill(Message& message, int choice, int depth) {
  const auto* type = message.GetDescriptor();
  for (int n = 0; n < type->field_count(); ++n)
    if (type->field(n)->real_containing_oneof() == nullptr)
      fill_one(message, type->field(n), choice, depth);
  for (int n = 0; n < type->real_oneof_decl_count(); ++n) {
    const auto* oneof = type->oneof_decl(n);
    fill_one(message, oneof->field(choice % oneof->field_count()), choice / oneof->field_count(),
             depth);
  }
}

// Fields, however deep, that the image does not know.
inline int unknown_in(const Message& message) {
  const auto* reflection = message.GetReflection();
  int found = reflection->GetUnknownFields(message).field_count();
  std::vector<const FieldDescriptor*> set;
  reflection->ListFields(message, &set);
  for (const FieldDescriptor* of : set) {
    if (of->cpp_type() != FieldDescriptor::CPPTYPE_MESSAGE) continue;
    const int parts = of->is_repeated() ? reflection->FieldSize(message, of) : 1;
    for (int n = 0; n < parts; ++n)
      found += unknown_in(of->is_repeated() ? reflection->GetRepeatedMessage(message, of, n)
                                            : reflection->GetMessage(message, of));
  }
  return found;
}

// ---- a release to come ------------------------------------------------------------------------

inline constexpr int kNewerField = 1'900, kNewerChoice = 1'950, kNewerValue = 99;

inline google::protobuf::FieldDescriptorProto newer_field(const std::string& name, int number) {
  google::protobuf::FieldDescriptorProto field;
  field.set_name(name);
  field.set_number(number);
  field.set_label(google::protobuf::FieldDescriptorProto::LABEL_OPTIONAL);
  field.set_type(google::protobuf::FieldDescriptorProto::TYPE_STRING);
  return field;
}

inline void grow(google::protobuf::DescriptorProto& message) {
  if (message.options().map_entry()) return;
  const auto fields = message.field();
  message.clear_field();
  auto oneof_of = [&](int n) {
    return n < fields.size() && fields[n].has_oneof_index() && !fields[n].proto3_optional()
               ? fields[n].oneof_index()
               : -1;
  };
  for (int n = 0; n < fields.size(); ++n) {  // a oneof's alternatives stand together
    *message.add_field() = fields[n];
    const int oneof = oneof_of(n);
    if (oneof < 0 || oneof_of(n + 1) == oneof) continue;
    *message.add_field() = newer_field(fmt::format("newer_choice_{}", oneof), kNewerChoice + oneof);
    message.mutable_field(message.field_size() - 1)->set_oneof_index(oneof);
  }
  *message.add_field() = newer_field("newer", kNewerField);
  for (auto& inner : *message.mutable_nested_type()) grow(inner);
  for (auto& values : *message.mutable_enum_type()) {
    auto& more = *values.add_value();
    more.set_name("newer_" + values.name());
    more.set_number(kNewerValue);
  }
}

// Each message with a field more, each oneof with an alternative more, each enum with a value more.
inline google::protobuf::FileDescriptorSet grown(google::protobuf::FileDescriptorSet files) {
  for (auto& file : *files.mutable_file())
    if (file.package() == "weir.v1")
      for (auto& message : *file.mutable_message_type()) grow(message);
  return files;
}

}  // namespace weir
