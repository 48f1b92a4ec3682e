//! The only reader of clocks, and how long to back off.
