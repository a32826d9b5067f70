// BPF LSM seen from outside. Thread: any.
#pragma once

namespace weir {

// Is a program of ours that refuses sockets (weir_family) attached on this machine, and does the
// kernel call it? Whoever's agent it is; any process may ask.
bool lsm_answers();

}  // namespace weir
