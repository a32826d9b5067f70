// YAML in a program that has no business with it.
#include <yaml-cpp/yaml.h>
