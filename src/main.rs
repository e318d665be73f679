//! The program: picks the one TLS provider, then leaves everything to the command line.

use std::process::ExitCode;

fn main() -> ExitCode {
    // Fails only when a provider is installed already, and then there is one.
    let _already_installed = rustls::crypto::ring::default_provider().install_default();
    hostmatch::cli::main()
}
