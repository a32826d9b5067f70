// The table.
constexpr Command kCommands[] = {
    {"replay", cmd_replay, "tells"},
};
