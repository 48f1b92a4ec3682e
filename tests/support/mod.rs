//! Helpers that the tests of the whole program and the measurements share.
//!
//! | room | what it has |
//! |---|---|
//! | [`scene`] | where most tests begin: a simulated API, and a relay that reads it |
//! | [`relay`] | the real program as a child process |
//! | [`servers`] | servers for the relay to talk to: receivers, proxies, a name server |
//! | [`machine`] | what can be wrong with the machine below the relay: disks, system calls, the network |
//! | [`scenarios`] | long runs that a test and a measurement share |
//! | [`waiting`] | waiting for a condition, with a deadline |
//! | [`processes`] | the processor time and the memory of processes |
//! | [`random`] | random choices that a seed repeats |
//! | [`cases`] | many cases of one test side by side |
//! | [`prerequisites`] | what a test needs beside this repository |

pub(crate) mod cases;
pub(crate) mod machine;
pub(crate) mod postgres;
pub(crate) mod prerequisites;
pub(crate) mod processes;
pub(crate) mod random;
pub(crate) mod relay;
pub(crate) mod scenarios;
pub(crate) mod scene;
pub(crate) mod servers;
pub(crate) mod waiting;
