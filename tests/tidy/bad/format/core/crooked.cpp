// A file that clang-format would lay out differently.
int  f( ) { return 1;}
