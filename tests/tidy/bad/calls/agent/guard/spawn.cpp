// A guard that searches PATH.
void f() { execvp(name, argv); execve(path, argv, env); }
