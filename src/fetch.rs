//! Asking another server by HTTP or HTTPS: one GET with a deadline, and the whole answer.

use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::header::{ACCEPT, AUTHORIZATION, HeaderValue};
use hyper::{Request, Uri};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use percent_encoding::percent_decode_str;
use tokio::time::timeout;

use crate::https;

/// The longest answer that is read.
const LONGEST: usize = 16 << 20;

/// Why there is no answer. Holds no password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    /// Nobody can be asked like this: no URL, or no certificates.
    #[error("{0}")]
    Unusable(String),
    /// There is no connection to that address.
    #[error("{0}")]
    Unconnected(String),
    /// There is one, and no answer in time.
    #[error("{0}")]
    Silent(String),
    /// The answer broke off, or is none of HTTP.
    #[error("{0}")]
    Broken(String),
}

/// A server that is asked. No `Debug`: it may hold a password.
pub struct Fetcher {
    client: Client<HttpsConnector<HttpConnector>, Body>,
    /// Without user and password, and without a slash at the end.
    base: String,
    login: Option<HeaderValue>,
    limit: Duration,
}

/// What it answered.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The body.
    pub body: Bytes,
}

impl Fetcher {
    /// For this server. A user and a password in `base` are sent along, else `login` is. Each answer is
    /// waited for no longer than `limit`.
    ///
    /// # Errors
    /// When `base` is no URL, or the authorities that the system trusts cannot be read.
    pub fn new(base: &str, login: Option<(&str, &str)>, limit: Duration) -> Result<Self, FetchError> {
        let wrong = || FetchError::Unusable("is no URL such as https://host:port".to_owned());
        let uri: Uri = base.parse().map_err(|_| wrong())?;
        let scheme =
            uri.scheme_str().filter(|scheme| ["http", "https"].contains(scheme)).ok_or_else(wrong)?;
        let authority = uri.authority().ok_or_else(wrong)?.as_str();
        let (own, place) = match authority.rsplit_once('@') {
            Some((own, place)) => (Some(own), place),
            None => (None, authority),
        };
        let own = own.map(|own| {
            let (user, password) = own.split_once(':').unwrap_or((own, ""));
            let plain = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
            (plain(user), plain(password))
        });
        let login = own.or(login.map(|(user, password)| (user.to_owned(), password.to_owned())));
        let login = login.and_then(|(user, password)| {
            let text = format!("Basic {}", STANDARD.encode(format!("{user}:{password}")));
            let mut value = HeaderValue::from_str(&text).ok()?;
            value.set_sensitive(true);
            Some(value)
        });
        let base = format!("{scheme}://{place}{}", uri.path().trim_end_matches('/'));
        let connector = https::connector(scheme == "https").map_err(|error| {
            FetchError::Unusable(format!("the system's certificates cannot be read: {error}"))
        })?;
        Ok(Self { client: Client::builder(TokioExecutor::new()).build(connector), base, login, limit })
    }

    /// The server's address, without user and password.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// What stands at this path, which begins with a slash. Any status is an answer.
    ///
    /// # Errors
    /// When there is no answer in time.
    pub async fn get(&self, path: &str) -> Result<Answer, FetchError> {
        let mut request = Request::get(format!("{}{path}", self.base)).header(ACCEPT, "application/json");
        if let Some(login) = &self.login {
            request = request.header(AUTHORIZATION, login);
        }
        let request =
            request.body(Body::empty()).map_err(|_| FetchError::Unusable(format!("{path} is no path")))?;
        let asked = async {
            let answer = self.client.request(request).await.map_err(|error| self.failed(&error))?;
            let status = answer.status().as_u16();
            let body = to_bytes(Body::new(answer.into_body()), LONGEST).await;
            let body =
                body.map_err(|_| FetchError::Broken(format!("{}: the answer broke off", self.base)))?;
            Ok(Answer { status, body })
        };
        timeout(self.limit, asked).await.unwrap_or_else(|_| {
            Err(FetchError::Silent(format!("{} did not answer within {} s", self.base, self.limit.as_secs())))
        })
    }

    /// The innermost cause says it: "connection refused", "invalid peer certificate".
    fn failed(&self, error: &hyper_util::client::legacy::Error) -> FetchError {
        let mut cause: &dyn std::error::Error = error;
        while let Some(next) = cause.source() {
            cause = next;
        }
        let text = format!("{}: {cause}", self.base);
        if error.is_connect() { FetchError::Unconnected(text) } else { FetchError::Broken(text) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_taken_out_of_the_address() {
        let base = "http://monitor:p%40ss@broker.example:15672/rabbit/";
        let fetcher = Fetcher::new(base, Some(("other", "x")), Duration::from_secs(1)).unwrap();
        assert_eq!(fetcher.base(), "http://broker.example:15672/rabbit");
        let expected = format!("Basic {}", STANDARD.encode("monitor:p@ss"));
        assert_eq!(fetcher.login.unwrap().to_str().unwrap(), expected);
        assert!(Fetcher::new("ftp://x", None, Duration::from_secs(1)).is_err());
    }
}
