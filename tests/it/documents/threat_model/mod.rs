//! Tests the promises of `docs/threat-model.md`: encrypted connections with verified certificates, minimal
//! permissions on the broker, and logs that no outsider can forge.

mod logs;
mod permissions;
mod tls;
