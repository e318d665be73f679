//! How far the demo is: a bar on a terminal, plain lines elsewhere. Always on stderr.

use std::io::Write as _;

use indicatif::ProgressBar;

use crate::cli::output;

/// Progress over a known number of steps.
pub(super) struct Progress {
    bar: ProgressBar,
    /// No bar: there is no terminal, or log lines would tear it.
    plain: bool,
}

impl Progress {
    /// For `steps` steps. `plain`: lines in any case.
    pub(super) fn new(steps: usize, plain: bool) -> Self {
        let bar = output::progress(steps, "");
        let plain = plain || bar.is_hidden();
        if plain {
            bar.set_draw_target(indicatif::ProgressDrawTarget::hidden());
        }
        Self { bar, plain }
    }

    /// Says what is being done now.
    pub(super) fn begins(&self, what: &str) {
        self.bar.set_message(what.to_owned());
        self.bar.tick();
    }

    /// One step is done.
    pub(super) fn ended(&self, what: &str) {
        self.bar.inc(1);
        if self.plain {
            let (at, of) = (self.bar.position(), self.bar.length().unwrap_or_default());
            // Progress that nobody reads is no failure.
            let _unwritten = writeln!(std::io::stderr().lock(), "[{at:>2}/{of}] {what}");
        }
    }

    /// Takes the bar away.
    pub(super) fn finish(self) {
        self.bar.finish_and_clear();
    }
}
