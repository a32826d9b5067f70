// Run by the build: fails while a method of a service has no row in the authorisation table, or a
// row has no method.
#include <fmt/format.h>
#include <google/protobuf/descriptor.h>

#include <algorithm>
#include <cstdio>
#include <set>
#include <string>

#include "collector/api/authorize.h"
#include "weir/v1/admin.pb.h"
#include "weir/v1/agent.pb.h"
#include "weir/v1/enrol.pb.h"

int main() {
  std::set<std::string> methods, rows;
  for (const google::protobuf::FileDescriptor* file :
       {weir::v1::CreateTokenRequest::descriptor()->file(), weir::v1::Hello::descriptor()->file(),
        weir::v1::EnrolRequest::descriptor()->file()})
    for (int s = 0; s < file->service_count(); ++s)
      for (int m = 0; m < file->service(s)->method_count(); ++m)
        methods.insert(file->service(s)->full_name() + "/" + file->service(s)->method(m)->name());
  for (const weir::MethodRow& row : weir::method_rows()) rows.emplace(row.method);
  int wrong = 0;
  for (const std::string& method : methods)
    if (!rows.contains(method)) {
      fmt::print(stderr, "collector/api/authorize.cpp: {} has no row: who may call it?\n", method);
      ++wrong;
    }
  for (const std::string& row : rows)
    if (!methods.contains(row)) {
      fmt::print(stderr, "collector/api/authorize.cpp: there is no method {}\n", row);
      ++wrong;
    }
  return wrong == 0 ? 0 : 1;
}
