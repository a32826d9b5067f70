// Calls that must be found, and words that are none.
void f(const char* s) {
  system(s);
  FILE* p = popen(s, "r");
  strcpy(a, s);
  int n = std::atoi(s);
  // system("in a comment")
  log("system(in a text)");
  operating_system(s);
  try { g(); } catch (...) {}
}
using namespace std;
using namespace std::literals;
