//! `hostmatch token`: creates, lists and revokes bearer tokens in the file that the edge reloads by itself.

use std::io::ErrorKind;
use std::path::Path;

use serde::Serialize;
use serde_json::json;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::{Exit, Failure, Global, Output, output, output::dash};
use crate::config::parse_duration;
use crate::http::tokens::{ChangeError, Scope, Terms, Token, change, read_line};

/// Bearer tokens for the edge, kept as hashes in edge.tokens_file
#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    Create(Create),
    /// List the tokens and their permissions; the secrets are not stored
    List,
    /// Remove tokens from the file: from then on they are refused
    Revoke {
        /// Ids or names, as `token list` shows them
        #[arg(required = true, value_name = "TOKEN")]
        tokens: Vec<String>,
    },
}

/// Create a token; its secret is written to stdout, only once
#[derive(Debug, clap::Args)]
pub(super) struct Create {
    /// The name of the sender that will use it
    #[arg(long, value_parser = name)]
    name: String,
    /// Only for these routes: events is POST /v1/events, retell the gateway's POST /api/retell/webhook [default: both]
    #[arg(long = "scope", value_name = "SCOPE,…", value_delimiter = ',', value_parser = scope)]
    scopes: Vec<Scope>,
    /// Only for events that name one of these companies [default: any event]
    #[arg(long = "company", value_name = "N,…", value_delimiter = ',', value_parser = clap::value_parser!(i64).range(1..))]
    companies: Vec<i64>,
    /// When the token expires: 90d from now, or 2027-03-01T00:00:00Z, or never
    #[arg(long, value_name = "TIME", default_value = "365d", value_parser = expiry)]
    expires: Expiry,
}

#[derive(Clone, Copy, Debug)]
struct Expiry(Option<OffsetDateTime>);

/// A token, as JSON. `docs/commands.md` describes it: its JSON is a contract.
#[derive(Debug, Serialize)]
struct TokenView {
    id: String,
    name: String,
    /// Empty: all.
    scopes: Vec<Scope>,
    /// Empty: any.
    companies: Vec<i64>,
    created: Option<String>,
    expires: Option<String>,
    state: &'static str,
}

impl TokenView {
    fn of(token: &Token) -> Self {
        let moment = |time: Option<OffsetDateTime>| time.and_then(|time| time.format(&Rfc3339).ok());
        let terms = &token.terms;
        Self {
            id: token.id(),
            name: terms.name.clone(),
            scopes: terms.scopes.clone(),
            companies: terms.companies.clone(),
            created: moment(terms.created),
            expires: moment(terms.expires),
            state: if terms.has_expired(OffsetDateTime::now_utc()) { "expired" } else { "active" },
        }
    }
}

/// Runs the command; fails if no file is configured, if the file cannot be read or written, or if there is no
/// such token.
pub(super) fn run(global: &Global, command: &Command) -> Result<Exit, Failure> {
    let config = global.start(&[])?.config;
    let path = config.edge.tokens_file.as_path();
    if path.as_os_str().is_empty() {
        let text = "edge.tokens_file is empty: set it to the file from which the edge reads tokens";
        return Err(Failure::new(Exit::ConfigInvalid, text));
    }
    match command {
        Command::Create(args) => create(global.output, args, path),
        Command::List => list(global.output, path),
        Command::Revoke { tokens } => revoke(global.output, tokens, path),
    }
}

fn create(output: Output, args: &Create, path: &Path) -> Result<Exit, Failure> {
    let now = OffsetDateTime::now_utc();
    let now = now.replace_millisecond(0).unwrap_or(now);
    let mut scopes = args.scopes.clone();
    scopes.sort_unstable();
    scopes.dedup();
    let terms = Terms {
        name: args.name.clone(),
        scopes,
        companies: args.companies.clone(),
        expires: args.expires.0,
        created: Some(now),
    };
    // 244 random bits, from the operating system.
    let half = || uuid::Uuid::new_v4().simple().to_string();
    let secret = format!("hm_{}{}", half(), half());
    let token = Token::new(&secret, terms);
    let line = token.to_line()?;
    into_failure(change(path, |text| {
        let is_used = tokens(text).iter().any(|known| known.terms.name == args.name);
        if is_used {
            let text = "a token with this name exists: choose another name, or revoke that token first";
            return Err(Failure::new(Exit::Failed, text));
        }
        let line_break = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
        Ok((format!("{text}{line_break}{line}\n"), ()))
    }))?;
    let view = TokenView::of(&token);
    let mut document = json!(view);
    document["secret"] = json!(secret);
    // Alone on stdout, so that a script can put it into a variable.
    output.show(&document, || output::print_line(&secret))?;
    let TokenView { id, name, expires, .. } = view;
    let (path, expires) = (path.display(), expires.as_deref().unwrap_or("never"));
    output::note(&format!(
        "token {id} ({name}) is in {path}, expires: {expires}; its secret is shown only once"
    ))?;
    Ok(Exit::Done)
}

fn list(output: Output, path: &Path) -> Result<Exit, Failure> {
    let text = match std::fs::read_to_string(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
        text => text.map_err(|error| {
            Failure::new(Exit::Failed, format!("{} cannot be read: {error}", path.display()))
        })?,
    };
    for (number, line) in text.lines().enumerate() {
        if let Err(problem) = read_line(line) {
            output::note(&format!("line {} {problem}: the edge ignores it", number + 1))?;
        }
    }
    let view: Vec<TokenView> = tokens(&text).iter().map(TokenView::of).collect();
    output.list(&json!({ "tokens": view }), &view, "No tokens.", |tokens| {
        let head = ["ID", "NAME", "STATE", "SCOPES", "COMPANIES", "CREATED", "EXPIRES"];
        output::table(&head, tokens.iter().map(columns))
    })
}

fn columns(view: &TokenView) -> [String; 7] {
    let scopes: Vec<&str> = view.scopes.iter().map(scope_name).collect();
    let companies: Vec<String> = view.companies.iter().map(ToString::to_string).collect();
    let or = |list: String, all: &str| if list.is_empty() { all.to_owned() } else { list };
    [
        view.id.clone(),
        view.name.clone(),
        view.state.to_owned(),
        or(scopes.join(","), "all"),
        or(companies.join(","), "any"),
        dash(view.created.as_ref()),
        view.expires.clone().unwrap_or_else(|| "never".to_owned()),
    ]
}

/// Revokes all specified tokens, or none if a name is unknown or ambiguous.
fn revoke(output: Output, wanted: &[String], path: &Path) -> Result<Exit, Failure> {
    let revoked: Vec<TokenView> = into_failure(change(path, |text| {
        let known = tokens(text);
        let mut revoked: Vec<Token> = Vec::new();
        for id_or_name in wanted {
            let matching: Vec<&Token> = known
                .iter()
                .filter(|token| token.id() == *id_or_name || token.terms.name == *id_or_name)
                .collect();
            match matching[..] {
                [] => {
                    let text = format!("there is no token {id_or_name:?}; `hostmatch token list` shows all");
                    return Err(Failure::new(Exit::NotFound, text));
                }
                // A person may have written the same token on several lines, of which each is valid.
                [one, ref others @ ..] if others.iter().all(|other| other.id() == one.id()) => {
                    revoked.extend(matching.into_iter().cloned());
                }
                _ => {
                    let text =
                        format!("{id_or_name:?} is the name of {} tokens: specify an id", matching.len());
                    return Err(Failure::new(Exit::Usage, text));
                }
            }
        }
        let is_kept =
            |line: &&str| !read_line(line).ok().flatten().is_some_and(|token| revoked.contains(&token));
        let rest: String = text.split_inclusive('\n').filter(is_kept).collect();
        Ok((rest, revoked.iter().map(TokenView::of).collect()))
    }))?;
    output.show(&json!({ "revoked": revoked }), || {
        revoked
            .iter()
            .try_for_each(|view| output::print_line(&format!("revoked {} ({})", view.id, view.name)))
    })
}

/// Parses the tokens of the file; ignores lines that cannot be read.
fn tokens(text: &str) -> Vec<Token> {
    text.lines().filter_map(|line| read_line(line).ok().flatten()).collect()
}

fn into_failure<T>(done: Result<T, ChangeError<Failure>>) -> Result<T, Failure> {
    done.map_err(|error| match error {
        ChangeError::Refused(failure) => failure,
        error @ ChangeError::File { .. } => Failure::new(Exit::Failed, error),
    })
}

fn name(text: &str) -> Result<String, String> {
    let is_valid =
        !text.trim().is_empty() && text.chars().count() <= 64 && !text.chars().any(char::is_control);
    is_valid.then(|| text.trim().to_owned()).ok_or_else(|| "a name has 1 to 64 characters".to_owned())
}

fn scope_name(scope: &Scope) -> &'static str {
    match scope {
        Scope::Events => "events",
        Scope::Retell => "retell",
    }
}

fn scope(text: &str) -> Result<Scope, String> {
    let known = [Scope::Events, Scope::Retell].into_iter().find(|scope| scope_name(scope) == text);
    known.ok_or_else(|| "expected events or retell".to_owned())
}

fn expiry(text: &str) -> Result<Expiry, String> {
    if text == "never" {
        return Ok(Expiry(None));
    }
    let after = || {
        let after = time::Duration::try_from(parse_duration(text).ok()?).ok()?;
        let now = OffsetDateTime::now_utc();
        now.checked_add(after)?.replace_millisecond(0).ok()
    };
    let expires = OffsetDateTime::parse(text, &Rfc3339).ok().or_else(after);
    let expires = expires.filter(|expires| (1970..=9999).contains(&expires.year()));
    expires
        .map(|expires| Expiry(Some(expires)))
        .ok_or_else(|| "expected 90d, 2027-03-01T00:00:00Z or never".to_owned())
}
