//! The flags of every command. Loads the configuration and opens the context of a use case.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use strum::VariantArray as _;

use super::{Exit, Failure, Output};
use crate::app::{Access, AppContext, Author, Scope};
use crate::config::{self, ConfigError, Effective, LogConfig, Overrides};
use crate::event::CompanyId;
use crate::matching::{Actor, ActorKind};
use crate::telemetry;

/// Flags of every command.
#[derive(Clone, Debug, clap::Args)]
pub struct Global {
    /// Configuration file [default: ./hostmatch.toml if it exists]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Set one configuration key, such as worker.pipelines=4 (repeatable; visible in process lists: no secrets)
    // The value is not split by clap, whose error would quote it.
    #[arg(long, global = true, value_name = "KEY=VALUE")]
    set: Vec<String>,

    /// The format of results
    #[arg(long, global = true, value_enum, default_value_t)]
    pub output: Output,

    /// Log more (-v: debug, -vv: trace); overrides log.level
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    verbose: u8,

    /// Log errors only
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    quiet: bool,
}

impl Global {
    /// Loads the configuration, overridden by the command's own `flags` (flag, key, value), and sets up
    /// logging. Fails if the configuration is invalid or `--set` has no `=`.
    pub fn start(&self, flags: &[(&str, &str, Option<&str>)]) -> Result<Effective, Failure> {
        let effective = self.load(flags)?;
        telemetry::init(&effective.config.log)?;
        for warning in &effective.warnings {
            tracing::warn!(problem = warning, "a setting may be a mistake");
        }
        Ok(effective)
    }

    /// Opens the context of a command's use cases, runs `work`, and closes the context. `work` may write only
    /// with `actor`. `company` limits its scope to one company. Fails like [`Global::start`], and if the
    /// database cannot be reached, the actor's name is not allowed, or `work` fails.
    pub(super) async fn with_context<T>(
        &self,
        actor: Option<&ActorArgs>,
        company: Option<CompanyId>,
        work: impl AsyncFnOnce(&AppContext) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let access = if actor.is_some() { Access::Write } else { Access::ReadOnly };
        let author = actor.cloned().unwrap_or_default().author()?;
        let config = Arc::new(self.start(&[])?.config);
        let context = AppContext::open(&config, access, author, Scope::of(company)).await?;
        // On the heap, because some commands' futures are large.
        let result = Box::pin(work(&context)).await;
        context.close().await;
        result
    }

    /// Loads the configuration without setting up logging. Fails like [`Global::start`].
    pub fn load(&self, flags: &[(&str, &str, Option<&str>)]) -> Result<Effective, Failure> {
        let overrides = self.overrides(flags)?;
        Ok(config::load(self.config.as_deref(), &overrides)?)
    }

    /// Loads the configuration, or returns its error, for a command that reports problems itself. Unless `-v`
    /// is given, only errors are logged, and nothing from lapin, which would log each refusal that such a
    /// command provokes. Fails if `--set` has no `=`, or if logging cannot be set up.
    pub(super) fn load_for_checks(&self) -> Result<Result<Effective, ConfigError>, Failure> {
        let overrides = self.overrides(&[])?;
        let loaded = config::load(self.config.as_deref(), &overrides);
        if let Ok(effective) = &loaded {
            let quiet = LogConfig { level: "error,lapin=off".to_owned(), ..effective.config.log.clone() };
            telemetry::init(if self.is_verbose() { &effective.config.log } else { &quiet })?;
        }
        Ok(loaded)
    }

    /// Loads only this configuration file, and ignores the environment and other files: for a command that has
    /// its own configuration. Sets up logging at `level`, unless `-v` or `-q` is given. Fails if the file is
    /// invalid.
    pub(super) fn start_with_own_file(&self, file: &Path, level: &str) -> Result<Effective, Failure> {
        let mut overrides = Overrides::default();
        overrides.set("the command's default", "log.level", level);
        self.apply_verbosity(&mut overrides);
        let effective = config::load_from(Some(file), std::iter::empty(), &overrides)?;
        telemetry::init(&effective.config.log)?;
        Ok(effective)
    }

    /// Fails when `--config` or `--set` was given, for a command that has its own configuration.
    pub(super) fn refuse_settings(&self, command: &str) -> Result<(), Failure> {
        if self.config.is_none() && self.set.is_empty() {
            return Ok(());
        }
        let text = format!("{command} has its own configuration: leave out --config and --set");
        Err(Failure::new(Exit::Usage, text))
    }

    pub(super) fn is_verbose(&self) -> bool {
        self.verbose > 0
    }

    fn apply_verbosity(&self, overrides: &mut Overrides) {
        match self.verbose {
            _ if self.quiet => overrides.set("-q", "log.level", "error"),
            0 => {}
            1 => overrides.set("-v", "log.level", "info,hostmatch=debug"),
            _ => overrides.set("-vv", "log.level", "info,hostmatch=trace"),
        }
    }

    fn overrides(&self, flags: &[(&str, &str, Option<&str>)]) -> Result<Overrides, Failure> {
        let mut overrides = Overrides::default();
        self.apply_verbosity(&mut overrides);
        for pair in &self.set {
            let Some((key, value)) = pair.split_once('=') else {
                let text = "--set requires KEY=VALUE, such as --set worker.pipelines=4";
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

/// The author of a decision.
#[derive(Clone, Debug, Default, clap::Args)]
pub(super) struct ActorArgs {
    /// The name to record as the author of the decision [default: the logged-in user]
    #[arg(long, value_name = "NAME")]
    actor: Option<String>,
}

impl ActorArgs {
    /// Returns the author. Fails with [`Exit::Usage`] if the name is not allowed.
    pub(super) fn author(&self) -> Result<Author, Failure> {
        let name = self.actor.clone().unwrap_or_else(|| logged_in_user().to_string());
        Author::new(&name).ok_or_else(|| {
            let programs = ActorKind::VARIANTS.iter().copied().filter(|kind| kind.is_own_process());
            let programs = programs.map(ActorKind::as_str).collect::<Vec<_>>().join(", ");
            let max = Actor::MAX_CHARS;
            let text = format!(
                "--actor requires a name of 1 to {max} characters that does not belong to a program ({programs})"
            );
            Failure::new(Exit::Usage, text)
        })
    }
}

/// Returns the logged-in user as `cli:user@host`.
fn logged_in_user() -> Actor {
    let unknown = || "unknown".to_owned();
    let user = whoami::username().unwrap_or_else(|_| unknown());
    let host = whoami::hostname().unwrap_or_else(|_| unknown());
    Actor::command_line(&user, &host)
}
