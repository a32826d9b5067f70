// weirctl's session with a collector: who signs in and where stands in admin.json. Thread: one.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "collector/api/admin_file.h"
#include "collector/ctl/commands.h"
#include "core/base/result.h"
#include "proto/connect/client.h"

namespace CLI {
class App;
}

namespace weir {

// --config and -o, for every command. `app` is the verb's.
void add_ctl_options(CLI::App& app, CtlOptions& options);
// Parses; -1: go on. Else the exit status: 0 after --help, 2 after a wrong option.
int parse_arguments(CLI::App& app, int argc, char** argv);

// ~/.config/weir/admin.json, or what WEIRCTL_CONFIG names.
std::string default_config();

class CtlSession {
 public:
  // Nothing: the sentence was printed.
  static std::optional<CtlSession> open(const CtlOptions& options);

  const AdminFile& admin() const { return admin_; }

  // False: the sentence was printed, and `status` is the command's exit status.
  template <class Request, class Answer>
  bool call(std::string_view method, const Request& request, Answer& answer, int& status) {
    auto bytes = client_.unary(method, request.SerializeAsString());
    if (bytes && answer.ParseFromString(*bytes)) return true;
    status = bytes ? damaged() : failed(bytes.error());
    return false;
  }
  // Every page of a list, as rows of `table` or message by message. `items` are those of an answer.
  template <class Answer, class Request, class Items, class Row>
  int list(std::string_view method, Request request, Output output, Table table, Items items,
           Row row) {
    int status = kExitDone;
    do {
      Answer answer;
      if (!call(method, request, answer, status)) return status;
      for (const auto& item : items(answer))
        if (output == Output::table)
          table.add(row(item));
        else
          print_message(item, output);
      request.set_page(answer.next_page());
    } while (!request.page().empty());
    if (output == Output::table) table.print();
    return status;
  }
  template <class Answer, class Request>
  int watch(std::string_view method, const Request& request,
            const std::function<bool(const Answer&)>& on) {
    auto ended = client_.stream(method, request.SerializeAsString(), [&](const std::string& bytes) {
      Answer answer;
      return answer.ParseFromString(bytes) && on(answer);
    });
    return ended ? kExitDone : failed(ended.error());
  }

 private:
  CtlSession(AdminFile admin, Door door) : admin_(std::move(admin)), client_(std::move(door)) {}
  static Result<CtlSession> from(const CtlOptions& options);
  static int failed(const ConnectError& error);
  static int damaged();

  AdminFile admin_;
  ConnectClient client_;
};

Result<AdminFile> read_admin(const std::string& path);      // for what needs no collector
std::vector<std::string> own_keys(const AdminFile& admin);  // the policy keys it has and had
std::string unhex(std::string_view hex);  // "": no hexadecimal digits, or an odd number of them

}  // namespace weir
