//! The program as somebody meets it on a command line.

mod command_line;
mod demo;
mod migrate;
mod publish;
mod validate;
