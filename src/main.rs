//! The program's entry point: installs the TLS provider and runs the command line.

use std::process::ExitCode;

fn main() -> ExitCode {
    // This fails only when a provider is already installed, and that one serves as well.
    let _already_installed = rustls::crypto::ring::default_provider().install_default();
    hostmatch::cli::main()
}
