//! Suggests the next commands, which work on the demo's files.

use serde::Serialize;

use super::bookings::Host;
use super::directory::{CONFIGURATION, Directory, NEXT_BOOKING, TOKEN};
use super::salon::SALON;

/// The widest line of a command, in columns.
const WIDTH: usize = 98;

/// A command and its purpose.
#[derive(Debug, Serialize)]
pub(super) struct Next {
    pub(super) why: &'static str,
    /// The command for a shell in the directory in which the demo was run.
    pub(super) command: String,
}

/// Returns the commands. `url`: the address of the edge if it keeps running; `host`: the host whose name
/// alone was not enough, with the address that identifies it; `dead_letter`: the id of a dead letter to show.
pub(super) fn commands(
    directory: &Directory,
    url: Option<&str>,
    host: &Host,
    dead_letter: Option<i64>,
) -> Vec<Next> {
    let program = std::env::args().next().unwrap_or_else(|| "hostmatch".to_owned());
    let in_directory = |name: &str| directory.shown.join(name).display().to_string();
    let configuration = in_directory(CONFIGURATION);
    let hostmatch = |why, words: &[&str]| {
        let all =
            [program.as_str(), "--config", configuration.as_str()].into_iter().chain(words.iter().copied());
        Next { why, command: all.map(quoted).collect::<Vec<_>>().join(" ") }
    };
    let (company, id) = (SALON.to_string(), host.id.to_string());
    let explain = ["match", "explain", "--company", &company, "--host", &id, "--name", &host.name];
    let with_address: Vec<&str> = explain.into_iter().chain(["--email", &host.email]).collect();
    let next_booking = in_directory(NEXT_BOOKING);
    let letter = dead_letter.map(|id| id.to_string());

    let mut all = vec![
        hostmatch("why the name alone is not enough for ABC125", &explain),
        hostmatch("what the host's work address would change", &with_address),
        hostmatch("which hosts need a person to accept, assign or ignore them", &["inbox", "list"]),
        hostmatch("the outcome of each event", &["events", "list"]),
        hostmatch("what could not be decided, and why", &["deadletters", "list"]),
    ];
    all.extend(letter.map(|id| {
        hostmatch("one of them with its original bytes", &["deadletters", "show", &id, "--reveal"])
    }));
    let why = "another booking with that host and the work address: it also decides ABC125";
    match url {
        Some(url) => {
            let token = in_directory(TOKEN);
            let command = format!(
                "curl --json {} -H \"Authorization: Bearer $(cat {})\" {url}/v1/events",
                quoted(&format!("@{next_booking}")),
                quoted(&token),
            );
            all.push(Next { why, command });
        }
        None => {
            all.push(hostmatch(why, &["publish", &next_booking]));
            all.push(hostmatch("a worker, to decide both", &["serve", "worker", "--until-empty"]));
        }
    }
    all.push(hostmatch("this demo's settings, and the defaults", &["config", "show"]));
    all.push(hostmatch("hostmatch's tables in the salon's database", &["migrate", "status"]));
    if url.is_none() {
        let shown = directory.shown.display().to_string();
        let words = [program.as_str(), "demo", "--dir", &shown];
        let demo = |why, flag| {
            let all: Vec<String> = words.into_iter().chain([flag]).map(quoted).collect();
            Next { why, command: all.join(" ") }
        };
        all.push(demo("the demo again, with edge and worker kept running", "--keep"));
        all.push(demo("remove the demo's files", "--reset"));
    }
    all
}

/// Breaks a command into as many lines as it needs, for a shell.
pub(super) fn wrapped(command: &str, indent: &str) -> String {
    let mut lines = vec![String::new()];
    for word in words(command) {
        let line = lines.len() - 1;
        // Leaves room for the backslash.
        if !lines[line].is_empty() && indent.len() + lines[line].len() + word.len() + 3 > WIDTH {
            lines.push(format!("    {word}"));
        } else {
            if !lines[line].is_empty() {
                lines[line].push(' ');
            }
            lines[line] += word;
        }
    }
    lines.iter().map(|line| format!("{indent}{line}")).collect::<Vec<_>>().join(" \\\n")
}

/// Splits a command into words; a quoted string with blanks is one word.
fn words(command: &str) -> Vec<&str> {
    let (mut quote, mut start, mut all) = (None, 0, Vec::new());
    for (at, c) in command.char_indices() {
        match (quote, c) {
            (None, ' ') => {
                all.push(&command[start..at]);
                start = at + 1;
            }
            (None, '\'' | '"') => quote = Some(c),
            (Some(open), _) if open == c => quote = None,
            _ => {}
        }
    }
    all.push(&command[start..]);
    all
}

/// Quotes a word for a shell.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@%+,".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_where_a_shell_would_split_them() {
        assert_eq!(quoted("a/b.c"), "a/b.c");
        assert_eq!(quoted("Jonas Weber"), "'Jonas Weber'");
        assert_eq!(quoted("d'Or"), r"'d'\''Or'");
        assert_eq!(quoted(""), "''");
    }

    #[test]
    fn long_commands_break_between_words_only() {
        let name = quoted(&"Jonas Weber ".repeat(6));
        let command = format!("{} --name {name} --email x@y.example", "hostmatch ".repeat(6).trim_end());
        let lines = wrapped(&command, "  ");
        assert!(lines.lines().count() > 1 && lines.contains(&name), "{lines}");
        assert!(lines.lines().all(|line| line.chars().count() <= 100), "{lines}");
        assert_eq!(lines.replace(" \\\n      ", " ").trim_start(), command);
        assert_eq!(wrapped("short", "  "), "  short");
    }
}
