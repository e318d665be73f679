//! What `docs/threat-model.md` promises: encrypted lines that are checked, the least rights on the
//! broker, and logs that nobody outside can write into.

mod logs;
mod rights;
mod tls;
