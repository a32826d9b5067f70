// Commands.
int cmd_replay(int, char**);
int cmd_why(int, char**);
