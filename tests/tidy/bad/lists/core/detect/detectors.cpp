// The list.
void f() { all.push_back(make_burst()); }  // make_tunnel() is only talked of
