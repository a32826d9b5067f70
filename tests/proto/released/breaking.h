// What a reader or writer of an older image would miss in a newer one: the rules of `buf breaking`
// for wire and JSON, and beyond them that no message, service or method goes and no type changes at
// all (docs/decisions/0022).
#pragma once

#include <fmt/format.h>
#include <google/protobuf/descriptor.pb.h>

#include <map>
#include <string>
#include <vector>

namespace weir {

class Breaking {
 public:
  // A sentence for each break, none: all that spoke `was` can go on with `is`.
  static std::vector<std::string> between(const google::protobuf::FileDescriptorSet& was,
                                          const google::protobuf::FileDescriptorSet& is) {
    Breaking breaking;
    Names before(was), after(is);
    for (const auto& [name, message] : before.messages)
      breaking.same(name, message, after.messages, &Breaking::compare_messages);
    for (const auto& [name, values] : before.enums)
      breaking.same(name, values, after.enums, &Breaking::compare_enums);
    for (const auto& [name, service] : before.services)
      breaking.same(name, service, after.services, &Breaking::compare_services);
    return std::move(breaking.found_);
  }

 private:
  using Message = google::protobuf::DescriptorProto;
  using Enum = google::protobuf::EnumDescriptorProto;
  using Field = google::protobuf::FieldDescriptorProto;
  using Service = google::protobuf::ServiceDescriptorProto;

  struct Names {  // of weir.v1 by their full name
    explicit Names(const google::protobuf::FileDescriptorSet& set) {
      for (const auto& file : set.file()) {
        if (file.package() != "weir.v1") continue;
        for (const auto& message : file.message_type()) add(file.package(), message);
        for (const auto& values : file.enum_type())
          enums[file.package() + "." + values.name()] = &values;
        for (const auto& service : file.service())
          services[file.package() + "." + service.name()] = &service;
      }
    }
    void add(const std::string& outer, const Message& message) {
      const std::string name = outer + "." + message.name();
      messages[name] = &message;
      for (const auto& inner : message.nested_type()) add(name, inner);
      for (const auto& values : message.enum_type()) enums[name + "." + values.name()] = &values;
    }
    std::map<std::string, const Message*> messages;
    std::map<std::string, const Enum*> enums;
    std::map<std::string, const Service*> services;
  };

  template <class T>
  void same(const std::string& name, const T* was, const std::map<std::string, const T*>& all,
            void (Breaking::*compare)(const std::string&, const T&, const T&)) {
    auto found = all.find(name);
    if (found == all.end()) return tell("{}: is gone", name);
    (this->*compare)(name, *was, *found->second);
  }

  // Is it reserved, so that nothing else can come to stand there? A message's ranges end before
  // `end`, an enum's with it.
  template <class T>
  static bool reserved(const T& where, int number, const std::string& name, int beyond) {
    bool numbered = false, named = false;
    for (const auto& range : where.reserved_range())
      numbered = numbered || (range.start() <= number && number < range.end() + beyond);
    for (const auto& other : where.reserved_name()) named = named || other == name;
    return numbered && named;
  }
  template <class T>
  void reserved_stays(const std::string& path, const T& was, const T& is) {
    for (const auto& range : was.reserved_range()) {
      bool kept = false;
      for (const auto& other : is.reserved_range())
        kept = kept || (other.start() <= range.start() && range.end() <= other.end());
      if (!kept) tell("{}: {} to {} are reserved no more", path, range.start(), range.end());
    }
    for (const auto& name : was.reserved_name())
      if (std::find(is.reserved_name().begin(), is.reserved_name().end(), name) ==
          is.reserved_name().end())
        tell("{}: {} is reserved no more", path, name);
  }

  static std::string oneof(const Message& message, const Field& field) {
    return field.has_oneof_index() && !field.proto3_optional()
               ? message.oneof_decl(field.oneof_index()).name()
               : "";
  }
  static std::string json_name(const Field& field) {  // an image of protoc always has it
    return field.json_name();
  }

  void compare_messages(const std::string& path, const Message& was, const Message& is) {
    reserved_stays(path, was, is);
    for (const Field& field : was.field()) {
      const auto other = std::find_if(is.field().begin(), is.field().end(),
                                      [&](const Field& f) { return f.number() == field.number(); });
      if (other == is.field().end()) {
        if (!reserved(is, field.number(), field.name(), 0))
          tell("{}.{} = {}: is gone and not reserved", path, field.name(), field.number());
        continue;
      }
      auto differ = [&](const char* what, const auto& a, const auto& b) {
        if (a != b)
          tell("{}.{} = {}: its {} was {}, is {}", path, field.name(), field.number(), what, a, b);
      };
      differ("name", field.name(), other->name());
      differ("name in JSON", json_name(field), json_name(*other));
      differ("type", Field::Type_Name(field.type()) + " " + field.type_name(),
             Field::Type_Name(other->type()) + " " + other->type_name());
      differ("label", Field::Label_Name(field.label()), Field::Label_Name(other->label()));
      differ("presence", field.proto3_optional(), other->proto3_optional());
      differ("oneof", oneof(was, field), oneof(is, *other));
    }
  }

  void compare_enums(const std::string& path, const Enum& was, const Enum& is) {
    reserved_stays(path, was, is);
    for (const auto& value : was.value()) {
      const auto other = std::find_if(is.value().begin(), is.value().end(),
                                      [&](const auto& v) { return v.number() == value.number(); });
      if (other == is.value().end()) {
        if (!reserved(is, value.number(), value.name(), 1))
          tell("{}.{} = {}: is gone and not reserved", path, value.name(), value.number());
      } else if (other->name() != value.name()) {
        tell("{}.{} = {}: is named {} now", path, value.name(), value.number(), other->name());
      }
    }
  }

  void compare_services(const std::string& path, const Service& was, const Service& is) {
    for (const auto& method : was.method()) {
      const auto other = std::find_if(is.method().begin(), is.method().end(),
                                      [&](const auto& m) { return m.name() == method.name(); });
      if (other == is.method().end()) {
        tell("{}.{}: is gone", path, method.name());
      } else if (other->input_type() != method.input_type() ||
                 other->output_type() != method.output_type() ||
                 other->client_streaming() != method.client_streaming() ||
                 other->server_streaming() != method.server_streaming()) {
        tell("{}.{}: takes or answers something else", path, method.name());
      }
    }
  }

  template <class... T>
  void tell(fmt::format_string<T...> text, T&&... values) {
    found_.push_back(fmt::format(text, std::forward<T>(values)...));
  }

  std::vector<std::string> found_;
};

}  // namespace weir
