//! Flags that every command has, and how they become a configuration.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Exit, Failure, Output, operator::Acting};
use crate::app::{Access, AppContext, Scope};
use crate::config::{self, ConfigError, Effective, LogConfig, Overrides};
use crate::event::CompanyId;
use crate::telemetry;

/// Flags of every command.
#[derive(Clone, Debug, clap::Args)]
pub struct Global {
    /// Configuration file [default: ./hostmatch.toml if it is there]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Set one configuration key, such as worker.pipelines=4 (repeatable; visible in process lists: no secrets)
    // Split later and not by clap, whose error would quote the value.
    #[arg(long, global = true, value_name = "KEY=VALUE")]
    set: Vec<String>,

    /// What results look like
    #[arg(long, global = true, value_enum, default_value_t)]
    pub output: Output,

    /// Log more (-v: debug, -vv: trace); wins over log.level
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    verbose: u8,

    /// Log errors only
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    quiet: bool,
}

impl Global {
    /// The configuration in force, with `flags` of the command itself on top (flag, key, value), and logging
    /// set up. Fails when the configuration is invalid or `--set` has no `=`.
    pub fn start(&self, flags: &[(&str, &str, Option<&str>)]) -> Result<Effective, Failure> {
        let effective = self.load(flags)?;
        telemetry::init(&effective.config.log)?;
        for warning in &effective.warnings {
            tracing::warn!(problem = warning, "a setting may be a mistake");
        }
        Ok(effective)
    }

    /// What a use case works with: the configuration in force, the gateway's database, who asks, and, if one
    /// is given, the only company that it may see. Fails as [`Global::start`], and when the database cannot
    /// be reached.
    pub(super) async fn open(
        &self,
        access: Access,
        acting: &Acting,
        company: Option<i64>,
    ) -> Result<AppContext, Failure> {
        let author = acting.author()?;
        let config = Arc::new(self.start(&[])?.config);
        Ok(AppContext::open(&config, access, author, Scope::of(company.map(CompanyId))).await?)
    }

    /// The configuration in force, without setting up logging. Fails as [`Global::start`].
    pub fn load(&self, flags: &[(&str, &str, Option<&str>)]) -> Result<Effective, Failure> {
        let overrides = self.overrides(flags)?;
        Ok(config::load(self.config.as_deref(), &overrides)?)
    }

    /// The configuration in force, or what is wrong with it, for a command that looks for what is wrong and
    /// tells it itself. So logging is for other errors only, unless `-v` was given: lapin would log each
    /// refusal of the broker's, which is what such a command asks for. Fails when `--set` has no `=`, or
    /// logging cannot be set up.
    pub(super) fn examined(&self) -> Result<Result<Effective, ConfigError>, Failure> {
        let overrides = self.overrides(&[])?;
        let loaded = config::load(self.config.as_deref(), &overrides);
        if let Ok(effective) = &loaded {
            let quiet = LogConfig { level: "error,lapin=off".to_owned(), ..effective.config.log.clone() };
            telemetry::init(if self.is_verbose() { &effective.config.log } else { &quiet })?;
        }
        Ok(loaded)
    }

    /// The configuration of this one file, for a command that brings its own: neither the environment nor
    /// another file counts. Logging is set up at `level`, unless `-v` or `-q` says otherwise. Fails when the
    /// file is invalid.
    pub(super) fn start_alone(&self, file: &Path, level: &str) -> Result<Effective, Failure> {
        let mut overrides = Overrides::default();
        overrides.set("this command's own", "log.level", level);
        self.verbosity(&mut overrides);
        let effective = config::load_from(Some(file), std::iter::empty(), &overrides)?;
        telemetry::init(&effective.config.log)?;
        Ok(effective)
    }

    /// For a command that brings its own configuration. Fails when `--config` or `--set` was given.
    pub(super) fn refuse_settings(&self, command: &str) -> Result<(), Failure> {
        if self.config.is_none() && self.set.is_empty() {
            return Ok(());
        }
        let text = format!("{command} brings its own configuration: leave out --config and --set");
        Err(Failure::new(Exit::Usage, text))
    }

    /// Whether `-v` was given.
    pub(super) fn is_verbose(&self) -> bool {
        self.verbose > 0
    }

    fn verbosity(&self, overrides: &mut Overrides) {
        match self.verbose {
            _ if self.quiet => overrides.set("-q", "log.level", "error"),
            0 => {}
            1 => overrides.set("-v", "log.level", "info,hostmatch=debug"),
            _ => overrides.set("-vv", "log.level", "info,hostmatch=trace"),
        }
    }

    fn overrides(&self, flags: &[(&str, &str, Option<&str>)]) -> Result<Overrides, Failure> {
        let mut overrides = Overrides::default();
        self.verbosity(&mut overrides);
        for pair in &self.set {
            let Some((key, value)) = pair.split_once('=') else {
                let text = "--set wants KEY=VALUE, such as --set worker.pipelines=4";
                return Err(Failure::new(Exit::Usage, text));
            };
            overrides.set(&format!("--set {key}"), key, value);
        }
        for (flag, key, value) in flags {
            if let Some(value) = value {
                overrides.set(flag, key, value);
            }
        }
        Ok(overrides)
    }
}
