//! The way to other servers, by HTTP or HTTPS: who asks one builds its client on this.

use std::io;

use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use rustls::crypto::ring::default_provider;
use rustls::{ClientConfig, RootCertStore};

/// Connects by HTTP/1.1. With `tls` only by HTTPS, to servers that the system's authorities vouch for, which are
/// read for that; else only in the clear.
///
/// # Errors
/// When the authorities cannot be read.
pub fn connector(tls: bool) -> io::Result<HttpsConnector<HttpConnector>> {
    let builder = HttpsConnectorBuilder::new();
    let builder = if tls {
        builder.with_provider_and_native_roots(default_provider())?.https_only()
    } else {
        let nobody = ClientConfig::builder_with_provider(default_provider().into())
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_root_certificates(RootCertStore::empty())
            .with_no_client_auth();
        builder.with_tls_config(nobody).https_or_http()
    };
    Ok(builder.enable_http1().build())
}
