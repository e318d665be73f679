//! The program as a user runs it on the command line.

mod command_line;
mod demo;
mod migrate;
mod publish;
mod validate;
