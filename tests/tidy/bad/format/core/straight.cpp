// A file that clang-format would leave alone.
int g() {
  return 2;
}
