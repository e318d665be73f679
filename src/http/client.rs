//! The program's only HTTP client: reqwest, set up in one place.
//!
//! It speaks HTTP/1.1, uses no proxy and does not follow redirects. A response is read as a whole, within a
//! time limit and a size limit. For HTTPS the client trusts the system's CA certificates, which are read
//! only if the server's URL begins with `https://`.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use axum::http::Response;
use axum::http::header::ACCEPT;
use bytes::{Bytes, BytesMut};
use percent_encoding::percent_decode_str;
use reqwest::{Method, Request, RequestBuilder, Url};

/// The maximum size of a response, unless the caller sets another.
const MAX_RESPONSE: usize = 16 << 20;

/// Why there is no response. The text contains the server's address, but never a password or the content of
/// the request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// No request can be sent: the URL is invalid, or the certificates cannot be read.
    #[error("{0}")]
    Unusable(String),
    /// The connection to the server failed.
    #[error("{0}")]
    ConnectFailed(String),
    /// The server did not respond in time.
    #[error("{0}")]
    Timeout(String),
    /// The response ended early, is too large, or is not HTTP.
    #[error("{0}")]
    Broken(String),
}

/// The client of one server.
#[derive(Clone)]
pub struct Client {
    client: reqwest::Client,
    /// Without user and password, and without a slash at the end.
    base: String,
    /// User and password, decoded.
    login: Option<(String, String)>,
    timeout: Duration,
    max_response: usize,
}

/// The password is left out.
impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("base", &self.base).finish_non_exhaustive()
    }
}

impl Client {
    /// Creates a client for the server at `base`. The path of `base` is prefixed to the path of each
    /// request. If `base` contains a user and password, they are sent with each request. `timeout` limits
    /// the wait for each response.
    ///
    /// # Errors
    /// Fails if `base` is not a URL, or the system's CA certificates cannot be read.
    pub fn new(base: &str, timeout: Duration) -> Result<Self, ClientError> {
        let is_http = |url: &Url| ["http", "https"].contains(&url.scheme());
        let mut url = Url::parse(base)
            .ok()
            .filter(is_http)
            .ok_or_else(|| ClientError::Unusable("not a URL such as https://host:port".to_owned()))?;
        url.set_query(None);
        url.set_fragment(None);
        let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        let has_login = !url.username().is_empty() || url.password().is_some();
        let login = (decoded(url.username()), decoded(url.password().unwrap_or_default()));
        // This fails only for URLs without a host, and HTTP URLs have one.
        let _ = url.set_username("").and_then(|()| url.set_password(None));
        let base = url.as_str().trim_end_matches('/').to_owned();
        // reqwest needs a TLS provider even for plain HTTP. This fails only when one is already installed.
        let _already_installed = rustls::crypto::ring::default_provider().install_default();
        let builder = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(timeout);
        let builder = if url.scheme() == "https" { builder } else { builder.tls_certs_only([]) };
        let client = builder.build().map_err(|error| {
            let cause = root_cause(&error.without_url());
            ClientError::Unusable(format!("the system's CA certificates cannot be read: {cause}"))
        })?;
        Ok(Self { client, base, login: has_login.then_some(login), timeout, max_response: MAX_RESPONSE })
    }

    /// Sends this user and password with each request, unless the URL has its own.
    #[must_use]
    pub fn with_login(mut self, user: &str, password: &str) -> Self {
        self.login.get_or_insert_with(|| (user.to_owned(), password.to_owned()));
        self
    }

    /// Limits responses to this many bytes.
    #[must_use]
    pub fn with_max_response(self, max_response: usize) -> Self {
        Self { max_response, ..self }
    }

    /// Returns the server's address, without user and password.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// Builds a request to this path, which begins with a slash, for [`Client::send`].
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.client.request(method, format!("{}{path}", self.base));
        match &self.login {
            Some((user, password)) => request.basic_auth(user, Some(password)),
            None => request,
        }
    }

    /// Gets this path, as JSON if the server offers it.
    ///
    /// # Errors
    /// See [`Client::execute`].
    pub async fn get(&self, path: &str) -> Result<Response<Bytes>, ClientError> {
        self.send(self.request(Method::GET, path).header(ACCEPT, "application/json")).await
    }

    /// Sends a request that was built with [`Client::request`].
    ///
    /// # Errors
    /// See [`Client::execute`].
    pub async fn send(&self, request: RequestBuilder) -> Result<Response<Bytes>, ClientError> {
        self.execute(request.build().map_err(|error| self.describe_error(error))?).await
    }

    /// Sends a request and reads its whole response. A response with any status is a success.
    ///
    /// # Errors
    /// Fails if there is no complete response in time.
    pub async fn execute(&self, request: Request) -> Result<Response<Bytes>, ClientError> {
        let mut response = self.client.execute(request).await.map_err(|error| self.describe_error(error))?;
        let mut body = BytesMut::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.describe_error(error))? {
            if body.len() + chunk.len() > self.max_response {
                let text = format!("{}: the response is larger than {} bytes", self.base, self.max_response);
                return Err(ClientError::Broken(text));
            }
            body.extend_from_slice(&chunk);
        }
        let mut whole = Response::new(body.freeze());
        *whole.status_mut() = response.status();
        std::mem::swap(whole.headers_mut(), response.headers_mut());
        Ok(whole)
    }

    /// Describes an error by its innermost cause, which is the clearest: "connection refused", "invalid
    /// peer certificate".
    fn describe_error(&self, error: reqwest::Error) -> ClientError {
        // reqwest's own texts contain the whole URL.
        let error = error.without_url();
        let text = format!("{}: {}", self.base, root_cause(&error));
        if error.is_builder() {
            ClientError::Unusable(text)
        } else if error.is_connect() {
            ClientError::ConnectFailed(text)
        } else if error.is_timeout() {
            let seconds = self.timeout.as_secs();
            ClientError::Timeout(format!("{} did not answer within {seconds} s", self.base))
        } else if error.is_body() || error.is_decode() {
            ClientError::Broken(format!("{}: the response ended early", self.base))
        } else {
            ClientError::Broken(text)
        }
    }
}

fn root_cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn Error = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_contains_no_password() {
        let base = "http://monitor:p%40ss@broker.example:15672/rabbit/?key=hidden#hidden";
        let client = Client::new(base, Duration::from_secs(1)).unwrap();
        assert_eq!(client.base(), "http://broker.example:15672/rabbit");
        assert_eq!(format!("{client:?}"), r#"Client { base: "http://broker.example:15672/rabbit", .. }"#);
        for wrong in ["ftp://x", "broker:15672", "127.0.0.1:80", "http://", "", "http://a b"] {
            assert!(Client::new(wrong, Duration::from_secs(1)).is_err(), "{wrong}");
        }
    }
}
