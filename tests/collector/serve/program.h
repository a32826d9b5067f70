// weir-collector as a child of the test, with what it says on standard error.
#pragma once

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <string>
#include <vector>

namespace weir {

class Program {
 public:
  explicit Program(const std::vector<std::string>& arguments,
                   const std::string& program = WEIR_COLLECTOR) {
    int ends[2];
    EXPECT_EQ(::pipe(ends), 0);
    child_ = ::fork();
    if (child_ == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      ::dup2(ends[1], STDERR_FILENO);
      ::close(ends[0]);
      std::vector<char*> argv{const_cast<char*>(program.c_str())};
      for (const std::string& a : arguments) argv.push_back(const_cast<char*>(a.c_str()));
      argv.push_back(nullptr);
      ::execv(argv[0], argv.data());
      ::_exit(99);
    }
    ::close(ends[1]);
    errors_ = ends[0];
  }
  ~Program() {
    if (child_ > 0) {
      ::kill(child_, SIGKILL);
      ::waitpid(child_, nullptr, 0);
    }
    ::close(errors_);
  }
  bool ready() {
    while (read_some())
      if (text.find("ready\n") != std::string::npos) return true;
    return false;
  }
  pid_t pid() const { return child_; }
  void signal(int number) { ::kill(child_, number); }
  int exit_status() {  // 128 + signal
    while (read_some()) {
    }
    int status = 0;
    ::waitpid(child_, &status, 0);
    child_ = -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }
  std::string text;  // of standard error, as far as it was read

 private:
  bool read_some() {
    char bytes[512];
    ssize_t got = ::read(errors_, bytes, sizeof bytes);
    if (got > 0) text.append(bytes, static_cast<std::size_t>(got));
    return got > 0;
  }
  pid_t child_ = -1;
  int errors_ = -1;
};

}  // namespace weir
